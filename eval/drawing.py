"""Texts with their control drawn on them: what was asked for, what came out, and what failed (✗).

A drawing is a list of cells; the cells of a target's texts stand in columns (:func:`grid`), so that tags
stand over words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from eval.success.syntax_tree import brackets
from pipeline.tasks import (
    INFILLING,
    LENGTH,
    PARTS_OF_SPEECH,
    SEMANTIC_CONTENT,
    SYNTAX_SPANS,
    SYNTAX_TREE,
    part_control,
    parts,
)
from pipeline.trees import Tree, read_tree

FAILED = "✗"
Words = Sequence[str]
Control = Mapping[str, Any]


def asked(task: str, control: Control) -> list[str]:
    """What a target asks for, as cells."""
    if task == INFILLING:
        return [f"{control['left']} ___ {control['right']}"]
    return [cell for part in parts(task) for cell in _asked(part, part_control(control, part))] or [
        "any text"
    ]


def _asked(part: str, control: Control) -> list[str]:
    if part == SEMANTIC_CONTENT:
        return [f"{control['field']}: {control['value']}"]
    if part == PARTS_OF_SPEECH:
        return list(control["tags"])
    if part == SYNTAX_TREE:
        return [in_brackets(read_tree(control["tree"]))]
    if part == SYNTAX_SPANS:
        return [f"{control['label']} over words {control['first'] + 1} to {control['last'] + 1}"]
    return [f"{control['length']} words"] if part == LENGTH else []


def drawn(task: str, words: Words, control: Control, tags: Words = (), tree: str = "") -> list[str]:
    """A text as cells, its control drawn on it; the second half of a composition lays out the first's words.

    Args:
        tags: a judge's tag of each word, where the task asks for tags.
        tree: a judge's tree, where it asks for one.
    """
    before = [""] * (len(parts(task)) - 1)  # where a composition's first half is asked for
    cells = [" ".join(words)]
    for part in parts(task):
        if part == SEMANTIC_CONTENT:
            words = with_value(words, str(control["value"]).split())
            cells = [" ".join(words)]
        elif part == PARTS_OF_SPEECH:
            cells = [*before, *with_tags(words, tags, control["tags"])]
        elif part == SYNTAX_TREE and tree:
            found = read_tree(tree)._replace(words=list(words))
            cells = [*before, in_brackets(found, read_tree(control["tree"]))]
        elif part == SYNTAX_SPANS:
            cells = [with_span(words, control["first"], control["last"], control["label"])]
        elif part == LENGTH:
            cells = [f"{' '.join(words)} ({len(words)})"]
    return cells


def with_value(words: Words, value: Words) -> list[str]:
    """The words with square brackets around the first place where the value stands as whole words."""
    found = list(words)
    for first in range(len(found) - len(value) + 1):
        if found[first : first + len(value)] == list(value):
            found[first] = "[" + found[first]
            found[first + len(value) - 1] += "]"
            break
    return found


def with_tags(words: Words, tags: Words, wanted: Words) -> list[str]:
    """A cell for each word; one whose tag is not the wanted one is marked and followed by its own."""
    return [_tagged(*place) for place in zip_longest(words, tags, wanted, fillvalue="")]


def _tagged(word: str, tag: str, wanted: str) -> str:
    if not wanted:
        return f"({word})"
    return word if tag == wanted else f"{FAILED}{word}/{tag}" if word else FAILED


def with_span(words: Words, first: int, last: int, label: str) -> str:
    """The text with a labelled bracket over the words from first to last, as far as it has them."""
    inside = " ".join(words[first : last + 1])
    return " ".join([*words[:first], f"[{label} {inside}]", *words[last + 1 :]])


def in_brackets(tree: Tree, wanted: Tree | None = None) -> str:
    """A tree in brackets without the words' tags.

    Args:
        wanted: brackets that it has not, by EVALB's conventions, are marked, and those it lacks follow.
    """
    tags = wanted.tags if wanted and len(wanted.tags) == len(tree.tags) else tree.tags
    goal = brackets(wanted, wanted.tags) if wanted else None
    opened: list[list[str]] = [[] for _ in tree.words]
    for span in reversed(tree.constituents):  # parents before their children
        own = brackets(tree._replace(constituents=[span]), tags)
        failed = goal is not None and bool(own - goal)
        if goal is not None:
            goal -= own
        opened[span.first].append(f"({FAILED * failed}{span.label}")
    closed = [sum(span.last == place for span in tree.constituents) for place in range(len(tree.words))]
    pieces = [
        " ".join([*labels, word]) + ")" * count
        for labels, word, count in zip(opened, tree.words, closed, strict=True)
    ]
    lacking = sorted(label for label, _, _ in goal.elements()) if goal else []
    return " ".join(pieces) + (f"  {FAILED}lacks {' '.join(lacking)}" if lacking else "")


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines with columns; what cannot be printed is replaced, so that lines stay lines."""
    shown = [[*map(_printable, row)] for row in rows]
    padded = zip_longest(*(row[:-1] for row in shown), fillvalue="")  # the last cell of a row may be long
    widths = [max(map(len, column)) for column in padded]
    return "\n".join("  ".join([*map(str.ljust, row[:-1], widths), row[-1]]).rstrip() for row in shown)


def _printable(cell: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cell)
