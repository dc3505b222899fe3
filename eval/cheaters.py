"""Cheaters: texts that look good in control success or in fluency, and that nobody should be proud of.

python -m eval.cheaters --spec SPEC --input corpus=FILE targets/TASK=FILE ... \\
    --output samples/TASK/CHEATER/seed0=FILE ...

SPEC holds ``seed`` and ``samples``, the number of texts per target by task. The corpus has tags, trees and
spans where a task asks for them. Cheaters are selected and scored as methods are; :mod:`eval.score` says what
gives them away.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from eval.layout import CHEATERS
from eval.select import cells
from pipeline.command import Job, command
from pipeline.errors import InputError, nearest
from pipeline.records import Sample, Target, Text, read_records, write_records
from pipeline.tasks import (
    COMPOSED,
    LENGTH,
    PARTS_OF_SPEECH,
    RELEASED,
    SEMANTIC_CONTENT,
    SYNTAX_SPANS,
    SYNTAX_TREE,
    part_control,
    parts,
)
from pipeline.trees import read_tree, spans

Control = Mapping[str, Any]
Words = Sequence[str]
TRAINING = "train"


class Index:
    """Texts by what they have: of any things wanted, how many each text has."""

    def __init__(self, things: Iterable[Iterable[Hashable]]) -> None:
        found: dict[Hashable, list[int]] = defaultdict(list)
        sizes = []
        for place, own in enumerate(things):
            distinct = set(own)
            sizes.append(len(distinct))
            for thing in distinct:
                found[thing].append(place)
        self.places = {thing: np.array(places) for thing, places in found.items()}
        self.sizes = np.array(sizes)

    def count(self, wanted: Iterable[Hashable]) -> np.ndarray:
        """How many of the wanted things each text has, [texts]."""
        places = [self.places[thing] for thing in wanted if thing in self.places]
        return np.bincount(np.concatenate([np.zeros(0, int), *places]), minlength=len(self.sizes))

    def likeness(self, wanted: Sequence[Hashable]) -> np.ndarray:
        """F1 of the things wanted and those of each text, 0 to 1, [texts]."""
        return 2 * self.count(wanted) / np.maximum(self.sizes + len(wanted), 1)


class Shelf:
    """Texts to take answers from; of equally good ones those that a draw puts first.

    Raises:
        InputError: no texts.
    """

    def __init__(self, texts: Iterable[Text], seed: int) -> None:
        self.texts = sorted(texts, key=lambda text: hashlib.sha256(f"{seed} {text.id}".encode()).digest())
        if not self.texts:
            raise InputError("corpus", "has no training or no held-out texts", "give the whole corpus")

    def best(self, target: Target, count: int) -> list[Words]:
        """The texts that satisfy a target best: of a composition first the value, then the likest syntax."""
        fit = sum(_FITS[part](self, part_control(target.control, part)) for part in parts(target.task))
        order = np.argsort(-np.asarray(fit), kind="stable")[:count]
        return [self.texts[i].tokens for i in order]

    def holding(self, value: str) -> np.ndarray:
        """Whether each text contains a value, [texts]."""
        return np.array([value in text for text in self._joined], dtype=float)

    def lengths(self) -> np.ndarray:
        """Words of each text, [texts]."""
        return np.array([len(text.tokens) for text in self.texts])

    @cached_property
    def tags(self) -> Index:
        """Texts by tag and its place."""
        return Index(enumerate(text.tags or []) for text in self.texts)

    @cached_property
    def spans(self) -> Index:
        """Texts by constituents."""
        return Index(map(tuple, text.spans or []) for text in self.texts)

    @cached_property
    def _joined(self) -> list[str]:
        return [" ".join(text.tokens) for text in self.texts]


_FITS: dict[str, Callable[[Shelf, Control], np.ndarray]] = {  # how well each text satisfies a control
    SEMANTIC_CONTENT: lambda shelf, control: shelf.holding(control["value"]),
    LENGTH: lambda shelf, control: -abs(shelf.lengths() - control["length"]),
    PARTS_OF_SPEECH: lambda shelf, control: shelf.tags.likeness(list(enumerate(control["tags"]))),
    SYNTAX_TREE: lambda shelf, control: shelf.spans.likeness(spans(control["tree"])),
    SYNTAX_SPANS: lambda shelf, control: shelf.spans.count([_span(control)]),
}


class Frequent:
    """The most frequent words and n-grams of training texts, for each thing that a control asks for."""

    def __init__(self, texts: Sequence[Text]) -> None:
        self.texts = texts

    def repeat(self, target: Target, rank: int) -> list[str]:
        """A senseless text that satisfies a target, from n-grams of this rank; an added value stands last."""
        part, control = parts(target.task)[-1], target.control
        added = control["value"].split() if part != target.task else []
        return [*_REPEATS[part](self, part_control(control, part), rank), *added]

    def value(self, control: Control, rank: int) -> list[str]:
        """A value twice or more often; no longer than people's texts."""
        words = control["value"].split()
        return words * max(2, min(rank + 2, self._longest // len(words)))

    def words(self, tags: Sequence[str], table: Mapping[str, Counter[str]], rank: int) -> list[str]:
        """For each tag its word of a rank, or its rarest; for an unknown tag the word of all."""
        return [_ranked(table.get(tag) or self.tagged[""], rank) for tag in tags]

    @cached_property
    def tagged(self) -> Mapping[str, Counter[str]]:
        """Words by universal tag; all words under the empty one."""
        pairs = [pair for t in self.texts for pair in zip(t.tags or [], t.tokens, strict=False)]
        return _counted([*pairs, *(("", word) for text in self.texts for word in text.tokens)])

    @cached_property
    def leaves(self) -> Mapping[str, Counter[str]]:
        """Words by the tag that trees give them."""
        trees = (read_tree(text.tree) for text in self.texts if text.tree)
        return _counted(pair for tree in trees for pair in zip(tree.tags, tree.words, strict=True))

    @cached_property
    def pairs(self) -> Counter[tuple[str, ...]]:
        """Pairs of neighbouring words."""
        return Counter(pair for text in self.texts for pair in pairwise(text.tokens))

    @cached_property
    def constituents(self) -> Mapping[tuple[str, int], Counter[tuple[str, ...]]]:
        """The words of constituents, by label and number of words."""
        found: dict[Any, Counter[tuple[str, ...]]] = defaultdict(Counter)
        for text in self.texts:
            for first, last, label in text.spans or []:
                words = tuple(text.tokens[int(first) : int(last) + 1])
                found[str(label), len(words)][words] += 1
        return found

    def pair(self, control: Control, rank: int) -> list[str]:
        """Two words again and again."""
        length = int(control["length"])
        return list(_ranked(self.pairs, rank) * length)[:length]

    def span(self, control: Control, rank: int) -> list[str]:
        """A constituent again and again, before the wanted place and from it on."""
        first, last, label = _span(control)
        size = min(last - first + 1, self._longest // 4)  # a whole sentence told twice is no nonsense
        unit = _ranked(self.constituents.get((label, size)) or self.pairs, rank)
        return [unit[(place - first) % len(unit)] for place in range(last + 1 + len(unit))] + ["."]

    @cached_property
    def _longest(self) -> int:
        return max(len(text.tokens) for text in self.texts)


_REPEATS: dict[str, Callable[[Frequent, Control, int], Iterable[str]]] = {
    SEMANTIC_CONTENT: Frequent.value,
    LENGTH: Frequent.pair,
    PARTS_OF_SPEECH: lambda known, control, rank: known.words(control["tags"], known.tagged, rank),
    SYNTAX_TREE: lambda known, control, rank: known.words(
        read_tree(control["tree"]).tags, known.leaves, rank
    ),
    SYNTAX_SPANS: Frequent.span,
}


class Cheaters:
    """All cheaters over one corpus; each of :data:`eval.layout.CHEATERS` is a method of its name.

    Raises:
        InputError: the corpus has no training or no held-out texts.
    """

    def __init__(self, texts: Sequence[Text], seed: int) -> None:
        self.seed = seed
        self.by_id = {text.id: text for text in texts}
        training = [text for text in texts if text.split == TRAINING]
        heldout = [text for text in texts if text.split not in (TRAINING, RELEASED, COMPOSED)]
        self.training, self.heldout = Shelf(training, seed), Shelf(heldout, seed)
        self.frequent = Frequent(training)

    def cheat_retrieval(self, target: Target, count: int) -> list[Words]:
        """Training texts that satisfy the target best."""
        return self.training.best(target, count)

    def cheat_repeat(self, target: Target, count: int) -> list[Words]:
        """Frequent n-grams, repeated until the target is satisfied."""
        return [self.frequent.repeat(target, rank) for rank in range(count)]

    def cheat_source(self, target: Target, count: int) -> list[Words]:
        """The target's source sentence; for a target without one, held-out texts that satisfy it best."""
        if target.source_id is None:
            return self.heldout.best(target, count)
        if target.source_id not in self.by_id:
            what = f"no text '{target.source_id}' for target '{target.target_id}'"
            raise InputError("targets", what, "make the targets from this corpus")
        return [self.by_id[target.source_id].tokens]

    def cheat_shuffle(self, target: Target, count: int) -> list[Words]:
        """The words of the first of :meth:`cheat_source`, in a random order."""
        words = self.cheat_source(target, 1)[0]
        keys = (f"{self.seed} {target.task} {target.target_id} {index}" for index in range(count))
        return [random.Random(key).sample(words, len(words)) for key in keys]

    def samples(self, name: str, targets: Iterable[Target], count: int) -> Iterator[Sample]:
        """As many texts of a cheater for each reported target; the same ones again where it has fewer."""
        for target in (target for target in targets if target.reported):
            texts = getattr(self, name)(target, count)
            for index in range(count):
                words = " ".join(texts[index % len(texts)])
                yield Sample(name, target.task, target.target_id, index, self.seed, words, 0, 0)


def _span(control: Control) -> tuple[int, int, str]:
    return control["first"], control["last"], control["label"]


def _ranked(table: Counter[Any], rank: int) -> Any:
    """What is counted most often but for ``rank`` others, or least often if there are fewer."""
    return table.most_common(rank + 1)[-1][0]


def _counted(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Counter[Any]]:
    found: dict[Any, Counter[Any]] = defaultdict(Counter)
    for key, value in pairs:
        found[key][value] += 1
    return dict(found)


def main(job: Job) -> None:
    """Write the samples of every cheater and task asked for."""
    cheaters = Cheaters(read_records(job.inputs["corpus"], Text), job.spec["seed"])
    for cell, path in cells(job.outputs, "samples").items():
        task, name, _ = cell.split("/")
        if name not in CHEATERS:
            raise InputError("--output", f"no cheater '{name}'", nearest(name, CHEATERS))
        if (given := f"targets/{task}") not in job.inputs:
            raise InputError("--input", f"'{given}' is missing", f"add {given}=FILE")
        targets = read_records(job.inputs[given], Target)
        write_records(path, cheaters.samples(name, targets, job.spec["samples"][task]))


if __name__ == "__main__":
    command(main, inputs=("corpus",), outputs=(), open_ended=True)
