"""Noise schedules (paper Appendix A; Ho et al. 2020 for linear; Nichol and Dhariwal 2021 for cosine)."""

from __future__ import annotations

import math

import numpy as np

OFFSET = 1e-4  # s of Appendix A: the first step of the printed formula has standard deviation 0.1
LARGEST_BETA = 0.999


def betas(name: str, steps: int) -> np.ndarray:
    """Variances beta_t of q(x_t | x_{t-1}) for t = 1..T, as float64 [steps].

    ``sqrt`` and ``cosine`` discretise a continuous alpha_bar(u), u in [0, 1], by
    beta_i = min(1 - alpha_bar((i + 1) / T) / alpha_bar(i / T), 0.999), as the original code does.

    Raises:
        KeyError: an unknown schedule.
    """
    if name == "linear":
        return np.linspace(0.1, 20, steps) / steps
    alpha_bar = _ALPHA_BAR[name]
    i = range(steps)
    return np.array([min(1 - alpha_bar((k + 1) / steps) / alpha_bar(k / steps), LARGEST_BETA) for k in i])


def _sqrt(u: float) -> float:
    return 1 - math.sqrt(u + OFFSET)


def _cosine(u: float) -> float:
    return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2


_ALPHA_BAR = {"sqrt": _sqrt, "cosine": _cosine}
