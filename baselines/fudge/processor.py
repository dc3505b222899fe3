"""FUDGE's logits processor: P(x_i | x_<i, a) is proportional to P(x_i | x_<i) P(a | x_<=i)^lambda."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from baselines.fudge.controls import Asked
from pipeline.corpora.vocabulary import END


class Future(Protocol):
    """What a :class:`~baselines.fudge.discriminator.Discriminator` tells of the words that may come next."""

    def candidates(self, prefix: Tensor, asked: Asked, ids: Tensor) -> Tensor:
        """log P(control | prefix, candidate) [B, K] of candidates ``ids`` [B, K] after ``prefix`` [B, n]."""


class Part(NamedTuple):
    """One control of a batch: what judges it, its strength lambda, and what each row asks for."""

    discriminator: Future
    strength: float
    asked: Asked


class FudgeProcessor:
    """Steers towards all parts at once: their lambda log P are added up, as in the original's poetry.

    The prefix is read anew at every step, so nothing has to follow the rows. Rows that have ended are left
    as they are.

    Args:
        candidates: only the language model's best words are judged and may be written.
        words: entries of the vocabulary; a language model's further tokens are never written.
        precision: ``fp32`` or ``bf16``, of the discriminators.
    """

    def __init__(self, parts: Sequence[Part], candidates: int, words: int, precision: str = "fp32") -> None:
        self.parts = [part for part in parts if part.strength]
        self.candidates, self.words, self.precision = min(candidates, words), words, precision

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Steered scores [B, V] of the word after ``input_ids`` [B, n], START first."""
        open_rows = (input_ids != END).all(1).nonzero().squeeze(1)
        prefix = input_ids[open_rows]
        best, ids = scores[open_rows, : self.words].topk(self.candidates)
        with torch.autocast(scores.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            for part in self.parts:
                told = part.discriminator.candidates(prefix, part.asked.at(open_rows), ids)
                best = best + part.strength * told
        steered = scores.clone()
        steered[open_rows] = torch.full_like(scores[open_rows], -torch.inf).scatter(1, ids, best)
        return steered
