"""What the scorers share: all texts of a job at once, so that a judge reads them in few large batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from eval.guards import require_same_length
from eval.oracles.judge import Judge
from pipeline.records import Target

T = TypeVar("T")
Words = Sequence[str]
Scores = list[dict[str, float]]
# texts, the target of each, and who says what their syntax is: the scores of each text
Scorer = Callable[[list[list[str]], list[Target], Judge | None], Scores]


def each(score: Callable[[Words, Mapping[str, Any]], dict[str, float]]) -> Scorer:
    """A scorer from a function of one text and its target's control; it asks no judge."""

    def scorer(texts: list[list[str]], targets: list[Target], judge: Judge | None = None) -> Scores:
        return [score(words, target.control) for words, target in zip(texts, targets, strict=True)]

    return scorer


def required(judge: Judge | None) -> Judge:
    """The judge.

    Raises:
        ValueError: there is none.
    """
    if judge is None:
        raise ValueError("control of syntax cannot be scored without a judge")
    return judge


def in_one_call(read: Callable[[list[Words]], list[T]], *groups: Sequence[Words]) -> list[list[T]]:
    """What a judge says of every sentence of several lists; each distinct sentence is read once.

    Args:
        read: ``tags`` or ``trees`` of a judge.

    Raises:
        ValueError: it did not answer once per sentence.
    """
    distinct = list(dict.fromkeys(tuple(words) for group in groups for words in group))
    said = read([list(words) for words in distinct]) if distinct else []
    require_same_length(distinct, said, "sentences and what a judge says of them")
    answers = dict(zip(distinct, said, strict=True))
    return [[answers[tuple(words)] for words in group] for group in groups]


def without_newlines(tokens: Words) -> list[str]:
    """The words but newline words, which corpora end texts with."""
    return [word for word in tokens if word != "\n"]
