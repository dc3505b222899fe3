"""Syntax spans: where the span must stand, chains of labels, and the newline word."""

from __future__ import annotations

from typing import Any

import pytest

from eval.success import SCORERS
from eval.success.syntax_spans import paper, score
from pipeline.records import Target

PUB = "(TOP (S (NP (DT The) (NN pub)) (VP (VBZ is) (ADJP (JJ cheap))) (. .)))"
GO = "(TOP (S (VP (VB go) (S (VP (VB eat))))))"
SAID = {"The pub is cheap .": PUB, "go eat": GO, "\n go eat": "(X (. x) (S (VP (VB go) (VP (VB eat)))))"}


def target(first: int, last: int, label: str) -> Target:
    return Target(f"{first}-{last}", "syntax_spans", {"first": first, "last": last, "label": label})


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("The pub is cheap .", (0, 1, "NP"), 100),
        ("The pub is cheap .", (2, 3, "VP"), 100),
        ("The pub is cheap .", (0, 4, "S"), 100),
        ("The pub is cheap .", (0, 4, "TOP"), 0),
        ("The pub is cheap .", (0, 1, "VP"), 0),
        ("The pub is cheap .", (0, 2, "NP"), 0),
        ("The pub is cheap .", (40, 41, "NP"), 0),
        ("go eat", (1, 1, "S::VP"), 100),
        ("go eat", (1, 1, "VP"), 0),
        ("go eat", (0, 1, "S::VP"), 100),
        ("", (0, 0, "NP"), 0),
    ],
)
def test_the_span_stands_in_the_parse(
    text: str, span: tuple[int, int, str], expected: float, syntax_judge: Any
) -> None:
    (found,) = score([[word for word in text.split(" ") if word]], [target(*span)], syntax_judge(SAID))
    assert found == dict.fromkeys(("ctrl", "ctrl_released", "ctrl_strict"), expected)


def test_a_newline_word_moves_spans_except_for_the_strict_score(syntax_judge: Any) -> None:
    (found,) = score([["\n", "go", "eat"]], [target(0, 1, "S::VP")], syntax_judge(SAID))
    assert (found["ctrl"], found["ctrl_released"], found["ctrl_strict"]) == (0, 0, 100)


def test_the_release_cleans_first(syntax_judge: Any) -> None:
    judge = syntax_judge({**SAID, "START go eat": "(X (X x) (VB go) (VB eat))"})
    (found,) = score([["START", "go", "eat"]], [target(0, 1, "S::VP")], judge)
    assert (found["ctrl"], found["ctrl_released"], found["ctrl_strict"]) == (0, 100, 0)


def test_many_texts_score_as_each_alone_and_are_read_once(syntax_judge: Any) -> None:
    judge = syntax_judge(SAID)
    texts = [text.split(" ") for text in list(SAID)[:2]] * 2
    targets = [target(0, 1, label) for label in ("NP", "S::VP", "VP", "NP")]
    together = SCORERS["syntax_spans"](texts, targets, judge)
    assert judge.asked == [2]
    assert [found["ctrl"] for found in together] == [100, 100, 0, 0]
    assert paper(texts, targets, judge) == [{"ctrl": found["ctrl"]} for found in together]
