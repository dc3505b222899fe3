"""The perturbation of PPLM: gradient steps on the keys and values of the tokens read so far.

Symbols are those of Dathathri et al. (2020), Section 3.2: x_t is the last token, H_t the history (keys and
values of the tokens before it), Delta H_t its perturbation; U is the history without any perturbation.
Line numbers are those of run_pplm.py in the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from baselines.pplm.attribute import AttributeModel
from pipeline.language_model import LanguageModel

NEVER = -1e4  # log-probability of what no text may have; finite, so that p log p is 0 and not NaN
SMALLEST_NORM = 1e-15  # of a gradient that is divided by its norm (SMALL_CONST, run_pplm.py)

History = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, each [B, heads, n, d / heads]."""


@dataclass(frozen=True)
class PerturbationSettings:
    """``updates`` m and their ``step`` alpha, the weight ``kl_scale`` of the KL term, the power ``gamma`` of
    the gradient's norm, and ``window``: only so many newest positions are perturbed (0: all).
    """

    updates: int
    step: float
    kl_scale: float
    gamma: float
    window: int


class Reading(NamedTuple):
    """Last hidden state of the token read, after the final LayerNorm [B, d], and the history with it."""

    hidden: Tensor
    history: History


class Moment(NamedTuple):
    """What the perturbation starts from: the state of a batch before its next token."""

    token: Tensor  # vector of x_t [B, d]
    history: History  # H_t
    unperturbed: History  # U, with x_t
    log_u: Tensor  # unperturbed log-probabilities of the next token [B, V]
    hidden: Tensor  # sum of the unperturbed hidden states before x_t [B, d]


class Losses(NamedTuple):
    """-log p(attribute) and KL(p || u) of every text [B]."""

    attribute: Tensor
    kl: Tensor


def read(model: LanguageModel, history: History, tokens: Tensor) -> Reading:
    """Read one more token of every text, given as vectors [B, d]; ``history`` stays as it is."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.network.config)  # extended in place, so each call has its own
    for layer, (keys, values) in enumerate(history):
        cache.update(keys, values, layer)
    states = model.network.transformer(
        inputs_embeds=tokens[:, None], past_key_values=cache, use_cache=True
    ).last_hidden_state
    return Reading(states[:, 0], cast(History, [(layer.keys, layer.values) for layer in cache.layers]))


def log_probabilities(model: LanguageModel, hidden: Tensor) -> Tensor:
    """log p of the token after a hidden state [B, d], [B, V]; what no text may have is ``NEVER``."""
    logits: Tensor = model.network.lm_head(hidden)
    logits[:, model.barred] = NEVER
    return logits.log_softmax(-1)


def losses(model: LanguageModel, history: History, moment: Moment, wanted: AttributeModel) -> Losses:
    """The two losses of a perturbed history (run_pplm.py:199-263).

    The discriminator reads the mean hidden state of the unperturbed tokens before x_t, of x_t behind the
    perturbed history, and of the soft next token. The gradient reaches the history through p only.
    """
    now = read(model, history, moment.token)
    log_p = log_probabilities(model, now.hidden)
    p = log_p.exp()
    future = look_ahead(model, moment.unperturbed, p, wanted.horizon)
    count = moment.unperturbed[0][0].shape[2] + wanted.horizon
    features = (moment.hidden + now.hidden.detach() + future) / count
    return Losses(wanted.loss(log_p, features), (p * (log_p - moment.log_u)).sum(-1))


def look_ahead(model: LanguageModel, history: History, p: Tensor, horizon: int) -> Tensor:
    """Sum of the hidden states of a soft next token, read ``horizon`` times [B, d].

    Its vector is the mean of all word vectors under p [B, V] (run_pplm.py:223-238).
    """
    soft = p @ model.network.transformer.wte.weight
    total = torch.zeros_like(soft)
    for _ in range(horizon):
        hidden, history = read(model, history, soft)
        total = total + hidden
    return total


def perturb(
    model: LanguageModel, moment: Moment, wanted: AttributeModel, settings: PerturbationSettings,
    norms: Tensor,
) -> History:  # fmt: skip
    """H_t + Delta H_t after m updates; each text moves on its own (run_pplm.py:143-303).

    Args:
        norms: the largest gradient norms so far, [layers, B], updated in place.
    """
    # The gradient on Delta H_t is that on the sum, so the sum itself is moved.
    moved = [(k.clone().requires_grad_(), v.clone().requires_grad_()) for k, v in moment.history]
    for _ in range(settings.updates):
        with torch.enable_grad():
            found = losses(model, moved, moment, wanted)
            total = (found.attribute + settings.kl_scale * found.kl).sum()
            gradients = torch.autograd.grad(total, [tensor for pair in moved for tensor in pair])
        if settings.window:
            for gradient in gradients:
                gradient[:, :, : -settings.window] = 0
        pairs = list(zip(gradients[::2], gradients[1::2], strict=True))
        own = torch.stack([row_norms(*pair) for pair in pairs])
        norms.copy_(torch.maximum(norms, own) if wanted.running_norm else own)
        for layer, pair, norm in zip(moved, pairs, norms, strict=True):
            move(layer, pair, settings.step / norm**settings.gamma)
    return [(k.detach(), v.detach()) for k, v in moved]


def row_norms(keys: Tensor, values: Tensor) -> Tensor:
    """Norm over a layer's keys and values together, of each text [B]."""
    return torch.hypot(keys.flatten(1).norm(dim=1), values.flatten(1).norm(dim=1)).clamp(min=SMALLEST_NORM)


@torch.no_grad()
def move(layer: tuple[Tensor, Tensor], gradients: tuple[Tensor, Tensor], steps: Tensor) -> None:
    """Walk down the gradients in place, each text by its own step [B]."""
    for tensor, gradient in zip(layer, gradients, strict=True):
        tensor.sub_(gradient * steps[:, None, None, None])
