"""Targets of syntax: whose sentences they are, what is asked of each, and what stands for a released span."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.released import Released
from pipeline.corpora.syntax_targets import make_targets, nearest_span, target_sets
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.records import Target, Text, read_records, write_records
from pipeline.tasks import COMPOSITIONS, SYNTAX, check_targets
from pipeline.trees import masked, read_tree, spans

MODULE = "pipeline.corpora.syntax_targets"
MOST_WORDS = 18
SPEC: dict[str, Any] = {
    "targets": 8, "tuning": 5, "seed": 0, "most_words": MOST_WORDS, "released_targets": False, "data_dir": "",
    "tasks": list(SYNTAX), "threads": 1,
}  # fmt: skip
WITH_TREE, WITH_TAGS = COMPOSITIONS


def annotated(text: Text) -> Text:
    return replace(text, spans=[list(span) for span in spans(text.tree or "")])


SIZES = {"train": 40, "human": 20, "valid": 12, "test": 12}
TEXTS = [annotated(text) for text in restaurant_texts(0, SIZES)]
BY_ID = {text.id: text for text in TEXTS}


def sentence(identity: str, split: str, words: str, span: list[Any]) -> Text:
    """A text whose judge found one span."""
    tokens = words.split(" ")
    tree = f"(TOP {' '.join(f'(NN {word})' for word in tokens)})"
    return Text(identity, split, words, tokens, {"food": "Thai"}, ["NOUN"] * len(tokens), tree, spans=[span])


RELEASED_TEXTS = [
    sentence("released-000", "released", "The pub is cheap", [0, 1, "NP"]),
    sentence("released-001", "released", "An inn", [0, 1, "S::NP"]),
]
COMPOSED_TEXTS = [
    replace(RELEASED_TEXTS[1], id="composed-000", split="composed", fields={"area": "riverside"})
]
ROWS = [
    Released("The pub is cheap".split(), ["DET", "NOUN", "AUX", "ADJ"], (0, 1, "NP"), None),
    Released(["An", "inn"], ["DET", "NOUN"], (0, 1, "NP"), None),
]


# --- sets


def test_sets_have_the_sizes_asked_for_and_share_no_sentence() -> None:
    sets = target_sets(TEXTS, SPEC)
    assert {name: len(texts) for name, texts in sets.items()} == {"heldout": 8, "tuning": 5}
    ids = [text.id for texts in sets.values() for text in texts]
    assert len(set(ids)) == len(ids) == len({BY_ID[i].text for i in ids})
    assert {text.split for text in sets["heldout"]} == {"valid", "test"}
    assert {text.split for text in sets["tuning"]} == {"human"}
    assert all(len(text.tokens) <= MOST_WORDS for texts in sets.values() for text in texts)


def test_sets_follow_the_seed_and_not_the_order_of_the_corpus() -> None:
    sets = target_sets(TEXTS, SPEC)
    assert target_sets(TEXTS[::-1], SPEC) == sets
    other = target_sets(TEXTS, {**SPEC, "seed": 1})
    assert all(other[name] != sets[name] for name in sets)
    fewer = target_sets(TEXTS, {**SPEC, "targets": 3})
    assert fewer["heldout"] == sets["heldout"][:3]


def texts_of(split: str, *words: str) -> list[Text]:
    return [sentence(f"{split}-{n}", split, text, [0, 0, "NP"]) for n, text in enumerate(words)]


def test_a_sentence_that_training_repeats_is_no_target() -> None:
    """Nor one that is too long, has no constituent, or stands in the corpus twice."""
    few = {**SPEC, "targets": 2, "tuning": 1, "most_words": 3}
    bare = replace(texts_of("valid", "no spans")[0], id="bare", spans=[])
    known = [*texts_of("train", "a pub", "x y z"), *texts_of("human", "a pub", "an inn")]
    asked = [*texts_of("valid", "a pub", "x", "x", "a b c d"), *texts_of("test", "y", "x y z"), bare]
    sets = target_sets([*known, *asked], few)
    assert {name: sorted(t.text for t in texts) for name, texts in sets.items()} == {
        "heldout": ["x", "y"],
        "tuning": ["an inn"],
    }


@pytest.mark.parametrize(("name", "key"), [("heldout", "targets"), ("tuning", "tuning")])
def test_too_few_sentences(name: str, key: str) -> None:
    what = rf"annotated corpus: \d+ sentences for the set '{name}', 99 wanted; lower syntax.targets or syntax"
    with pytest.raises(InputError, match=what):
        target_sets(TEXTS, {**SPEC, key: 99})


# --- what is asked


@pytest.mark.parametrize("task", SYNTAX)
def test_a_target_is_what_the_judge_finds_in_its_own_sentence(task: str) -> None:
    """So the sentence itself is a perfect answer, which the human row must show."""
    targets = list(make_targets(task, target_sets(TEXTS, SPEC), [], 0))
    assert len(targets) == len({target.target_id for target in targets}) == 13
    for target in targets:
        text, control = BY_ID[target.source_id or ""], target.control
        assert target.task == task and target.released is None
        assert target.tuned_on == (target.target_set == "tuning") != target.reported
        assert target.target_id.rsplit("-", 1)[0] == target.target_set
        assert control.get("tags", text.tags) == text.tags
        assert control.get("tree", masked(text.tree or "")) == masked(text.tree or "")
        if "label" in control:
            assert [control["first"], control["last"], control["label"]] in (text.spans or [])
        if "field" in control:
            assert (text.fields or {})[control["field"]] == control["value"]
    check_targets("here", targets, Vocabulary.build([t.tokens for t in TEXTS], more_than=0), MOST_WORDS)


@pytest.mark.parametrize("task", SYNTAX)
def test_what_is_drawn_follows_the_seed(task: str) -> None:
    sets = target_sets(TEXTS, SPEC)
    first = list(make_targets(task, sets, [], 0))
    assert list(make_targets(task, sets, [], 0)) == first
    drawn = {"field", "first"} & set(first[0].control)
    assert (list(make_targets(task, sets, [], 1)) != first) == bool(drawn)
    for key in drawn:
        assert len({target.control[key] for target in first}) > 1


def test_a_tree_to_ask_for_holds_no_word_of_its_sentence() -> None:
    for target in make_targets("syntax_tree", target_sets(TEXTS, SPEC), [], 0):
        tree, text = read_tree(target.control["tree"]), BY_ID[target.source_id or ""]
        assert set(tree.words) == {"*"} and len(tree.words) == len(text.tokens)


def test_controls_of_the_released_files_are_kept_beside_those_of_the_judge() -> None:
    sets = {"released": RELEASED_TEXTS}

    def asked(task: str) -> list[Any]:
        return [(t.control, t.released) for t in make_targets(task, sets, ROWS, 0)]

    assert asked("parts_of_speech") == [
        ({"tags": ["NOUN"] * 4}, {"tags": ["DET", "NOUN", "AUX", "ADJ"]}),
        ({"tags": ["NOUN"] * 2}, {"tags": ["DET", "NOUN"]}),
    ]
    kept = {"first": 0, "last": 1, "label": "NP"}
    assert asked("syntax_spans") == [(kept, kept), ({**kept, "label": "S::NP"}, kept)]
    assert [released for _, released in asked("syntax_tree")] == [None, None]
    composed = [released for _, released in asked(WITH_TAGS)]
    assert composed == [{"tags": row.tags} for row in ROWS]
    found = list(make_targets("parts_of_speech", sets, ROWS, 0))
    assert {(t.target_set, t.tuned_on, t.reported) for t in found} == {("released", False, True)}


FOUND = [[0, 1, "NP"], [3, 4, "NP"], [2, 5, "VP"], [0, 5, "S"], [6, 6, "NP"]]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((2, 5, "VP"), [2, 5, "VP"]),  # itself
        ((6, 6, "NP"), [6, 6, "NP"]),
        ((1, 4, "NP"), [3, 4, "NP"]),  # the one of its label that overlaps most, not VP or S
        ((1, 3, "NP"), [0, 1, "NP"]),  # of two that overlap as much, the first
        ((5, 5, "S"), [0, 5, "S"]),
        ((3, 4, "PP"), [3, 4, "NP"]),  # no such label: any; NP, VP and S overlap as much, NP is first
        ((2, 5, "PP"), [2, 5, "VP"]),
        ((2, 2, "NP"), [2, 5, "VP"]),  # none of its label overlaps: any
        ((6, 6, "VP"), [6, 6, "NP"]),
        ((2, 5, "S::VP"), [2, 5, "VP"]),  # a chain is a label of its own
    ],
)
def test_the_span_that_stands_for_a_wanted_one(wanted: tuple[int, int, str], expected: list[Any]) -> None:
    assert nearest_span(wanted, FOUND) == expected


# --- the command

Make = Callable[..., Any]


@pytest.fixture
def make(run_command: Callable[..., Any], tmp_path: Path) -> Make:
    """Run the command on these texts; keywords change the settings."""

    def run(texts: list[Text], **changes: Any) -> Any:
        write_records(tmp_path / "annotated.jsonl", texts)
        spec = {**SPEC, **changes}
        outputs = {task: tmp_path / "out" / f"{task}.jsonl" for task in spec["tasks"]}
        return run_command(MODULE, spec, {"annotated": tmp_path / "annotated.jsonl"}, outputs)

    return run


def written(folder: Path, task: str) -> list[Target]:
    return read_records(folder / "out" / f"{task}.jsonl", Target)


def test_one_file_per_task_and_the_same_bytes_again(make: Make, tmp_path: Path) -> None:
    done = make(TEXTS)
    assert (done.code, done.stdout) == (0, ""), done.stderr
    first = {task: (tmp_path / f"out/{task}.jsonl").read_bytes() for task in SYNTAX}
    for task in SYNTAX:
        sets = [target.target_set for target in written(tmp_path, task)]
        assert sets == ["heldout"] * 8 + ["tuning"] * 5
        assert f"targets of {task}: heldout 8, tuning 5\n" in done.stderr
    assert make(TEXTS).code == 0
    assert {task: (tmp_path / f"out/{task}.jsonl").read_bytes() for task in SYNTAX} == first


def data_of(folder: Path) -> Path:
    """The released target files that hold ROWS, and the second of them as a composition."""
    (folder / "control_targets").mkdir(parents=True)
    rows = [{"words_": row.words, "pos": row.tags, "spans": [list(row.span or ())]} for row in ROWS]
    named = {"target_pos": rows, "target_spans": rows}
    named["target_compose_pos_attr"] = [rows[1] | {"attr": ["area", ":", "riverside"]}]
    for name, found in named.items():
        content = "".join(json.dumps(row) + "\n" for row in found)
        (folder / "control_targets" / f"{name}.json").write_text(content)
    return folder


def test_released_sentences_take_the_place_of_held_out_ones_in_compositions(
    make: Make, tmp_path: Path
) -> None:
    data = str(data_of(tmp_path / "data"))
    texts = [*TEXTS, *RELEASED_TEXTS, *COMPOSED_TEXTS]
    done = make(texts, released_targets=True, data_dir=data)
    assert done.code == 0, done.stderr
    for task in SYNTAX:
        found = [t.target_set for t in written(tmp_path, task)]
        composed = task in COMPOSITIONS
        counts = {name: found.count(name) for name in ("heldout", "tuning", "released")}
        assert counts == {"heldout": 0 if composed else 8, "tuning": 5, "released": 1 if composed else 2}
        sources = {t.source_id for t in written(tmp_path, task) if t.target_set == "released"}
        assert sources == {text.id for text in (COMPOSED_TEXTS if composed else RELEASED_TEXTS)}
    (released,) = (t for t in written(tmp_path, WITH_TREE) if t.target_set == "released")
    assert released.control == {"field": "area", "value": "riverside", "tree": "(TOP (NN *) (NN *))"}
    told = "targets of syntax_spans: heldout 8, tuning 5, released 2; 1 of 2 released spans replaced"
    assert told in done.stderr


def test_the_command_refuses_a_corpus_that_is_too_small(make: Make, tmp_path: Path) -> None:
    done = make(TEXTS, targets=99)
    assert done.code == 2 and done.stderr.count("\n") == 1 and "99 wanted" in done.stderr
    assert not (tmp_path / "out").exists()


def test_released_targets_need_their_files(make: Make, tmp_path: Path) -> None:
    done = make(TEXTS, released_targets=True, data_dir=str(tmp_path))
    assert done.code == 2 and "target_pos.json: no such file" in done.stderr


def test_every_task_needs_an_output(run_command: Callable[..., Any], tmp_path: Path) -> None:
    write_records(tmp_path / "annotated.jsonl", TEXTS)
    outputs = {"syntax_tree": tmp_path / "out/syntax_tree.jsonl"}
    done = run_command(MODULE, SPEC, {"annotated": tmp_path / "annotated.jsonl"}, outputs)
    assert done.code == 2
    assert f"--output: '{SPEC['tasks'][0]}' is missing; add" in done.stderr


@pytest.mark.parametrize(
    ("task", "lacking", "message"),
    [
        ("syntax_spans", {"spans": []}, "the judge finds no constituent in it; leave the sentence out"),
        (WITH_TAGS, {"fields": None}, "no field to ask for; compositions need a corpus with fields"),
    ],
)
def test_a_sentence_that_has_nothing_to_ask_for(task: str, lacking: dict[str, Any], message: str) -> None:
    text = replace(TEXTS[0], **lacking)
    with pytest.raises(InputError, match=f"text '{text.id}': {message}"):
        list(make_targets(task, {"heldout": [text]}, [], 0))
