"""Tests between two methods that wrote to the same targets.

All are paired by target: what makes a target hard for one method mostly makes it hard for the other, so the
differences on single targets say more than two intervals side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit

from eval.statistics import (
    ENOUGH_SEEDS,
    FEW_OUTCOMES,
    LEVEL,
    NAN,
    Bounds,
    Interval,
    Transform,
    conditioned,
    count_seeds,
    is_degenerate,
    resample_means,
    resample_seeds,
    seed_means,
    share_interval,
    student_tails,
    target_draws,
    target_means,
)

PERMUTATIONS = 10_000
BLOCK = 1000  # permutations at a time, which bounds memory
POWER = 0.8
MCNEMAR, PERMUTATION = "McNemar's exact test", "permutation test"
STUDENT, EQUAL = "t-test over targets and training seeds", "none: equal"

Metric = Callable[[np.ndarray], np.ndarray]


class Scores(NamedTuple):
    """A metric of one method's texts: value, target and training seed (one if None) of each, [samples]."""

    values: np.ndarray
    targets: np.ndarray
    training_seeds: np.ndarray | None = None


class Difference(NamedTuple):
    """How much a method differs from another; NaN is absent.

    ``low`` and ``high`` bound the 95 % interval, ``p`` is two-sided and not corrected for other
    comparisons, ``detectable`` is the smallest difference that is found with 80 % power at 5 %.
    """

    value: float
    low: float
    high: float
    p: float
    test: str
    detectable: float
    note: str


class _Error(NamedTuple):
    """Standard error of a difference and its degrees of freedom."""

    size: float
    freedom: float


def paired_difference(
    ours: Scores,
    theirs: Scores,
    seed: int,
    transform: Transform | None = None,
    largest: float | None = None,
    same_texts: bool = True,
) -> Difference:
    """Ours minus theirs, of the mean over targets of the mean over samples.

    The interval is a bootstrap over targets, the same for both, with tails of Student's t. Where fewer than
    10 targets differ it covers too little (25 targets, rates of 0.95 and 0.9: 89 %), and scores from 0 to
    ``largest`` get :func:`newcombe_interval`. The p-value comes from :func:`mcnemar_p` where both have one
    success or failure per target, else from :func:`permutation_p` of the target means. If both have five
    training seeds or more, interval and p-value are over those too.

    Args:
        ours: of the targets of ``theirs``, in any order and with any number of samples.
        theirs: what it is compared with.
        seed: of the draws.
        transform: of the means, e.g. ``np.exp`` for a perplexity; must increase. The test is on the means
            themselves, the differences are of what it makes of them.
        largest: upper bound of a score whose lower bound is 0 (100 for percent), if it has one.
        same_texts: what equal scores on all targets mean: that both are the same texts, so that the
            difference is 0 without doubt, or else that different texts scored alike.

    Raises:
        ValueError: unlike targets, or as :func:`eval.statistics.mean_interval`.
    """
    _require_same_targets(ours.targets, theirs.targets)
    first, second = (target_means(scores.values, scores.targets) for scores in (ours, theirs))
    if same_texts and not _differ(first, second).any():
        return _equal(conditioned(*_seeds(ours, theirs)))
    shown = transform or _itself
    value = float(shown(first.mean()) - shown(second.mean()))
    low, high, note = _bounds(ours, theirs, seed, shown, largest)
    error = _standard_error(ours, theirs)
    p, test = _p_value(ours, theirs, seed, error, largest)
    detectable = float(shown(second.mean() + detectable_difference(*error)) - shown(second.mean()))
    return Difference(value, low, high, p, test, detectable, note)


