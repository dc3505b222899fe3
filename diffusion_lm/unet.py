"""A U-Net of one-dimensional convolutions in the Transformer's place (the ablation of paper Appendix H).

The paper gives no shape. This one has three resolutions, each half as fine as the one before, with skips
between equal ones (Ronneberger et al. 2015), and about as many weights as the Transformer it replaces.
Diffusion time and position reach it as they reach the Transformer: added to the vectors that it reads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 3
BLOCKS_PER_LAYER = 0.4  # a Transformer layer has 12 H^2 weights, a block 6 H^2, and there are five stages


class UNet(nn.Module):
    """Residual convolutions down to a quarter of the length and up again, [B, L, H] -> [B, L, H].

    Args:
        hidden: H. layers: of the Transformer with as many weights.
    """

    def __init__(self, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        blocks = max(1, round(BLOCKS_PER_LAYER * layers))
        stages = 2 * LEVELS - 1
        self.layers = nn.ModuleList(Stage(hidden, blocks, dropout) for _ in range(stages))
        self.merge = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(LEVELS - 1))
        self.norm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode; positions where ``mask`` [B, L] is False are zero to all others."""
        length, coarsest = x.shape[1], 2 ** (LEVELS - 1)
        keep = torch.ones_like(x[..., :1]) if mask is None else mask[..., None].to(x.dtype)
        x, keep = (nn.functional.pad(part, (0, 0, 0, -length % coarsest)) for part in (x, keep))
        skips: list[tuple[Tensor, Tensor]] = []
        for stage in self.layers[: LEVELS - 1]:
            x = stage(x, keep)
            skips.append((x, keep))
            x, keep = halved(x * keep), halved(keep).ceil()
        x = self.layers[LEVELS - 1](x, keep)
        for stage, merge in zip(self.layers[LEVELS:], self.merge, strict=True):
            skip, keep = skips.pop()
            x = stage(merge(torch.cat([x.repeat_interleave(2, dim=1), skip], dim=-1)), keep)
        return self.norm(x[:, :length])


def halved(x: Tensor) -> Tensor:
    """Means of neighbours, [B, 2 L, H] -> [B, L, H]."""
    return x.unflatten(1, (-1, 2)).mean(2)


class Stage(nn.ModuleList):
    """Residual blocks at one resolution."""

    def __init__(self, hidden: int, blocks: int, dropout: float) -> None:
        super().__init__(Block(hidden, dropout) for _ in range(blocks))

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """All blocks; ``keep`` [B, L, 1] is 0 where no text is."""
        for block in self:
            x = block(x, keep)
        return x


class Block(nn.Module):
    """Two convolutions behind a LayerNorm, with a residual around them."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.first, self.second = Convolution(hidden), Convolution(hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """One block on [B, L, H]."""
        h = nn.functional.gelu(self.first(self.norm(x) * keep))
        return x + self.dropout(self.second(h * keep))


class Convolution(nn.Linear):
    """A convolution over three neighbours as one matrix: Muon trains it as it trains a Transformer's."""

    def __init__(self, hidden: int) -> None:
        super().__init__(3 * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, H] -> [B, L, H], with zeros around."""
        around = nn.functional.pad(x, (0, 0, 1, 1))
        return super().forward(torch.cat([around[:, :-2], x, around[:, 2:]], dim=-1))
