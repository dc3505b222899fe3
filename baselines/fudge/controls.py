"""What FUDGE's discriminators read of a control, and which of their outputs answers it.

A syntax control is told word by word, as numbers beside the words themselves; a field value or a number of
words is an output of its own. The paper does not say how its discriminators read controls; told as words in
front of the text they did not learn at this scale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.errors import InputError, nearest
from pipeline.records import Target, Text
from pipeline.tasks import (
    LENGTH,
    PARTS_OF_SPEECH,
    SEMANTIC_CONTENT,
    SYNTAX_SPANS,
    SYNTAX_TREE,
    field_values,
    part_control,
)
from pipeline.trees import read_tree, spans

NOTHING, STOP, UNKNOWN = 0, 1, 2
FIRST_NAME = 3  # number of a column's first name
SEEN_MORE_THAN = 1  # names seen less often are UNKNOWN, so that it is learned

Control = Mapping[str, Any]
Names = tuple[str | None, ...]  # what is told of one word, column by column; None: nothing
Told = tuple[tuple[int, ...], ...]
"""A control word by word: the numbers of its names in every column."""


class Form(NamedTuple):
    """How the controls of a syntax task are told."""

    columns: int
    words: Callable[[Control], list[Names]]
    stated: Callable[[Text], list[Control]]  # the controls that a text fulfils
    after: int  # what stands behind the last word that a control speaks of


def _tag_words(control: Control) -> list[Names]:
    return [(tag,) for tag in control["tags"]]


def _tree_words(control: Control) -> list[Names]:
    """Label and depth of the lowest constituent over a word and the next; label of that over the word alone.

    Unary chains count as one constituent. This is the absolute form of the tree encoding of
    Gómez-Rodríguez and Vilares (2018).
    """
    words = len(read_tree(control["tree"]).words)
    labels: list[str | None] = [None] * words
    alone: list[str | None] = [None] * words
    depths = [0] * words
    for first, last, label in reversed(spans(control["tree"])):  # parents before children
        labels[first:last] = [label] * (last - first)
        depths[first:last] = [depth + 1 for depth in depths[first:last]]
        if first == last:
            alone[first] = label
    told = [str(depth) if depth else None for depth in depths]
    return list(zip(labels, told, alone, strict=True))


def _span_words(control: Control) -> list[Names]:
    """A word before the span is told how far off it begins, so that the words can lead up to it."""
    before = [f"before {words}" for words in range(control["first"], 0, -1)]
    inside = control["last"] - control["first"] - 1
    marks = ["single"] if inside < 0 else ["first", *["inside"] * inside, "last"]
    return [(mark, control["label"]) for mark in (*before, *marks)]


def _stated_spans(text: Text) -> list[Control]:
    found = spans(text.tree or "") if text.spans is None else text.spans
    return [{"first": first, "last": last, "label": label} for first, last, label in found]


FORMS: dict[str, Form] = {
    PARTS_OF_SPEECH: Form(1, _tag_words, lambda text: [{"tags": text.tags}], STOP),
    SYNTAX_TREE: Form(3, _tree_words, lambda text: [{"tree": text.tree}], STOP),
    SYNTAX_SPANS: Form(2, _span_words, _stated_spans, NOTHING),  # a span tells no end of the text
}


class Asked(NamedTuple):
    """Controls of a batch: features [B, L, F], position 0 is START's; the output asked for, [B]."""

    features: Tensor
    output: Tensor

    def at(self, rows: Tensor) -> Asked:
        """The controls of some rows."""
        return Asked(self.features[rows], self.output[rows])


