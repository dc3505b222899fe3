"""Compositions, and what the scorers of syntax have in common: a second judge and released controls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eval.success import PAPER, SCORERS, satisfied, success
from pipeline.records import Target
from pipeline.tasks import INFILLING, SYNTAX, TASKS

POS, TREE = "semantic_content+parts_of_speech", "semantic_content+syntax_tree"
THAI = {"field": "food", "value": "Thai"}
TAGGED = Target("c", POS, THAI | {"tags": ["ADJ", "NOUN"]})
TREED = Target("c", TREE, THAI | {"tree": "(NP (JJ *) (NN *))"})
TAGS = {"Thai": "ADJ", "food": "NOUN", "Thais": "NOUN", "good": "ADJ"}
TREES = {"Thai food": "(NP (JJ Thai) (NN food))", "good food": "(NP (ADJP (JJ good)) (NN food))"}


def test_every_task_has_a_scorer_and_every_task_of_syntax_a_second_opinion() -> None:
    """Infills are compared with references (eval.infilling)."""
    assert set(SCORERS) == set(TASKS) - {INFILLING}
    assert set(PAPER) == set(SYNTAX)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({}, True),
        ({"ctrl": 90.0, "ctrl_strict": 0.0, "ctrl_judge2": 0.0, "ctrl_released_targets": 0.0}, True),
        ({"ctrl": 89.9, "ctrl_strict": 100.0}, False),
        ({"semantic_ctrl": 100.0, "syntax_ctrl": 91.0, "joint": 91.0, "joint_strict": 0.0}, True),
        ({"semantic_ctrl": 0.0, "syntax_ctrl": 100.0}, False),
        ({"semantic_ctrl": 100.0, "pos_ctrl": 80.0}, False),
    ],
)
def test_a_control_is_satisfied_by_the_papers_definition_and_both_halves(
    scores: dict[str, float], expected: bool
) -> None:
    assert satisfied(scores) == expected


@pytest.mark.parametrize(
    ("text", "semantic", "pos", "joint", "both"),
    [
        ("Thai food", 100, 100, 100, 100),
        ("Thai Thai", 100, 50, 50, 0),
        ("good food", 0, 100, 0, 0),
        ("good", 0, 50, 0, 0),
        ("", 0, 0, 0, 0),
    ],
)
def test_a_value_and_tags(
    text: str, semantic: float, pos: float, joint: float, both: float, syntax_judge: Any
) -> None:
    words = [word for word in text.split(" ") if word]
    (found,) = success(POS, [words], [TAGGED], [syntax_judge(tags=TAGS)])
    assert found == {
        **{"semantic_ctrl": semantic, "semantic_ctrl_released": semantic, "semantic_ctrl_strict": semantic},
        **{"pos_ctrl": pos, "pos_ctrl_released": pos, "pos_ctrl_strict": pos},
        **{"joint": joint, "joint_strict": both, "length_mismatch": float(len(words) != 2)},
    }


def test_a_value_and_a_tree(syntax_judge: Any) -> None:
    texts = [["Thai", "food"], ["good", "food"]]
    first, second = success(TREE, texts, [TREED] * 2, [syntax_judge(TREES)])
    assert (first["semantic_ctrl"], first["syntax_ctrl"], first["joint"], first["joint_strict"]) == (100,) * 4
    assert (second["semantic_ctrl"], second["joint"], second["joint_strict"]) == (0, 0, 0)
    assert second["syntax_ctrl"] == second["syntax_ctrl_released"] == pytest.approx(200 / 3)
    assert not {"ctrl", "pos_ctrl"} & set(first)


def test_joint_strict_wants_the_value_by_the_papers_definition_and_everything_of_the_form(
    syntax_judge: Any,
) -> None:
    """The value is contained, though not as a whole word; the tags are all as wanted."""
    target = replace(TAGGED, control=THAI | {"tags": ["NOUN", "NOUN"]})
    (found,) = success(POS, [["Thais", "food"]], [target], [syntax_judge(tags=TAGS)])
    assert (found["joint"], found["joint_strict"], found["semantic_ctrl_strict"]) == (100, 100, 0)


def test_a_second_judge_stands_beside_the_first(syntax_judge: Any) -> None:
    judges = [syntax_judge(tags=TAGS), syntax_judge(tags=TAGS | {"food": "VERB"})]
    (found,) = success(POS, [["Thai", "food"]], [TAGGED], judges)
    assert {key: value for key, value in found.items() if key.endswith("_judge2")} == {
        "pos_ctrl_judge2": 50,
        "joint_judge2": 50,
    }
    target = Target("t", "parts_of_speech", {"tags": ["ADJ", "NOUN"]})
    (single,) = success("parts_of_speech", [["Thai", "food"]], [target], judges)
    assert (single["ctrl"], single["ctrl_judge2"]) == (100, 50)
    assert "ctrl_judge2" not in success("parts_of_speech", [["Thai"]], [target], judges[:1])[0]


def test_released_controls_are_scored_where_a_target_has_one(syntax_judge: Any) -> None:
    span = Target("s", "syntax_spans", {"first": 0, "last": 1, "label": "NP"})
    other = replace(span, released={"first": 0, "last": 1, "label": "VP"})
    found = success("syntax_spans", [["Thai", "food"]] * 2, [span, other], [syntax_judge(TREES)])
    assert [scores.get("ctrl_released_targets") for scores in found] == [None, 0]
    assert [scores["ctrl"] for scores in found] == [100, 100]


def test_the_released_tags_of_a_composition_leave_its_value(syntax_judge: Any) -> None:
    target = replace(TAGGED, released={"tags": ["ADJ", "NOUN", "INTJ", "INTJ"]})
    judges = [syntax_judge(tags=TAGS)] * 2
    (found,) = success(POS, [["Thai", "food"]], [target], judges)
    assert {k: v for k, v in found.items() if "_released_targets" in k} == {"pos_ctrl_released_targets": 50}
    assert found["pos_ctrl"] == 100


def test_no_judge_is_needed_where_there_is_no_syntax() -> None:
    assert success("unconditional", [["a"]], [Target("any", "unconditional", {})]) == [{}]
    with pytest.raises(ValueError, match="without a judge"):
        success(POS, [["a"]], [TAGGED])
