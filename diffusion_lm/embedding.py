"""Word embeddings learned end to end, and the rounding that leads back to words (paper Sections 4.1, 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.seeding import generator


class Embedding(nn.Module):
    """The table Emb [V, d] and the bias of the tied rounding head p(w | x_0).

    Args:
        words: V.
        dimension: d.
        kind: ``learned`` end to end, or ``random`` and fixed (the ablation of paper Section 7);
            a given table is loaded over a ``random`` one.
        normalised: every row is shifted and scaled to mean 0 and variance 1, so that the table can
            neither collapse nor outgrow the noise (as Difformer and CDCD do; not in the paper).
        seed: names the initial draw.
    """

    def __init__(self, words: int, dimension: int, kind: str, normalised: bool, seed: int) -> None:
        super().__init__()
        start = torch.randn(words, dimension, generator=generator("embedding", seed))
        self.weight = nn.Parameter(start, requires_grad=kind == "learned")
        self.bias = nn.Parameter(torch.zeros(words))
        self.normalised = normalised

    @property
    def table(self) -> Tensor:
        """The vectors that the diffusion works on, [V, d]."""
        if self.normalised:
            return nn.functional.layer_norm(self.weight, self.weight.shape[1:])
        return self.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Emb(w): [B, L] -> [B, L, d]."""
        return self.table[ids]

    def logits(self, x: Tensor) -> Tensor:
        """Rounding head p(w | x_0) of paper Section 4.1 as logits: [..., d] -> [..., V]."""
        return x @ self.table.T + self.bias


def nearness(x: Tensor, table: Tensor) -> Tensor:
    """(|x|^2 - distance^2) / 2 to every table row, greatest at the nearest: [..., d] -> [..., V]."""
    return x @ table.T - table.square().sum(-1) / 2
