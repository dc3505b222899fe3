"""Reverse diffusion: from noise to words (paper Sections 3.3, 4.2), clamped, truncated, guided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.layout import text_mask
from diffusion_lm.process import Process
from pipeline.corpora.vocabulary import END, PAD, START
from pipeline.language_model import padded

FREE = -1  # in a canvas: a word to be written


@dataclass(frozen=True)
class SamplingSettings:
    """How texts are drawn; every key is described in the configuration schema."""

    steps: int
    eta: float
    clamp_from: float
    temperature: float
    truncate: float
    single_words: bool
    as_released: bool


@dataclass(frozen=True)
class Canvas:
    """What is known of the texts before they are written.

    words: [B, L] ids, FREE where a word is to be written; mask: [B, L], False beyond a text's end;
    barred: words that fill no free place. Without it they are START, END and PAD where END is known.
    """

    words: Tensor
    mask: Tensor
    barred: tuple[int, ...] | None = None

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], barred: tuple[int, ...] | None = None) -> Canvas:
        """A canvas of rows of ids and FREE, of any lengths."""
        return cls(padded(rows, PAD), text_mask(rows), barred)

    @property
    def free(self) -> Tensor:
        """[B, L] True where a word is to be written."""
        return self.words == FREE

    def forbidden(self, words: int) -> Tensor:
        """[B, 1, V] True for words that may not fill a free place."""
        barred = (START, END, PAD) if self.barred is None else self.barred
        out = torch.isin(torch.arange(words), torch.tensor(barred))
        rows = (self.words == END).any(1) | (self.barred is not None)
        return rows[:, None, None] & out.to(rows.device)

    def to(self, device: torch.device) -> Canvas:
        """The same canvas on another device."""
        return Canvas(self.words.to(device), self.mask.to(device), self.barred)


@dataclass(frozen=True)
class Step:
    """One reverse step, as guidance sees it: the sample x_{t-1} and the Gaussian it was drawn from.

    ``noise`` draws the next noise of every text, [B, L, d].
    """

    index: int
    sample: Tensor  # [B, L, d]
    mean: Tensor  # [B, L, d]
    sigma: float
    x_t: Tensor  # [B, L, d]
    noise: Callable[[], Tensor]


Guide = Callable[[Step], Tensor]


class Noise:
    """Standard normal noise with a generator of its own for every text.

    Args:
        truncate: bound on each component; larger ones are drawn again (the original's ``top_p``). 0: none.
    """

    def __init__(
        self, generators: Sequence[torch.Generator], lengths: Sequence[int], dimension: int, truncate: float
    ):
        self.generators, self.lengths = generators, lengths
        self.dimension, self.truncate = dimension, truncate

    def draw(self) -> Tensor:
        """The next noise of every text, [B, L, d]; zero beyond a text's end."""
        noise = torch.zeros(len(self.generators), max(self.lengths), self.dimension)
        for row, generator, length in zip(noise, self.generators, self.lengths, strict=True):
            row[:length] = truncated_normal((length, self.dimension), generator, self.truncate)
        return noise


def truncated_normal(shape: tuple[int, ...], generator: torch.Generator, bound: float) -> Tensor:
    """Normal noise whose components beyond ``bound`` in absolute value are redrawn (0: unbounded)."""
    noise = torch.randn(shape, generator=generator)
    while bound and (outside := noise.abs() > bound).any():
        noise[outside] = torch.randn(int(outside.sum()), generator=generator)
    return noise


def single_words(scores: Tensor, known: Tensor | None = None) -> Tensor:
    """The best word of every place, [B, L], given scores [B, L, V], but no word twice in a row.

    Of two equal neighbours the one with the smaller lead over its runner-up gives way. PAD may repeat.

    Args:
        known: words [B, L] that stand already, FREE elsewhere; predictions at their places do not count.
    """
    known = torch.full_like(scores[..., 0], FREE, dtype=torch.long) if known is None else known
    free, scores = known == FREE, scores.clone()
    for _ in range(scores.shape[-1]):
        (best, second), words = (part.movedim(-1, 0) for part in scores.topk(2))
        words, lead = torch.where(free, words[0], known), (best - second).masked_fill(~free, torch.inf)
        doubled = (words[:, 1:] == words[:, :-1]) & (words[:, 1:] != PAD) & (free[:, 1:] | free[:, :-1])
        if not doubled.any():
            break
        later = doubled & (lead[:, 1:] <= lead[:, :-1])
        loses = nn.functional.pad(later, (1, 0)) | nn.functional.pad(doubled & ~later, (0, 1))
        scores[loses, words[loses]] = -torch.inf
    return words


def reverse_gaussian(
    process: Process, x_t: Tensor, x0: Tensor, index: int, eta: float
) -> tuple[Tensor, float]:
    """Mean [B, L, d] and standard deviation of p(x_{t-1} | x_t) given the x_0 estimate (DDIM).

    ``eta`` 1 is ancestral sampling with the posterior variance (paper Section 3.3), 0 is deterministic.
    The last step adds no noise.
    """
    now, before = process.alpha_bar[index], process.alpha_bar_prev[index]
    sigma = eta * np.sqrt((1 - before) / (1 - now) * (1 - now / before))
    t = torch.full((len(x_t),), index)
    eps = process.eps_from_x0(x_t, x0, t)
    mean = float(np.sqrt(before)) * x0 + float(np.sqrt(max(1 - before - sigma**2, 0.0))) * eps
    return mean, float(sigma) if index else 0.0


@torch.no_grad()
def sample(
    model: DiffusionLM, canvas: Canvas, generators: Sequence[torch.Generator], settings: SamplingSettings,
    guide: Guide | None = None,
) -> Tensor:  # fmt: skip
    """Write the free places of a canvas: ids [B, L].

    Known words are held clean in x_t and in the x_0 estimate at every step. The estimate is clamped to
    the nearest words once the step is below ``clamp_from`` (a share of the steps; 1: always, 0: never).
    """
    process = model.process.strided(settings.steps, settings.as_released)
    lengths = canvas.mask.sum(1).tolist()
    noise = Noise(generators, lengths, model.settings.dimension, settings.truncate)
    known = model.embedding(canvas.words.clamp(min=0))

    def hold(x: Tensor) -> Tensor:
        return torch.where(canvas.free[..., None], x, known)

    mask = None if bool(canvas.mask.all()) else canvas.mask
    forbidden = canvas.forbidden(model.settings.words)
    x = hold(noise.draw().to(known.device))
    estimate: Tensor | None = None
    for index in reversed(range(len(process))):
        prediction = model(x, torch.full((len(x),), index), process, estimate, mask)
        scores, estimate = model.round(prediction, forbidden)
        words = single_words(scores, canvas.words) if settings.single_words else scores.argmax(-1)
        x0 = hold(model.embedding(words) if index < settings.clamp_from * len(process) else estimate)
        mean, sigma = reverse_gaussian(process, x, x0, index, settings.eta)
        step = mean + settings.temperature * sigma * noise.draw().to(x.device) if sigma else mean
        if guide is not None:
            step = guide(Step(index, step, mean, sigma, x, lambda: noise.draw().to(known.device)))
        x = hold(step)
    return torch.where(canvas.free, words, canvas.words)
