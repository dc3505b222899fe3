"""The passes of DELOREAN: backward from the right side by gradients, forward from the left by mixing.

Symbols are those of Qin et al. (2020), Section 3: N soft words as logits y [B, N, V], T passes, gamma the
share of the language model in the mix. Line numbers are those of abductive_main.py in the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.soft import Context, Padded, likeliest, right_losses, rollout, soft_vectors
from pipeline.language_model import LanguageModel

FIRST_SHARPNESS, FORWARD_SHARPNESS = 0.01, 0.1  # temperatures of the words read on (:232, :340)
SMALLEST_NORM = 1e-15  # of a gradient that is divided by its norm


@dataclass(frozen=True)
class DeloreanSettings:
    """``words`` N of the soft part, ``longest`` M of a candidate, ``passes`` T, ``iterations`` of a backward
    pass and their relative ``step``, ``mix`` gamma; temperatures of the model's logits at first, of the soft
    words in backward passes, and of the model's logits in forward passes.
    """

    words: int
    longest: int
    passes: int
    iterations: int
    mix: float
    step: float
    first_temperature: float
    backward_temperature: float
    forward_temperature: float


def candidates(
    model: LanguageModel, left: Context, right: Padded, settings: DeloreanSettings
) -> list[Tensor]:
    """Token ids [B, M] of every pass (:211-283)."""
    texts, temperature = [], settings.first_temperature
    soft = rollout(model, left, settings.words, FIRST_SHARPNESS, lambda _, logits: logits / temperature)
    for _ in range(settings.passes):
        whole = forward(model, left, backward(model, soft, right, settings), settings)
        soft = whole[:, : settings.words]
        texts.append(likeliest(model, whole))
    return texts


def backward(model: LanguageModel, soft: Tensor, right: Padded, settings: DeloreanSettings) -> Tensor:
    """Soft words [B, N, V] that make the right side likelier; each text moves on its own (:356-446).

    A step's length is a share of the norm of the text's logits.
    """
    for _ in range(settings.iterations):
        leaf = soft.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(losses(model, leaf, right, settings).sum(), leaf)
        lengths = settings.step * row_norms(soft) / row_norms(gradient).clamp(min=SMALLEST_NORM)
        soft = torch.addcmul(soft, gradient, lengths, value=-1)
    return soft


def losses(model: LanguageModel, soft: Tensor, right: Padded, settings: DeloreanSettings) -> Tensor:
    """Mean cross-entropy [B] of the right side behind the soft words alone; the left side is not read."""
    vectors = soft_vectors(model, soft / settings.backward_temperature)
    return right_losses(model, right.ids[:, :0], vectors, right)


def forward(model: LanguageModel, left: Context, soft: Tensor, settings: DeloreanSettings) -> Tensor:
    """Logits [B, M, V]: N words mixed with the language model's, then the model's alone (:288-353)."""

    def mix(place: int, logits: Tensor) -> Tensor:
        logits = logits / settings.forward_temperature
        return torch.lerp(soft[:, place], logits, settings.mix) if place < settings.words else logits

    return rollout(model, left, settings.longest, FORWARD_SHARPNESS, mix)


def row_norms(tensor: Tensor) -> Tensor:
    """Norm of each text [B, 1, 1]."""
    return tensor.flatten(1).norm(dim=1)[:, None, None]
