"""Intervals over targets.

A score is the mean over targets of the mean over a target's samples (paper section 6.2). The target is the
unit that would be drawn anew, and samples of one target resemble each other, so targets are resampled.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from eval.guards import require_same_length

Interval = tuple[float, float]


def target_means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean of the values of each group, in the order of the sorted group labels, [groups].

    Raises:
        ValueError: different lengths, no values, or a value that is not finite.
    """
    require_same_length(values, groups, "values and groups")
    if not len(values):
        raise ValueError("no values")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.bincount(index, weights=values) / sizes


def bootstrap_interval(
    values: np.ndarray,
    groups: np.ndarray,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
    largest: float | None = None,
) -> Interval:
    """Percentile bootstrap interval of the mean over targets of the mean over samples.

    When all targets have the same mean every resample is the same, and the bootstrap would claim an
    interval of no width. Bounded scores then get :func:`wilson_interval`, which is wider than needed where
    a target's mean is no plain success or failure; for others nothing honest can be said: both ends are NaN.

    Args:
        values: one score per sample, [samples].
        groups: the target of each sample, [samples].
        seed: equal seeds draw equal targets, so methods scored on the same targets stay paired.
        resamples: number of bootstrap resamples.
        level: coverage aimed at, between 0 and 1.
        transform: applied to the mean, e.g. ``np.exp`` for a perplexity; must not decrease.
        largest: upper bound of a score whose lower bound is 0 (100 for percent), if it has one.

    Raises:
        ValueError: as :func:`target_means`.
    """
    means = target_means(values, groups)
    if is_degenerate(means):
        return _degenerate_interval(means, level, largest)
    draws = np.random.default_rng(seed).integers(len(means), size=(resamples, len(means)))
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(means[draws].mean(axis=1), tails)
    return (float(low), float(high)) if transform is None else (float(transform(low)), float(transform(high)))


def is_degenerate(means: np.ndarray) -> bool:
    """Whether all target means are equal up to rounding, so that resampling them shows no spread."""
    return bool(np.ptp(means) <= 1e-12 * max(1.0, float(np.abs(means).max())))


def wilson_interval(successes_mean: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for a share of successes (0 to 1) among ``n`` targets (Wilson 1927).

    Raises:
        ValueError: a share outside 0 to 1, or no targets.
    """
    if not 0 <= successes_mean <= 1 or n < 1:
        raise ValueError(f"not a share of targets: {successes_mean} of {n}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = successes_mean + z**2 / (2 * n)
    half = z * (successes_mean * (1 - successes_mean) / n + z**2 / (4 * n**2)) ** 0.5
    scale = 1 + z**2 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _degenerate_interval(means: np.ndarray, level: float, largest: float | None) -> Interval:
    if largest is None:
        return float("nan"), float("nan")
    low, high = wilson_interval(float(means[0]) / largest, len(means), level)
    return low * largest, high * largest
