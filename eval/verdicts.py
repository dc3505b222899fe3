"""Verdicts on the paper's statements, from numbers with intervals.

A statement says that some combination of numbers is positive. It holds if the interval of that combination
lies above zero, does not hold if it lies below, and is undecided otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"


class Estimate(NamedTuple):
    """A number and its interval; those of perplexities are on the scale of nats."""

    value: float
    low: float
    high: float

    def log(self) -> Estimate:
        """The same of its logarithm: a perplexity in nats per token."""
        return Estimate(*map(math.log, self))

    def factor(self) -> str:
        """A difference in nats as a factor between perplexities, with its interval."""
        value, low, high = map(math.exp, self)
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"


class Verdict(NamedTuple):
    """A statement of the paper, how it stands here, and the numbers that this rests on."""

    statement: str
    outcome: str
    numbers: str


def difference(plus: Sequence[Estimate], minus: Sequence[Estimate]) -> Estimate:
    """Sum of some independent estimates without that of others, by MOVER (Zou and Donner 2008).

    The distances of the ends from the values are added in squares, so intervals need not be symmetric.
    """
    value = sum(e.value for e in plus) - sum(e.value for e in minus)
    below = [e.value - e.low for e in plus] + [e.high - e.value for e in minus]
    above = [e.high - e.value for e in plus] + [e.value - e.low for e in minus]
    return Estimate(value, value - math.hypot(*below), value + math.hypot(*above))


def outcome(wanted: Iterable[Estimate]) -> str:
    """How a statement stands that asks for every one of these numbers to be positive."""
    found = list(wanted)
    if any(estimate.high < 0 for estimate in found):
        return FAILS
    return HOLDS if found and all(estimate.low > 0 for estimate in found) else UNDECIDED


def undecided(statement: str, why: str) -> Verdict:
    """The verdict on a statement that nothing can be said about."""
    return Verdict(statement, UNDECIDED, why)


def verdict_paragraphs(verdicts: Iterable[Verdict]) -> list[str]:
    """One paragraph of plain text per verdict, for captions."""
    return [f"{v.statement}: {v.outcome}. {v.numbers}" for v in verdicts]


def verdict_lines(verdicts: Iterable[Verdict]) -> str:
    """One line of Markdown per verdict."""
    return "\n".join(f"- **{v.statement}: {v.outcome}.** {v.numbers}" for v in verdicts)
