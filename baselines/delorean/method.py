"""DELOREAN as a method: infilling by a left-to-right language model alone (paper Section 6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from baselines.delorean.decoding import DeloreanSettings, candidates
from baselines.ranking import best
from baselines.soft import Padded, SoftInfilling, Written, read_context
from pipeline.methods import Request


class Delorean(SoftInfilling):
    """Settings: those of :class:`DeloreanSettings` and of :class:`SoftInfilling`.

    Nothing is drawn: all samples of a target are equal. Models: ``language_model``.
    """

    def texts(self, requests: Sequence[Request], seed: int) -> list[Written]:
        """The best candidate of all passes."""
        model, gaps = self.model, [(self.left(request), self.right(request)) for request in requests]
        left = read_context(model, [[model.start, *model.encode(words)] for words, _ in gaps])
        right = Padded.of(model, [[*model.encode(words), model.end] for _, words in gaps])
        passes = [ids.tolist() for ids in candidates(model, left, right, self.decoding)]
        texts = [[model.decode(ids) for ids in own] for own in zip(*passes, strict=True)]
        chosen = best(self.ranker, gaps, texts)
        return [
            Written(
                words, self.cost(*map(len, gap)) + ranking, self.decoding.passes * self.decoding.iterations
            )
            for gap, (words, ranking) in zip(gaps, chosen, strict=True)
        ]

    @property
    def decoding(self) -> DeloreanSettings:
        """How candidates are written."""
        return DeloreanSettings(
            **{field.name: self.settings[field.name] for field in fields(DeloreanSettings)}
        )

    def cost(self, left: int, right: int) -> int:
        """Tokens read for the candidates of a gap between so many words: START and left once, the soft words
        at first and in every forward pass but for the last word, and soft words and right in every step
        backward.
        """
        s = self.decoding
        return left + s.words + s.passes * (s.longest - 1 + s.iterations * (s.words + right))


METHOD = Delorean
