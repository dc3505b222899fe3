"""The Gaussian diffusion: forward q(x_t | x_0), posterior q(x_{t-1} | x_t, x_0), and coarser copies.

Steps are indexed 0..T-1 as in the original code: step 0 is the least noisy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat

import numpy as np
import torch
from torch import Tensor

from diffusion_lm.schedule import betas

TIME_SCALE = 1000  # the network reads step * 1000 / T, whatever T is


@dataclass(frozen=True)
class Process:
    """A discrete diffusion over the levels ``alpha_bar`` (float64 [T]) at network times ``time`` [T]."""

    alpha_bar: np.ndarray
    time: np.ndarray

    @classmethod
    def of(cls, schedule: str, steps: int) -> Process:
        """The process a model is trained on."""
        return cls(np.cumprod(1 - betas(schedule, steps)), np.arange(steps) * (TIME_SCALE / steps))

    def __len__(self) -> int:
        return len(self.alpha_bar)

    def at(self, indices: Sequence[int] | np.ndarray) -> Process:
        """The process that visits only these steps; noise levels and network times stay matched."""
        return Process(self.alpha_bar[np.asarray(indices)], self.time[np.asarray(indices)])

    def strided(self, steps: int, as_released: bool = False) -> Process:
        """``steps`` evenly spaced levels, the last one included: abar_{k(i+1)-1} with k = T / steps.

        ``as_released`` feeds the network the time ``i * 1000 / steps`` as the original's fresh schedule
        does; that is ``(k - 1) / T * 1000`` too early for its noise level.

        Raises:
            ValueError: ``steps`` exceeds T.
        """
        if not 1 <= steps <= len(self):
            raise ValueError(f"cannot take {steps} of {len(self)} diffusion steps")
        indices = -(-np.arange(1, steps + 1) * len(self) // steps) - 1  # rounded up, in whole numbers
        coarse = self.at(indices)
        return Process(coarse.alpha_bar, np.arange(steps) * (TIME_SCALE / steps)) if as_released else coarse

    @property
    def alpha_bar_prev(self) -> np.ndarray:
        """abar_{t-1}, with abar_{-1} = 1."""
        return np.append(1.0, self.alpha_bar[:-1])

    @property
    def beta(self) -> np.ndarray:
        """Variances of q(x_t | x_{t-1})."""
        return 1 - self.alpha_bar / self.alpha_bar_prev

    @property
    def posterior_variance(self) -> np.ndarray:
        """Variances of q(x_{t-1} | x_t, x_0)."""
        return self.beta * (1 - self.alpha_bar_prev) / (1 - self.alpha_bar)

    @property
    def posterior_log_variance(self) -> np.ndarray:
        """Logarithm of the posterior variance; entry 0 (variance 0) repeats entry 1."""
        variance = self.posterior_variance
        return np.log(np.append(variance[1] if len(variance) > 1 else variance[0], variance[1:]))

    @property
    def posterior_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights of x_0 and x_t in the posterior mean (paper Section 4.2 / Appendix A)."""
        rest = 1 - self.alpha_bar
        x0 = self.beta * np.sqrt(self.alpha_bar_prev) / rest
        return x0, (1 - self.alpha_bar_prev) * np.sqrt(1 - self.beta) / rest

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise for steps ``t`` [B]; x0 and noise [B, L, d]."""
        return self._like(np.sqrt(self.alpha_bar), t, x0) * x0 + self._like(self.sigma, t, x0) * noise

    def posterior_mean(self, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0), [B, L, d]."""
        of_x0, of_x_t = self.posterior_weights
        return self._like(of_x0, t, x_t) * x0 + self._like(of_x_t, t, x_t) * x_t

    def eps_from_x0(self, x_t: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise that leads from ``x0`` to ``x_t``."""
        scale, offset = self._inverse(t, x_t)
        return (scale * x_t - x0) / offset

    def x0_from_eps(self, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_0 implied by predicted noise (the epsilon parametrisation)."""
        scale, offset = self._inverse(t, x_t)
        return scale * x_t - offset * eps

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation sqrt(1 - abar_t) of the noise in x_t."""
        return np.sqrt(1 - self.alpha_bar)

    def _inverse(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        inverse = 1 / self.alpha_bar
        return self._like(np.sqrt(inverse), t, like), self._like(np.sqrt(inverse - 1), t, like)

    def _like(self, values: np.ndarray, t: Tensor, like: Tensor) -> Tensor:
        chosen = torch.as_tensor(values, dtype=torch.float32)[t.cpu()].to(like.device)
        return chosen.view(-1, *[1] * (like.dim() - 1))


def released_steps(total: int, sections: str) -> list[int]:
    """Steps that the original's respacing keeps of ``total`` (``space_timesteps``), for :meth:`Process.at`.

    ``"ddim200"`` takes 200 steps at one whole stride from step 0. ``"10,15,20"`` cuts the steps into three
    equal parts and spreads 10, 15 and 20 steps over them, both ends of a part included. The released scripts
    never use either: they build the schedule afresh (:meth:`Process.strided`).

    Raises:
        ValueError: the steps cannot be spaced so.
    """
    if sections.startswith("ddim"):
        wanted = int(sections.removeprefix("ddim"))
        for stride in range(1, total):
            if len(range(0, total, stride)) == wanted:
                return list(range(0, total, stride))
        raise ValueError(f"no whole stride takes {wanted} of {total} steps")
    counts = [int(count) for count in sections.split(",")]
    parts = np.array_split(np.arange(total), len(counts))
    pairs = zip(parts, counts, strict=True)
    return [int(part[place]) for part, count in pairs for place in _spread(len(part), count)]


def _spread(size: int, count: int) -> list[int]:
    """``count`` places of 0..size-1, ends included; sums of the stride are rounded, as in the original."""
    if count > size:
        raise ValueError(f"cannot take {count} of {size} steps")
    stride = (size - 1) / (count - 1) if count > 1 else 1.0
    return [round(place) for place in accumulate(repeat(stride, count - 1), initial=0.0)]
