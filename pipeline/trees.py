"""Constituency trees in brackets: reading them, and their labelled spans.

A tree is one line such as ``(TOP (S (NP (DT The) (NN pub)) (VP (VBZ shut)) (. .)))``. Spans are closed
intervals of word numbers from 0; a chain of unary constituents is one span whose labels are joined by ``::``
(benepar's convention, and that of the released target files).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.errors import InputError

ROOTS = ("", "TOP", "ROOT", "S1", "VROOT")  # labels of the outer bracket that are no constituent
CHAIN = "::"
MASK = "*"
_TOKEN = re.compile(r"[()]|[^\s()]+")
_LEAF = re.compile(r"\(([^\s()]+) ([^\s()]+)\)")


class Span(NamedTuple):
    """A constituent: first and last word, both included, and its label."""

    first: int
    last: int
    label: str


class Tree(NamedTuple):
    """What a bracketed tree says: words, their tags, and every constituent, children before parents."""

    words: list[str]
    tags: list[str]
    constituents: list[Span]


def read_tree(text: str, where: str = "tree") -> Tree:
    """Read one bracketed tree; the label of the outer bracket is left out if it is one of ``ROOTS``.

    Raises:
        InputError: at ``where``: brackets do not match, or a constituent or leaf is empty.
    """
    tree, open_labels = Tree([], [], []), list[tuple[str, int]]()
    tokens = _TOKEN.findall(text)
    place = 0
    while place < len(tokens):
        if tokens[place] == "(":
            label = tokens[place + 1] if place + 1 < len(tokens) and tokens[place + 1] not in "()" else ""
            place += 2 if label else 1
            if place < len(tokens) and tokens[place] not in "()":  # (TAG word)
                alone = open_labels or len(tokens) == 4
                if not label or tokens[place + 1 : place + 2] != [")"] or not alone:
                    raise _broken(where, text)
                tree.tags.append(label)
                tree.words.append(tokens[place])
                place += 2
            else:
                open_labels.append((label, len(tree.words)))
        elif tokens[place] == ")" and open_labels:
            label, first = open_labels.pop()
            if first == len(tree.words) or (not open_labels and place + 1 < len(tokens)):
                raise _broken(where, text)
            if open_labels or label not in ROOTS:
                tree.constituents.append(Span(first, len(tree.words) - 1, label))
            place += 1
        else:
            raise _broken(where, text)
    if open_labels or not tree.words:
        raise _broken(where, text)
    return tree


def spans(text: str, where: str = "tree") -> list[Span]:
    """The labelled spans of a tree, children before parents, unary chains joined.

    Raises:
        InputError: the tree does not parse.
    """
    found: list[Span] = []
    for first, last, label in read_tree(text, where).constituents:
        if found and found[-1][:2] == (first, last):  # a parent of one child follows it
            label = label + CHAIN + found.pop().label
        found.append(Span(first, last, label))
    return found


def masked(text: str) -> str:
    """The tree without its words: every leaf becomes ``*``, its tag stays."""
    return _LEAF.sub(rf"(\1 {MASK})", text)


def _broken(where: str, text: str) -> InputError:
    shown = text if len(text) <= 60 else text[:57] + "..."
    return InputError(where, f"not a tree: '{shown}'", "write it as (S (NP (NN word)) (VP (VBZ word)))")
