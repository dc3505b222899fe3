"""Semantic content: the three definitions, told apart by examples and by the released scorer's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.success import SCORERS
from eval.success.semantic_content import released_words, score
from pipeline.records import Target

REFERENCE = Path(__file__).parents[2] / "reference" / "diffusion_lm_reference.npz"


def scores(text: str, value: str) -> tuple[float, float, float]:
    result = score([word for word in text.split(" ") if word], {"field": "food", "value": value})
    return result["ctrl"], result["ctrl_released"], result["ctrl_strict"]


def test_released_scores_equal_the_released_scorer() -> None:
    cases = [
        ("no", "it is not friendly"),
        ("high", "a highly rated pub"),
        ("cheap", "it is Cheap"),
        ("£ 20 - 25", "costs £ 20 - 25 ."),
    ]
    released = [scores(text, value)[1] / 100 for value, text in cases]
    assert released == np.load(REFERENCE)["score/attribute"].tolist()


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("no", "it is not friendly", (100, 100, 0)),
        ("no", "it has no food", (100, 100, 100)),
        ("cheap", "it is Cheap", (0, 0, 0)),
        ("£ 20 - 25", "costs £ 20 - 25 .", (100, 100, 100)),
        ("£ 20 - 25", "costs £ 20 .", (0, 0, 0)),
        ("Café Rouge", "The Café Rouge", (100, 100, 100)),
        ("Café", "The Cafés", (100, 100, 0)),
        ("寿司", "回転寿司 屋", (100, 100, 0)),
        ("city centre", "in the city \n centre", (0, 0, 100)),
        ("Japanese", "Japanese food . \n", (100, 100, 100)),
        ("Japanese", "", (0, 0, 0)),
        ("family friendly", "family", (0, 0, 0)),
    ],
)
def test_definitions(value: str, text: str, expected: tuple[float, float, float]) -> None:
    assert scores(text, value) == expected


def test_released_cleaning() -> None:
    assert released_words(["START", "a", "PAD", "START", "b", "END", "PAD"]) == ["a", "START", "b"]
    assert released_words(["PAD"]) == released_words([]) == []
    result = score(["fast", "PAD", "food"], {"value": "fast food"})
    assert (result["ctrl"], result["ctrl_released"]) == (0, 100)


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_value_is_an_error(value: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        score(["a"], {"field": "food", "value": value})


def test_the_registry_scores_many_texts_at_once() -> None:
    targets = [Target(v, "semantic_content", {"field": "food", "value": v}) for v in ("Thai", "French")]
    found = SCORERS["semantic_content"]([["Thai"], ["Thai"]], targets, None)
    assert [scores["ctrl"] for scores in found] == [100, 0]
