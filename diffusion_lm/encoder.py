"""The Transformer encoder (BERT's shape, Devlin et al. 2019) under the denoiser and the classifiers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LAYER_NORM_EPSILON = 1e-12


class Encoder(nn.Module):
    """Post-norm Transformer layers; all Linear layers keep PyTorch's default initialisation (as released)."""

    def __init__(self, hidden: int, layers: int, heads: int, intermediate: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(hidden, heads, intermediate, dropout) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode [B, L, H]; positions where ``mask`` [B, L] is False are seen by nobody."""
        hidden_from = None if mask is None else ~mask[:, None, None, :]  # [B, 1, 1, L]
        for layer in self.layers:
            x = layer(x, hidden_from)
        return x


class Layer(nn.Module):
    """Self-attention and a GELU feed-forward, each with residual and LayerNorm behind it."""

    def __init__(self, hidden: int, heads: int, intermediate: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_in = nn.Linear(hidden, 3 * hidden)  # query, key, value
        self.attention_out = nn.Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, LAYER_NORM_EPSILON)
        self.up = nn.Linear(hidden, intermediate)
        self.down = nn.Linear(intermediate, hidden)
        self.norm = nn.LayerNorm(hidden, LAYER_NORM_EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, hidden_from: Tensor | None) -> Tensor:
        """One layer on [B, L, H]; ``hidden_from`` [B, 1, 1, L] is True for keys that nobody sees."""
        x = self.attention_norm(x + self.dropout(self.attention_out(self._attend(x, hidden_from))))
        return self.norm(x + self.dropout(self.down(nn.functional.gelu(self.up(x)))))

    def _attend(self, x: Tensor, hidden_from: Tensor | None) -> Tensor:
        # Plain matmul, softmax, matmul: on CPU in bf16 this trains faster than the fused kernel.
        rows, length, width = x.shape
        parts = self.attention_in(x).view(rows, length, 3, self.heads, width // self.heads)  # rows may be 0
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)  # [B, heads, L, L]
        if hidden_from is not None:
            scores = scores.masked_fill(hidden_from, torch.finfo(scores.dtype).min)
        weights = self.dropout(scores.softmax(-1))
        return (weights @ value).transpose(1, 2).reshape(rows, length, width)


def time_features(time: Tensor, channels: int) -> Tensor:
    """Sinusoids of the diffusion time, cosines first: [B] -> [B, channels] (Vaswani et al. 2017)."""
    half = channels // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=time.device) / half)
    angles = time[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimeEmbedding(nn.Sequential):
    """Diffusion time to a hidden vector: sinusoids, Linear, SiLU, Linear; [B] -> [B, H]."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, hidden))
        self.channels = channels

    def forward(self, time: Tensor) -> Tensor:
        """Embed network times."""
        hidden: Tensor = super().forward(time_features(time, self.channels))  # type: ignore[no-untyped-call]
        return hidden
