"""COLD as a method: infilling by two language models, one for each direction (paper Section 6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property

import torch
from torch import Tensor

from baselines.cold.energy import Energy, EnergySettings, Gap
from baselines.cold.keywords import keywords
from baselines.cold.langevin import Draws, LangevinSettings, complete, descend, discretise, first
from baselines.ranking import best
from baselines.soft import Padded, SoftInfilling, Written, read_context
from pipeline.device import device
from pipeline.language_model import LanguageModel
from pipeline.methods import Request


class Cold(SoftInfilling):
    """Settings: those of :class:`LangevinSettings`, :class:`EnergySettings` and :class:`SoftInfilling`.

    Models: ``language_model``, and ``backward_language_model`` unless ``forward_share`` is 1.
    """

    def texts(self, requests: Sequence[Request], seed: int) -> list[Written]:
        """The best text of each request's chains."""
        sides = [(self.left(request), self.right(request)) for request in requests]
        draws = Draws([self.generator(request, seed) for request in requests], self.langevin.chains)
        ids = self.write_chains(self.gap(sides), draws).tolist()
        words, chains = [self.model.decode(row) for row in ids], self.langevin.chains
        texts = [words[i : i + chains] for i in range(0, len(words), chains)]
        return [
            Written(text, self.cost(*map(len, own)) + ranking, chains * self.langevin.iterations)
            for own, (text, ranking) in zip(sides, best(self.ranker, sides, texts), strict=True)
        ]

    def check(self, requests: Sequence[Request]) -> None:
        """Check both models' lengths."""
        super().check(requests)
        if self.backward:
            longest = max(len(self.right(request)) for request in requests)
            self.backward.check_length(longest + self.langevin.words)

    def write_chains(self, gap: Gap, draws: Draws) -> Tensor:
        """Token ids [B * chains, M], the chains of each request one behind the other."""
        model, langevin = self.model, self.langevin
        start = first(model, gap, langevin.words).repeat_interleave(langevin.chains, 0)
        chains = gap.repeat(langevin.chains)
        soft = descend(Energy(model, self.backward, chains, self.weights), start, draws, langevin)
        return complete(model, discretise(model, chains, soft, self.weights.top_k), self.settings["longest"])

    def gap(self, sides: Sequence[tuple[list[str], list[str]]]) -> Gap:
        """What the models read of a batch's left and right words."""
        model, backward = self.model, self.backward
        left = [[model.start, *model.encode(words)] for words, _ in sides]
        right = [model.encode(words) for _, words in sides]
        wanted = [model.encode(keywords(model, words)) for _, words in sides]
        return Gap(
            read_context(model, left),
            torch.tensor([row[-1:] for row in left], device=device()),
            Padded.of(model, right),
            read_context(backward, [[backward.start, *row[::-1]] for row in right]) if backward else None,
            Padded.of(model, wanted),
        )

    @cached_property
    def backward(self) -> LanguageModel | None:
        """The model from right to left, frozen, if it has a share."""
        if self.weights.forward_share == 1:
            return None
        return self.frozen("backward_language_model", "backward")

    @property
    def weights(self) -> EnergySettings:
        """The energy's settings."""
        return EnergySettings(**{field.name: self.settings[field.name] for field in fields(EnergySettings)})

    @property
    def langevin(self) -> LangevinSettings:
        """The sampler's settings."""
        return LangevinSettings(**{f.name: self.settings[f.name] for f in fields(LangevinSettings)})

    def cost(self, left: int, right: int) -> int:
        """Tokens read for the chains of a gap between so many words.

        START and left, and the first soft text but for its last word, are read once; START and right from
        right to left too. An iteration reads the text but for its last word in each direction, and the last
        word on the left, text and right but for its last word. Then the text is read once more but for its
        last word, and START and the longest text but for its last word.
        """
        words, backward = self.langevin.words, self.weights.forward_share < 1
        once = 1 + left + words - 1 + backward * (1 + right)
        iteration = (1 + backward) * (words - 1) + bool(self.weights.constraint) * (words + right)
        chain = self.langevin.iterations * iteration + words - 1 + self.settings["longest"]
        return once + self.langevin.chains * chain


METHOD = Cold
