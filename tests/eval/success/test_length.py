"""Length: tolerance, exactness and the newline word."""

from __future__ import annotations

import pytest

from eval.success import SCORERS
from eval.success.length import score
from pipeline.records import Target


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (7, (0, 0, 0)),
        (8, (100, 0, 0)),
        (10, (100, 100, 100)),
        (12, (100, 0, 0)),
        (13, (0, 0, 0)),
        (0, (0, 0, 0)),
    ],
)
def test_tolerance_is_two_words_on_both_sides(words: int, expected: tuple[float, float, float]) -> None:
    assert tuple(score(["w"] * words, {"length": 10}).values()) == expected


def test_a_newline_word_counts_except_for_the_strict_score() -> None:
    at_target = score(["w"] * 9 + ["\n"], {"length": 10})
    assert at_target == {"ctrl": 100, "ctrl_released": 100, "ctrl_strict": 0}
    one_more = score(["w"] * 10 + ["\n"], {"length": 10})
    assert one_more == {"ctrl": 100, "ctrl_released": 0, "ctrl_strict": 100}


def test_an_empty_text_is_near_a_target_of_two() -> None:
    assert score([], {"length": 2}) == {"ctrl": 100, "ctrl_released": 0, "ctrl_strict": 0}


def test_the_registry_scores_many_texts_at_once() -> None:
    targets = [Target(f"length-{n}", "length", {"length": n}) for n in (1, 9)]
    assert SCORERS["length"]([["w"], ["w"]], targets, None) == [score(["w"], t.control) for t in targets]