def corpus_difference(
    ours: np.ndarray, theirs: np.ndarray, metric: Metric, seed: int, training_seeds: tuple[int, int] = (1, 1)
) -> Difference:
    """Ours minus theirs, of a metric of statistics that are summed over targets, such as BLEU.

    Bootstrap over targets and :func:`permutation_p` as in :func:`paired_difference`, with the same draws.

    Args:
        ours: statistics of each target, [targets, statistics].
        theirs: the same of the same targets, in the same order.
        metric: from sums to values, [..., statistics] -> [...].
        seed: of the draws.
        training_seeds: number of models that wrote the texts, which are taken as given.

    Raises:
        ValueError: unlike shapes.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"statistics of {ours.shape} against {theirs.shape}")
    if not _differ(ours, theirs).any():
        return _equal(conditioned(*training_seeds))
    value = float(metric(ours.sum(axis=0)) - metric(theirs.sum(axis=0)))
    p = permutation_p(ours, theirs, metric, seed)
    times = target_draws(len(ours), seed)
    resampled = metric(times @ ours) - metric(times @ theirs)
    if is_degenerate(resampled):
        note = f"no interval: all resamples equal; {conditioned(*training_seeds)}"
        return Difference(value, NAN, NAN, p, PERMUTATION, NAN, note)
    low, high = np.quantile(resampled, student_tails(len(ours)))
    detectable = detectable_difference(float(resampled.std()), len(ours) - 1)
    note = conditioned(*training_seeds)
    return Difference(value, float(low), float(high), p, PERMUTATION, detectable, note)


def mcnemar_p(ours_only: np.ndarray, theirs_only: np.ndarray) -> float:
    """Two-sided p-value of McNemar's exact test (McNemar 1947).

    Args:
        ours_only: whether ours succeeded and theirs failed, [targets].
        theirs_only: the other way round, [targets].
    """
    wins, losses = int(np.sum(ours_only)), int(np.sum(theirs_only))
    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def permutation_p(
    ours: np.ndarray, theirs: np.ndarray, metric: Metric, seed: int, permutations: int = PERMUTATIONS
) -> float:
    """Two-sided p-value of the difference of a metric if the methods' names were swapped on any targets.

    Targets on which both are equal are left alone. Where the others can be swapped in fewer than
    ``permutations`` ways, all are tried, and the p-value is exact; else some are drawn, and what was
    observed counts as one of them (Phipson & Smyth 2010).

    Args:
        ours: statistics of each target, [targets, statistics].
        theirs: the same of the same targets, in the same order.
        metric: from sums to values, [..., statistics] -> [...].
        seed: of the draws.
        permutations: how many.
    """
    differ = _differ(ours, theirs)
    first, both = ours.sum(axis=0), ours.sum(axis=0) + theirs.sum(axis=0)
    exact = 2 ** int(differ.sum()) < permutations
    swapped = differ if exact else np.ones_like(differ)
    changes = (theirs - ours)[swapped]

    def difference(swaps: np.ndarray) -> np.ndarray:
        sums = first + swaps.astype(float) @ changes
        return np.abs(metric(sums) - metric(both - sums))

    observed = float(difference(np.zeros((1, len(changes))))[0])
    swaps = _all_swaps(len(changes)) if exact else _some_swaps(len(changes), seed, permutations)
    blocks = [swaps[start : start + BLOCK] for start in range(0, len(swaps), BLOCK)]
    found = np.concatenate([difference(block) for block in blocks])
    reached = int((found >= observed - 1e-9 * found.max()).sum())  # equal but for rounding is equal
    return reached / len(found) if exact else (reached + 1) / (permutations + 1)


def newcombe_interval(ours: Scores, theirs: Scores, largest: float, level: float = LEVEL) -> Interval:
    """Interval of a paired difference of scores from 0 to ``largest`` (Newcombe 1998).

    It combines the distances of both means to the ends of their Wilson intervals.
    """
    first, second = (target_means(scores.values, scores.targets) for scores in (ours, theirs))
    constant = is_degenerate(first) or is_degenerate(second)
    correlation = 0.0 if constant else float(np.corrcoef(first, second)[0, 1])
    low, high = share_interval(ours.values, ours.targets, largest, level)
    their_low, their_high = share_interval(theirs.values, theirs.targets, largest, level)
    mean, their_mean = float(first.mean()), float(second.mean())

    def distance(one: float, other: float) -> float:
        return max(0.0, one**2 - 2 * correlation * one * other + other**2) ** 0.5

    value = mean - their_mean
    return (
        value - distance(mean - low, their_high - their_mean),
        value + distance(high - mean, their_mean - their_low),
    )


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values corrected for being a family of comparisons (Holm 1979); NaN is no comparison and stays."""
    corrected = np.full(len(p_values), NAN)
    compared = np.flatnonzero(~np.isnan(p_values))
    order = compared[np.argsort(p_values[compared], kind="stable")]
    times = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(times * p_values[order]))
    return corrected


def detectable_difference(error: float, freedom: float, power: float = POWER, level: float = LEVEL) -> float:
    """Smallest true difference that a two-sided test finds with this power; NaN without an error to go by.

    Args:
        error: standard error of the difference: for n pairs the standard deviation of their differences
            over the root of n.
        freedom: its degrees of freedom, n - 1.
        power: how often it is found.
        level: 1 minus the share of differences found where there are none.
    """
    if not error > 0:
        return NAN
    return error * float(stdtrit(freedom, (1 + level) / 2) + stdtrit(freedom, power))


def detectable_against_alike(scores: Scores) -> float:
    """:func:`detectable_difference` to a method that is as noisy and finds other targets hard.

    Where both find the same targets hard, smaller differences are found.
    """
    means = target_means(scores.values, scores.targets)
    if len(means) < 2:
        return NAN
    return detectable_difference((2 * means.var(ddof=1) / len(means)) ** 0.5, len(means) - 1)


