"""COLD's Langevin dynamics: Adam goes down the energy, and noise that fades is added after every step.

Line numbers are those of cold_decoding.py in the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from baselines.cold.energy import Energy, Gap, allow
from baselines.soft import likeliest, read_context, rollout, write
from pipeline.language_model import LanguageModel

NOISE = ((0.025, 1.0), (0.25, 0.5), (0.5, 0.1), (0.75, 0.05), (1.0, 0.01))
"""Standard deviation up to a share of the iterations: 50, 500, 1000, 1500 of the original's 2000 (:357)."""


@dataclass(frozen=True)
class LangevinSettings:
    """``words`` N of a soft text, ``iterations``, Adam's ``rate``, ``chains`` of each request, and the factor
    ``noise`` on the original's standard deviations.
    """

    words: int
    iterations: int
    rate: float
    chains: int
    noise: float


class Draws:
    """The randomness of a batch: each request draws for its own chains, from its own generator."""

    def __init__(self, generators: Sequence[torch.Generator], chains: int) -> None:
        self.generators, self.chains = generators, chains

    def normal(self, words: int, vocabulary: int) -> Tensor:
        """Standard normal noise, [B * chains, N, V]."""
        shape = (self.chains, words, vocabulary)
        return torch.cat([torch.randn(shape, generator=generator) for generator in self.generators])

    def gumbel(self, words: int, keywords: Sequence[int]) -> Tensor:
        """Gumbel noise for so many keywords of each request, padded to [B * chains, N, K]."""
        drawn = [
            pad(
                torch.empty(self.chains, words, own).exponential_(generator=generator),
                (0, max(keywords) - own),
            )
            for own, generator in zip(keywords, self.generators, strict=True)
        ]
        return -torch.cat(drawn).clamp(min=torch.finfo(torch.float32).tiny).log()


def deviation(iteration: int, settings: LangevinSettings) -> float:
    """Standard deviation of the noise behind an iteration, from 0."""
    share = iteration / settings.iterations
    return settings.noise * next(std for until, std in NOISE if share < until)


def first(model: LanguageModel, gap: Gap, words: int) -> Tensor:
    """The language model's soft text behind the left side [B, N, V], which all chains begin with."""
    return rollout(model, gap.left, words, 1.0, lambda _, logits: logits)


def descend(energy: Energy, start: Tensor, draws: Draws, settings: LangevinSettings) -> Tensor:
    """The soft texts [B, N, V] at the end of all chains (:232-384)."""
    device, shape = start.device, start.shape[1:]
    keywords = energy.gap.keywords.mask.sum(1).tolist()[:: settings.chains]
    moved = torch.zeros_like(start, requires_grad=True)
    adam = torch.optim.Adam([moved], lr=settings.rate)
    for iteration in range(settings.iterations):
        gumbel = draws.gumbel(shape[0], keywords).to(device)
        with torch.enable_grad():
            loss = energy.total(energy.terms(start + moved, gumbel)).sum()
            (moved.grad,) = torch.autograd.grad(loss, moved)
        adam.step()
        noise = draws.normal(*shape).to(device)
        start = torch.add(start, noise, alpha=deviation(iteration, settings))
    return start + moved.detach()


def discretise(model: LanguageModel, gap: Gap, soft: Tensor, top_k: int) -> Tensor:
    """Token ids [B, N]: the text's best words among those that the model allows behind the words before."""

    def choose(place: int, logits: Tensor) -> Tensor:
        allowed = allow(model, logits[:, None], gap.keywords, top_k)
        return allowed.best(soft[:, place : place + 1])[:, 0]

    return write(model, gap.left, soft.shape[1], choose)


def complete(model: LanguageModel, ids: Tensor, longest: int) -> Tensor:
    """Token ids [B, longest], continued greedily; the left side is not read (util.py:188-234)."""
    context = read_context(model, [[model.start, *row] for row in ids.tolist()])
    more = write(model, context, longest - ids.shape[1], lambda _, logits: likeliest(model, logits))
    return torch.cat([ids, more], 1)
