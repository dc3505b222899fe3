"""Annotation: every text gets what the judge says of it, and released sentences get splits of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.oracles.annotate import annotate
from pipeline.errors import InputError
from pipeline.records import Text, read_records, write_records
from pipeline.trees import read_tree, spans

TREES = {"A pub .": "(TOP (NP (DT A) (NN pub)) (. .))", "Go": "(TOP (S (VP (VB Go))))", "x": "(TOP (NN x))"}
TAGS = {"A": "DET", "pub": "NOUN", ".": "PUNCT", "Go": "VERB"}
MODULE = "eval.oracles.annotate"


def text(words: str, split: str = "train") -> Text:
    return Text(f"{split}-{words}", split, words, words.split(), {"food": "Thai"}, ["OLD"], "(OLD x)")


def test_texts_get_tags_tree_and_spans_and_keep_the_rest(syntax_judge: Any) -> None:
    """What they had of their own, such as the embedded corpus' right trees, is replaced."""
    judge, texts = syntax_judge(TREES, TAGS), [text("A pub ."), text("Go", "test"), text("A pub .", "human")]
    found = list(annotate(texts, judge))
    assert found[1] == replace(texts[1], tags=["VERB"], tree=TREES["Go"], spans=[[0, 0, "S::VP"]])
    assert (found[0].tags, found[0].spans) == (["DET", "NOUN", "PUNCT"], [[0, 1, "NP"]])
    assert [(t.id, t.split, t.fields, t.tokens) for t in found] == [
        (t.id, t.split, t.fields, t.tokens) for t in texts
    ]
    assert judge.asked == [3, 3]  # all at once


def test_a_text_without_constituents_has_no_spans(syntax_judge: Any) -> None:
    (found,) = annotate([text("x")], syntax_judge(TREES, TAGS))
    assert found.spans == [] and found.tree == TREES["x"]


def test_a_judge_that_writes_no_tree(syntax_judge: Any) -> None:
    with pytest.raises(InputError, match="not a tree"):
        list(annotate([text("x")], syntax_judge({"x": "(TOP x"}, TAGS)))


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    return {"data_dir": "", "released_targets": False, "cache": str(tmp_path / "cache"), "threads": 1}


def test_the_command_annotates_a_corpus(world: Any, spec: Any, run_command: Any, tmp_path: Path) -> None:
    texts = [replace(t, tags=None, tree=None) for t in world.texts if t.split == "test"]
    write_records(tmp_path / "corpus.jsonl", texts)
    inputs = {"corpus": tmp_path / "corpus.jsonl", "tagger": world.tagger, "parser": world.parser}
    made = []
    for name in ("first", "again"):
        output = tmp_path / name / "annotated.jsonl"
        done = run_command(MODULE, spec, inputs, {"annotated": output})
        assert (done.code, done.stdout) == (0, "") and f"annotated {len(texts)} texts" in done.stderr
        made.append(output.read_bytes())
    assert made[0] == made[1]
    found = read_records(tmp_path / "first/annotated.jsonl", Text)
    assert [replace(t, tags=None, tree=None, spans=None) for t in found] == texts
    for t in found:
        assert t.spans == [list(span) for span in spans(t.tree or "")]
        assert len(t.tags or []) == len(t.tokens) == len(read_tree(t.tree or "").words)


def released(data: Path) -> Path:
    """The released target files with a sentence for single tasks and one for compositions."""
    (data / "control_targets").mkdir(parents=True)
    row = {
        "words_": ["START", "A", "pub", "\n", "END"],
        "pos": ["START", "DET", "NOUN", "X", "END"],
        "spans": [[0, 1, "NP"]],
    }
    other = {**row, "words_": ["START", "An", "inn", "\n", "END"], "attr": ["food", ":", "Thai"]}
    for name, values in (("target_pos", row), ("target_spans", row), ("target_compose_pos_attr", other)):
        (data / "control_targets" / f"{name}.json").write_text(json.dumps(values) + "\n")
    return data


def test_released_sentences_get_splits_of_their_own(
    world: Any, spec: Any, run_command: Any, tmp_path: Path
) -> None:
    write_records(tmp_path / "corpus.jsonl", [text("A pub ."), text("A pub", "test")])
    inputs = {"corpus": tmp_path / "corpus.jsonl", "tagger": world.tagger, "parser": world.parser}
    changed = {**spec, "released_targets": True, "data_dir": str(released(tmp_path / "data"))}
    done = run_command(MODULE, changed, inputs, {"annotated": tmp_path / "annotated.jsonl"})
    assert done.code == 0, done.stderr
    found = read_records(tmp_path / "annotated.jsonl", Text)
    assert [t.split for t in found] == ["train", "test", "released", "composed"]
    single, composed = found[2:]
    assert (single.id, single.text, single.tokens, single.fields) == (
        "released-000",
        "A pub",
        ["A", "pub"],
        None,
    )
    assert (composed.id, composed.text, composed.fields) == ("composed-000", "An inn", {"food": "Thai"})
    assert (single.tags, single.tree, single.spans) == (found[1].tags, found[1].tree, found[1].spans)


def test_released_sentences_need_their_files(world: Any, spec: Any, run_command: Any, tmp_path: Path) -> None:
    inputs = {"corpus": world.corpus, "tagger": world.tagger, "parser": world.parser}
    changed = {**spec, "released_targets": True, "data_dir": str(tmp_path)}
    done = run_command(MODULE, changed, inputs, {"annotated": tmp_path / "annotated.jsonl"})
    assert (done.code, done.stderr.count("\n")) == (2, 1) and "target_pos.json: no such file" in done.stderr
    assert not (tmp_path / "annotated.jsonl").exists()