@dataclass(frozen=True)
class Encoding:
    """How the controls of a task become numbers; stored with the discriminator that was trained on it.

    ``values`` are the pairs of field and value that have an output, ``names`` the known names of every
    feature column, ``most_words`` those of a text.
    """

    task: str
    most_words: int
    values: list[list[str]]
    names: list[list[str]]

    @classmethod
    def collect(cls, task: str, texts: Sequence[Text], most_words: int) -> Encoding:
        """The encoding that training texts teach."""
        values = field_values(texts) if task == SEMANTIC_CONTENT else {}
        pairs = [[field, value] for field, found in values.items() for value in found]
        return cls(task, most_words, pairs, _names(task, texts) if task in FORMS else [])

    @property
    def outputs(self) -> int:
        """Number of outputs: field values, numbers of words from 0, or whether the control is met."""
        return {SEMANTIC_CONTENT: len(self.values), LENGTH: self.most_words + 1}.get(self.task, 1)

    def stated(self, text: Text) -> list[Told]:
        """The syntax controls that a text fulfils, each once."""
        controls = FORMS[self.task].stated(text) if self.task in FORMS else []
        return list(dict.fromkeys(map(self.told, controls)))

    def told(self, control: Control) -> Told:
        """A control word by word; empty for those that are no syntax."""
        words = FORMS[self.task].words(control) if self.task in FORMS else []
        return tuple(tuple(map(_number, self._numbers, names)) for names in words)

    def output(self, control: Control) -> int:
        """The output that answers a control.

        Raises:
            ValueError: a field value that is none of the known ones.
        """
        if self.task == SEMANTIC_CONTENT:
            return self.values.index([control["field"], control["value"]])
        return int(control["length"]) if self.task == LENGTH else 0

    def asked(self, targets: Sequence[Target], device: torch.device) -> Asked:
        """What targets, or parts of them, ask for.

        Raises:
            InputError: names the target that asks for an unknown field value or for too long a text.
        """
        controls = [part_control(target.control, self.task) for target in targets]
        told = [self.told(control) for control in controls]
        for target, control, words in zip(targets, controls, told, strict=True):
            self._check(f"target '{target.target_id}'", control, len(words))
        outputs = torch.tensor([self.output(control) for control in controls], device=device)
        return Asked(self.laid_out(told, self.most_words + 2).to(device), outputs)

    def laid_out(self, told: Sequence[Told], positions: int) -> Tensor:
        """Features [B, positions, F]: nothing at START, then the words, then what comes after them."""
        columns = len(self.names)
        after = (FORMS[self.task].after if columns else NOTHING,) * columns
        rows = [[(NOTHING,) * columns, *words, *[after] * positions][:positions] for words in told]
        return torch.tensor(rows).view(len(told), positions, columns).long()

    def _check(self, where: str, control: Control, told: int) -> None:
        words = control["length"] if self.task == LENGTH else told
        if not 0 <= words <= self.most_words:
            how = f"ask for 0 to {self.most_words} words"
            raise InputError(where, f"the discriminator has learned no text of {words} words", how)
        if self.task == SEMANTIC_CONTENT and [control["field"], control["value"]] not in self.values:
            asked = f"{control['field']}={control['value']}"
            how = nearest(asked, (f"{field}={value}" for field, value in self.values))
            raise InputError(where, f"the discriminator has not learned {asked}", how)

    @cached_property
    def _numbers(self) -> list[dict[str, int]]:
        return [{name: i for i, name in enumerate(names, FIRST_NAME)} for names in self.names]


def _number(numbers: Mapping[str, int], name: str | None) -> int:
    return NOTHING if name is None else numbers.get(name, UNKNOWN)


def _names(task: str, texts: Sequence[Text]) -> list[list[str]]:
    """The names of every column that the texts' own controls use, sorted."""
    form = FORMS[task]
    words = Counter(w for text in texts for control in form.stated(text) for w in form.words(control))
    counts = [Counter[str]() for _ in range(form.columns)]
    for names, seen in words.items():
        for count, name in zip(counts, names, strict=True):
            count.update({} if name is None else {name: seen})
    return [sorted(name for name, seen in count.items() if seen > SEEN_MORE_THAN) for count in counts]
