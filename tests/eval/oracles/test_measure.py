"""The judges' own table: numbers by hand, and which files and treebanks they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eval.oracles import measure as module
from eval.oracles.measure import bracket_f1, measure, tag_accuracy
from eval.oracles.treebanks import Bracketed, Tagged
from pipeline.command import Job
from pipeline.corpora.released import Released

TAGGED = [Tagged(["a", "pub", "."], ["DET", "NOUN", "PUNCT"]), Tagged(["go"], ["VERB"])]
PUB = "(TOP (S (NP (DT a) (NN pub)) (VP (VBZ is) (ADJP (JJ cheap))) (. .)))"
TREES = [Bracketed("a pub is cheap .".split(), PUB), Bracketed(["go"], "(TOP (S (VP (VB go))))")]


def test_a_perfect_judge_gets_a_hundred(syntax_judge: Any) -> None:
    tags = {word: tag for s in TAGGED for word, tag in zip(s.words, s.tags, strict=True)}
    judge = syntax_judge({" ".join(s.words): s.tree for s in TREES}, tags)
    assert tag_accuracy(judge, TAGGED) == bracket_f1(judge, TREES) == 100
    assert judge.asked == [2, 2]


def test_words_count_alike_whatever_their_sentence(syntax_judge: Any) -> None:
    judge = syntax_judge(None, {"a": "DET", "pub": "NOUN", ".": "X", "go": "VERB"})
    assert tag_accuracy(judge, TAGGED) == 75
    assert tag_accuracy(syntax_judge(), TAGGED) == 0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (PUB.replace("ADJP", "NP"), "(TOP (S (VP (VB go))))", 200 * 5 / 12),  # 4 brackets and 2 in both
        (PUB, "(TOP (VB go))", 200 * 4 / 10),
        (PUB, "(TOP (NP (VP (S (VB go)))))", 200 * 6 / 13),
        (
            PUB.replace("(. .)", "(NN .)"),
            "(TOP (S (VP (VB go))))",
            100,
        ),  # the treebank's tags say what counts
        ("(TOP (DT a) (NN pub) (VBZ is) (JJ cheap) (. .))", "(TOP (VB go))", 0),
    ],
)
def test_brackets_are_counted_over_all_sentences(
    syntax_judge: Any, first: str, second: str, expected: float
) -> None:
    judge = syntax_judge({"a pub is cheap .": first, "go": second})
    assert bracket_f1(judge, TREES) == pytest.approx(expected)


def test_spans_that_the_released_files_ask_for(syntax_judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        Released(["a", "pub"], ["DET", "NOUN"], span, None)
        for span in ((0, 1, "NP"), (0, 1, "S"), (0, 0, "NP"))
    ]
    composed = [Released(["go", "."], ["VERB", "X"], None, ("food", "Thai"))]
    monkeypatch.setattr(module, "read_syntax_targets", lambda data: rows)
    monkeypatch.setattr(module, "read_composition_targets", lambda data: composed)
    judge = syntax_judge({"a pub": "(TOP (NP (DT a) (NN pub)))"}, {"a": "DET", "pub": "NOUN", "go": "VERB"})
    trained = {"tagger": "ewt", "parser": "craft"}
    tags, found = module._released("judge1", judge, trained, Path())
    assert tags == ("judge1", "tagger", "ewt", "released", "agreement", pytest.approx(100 * 7 / 8), 4, 8)
    assert found == ("judge1", "parser", "craft", "released", "spans found", pytest.approx(100 / 3), 3, 6)


def test_each_treebank_has_its_row(world: Any, syntax_judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test splits only; sentences of more than a hundred words are lists."""
    asked = []

    def tagged(name: str, split: str, data: Path, corpus: Path) -> Sequence[Tagged]:
        asked.append(("tagged", name, split))
        return TAGGED

    def bracketed(name: str, split: str, data: Path, corpus: Path) -> Sequence[Bracketed]:
        asked.append(("bracketed", name, split))
        return [*TREES, Bracketed(["x"] * 101, "(TOP (NN x))")]

    monkeypatch.setattr(module, "read_tagged", tagged)
    monkeypatch.setattr(module, "read_bracketed", bracketed)
    judge = syntax_judge({" ".join(s.words): s.tree for s in TREES})
    monkeypatch.setattr(module, "load_judge", lambda *files: judge)
    spec = {"data_dir": "", "cache": "", "embedded": False, "released_targets": False}
    files = {"judge2_tagger": world.tagger, "judge2_parser": world.parser, "corpus": world.corpus}
    rows = list(measure("judge2", Job(spec, files, {})))
    wanted = [("tagged", name, "test") for name in ("ewt", "gum_open", "gum_nc")]
    assert asked == wanted + [("bracketed", name, "test") for name in ("gum_open", "gum_nc", "craft", "wsj")]
    assert [(row.part, row.measured_on) for row in rows] == [
        ("tagger" if kind == "tagged" else "parser", name) for kind, name, _ in asked
    ]
    assert {(row.sentences, row.words) for row in rows if row.part == "parser"} == {(2, 6)}
    assert {(row.judge, row.trained_on) for row in rows} == {("judge2", "embedded_first")}


def test_the_command_measures_both_judges(world: Any, run_command: Any, tmp_path: Path) -> None:
    """Files may have any name."""
    second = tmp_path / "any.safetensors"
    second.write_bytes(world.tagger.read_bytes())
    inputs = {"corpus": world.corpus, "judge1_tagger": world.tagger, "judge1_parser": world.parser}
    inputs |= {"judge2_tagger": second, "judge2_parser": world.parser}
    outputs = {"csv": tmp_path / "judges.csv", "markdown": tmp_path / "judges.md"}
    spec = {"data_dir": "", "embedded": True, "released_targets": False, "cache": str(tmp_path / "cache")}
    done = run_command("eval.oracles.measure", spec, inputs, outputs)
    assert done.code == 0, done.stderr
    table = pd.read_csv(outputs["csv"])
    assert list(zip(table.judge, table.part, table.metric, strict=True)) == [
        (judge, part, metric)
        for judge in ("judge1", "judge2")
        for part, metric in (("tagger", "accuracy"), ("parser", "bracket F1"))
    ]
    assert set(table.measured_on) == {"embedded"} and set(table.trained_on) == {"embedded_first"}
    words = sum(len(s.words) for s in world.tagged("test"))
    assert set(table.sentences) == {20} and set(table.words) == {words}
    accuracy, f1 = table.value[:2]
    assert 90 < accuracy <= 100 and 0 < f1 <= 100 and list(table.value[2:]) == [accuracy, f1]
    lines = outputs["markdown"].read_text().splitlines()
    assert lines[0] == "### Judges" and sum(f"{accuracy:.1f}" in line for line in lines) == 2
