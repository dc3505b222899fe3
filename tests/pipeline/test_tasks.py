"""Targets: what is asked for, which of them settings may see, and what cannot be asked."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.records import Target, Text
from pipeline.tasks import (
    COMPOSITIONS,
    LENGTH,
    PARTS_OF_SPEECH,
    SEMANTIC_CONTENT,
    SYNTAX_SPANS,
    SYNTAX_TREE,
    TASKS,
    UNCONDITIONAL,
    UNIVERSAL_TAGS,
    check_targets,
    field_values,
    make_targets,
    part_control,
    parts,
    require_task,
)

MEANINGS = [
    {"name": "The Mill", "food": "Thai"},
    {"price": "£ 20 - 25", "food": "French"},
    {"food": "Thai", "name": "Aromi"},
    None,
]
TEXTS = [Text(str(n), "train", "", [], fields) for n, fields in enumerate(MEANINGS)]
VOCABULARY = Vocabulary(("START", "END", "UNK", "PAD", "The", "Mill", "Thai", "French", "£", "20", "-", "25"))
SPAN = {"first": 6, "last": 20}


def failure(*targets: Target) -> str:
    with pytest.raises(InputError) as caught:
        check_targets("targets.jsonl", targets, VOCABULARY, longest=20)
    return str(caught.value)


def semantic(value: Any, **more: Any) -> Target:
    return Target(f"name={value}", SEMANTIC_CONTENT, {"field": "name", "value": value, **more})


def test_every_value_of_every_field_sorted() -> None:
    targets = make_targets(SEMANTIC_CONTENT, TEXTS, SPAN)
    assert [target.target_id for target in targets] == [
        "food=French",
        "food=Thai",
        "name=Aromi",
        "name=The_Mill",
        "price=£_20_-_25",
    ]
    assert targets[3].control == {"field": "name", "value": "The Mill"}


def test_targets_do_not_follow_the_order_of_the_texts() -> None:
    assert make_targets(SEMANTIC_CONTENT, TEXTS[::-1], SPAN) == make_targets(SEMANTIC_CONTENT, TEXTS, SPAN)


def test_field_values_come_in_order_of_appearance() -> None:
    assert field_values(TEXTS) == {
        "name": ["The Mill", "Aromi"],
        "food": ["Thai", "French"],
        "price": ["£ 20 - 25"],
    }


def test_every_length_from_first_to_last() -> None:
    targets = make_targets(LENGTH, TEXTS, SPAN)
    assert [target.control["length"] for target in targets] == list(range(6, 21))
    assert targets[0].target_id == "length-6"


@pytest.mark.parametrize("task", [SEMANTIC_CONTENT, LENGTH])
def test_settings_may_see_every_third_target(task: str) -> None:
    tuned = [target.tuned_on for target in make_targets(task, TEXTS, SPAN)]
    assert tuned == [i % 3 == 0 for i in range(len(tuned))]


def test_without_control_there_is_one_target() -> None:
    assert make_targets(UNCONDITIONAL, TEXTS, SPAN) == [Target("any", UNCONDITIONAL, {})]


@pytest.mark.parametrize("task", [UNCONDITIONAL, SEMANTIC_CONTENT, LENGTH])
def test_made_targets_pass_the_check(task: str) -> None:
    known = Vocabulary((*VOCABULARY.words, "Aromi"))
    check_targets("targets.jsonl", make_targets(task, TEXTS, SPAN), known, longest=20)


@pytest.mark.parametrize("task", TASKS)
def test_known_tasks_are_known(task: str) -> None:
    assert require_task(task) == task


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(
        InputError, match="no such task as 'semantic_contents'; did you mean 'semantic_content'"
    ):
        make_targets("semantic_contents", TEXTS, SPAN)
    message = failure(Target("x", "lenght", {"length": 3}))
    assert message == "targets.jsonl:1: no such task as 'lenght'; did you mean 'length'?"


def test_a_value_that_the_vocabulary_cannot_express() -> None:
    message = failure(semantic("The Mill"), semantic("The Moon"))
    assert message.startswith(
        "targets.jsonl:2: the vocabulary cannot express 'The Moon' ('Moon' is not in it)"
    )


def test_a_special_word_cannot_be_asked_for() -> None:
    assert "('END' is not in it)" in failure(semantic("END"))


@pytest.mark.parametrize("length", [0, -1, 21])
def test_a_length_out_of_range(length: int) -> None:
    message = failure(Target("a", LENGTH, {"length": 20}), Target("b", LENGTH, {"length": length}))
    assert message == f"targets.jsonl:2: length {length} cannot be written; ask for 1 to 20 words"


def test_an_id_that_is_repeated() -> None:
    message = failure(semantic("Thai"), semantic("French"), semantic("Thai"))
    assert message.startswith("targets.jsonl:3: target 'name=Thai' stands in it twice")


def test_an_unknown_control_key_names_the_nearest() -> None:
    assert "targets.jsonl:1: unknown control key 'values'; did you mean 'value'?" in failure(
        semantic("Thai", values=1)
    )
    assert "unknown control key 'length'; leave it out" in failure(Target("x", UNCONDITIONAL, {"length": 1}))


@pytest.mark.parametrize("control", [{}, {"length": "3"}, {"length": 3.0}, {"length": True}])
def test_a_control_key_that_is_missing_or_wrong(control: dict[str, Any]) -> None:
    message = failure(Target("x", LENGTH, control))
    assert message == "targets.jsonl:1: control key 'length' is missing or wrong; give it as int"


# --- syntax

GOOD = Target("good", LENGTH, {"length": 3})
LEAVES = " ".join(["(NN *)"] * 19)
MEANING = {"field": "food", "value": "Thai"}
WITH_TREE, WITH_TAGS = (f"{SEMANTIC_CONTENT}+{part}" for part in (SYNTAX_TREE, PARTS_OF_SPEECH))


@pytest.mark.parametrize(
    ("task", "control"),
    [
        (PARTS_OF_SPEECH, {"tags": list(UNIVERSAL_TAGS)}),
        (PARTS_OF_SPEECH, {"tags": ["X"] * 20}),
        (SYNTAX_TREE, {"tree": f"(S (NP (DT *) {LEAVES}))"}),
        (SYNTAX_SPANS, {"first": 0, "last": 0, "label": "NP"}),
        (SYNTAX_SPANS, {"first": 19, "last": 19, "label": "S::VP"}),
        (WITH_TREE, {**MEANING, "tree": "(NN *)"}),
        (WITH_TAGS, {**MEANING, "tags": ["X"]}),
    ],
)
def test_what_syntax_can_be_asked_for(task: str, control: dict[str, Any]) -> None:
    """Up to the last word that a text may have."""
    check_targets("targets.jsonl", [Target("t", task, control)], VOCABULARY, longest=20)


LONG = "length 21 cannot be written; ask for 1 to 20 words"
NOT_A_TREE = "not a tree: '(S (NP *)'; write it as (S (NP (NN word)) (VP (VBZ word)))"
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown tag": (PARTS_OF_SPEECH, {"tags": ["DET", "NOUNS"]}, "unknown tag 'NOUNS'; did you mean 'NOUN'?"),
    "tag of another set": (PARTS_OF_SPEECH, {"tags": ["$"]}, "unknown tag '$'; known: ADJ, ADP, "),
    "no string": (PARTS_OF_SPEECH, {"tags": [["DET"]]}, "unknown tag '['DET']'; "),
    "no tags": (PARTS_OF_SPEECH, {"tags": []}, "length 0 cannot be written"),
    "many tags": (PARTS_OF_SPEECH, {"tags": ["X"] * 21}, LONG),
    "tags in one string": (PARTS_OF_SPEECH, {"tags": "X X"}, "control key 'tags' is missing or wrong"),
    "no tree": (SYNTAX_TREE, {"tree": "(S (NP *)"}, NOT_A_TREE),
    "empty tree": (SYNTAX_TREE, {"tree": ""}, "not a tree: ''"),
    "many leaves": (SYNTAX_TREE, {"tree": f"(S {LEAVES} (NN *) (NN *))"}, LONG),
    "backwards": (SYNTAX_SPANS, {"first": 3, "last": 2, "label": "NP"}, "no span from 3 to 2; count words"),
    "before the text": (SYNTAX_SPANS, {"first": -1, "last": 2, "label": "NP"}, "no span from -1 to 2"),
    "behind it": (SYNTAX_SPANS, {"first": 19, "last": 20, "label": "NP"}, LONG),
    "half a word": (SYNTAX_SPANS, {"first": 0, "last": 1.5, "label": "NP"}, "control key 'last' is missing"),
    "no label": (SYNTAX_SPANS, {"first": 0, "last": 1}, "control key 'label' is missing or wrong"),
    "composed: tag": (WITH_TAGS, {**MEANING, "tags": ["VRB"]}, "unknown tag 'VRB'; did you mean 'VERB'?"),
    "composed: tree": (WITH_TREE, {**MEANING, "tree": "(S (NP *)"}, NOT_A_TREE),
    "composed: value": (
        WITH_TREE,
        {"field": "food", "value": "Klingon", "tree": "(NN *)"},
        "the vocabulary cannot express 'Klingon'",
    ),
    "composed: one part": (WITH_TAGS, {"tags": ["X"]}, "control key 'field' is missing or wrong"),
    "composed: other part": (
        WITH_TAGS,
        {**MEANING, "tags": ["X"], "tree": "(NN *)"},
        "unknown control key 'tree'",
    ),
}


@pytest.mark.parametrize(("task", "control", "message"), REFUSED.values(), ids=REFUSED)
def test_syntax_that_cannot_be_met(task: str, control: dict[str, Any], message: str) -> None:
    assert failure(GOOD, Target("t", task, control)).startswith(f"targets.jsonl:2: {message}")


def test_parts_of_tasks() -> None:
    assert parts(WITH_TREE) == (SEMANTIC_CONTENT, SYNTAX_TREE)
    assert parts(WITH_TAGS) == (SEMANTIC_CONTENT, PARTS_OF_SPEECH)
    assert all(parts(task) == (task,) for task in TASKS if task not in COMPOSITIONS)


@pytest.mark.parametrize("task", COMPOSITIONS)
def test_a_composition_asks_for_its_parts_and_nothing_else(task: str) -> None:
    control = dict.fromkeys(TASKS[task].control, "asked")
    divided = [part_control(control, part) for part in parts(task)]
    assert [set(part) for part in divided] == [set(TASKS[part].control) for part in parts(task)]
    assert divided[0] | divided[1] == control
