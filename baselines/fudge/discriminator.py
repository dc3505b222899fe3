"""FUDGE's discriminator: log P(the whole text will satisfy the control | its first words).

A small causal Transformer. A text and the words that may continue it are read in one pass: every position
attends to the text before it and to itself, so each of many candidates stands behind the same text without
seeing another, and keys and values of the text are shared by all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from baselines.fudge.controls import FIRST_NAME, Asked, Encoding
from pipeline import checkpoint
from pipeline.tasks import LENGTH

KIND = "FUDGE discriminator"
TOLERANCE = 2  # words that a length may be off (paper Section 6.1)
INITIAL = 0.02  # standard deviation of initial embeddings (GPT-2)
ROWS = 16  # texts read at once with their candidates: on a CPU more of them miss its caches


@dataclass(frozen=True)
class DiscriminatorSettings:
    """Shape of the Transformer; ``seed`` is of its initial weights."""

    hidden: int
    layers: int
    heads: int
    dropout: float
    seed: int


class Layer(nn.Module):
    """Self-attention and a GELU feed-forward, each with LayerNorm before and residual around it."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(hidden)
        self.attention_in = nn.Linear(hidden, 3 * hidden)  # query, key, value
        self.attention_out = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, 4 * hidden)
        self.down = nn.Linear(4 * hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """One layer on [B, L, H]; ``seen`` [L, n]: which of the first n positions each of the L sees."""
        x = x + self.dropout(self.attention_out(self._attend(self.attention_norm(x), seen)))
        return x + self.dropout(self.down(nn.functional.gelu(self.up(self.norm(x)))))

    def _attend(self, x: Tensor, seen: Tensor) -> Tensor:
        """Every position attends to those it sees and to itself."""
        rows, length, width = x.shape
        text = seen.shape[1]
        parts = self.attention_in(x).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # [B, heads, L, H / heads]
        query = query / math.sqrt(width // self.heads)
        before = (query @ key[:, :, :text].transpose(-1, -2)).masked_fill(~seen, -torch.inf)
        own = (query * key).sum(-1, keepdim=True)
        weights = torch.cat([before, own], -1).softmax(-1)  # [B, heads, L, n + 1]
        mixed = weights[..., :text] @ value[:, :, :text] + weights[..., text:] * value
        return mixed.transpose(1, 2).reshape(rows, length, width)


class Encoder(nn.Module):
    """Pre-norm Transformer layers and the last LayerNorm."""

    def __init__(self, settings: DiscriminatorSettings) -> None:
        super().__init__()
        layers = (Layer(settings.hidden, settings.heads, settings.dropout) for _ in range(settings.layers))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(settings.hidden)

    def forward(self, x: Tensor, text: int) -> Tensor:
        """Encode [B, L, H]: a text of ``text`` positions, read causally, and candidates behind it."""
        length = x.shape[1]
        seen = torch.ones(length, text, dtype=torch.bool, device=x.device).tril(-1)
        for layer in self.layers:
            x = layer(x, seen)
        return self.norm(x)


class Discriminator(nn.Module):
    """P(control | first words): a sigmoid for each field value, a softmax over lengths, or one sigmoid.

    Args:
        words: entries of the vocabulary.
    """

    def __init__(self, settings: DiscriminatorSettings, encoding: Encoding, words: int) -> None:
        super().__init__()
        torch.manual_seed(settings.seed)
        self.settings, self.encoding = settings, encoding
        self.words = _embedding(words, settings.hidden)
        self.positions = _embedding(encoding.most_words + 2, settings.hidden)
        sizes = [FIRST_NAME + len(names) for names in encoding.names]
        self.features = nn.ModuleList(_embedding(size, settings.hidden) for size in sizes)
        self.dropout = nn.Dropout(settings.dropout)
        self.encoder = Encoder(settings)
        self.outputs = nn.Linear(settings.hidden, encoding.outputs)

    def forward(self, ids: Tensor, features: Tensor) -> Tensor:
        """Logits [B, L, outputs] after each of the words ``ids`` [B, L], told ``features`` [B, L, F]."""
        places = torch.arange(ids.shape[1], device=ids.device)
        logits: Tensor = self.outputs(self.encoder(self._embed(ids, places, features), ids.shape[1]))
        return logits.float()

    def log_probabilities(self, logits: Tensor, output: Tensor) -> Tensor:
        """log P(control) [B, L] from logits [B, L, outputs], for the output asked for, [B]."""
        if self.encoding.task == LENGTH:
            lengths = torch.arange(logits.shape[-1], device=logits.device)
            far = (lengths - output[:, None]).abs() > TOLERANCE  # [B, outputs]
            return logits.log_softmax(-1).masked_fill(far[:, None], -torch.inf).logsumexp(-1)
        chosen = logits.gather(-1, output[:, None, None].expand(-1, logits.shape[1], 1))
        return nn.functional.logsigmoid(chosen.squeeze(-1))

    def candidates(self, prefix: Tensor, asked: Asked, ids: Tensor) -> Tensor:
        """log P(control | prefix, candidate) [B, K] of every candidate word behind its text.

        Args:
            prefix: word ids [B, n], START first. asked: the rows' controls. ids: candidates [B, K].
        """
        batches = zip(*(part.split(ROWS) for part in (prefix, *asked, ids)), strict=True)
        return torch.cat([self._candidates(p, Asked(f, o), i) for p, f, o, i in batches])

    def _candidates(self, prefix: Tensor, asked: Asked, ids: Tensor) -> Tensor:
        length, choices = prefix.shape[1], ids.shape[1]
        places = torch.arange(length + choices, device=ids.device).clamp(max=length)  # all candidates' is one
        text = self._embed(prefix, places[:length], asked.features[:, :length])
        following = self._embed(ids, places[length:], asked.features[:, length : length + 1])
        encoded = self.encoder(torch.cat([text, following], 1), length)[:, length:]
        return self.log_probabilities(self.outputs(encoded).float(), asked.output)

    def _embed(self, ids: Tensor, places: Tensor, features: Tensor) -> Tensor:
        x: Tensor = self.words(ids) + self.positions(places)
        for column, embedding in zip(features.unbind(-1), self.features, strict=True):
            x = x + embedding(column)
        return self.dropout(x)

    def save(self, path: Path, vocabulary: str) -> None:
        """Write weights, shape and encoding; ``vocabulary`` is the digest of the words."""
        header = {"model": asdict(self.settings), **asdict(self.encoding), "vocabulary": vocabulary}
        checkpoint.save(path, KIND, header, self.state_dict())

    @classmethod
    def load(cls, path: Path, **expected: Any) -> Self:
        """Read what :meth:`save` wrote, in evaluation mode.

        Args:
            expected: values that the header must have, e.g. ``task`` and ``vocabulary``.

        Raises:
            InputError: missing, damaged, another kind of file, or a header with other values.
        """
        header, weights = checkpoint.load(path, KIND)
        checkpoint.require(path, header, expected)
        model = cls(DiscriminatorSettings(**header["model"]), _encoding(header), len(weights["words.weight"]))
        checkpoint.restore(model, path, weights)
        return model.eval()


def _embedding(entries: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(entries, width)
    nn.init.normal_(embedding.weight, std=INITIAL)
    return embedding


def _encoding(header: Mapping[str, Any]) -> Encoding:
    return Encoding(header["task"], header["most_words"], header["values"], header["names"])