def _equal(note: str) -> Difference:
    return Difference(0.0, 0.0, 0.0, 1.0, EQUAL, NAN, f"equal on all targets; {note}")


def _differ(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """On which targets two methods differ by more than rounding, [targets]."""
    unlike = ~np.isclose(first, second, rtol=1e-9, atol=1e-12)
    return unlike if unlike.ndim == 1 else unlike.any(axis=1)


def _require_same_targets(ours: np.ndarray, theirs: np.ndarray) -> None:
    unlike = np.setxor1d(ours, theirs)
    if len(unlike):
        raise ValueError(f"{len(unlike)} targets have texts of one method only, such as {unlike[0]}")


def _seeds(ours: Scores, theirs: Scores) -> tuple[int, int]:
    return count_seeds(ours.training_seeds), count_seeds(theirs.training_seeds)


def _seed_means(ours: Scores, theirs: Scores) -> list[np.ndarray]:
    """Of both methods if both have enough training seeds to draw them anew, else none, [seeds, targets]."""
    if min(_seeds(ours, theirs)) < ENOUGH_SEEDS:
        return []
    return [seed_means(of.values, of.targets, np.asarray(of.training_seeds)) for of in (ours, theirs)]


def _bounds(ours: Scores, theirs: Scores, seed: int, shown: Transform, largest: float | None) -> Bounds:
    """The interval of :func:`paired_difference`."""
    first, second = (target_means(scores.values, scores.targets) for scores in (ours, theirs))
    counts, alike = _seeds(ours, theirs), is_degenerate(first - second)
    if largest is not None and (alike or _differ(first, second).sum() < FEW_OUTCOMES):
        note = f"Newcombe interval: few targets differ; {conditioned(*counts)}"
        return Bounds(*newcombe_interval(ours, theirs, largest), note)
    if alike:
        return Bounds(NAN, NAN, f"no interval: all targets differ alike; {conditioned(*counts)}")
    resampled = [resample_means(means, seed) for means in (first, second)]
    over_seeds = _seed_means(ours, theirs)
    for method, means in enumerate(over_seeds):  # models of two methods have nothing in common
        resampled[method] += resample_seeds(means, (seed, method), LEVEL)
    low, high = np.quantile(shown(resampled[0]) - shown(resampled[1]), student_tails(len(first)))
    note = f"over targets and {min(counts)} training seeds" if over_seeds else conditioned(*counts)
    return Bounds(float(low), float(high), note)


def _p_value(
    ours: Scores, theirs: Scores, seed: int, error: _Error, largest: float | None
) -> tuple[float, str]:
    """The p-value of :func:`paired_difference` and the test that it is of."""
    first, second = (target_means(scores.values, scores.targets) for scores in (ours, theirs))
    if min(_seeds(ours, theirs)) >= ENOUGH_SEEDS and error.size > 0:
        size = abs(float((first - second).mean())) / error.size
        return 2 * float(stdtr(error.freedom, -size)), STUDENT
    if largest is not None and _one_outcome_each(ours, theirs, largest):
        return mcnemar_p(first > second, second > first), MCNEMAR
    return permutation_p(first[:, None], second[:, None], _only, seed), PERMUTATION


def _one_outcome_each(ours: Scores, theirs: Scores, largest: float) -> bool:
    """Whether both have one success or failure per target."""
    targets = len(np.unique(ours.targets))
    values = np.concatenate([ours.values, theirs.values])
    one_each = len(ours.values) == len(theirs.values) == targets
    return one_each and bool(np.isin(values, [0, largest]).all())


def _standard_error(ours: Scores, theirs: Scores) -> _Error:
    """Of the mean of target differences, and over training seeds where both have enough.

    Degrees of freedom of several variances together are those of Satterthwaite (1946).
    """
    first, second = (target_means(scores.values, scores.targets) for scores in (ours, theirs))
    units = [first - second, *(means.mean(axis=1) for means in _seed_means(ours, theirs))]
    if len(first) < 2:
        return _Error(NAN, NAN)
    parts = [(float(unit.var(ddof=1)) / len(unit), len(unit) - 1) for unit in units]
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return _Error(0.0, NAN)
    return _Error(variance**0.5, variance**2 / sum(part**2 / freedom for part, freedom in parts))


def _all_swaps(targets: int) -> np.ndarray:
    return np.arange(2**targets)[:, None] >> np.arange(targets) & 1


@lru_cache(maxsize=4)
def _some_swaps(targets: int, seed: int, permutations: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, size=(permutations, targets), dtype=np.int8)


def _only(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0]


def _itself(means: np.ndarray) -> np.ndarray:
    return means
