"""Gradient control of a reverse step (paper Section 5.1): updates of x_{t-1} towards control and fluency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lm.sampling import Guide, Step

ControlLoss = Callable[[Tensor, int], Tensor]
"""-log p(c | x) of every text, [B], for points x [B, L, d] at step index of the sampling process."""


@dataclass(frozen=True)
class GuidanceSettings:
    """How a reverse step is steered; every key is described in the configuration schema."""

    updates: int
    rate: float
    fluency: float
    optimizer: str
    anchor: str
    idle: float
    langevin: float = 0.0


def weighted_sum(terms: Sequence[tuple[float, ControlLoss]]) -> ControlLoss:
    """The loss of several controls at once: the sum of theirs, each with its weight (paper Section 7.2)."""
    return lambda x, index: torch.stack([weight * loss(x, index) for weight, loss in terms]).sum(0)


def gradient_guide(loss: ControlLoss, settings: GuidanceSettings, steps: int) -> Guide:
    """Apply :func:`ascend` at all but the last ``idle`` share of the steps (released: 10 of 200)."""

    def guide(step: Step) -> Tensor:
        if step.index < settings.idle * steps or step.sigma == 0:
            return step.sample
        return ascend(step.sample, step.mean, step.sigma, lambda x: loss(x, step.index), settings, step.noise)

    return guide


def ascend(
    x: Tensor,
    mean: Tensor,
    sigma: Tensor | float,
    loss: Callable[[Tensor], Tensor],
    settings: GuidanceSettings,
    noise: Callable[[], Tensor] | None = None,
) -> Tensor:
    """Updates of x_{t-1} down the gradient of -lambda log p(x_{t-1} | x_t) - log p(c | x_{t-1}).

    Every text has its own loss, so texts of any targets share a batch. ``adagrad`` and ``sign`` take steps
    of about ``rate`` in every coordinate, however small the slope; ``gradient`` takes rate * sigma^2 * slope
    (Dhariwal and Nichol 2021), which ends by itself once the control is met. With ``langevin`` a share of the
    noise of Langevin dynamics follows every update, sqrt(2 * step size); the original multiplies it by 0.

    Args:
        x, mean: sample and mean of the reverse step, [B, L, d]; sigma: its standard deviation.
        loss: -log p(c | x) per text, [B]. noise: draws standard normal noise, [B, L, d]; for
            ``langevin`` only.
    """
    squares = torch.zeros_like(x)
    for _ in range(settings.updates):
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(loss(point).sum(), point)
        slope = slope + settings.fluency * fluency_slope(x, mean, sigma, settings.anchor)
        squares = squares + slope.square() if settings.optimizer == "adagrad" else slope.square()
        scale = sigma**2 if settings.optimizer == "gradient" else 1 / (squares.sqrt() + 1e-10)
        x = x - settings.rate * scale * slope
        if settings.langevin and noise is not None:
            size = settings.rate * (sigma**2 if settings.optimizer == "gradient" else 1)
            x = x + settings.langevin * (2 * size) ** 0.5 * noise()
    return x.detach()


def fluency_slope(x: Tensor, mean: Tensor, sigma: Tensor | float, anchor: str) -> Tensor:
    """Gradient of the fluency term for x: of -log p(x_{t-1} | x_t) (``gaussian``), or the released form.

    ``released`` is the gradient of sum (x - mean)^2 / sigma: divided by the standard deviation, not by
    twice the variance.
    """
    return 2 * (x - mean) / sigma if anchor == "released" else (x - mean) / sigma**2


def frame_loss(
    x0: Callable[[Tensor], Tensor], known: Tensor, free: Tensor, sigma: float
) -> Callable[[Tensor], Tensor]:
    """The released length control: pulls the x_0 estimate to the known words' vectors, through the denoiser.

    Per text: sum over known places and dimensions of (x0(x) - Emb(w))^2 / sigma.

    Args:
        x0: the denoiser's estimate at a point. known: wanted vectors [B, L, d]. free: [B, L].
    """

    def loss(x: Tensor) -> Tensor:
        misses = (x0(x) - known).square().sum(-1) / sigma
        return (misses * ~free).sum(1)

    return loss
