"""Verdicts from intervals, on made-up numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval.verdicts import FAILS, HOLDS, UNDECIDED, Estimate, Verdict, difference, outcome, verdict_lines


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(0.1, 0.9)], HOLDS),
        ([(-0.1, 0.9)], UNDECIDED),
        ([(-0.9, -0.1)], FAILS),
        ([(0.1, 0.9), (0.2, 0.3)], HOLDS),
        ([(0.1, 0.9), (-0.2, 0.3)], UNDECIDED),
        ([(0.1, 0.9), (-0.2, -0.1)], FAILS),
        ([], UNDECIDED),
    ],
)
def test_all_numbers_must_be_positive_and_one_negative_is_enough(
    intervals: list[tuple[float, float]], expected: str
) -> None:
    assert outcome(Estimate((low + high) / 2, low, high) for low, high in intervals) == expected


def test_a_difference_of_normal_estimates_is_the_normal_difference() -> None:
    found = difference([Estimate(5, 5 - 3, 5 + 3)], [Estimate(2, 2 - 4, 2 + 4)])
    assert found == pytest.approx((3, 3 - 5, 3 + 5))


def test_each_end_of_a_difference_takes_the_ends_that_make_it() -> None:
    found = difference([Estimate(1, 0.9, 3)], [Estimate(0, -2, 0.1)])
    assert found.high == pytest.approx(1 + math.hypot(2, 2))
    assert found.low == pytest.approx(1 - math.hypot(0.1, 0.1))


def test_a_difference_covers_the_truth() -> None:
    random = np.random.default_rng(0)
    draws = random.normal([1, 0.5, 0.2], [0.1, 0.3, 0.2], (4000, 3))
    half = 1.96 * np.array([0.1, 0.3, 0.2])
    inside = 0
    for values in draws:
        a, b, c = (Estimate(v, v - h, v + h) for v, h in zip(values, half, strict=True))
        found = difference([a, b], [c])
        inside += found.low < 1.3 < found.high
    assert 0.94 < inside / len(draws) < 0.96


def test_factors_are_of_perplexities() -> None:
    ratio = difference([Estimate(20, 10, 40).log()], [Estimate(10, 10, 10).log()])
    assert ratio.factor() == "2.00 [1.00, 4.00]"


def test_a_verdict_is_one_line_with_its_numbers() -> None:
    assert (
        verdict_lines([Verdict("A beats B", HOLDS, "B over A: 2.")]) == "- **A beats B: holds.** B over A: 2."
    )
