"""The variational bound on -log p(w) of a text under a Diffusion-LM (paper Section 4.1, Appendix E), in nats.

With q(x_0 | w) = N(Emb(w), sigma_0^2 I) and steps 0..T-1 the bound is the expectation over q of

    KL(q(x_T | x_0) || N(0, I))                              prior
    + sum over t = T-1..1 of KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))    diffusion
    + log q(x_0 | w) - log p(x_0 | x_1)                      first
    - log p(w | x_0)                                         rounding

Nothing in it is clamped. p has the variances of q (fixed, small), so every KL is a squared error with a
weight. In the first term p(x_0 | x_1) is q(x_0 | x_1, w) with the network's output in the place of Emb(w),
its target at step 0; its expectation is KL(q(x_0 | x_1, w) || p(x_0 | x_1)) less the information that x_1
has of x_0 beyond w. The released code has KL(q(x_0 | w) || N(output, v_1)) there, as if x_1 did not come
from x_0 (``released``).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.objective import word_loss
from diffusion_lm.process import Process


class Ends(NamedTuple):
    """The terms that no step has a part in, each [B, L], and the x_0 [B, L, d] that was drawn."""

    prior: Tensor
    rounding: Tensor
    x0: Tensor


def ends(model: DiffusionLM, ids: Tensor, x0_noise: Tensor) -> Ends:
    """Prior and rounding of words ``ids`` [B, L] at the x_0 that ``x0_noise`` [B, L, d] leads to."""
    x0 = model.embedding(ids) + float(model.process.sigma[0]) * x0_noise
    left = float(model.process.alpha_bar[-1])  # of x_0 in x_T
    prior = (left * x0.square() - left - math.log1p(-left)).sum(-1) / 2
    return Ends(prior, word_loss(model.embedding.logits(x0), ids), x0)


def step_kl(
    model: DiffusionLM, ids: Tensor, x0: Tensor, t: Tensor, noise: Tensor, released: bool = False
) -> Tensor:
    """The term of steps ``t`` [B], [B, L]; that of step 0 is the ``first``, which may be negative.

    Args:
        x0, noise: [B, L, d], the drawn x_0 and the noise that leads from it to x_t.
    """
    process = model.process
    x_t = process.q_sample(x0, t, noise)
    estimate = model(x_t, t, process).x0.float()
    target = torch.where((t == 0)[:, None, None], model.embedding(ids), x0)
    weights = torch.as_tensor(kl_weights(process, released), dtype=torch.float32)[t.cpu()].to(x0.device)
    error = (target - estimate).square().sum(-1)  # [B, L]
    constant = _released_excess(process) if released else -math.log1p(process.alpha_bar[0]) / 2
    return weights[:, None] * error + (t == 0)[:, None] * constant * x0.shape[-1]


def kl_weights(process: Process, released: bool = False) -> np.ndarray:
    """Weight of the squared error of the estimate in each step's KL, float64 [T].

    For t > 0: (weight of x_0 in the posterior mean)^2 / (2 posterior variance). At step 0: v / (2 sigma_0^4),
    v the variance of q(x_0 | x_1, w); as released 1 / (2 v_1), v_1 the posterior variance of step 1.
    """
    of_x0, _ = process.posterior_weights
    variance = process.posterior_variance
    start = process.sigma[0] ** 2
    first = 1 / (1 / start + process.alpha_bar[0] / (1 - process.alpha_bar[0])) / (2 * start**2)
    if released:
        first = 1 / (2 * variance[1])
    return np.append(first, of_x0[1:] ** 2 / (2 * variance[1:]))


def _released_excess(process: Process) -> float:
    """What KL(N(., sigma_0^2) || N(., v_1)) has beside the squared error, per dimension."""
    ratio = process.sigma[0] ** 2 / process.posterior_variance[1]
    return float(ratio - 1 - math.log(ratio)) / 2


def step_shares(process: Process) -> np.ndarray:
    """Probabilities with which steps are drawn, [T]: about as large as a step's KL is.

    A linear guess from unit-variance data errs by 1 - abar_t. It needs no history of losses, which
    Nichol and Dhariwal (2021) keep, so a resumed training draws what an uninterrupted one does. A tenth
    is spread evenly, so that no step is ever missed.
    """
    guess = kl_weights(process) * (1 - process.alpha_bar)
    return 0.9 * guess / guess.sum() + 0.1 / len(process)


def spread_steps(process: Process, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Steps at these places in [0, 1) of the cumulative shares, and one over each step's share."""
    shares = torch.as_tensor(step_shares(process))
    steps = torch.searchsorted(shares.cumsum(0), offsets.double(), right=True).clamp(max=len(process) - 1)
    return steps, 1 / shares[steps].float()


def bound_loss(model: DiffusionLM, ids: Tensor) -> Tensor:
    """L_vlb of texts ``ids`` [B, L] by one step each, [B], in nats per place (Appendix E).

    Draws from torch's global generator, which the training loop seeds at every step.
    """
    rows = len(ids)
    offsets = (torch.randperm(rows) + torch.rand(rows)) / rows
    t, scale = (part.to(ids.device) for part in spread_steps(model.process, offsets))
    x0_noise, noise = torch.randn(2, *ids.shape, model.settings.dimension, device=ids.device)
    prior, rounding, x0 = ends(model, ids, x0_noise)
    return (prior + rounding + scale[:, None] * step_kl(model, ids, x0, t, noise)).mean(1)


@torch.no_grad()
def bound_terms(
    model: DiffusionLM, ids: Tensor, generator: torch.Generator, steps: int, batch_size: int = 64
) -> dict[str, float]:
    """The four terms of one text ``ids`` [L], summed over its places, in nats.

    Args:
        generator: of all noise of this text. steps: how many are drawn; T or more takes every step once,
            fewer are an unbiased estimate.
    """
    process, shape = model.process, (len(ids), model.settings.dimension)
    every = steps >= len(process)
    prior, rounding, x0 = ends(model, ids[None], torch.randn(1, *shape, generator=generator).to(ids.device))
    if every:
        t, scale = torch.arange(len(process)), torch.ones(len(process))
    else:
        t, scale = spread_steps(
            process, (torch.arange(steps) + torch.rand(steps, generator=generator)) / steps
        )
        scale = scale / steps
    noise = torch.randn(len(t), *shape, generator=generator).to(ids.device)
    sums = torch.cat(
        [
            step_kl(model, ids.expand(len(part), -1), x0.expand(len(part), -1, -1), part, n).sum(1).cpu()
            for part, n in zip(t.split(batch_size), noise.split(batch_size), strict=True)
        ]
    )
    values = (sums * scale).double()
    return {
        "prior": float(prior.double().sum()),
        "diffusion": float(values[t > 0].sum()),
        "first": float(values[t == 0].sum()),
        "rounding": float(rounding.double().sum()),
    }
