"""Intervals: coverage, determinism, and what happens when nothing varies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, binomtest, ttest_1samp

from eval.statistics import (
    Bounds,
    effective_targets,
    mean_interval,
    seed_deviations,
    seed_means,
    share_interval,
    target_means,
    wilson_interval,
)


def coverage(rate: float, targets: int, samples: int, trials: int) -> float:
    """How often the interval of a success rate covers it, with targets' own rates from a Beta distribution.

    Resamples come from four seeds, whose draws are kept.
    """
    generator = np.random.default_rng([round(1000 * rate), targets, samples])
    groups, covered = np.repeat(np.arange(targets), samples), 0
    for trial, chance in enumerate(generator.beta(3 * rate, 3 * (1 - rate), (trials, targets, 1))):
        values = 100.0 * (generator.random((targets, samples)) < chance).ravel()
        low, high, _ = mean_interval(values, groups, trial % 4, largest=100.0)
        covered += low - 1e-9 <= 100 * rate <= high + 1e-9
    return covered / trials


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_intervals_of_200_targets_cover_in_95_of_100_cases(rate: float) -> None:
    assert coverage(rate, 200, 5, trials=1500) == pytest.approx(0.95, abs=0.015)


def test_intervals_of_one_outcome_per_target_cover_in_95_of_100_cases() -> None:
    """No simulation: whichever number of 200 targets succeeds, with its binomial probability."""
    successes, groups = np.arange(201), np.arange(200)
    outcomes = [100.0 * (groups < number) for number in successes]
    low, high = np.array([mean_interval(values, groups, 0, largest=100.0)[:2] for values in outcomes]).T
    for rate in (0.1, 0.3, 0.5, 0.7, 0.9):
        covers = (low - 1e-9 <= 100 * rate) & (100 * rate <= high + 1e-9)
        assert binom.pmf(successes, 200, rate)[covers].sum() == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("targets", "rates"), [(200, (0.01, 0.02, 0.99)), (100, (0.02, 0.9)), (25, (0.1, 0.5, 0.8))]
)
def test_intervals_of_few_targets_and_of_extreme_rates_do_not_cover_less(
    targets: int, rates: tuple[float, ...]
) -> None:
    """Means of five samples; the bootstrap would cover 87 to 95 % of these cases."""
    for rate in rates:
        assert 0.935 <= coverage(rate, targets, 5, trials=800) <= 0.99


def test_drawing_samples_anew_as_well_would_count_their_noise_twice() -> None:
    generator = np.random.default_rng(0)
    means = generator.binomial(5, generator.beta(1.5, 1.5, 200)) / 5
    low, high, _ = mean_interval(means, np.arange(200), seed=0)
    drawn = means[np.random.default_rng(0).integers(200, size=(2000, 200))]
    twice = np.quantile(generator.binomial(5, drawn).mean(axis=1) / 5, [0.025, 0.975])
    assert 1.08 < np.ptp(twice) / (high - low) < 1.2  # 1.14 expected


def test_one_success_or_failure_per_target_gets_scipys_wilson_interval_where_targets_are_few() -> None:
    values = np.repeat([100.0, 0.0], [9, 31])
    found = mean_interval(values, np.arange(40), seed=0, largest=100.0)
    exact = binomtest(9, 40).proportion_ci(method="wilson")
    assert found[:2] == pytest.approx((100 * exact.low, 100 * exact.high))
    assert found.note == "Wilson interval: fewer than 50 targets; conditioned on 1 training seed"


@pytest.mark.parametrize(
    ("successes", "targets", "reason"),
    [
        (30, 60, ""),
        (10, 60, ""),
        (50, 60, ""),
        (9, 60, "near 0"),
        (51, 60, "near 0"),
        (60, 60, "all"),
    ],
)
def test_which_interval_is_used_and_why(successes: int, targets: int, reason: str) -> None:
    values = np.repeat([100.0, 0.0], [successes, targets - successes])
    found = mean_interval(values, np.arange(targets), seed=0, largest=100.0)
    assert found.note.startswith(f"Wilson interval: {reason}" if reason else "conditioned on 1 training seed")
    assert found.low < 100 * successes / targets <= found.high + 1e-9


def test_effective_targets_lie_between_targets_and_samples() -> None:
    generator = np.random.default_rng(0)
    assert effective_targets(np.repeat([0.0, 1.0], [30, 70]), 100) == pytest.approx(100)
    assert effective_targets(np.ones(100), 500) == 100.0  # nothing is known of how samples vary
    alike = generator.binomial(5, 0.4, 400) / 5  # all targets equally hard: each sample tells as much
    assert 1800 < effective_targets(alike, 2000) <= 2000
    known = generator.binomial(5, generator.integers(2, size=400)) / 5  # a target's samples are all the same
    assert effective_targets(known, 2000) == pytest.approx(400, rel=0.01)
    half = effective_targets(generator.binomial(5, generator.beta(1, 1, 4000)) / 5, 20000)
    assert half == pytest.approx(4000 * 5 / (1 + 4 / 3), rel=0.06)  # design effect 1 + (k - 1) ICC (Kish)


def test_graded_scores_near_their_bound_get_an_interval_within_it() -> None:
    values = 100 * np.random.default_rng(0).beta(9.8, 0.2, 25)
    low, high, note = mean_interval(values, np.arange(25), seed=0, largest=100.0)
    assert note.startswith("Wilson interval") and low < values.mean() < high <= 100
    assert (low, high) == share_interval(values, np.arange(25), 100.0)


def test_few_unbounded_scores_get_students_width() -> None:
    values = np.random.default_rng(3).normal(size=12)
    low, high, _ = mean_interval(values, np.arange(12), seed=0)
    exact = ttest_1samp(values, 0).confidence_interval()
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=0.06 * (exact.high - exact.low))
    shown = mean_interval(values, np.arange(12), seed=0, transform=np.exp)
    assert shown[:2] == pytest.approx((math.exp(low), math.exp(high)))
    assert math.isnan(mean_interval(np.ones(4), np.arange(4), seed=0).low)


def with_seeds(generator: np.random.Generator, seeds: int, spread: float) -> tuple[np.ndarray, ...]:
    """Normal scores around 0 of 200 targets: standard deviations of targets 32, of samples 39, of seeds."""
    target, seed = generator.normal(0, 32, (1, 200)), generator.normal(0, spread, (seeds, 1))
    values = target + seed + generator.normal(0, 39, (seeds, 200))
    rows, columns = np.indices(values.shape)
    return values.ravel(), columns.ravel(), rows.ravel()


@pytest.mark.parametrize(("seeds", "spread"), [(5, 0.0), (5, 3.0), (5, 10.0), (10, 10.0)])
def test_intervals_over_training_seeds_cover_too(seeds: int, spread: float) -> None:
    generator, covered = np.random.default_rng(seeds), 0
    for trial in range(500):
        values, groups, trained = with_seeds(generator, seeds, spread)
        low, high, note = mean_interval(values, groups, trial % 4, trained)
        covered += low <= 0 <= high
    assert note == f"over targets and {seeds} training seeds"
    assert 0.93 <= covered / 500 <= 0.975


def test_fewer_than_five_training_seeds_are_taken_as_given() -> None:
    values, groups, seeds = with_seeds(np.random.default_rng(0), 4, 30.0)
    without = mean_interval(values, groups, 0)
    assert mean_interval(values, groups, 0, seeds) == without._replace(note="conditioned on 4 training seeds")
    five = with_seeds(np.random.default_rng(0), 5, 30.0)
    assert np.diff(mean_interval(*five[:2], 0, five[2])[:2]) > 3 * np.diff(without[:2])


def test_training_seeds_that_differ_by_noise_only_add_nothing() -> None:
    values, groups, seeds = with_seeds(np.random.default_rng(3), 5, 0.0)
    means = seed_means(values, groups, seeds)
    assert means.shape == (5, 200) and means[2, 7] == values[2 * 200 + 7]
    assert (seed_deviations(means) == 0).all()
    plain: Bounds = mean_interval(values, groups, 0)
    assert mean_interval(values, groups, 0, seeds)[:2] == pytest.approx(plain[:2])


def test_target_means_weigh_targets_equally() -> None:
    values, groups = np.array([0.0, 100, 100, 100, 100]), np.array(["b", "a", "a", "a", "a"])
    assert target_means(values, groups).tolist() == [100, 0]


def interval(*arguments: Any, **options: Any) -> tuple[float, float]:
    found = mean_interval(*arguments, **options)
    return found.low, found.high


def test_the_interval_covers_the_truth_in_95_of_100_cases() -> None:
    """Targets differ in difficulty, samples of a target depend on one another: 60 targets x 4 samples."""
    generator = np.random.default_rng(7)
    groups = np.repeat(np.arange(60), 4)
    covered = 0
    for trial in range(1000):
        difficulty = generator.beta(3, 2, 60)  # mean 0.6
        values = 100.0 * (generator.random((60, 4)) < difficulty[:, None]).ravel()
        low, high = interval(values, groups, seed=trial)
        covered += low <= 60 <= high
    assert 930 <= covered <= 970


def test_resampling_samples_instead_of_targets_would_be_too_narrow() -> None:
    values = np.repeat([0.0, 100.0] * 10, 50)
    low, high = interval(values, np.repeat(np.arange(20), 50), seed=0)
    assert high - low > 30  # 2 x 1.96 x 50 / sqrt(20) = 44; over samples it would be 6


def test_the_same_seed_gives_the_same_interval() -> None:
    values, groups = np.random.default_rng(0).normal(size=200), np.repeat(np.arange(40), 5)
    first = interval(values, groups, seed=3)
    assert first == interval(values, groups, seed=3)
    assert first != interval(values, groups, seed=4)


def test_the_order_of_samples_and_targets_does_not_matter() -> None:
    values, groups = np.arange(40.0), np.repeat(np.arange(8), 5)
    shuffle = np.random.default_rng(1).permutation(40)
    expected = interval(values, groups, seed=0)
    assert interval(values[shuffle], groups[shuffle], seed=0) == pytest.approx(expected)


def test_the_interval_of_a_normal_mean_has_the_textbook_width() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = interval(values, np.arange(400), seed=0)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)
    narrow = interval(values, np.arange(400), seed=0, level=0.5)
    assert low < narrow[0] < values.mean() < narrow[1] < high


def test_a_transform_maps_both_ends() -> None:
    values, groups = np.random.default_rng(0).normal(2, 0.5, 100), np.arange(100)
    low, high = interval(values, groups, seed=0)
    assert interval(values, groups, seed=0, transform=np.exp) == (math.exp(low), math.exp(high))


@pytest.mark.parametrize("value", [100.0, 0.0, 40.0])
def test_equal_targets_of_a_bounded_score_get_a_wilson_interval(value: float) -> None:
    low, high = interval(np.full(50, value), np.repeat(np.arange(25), 2), seed=0, largest=100.0)
    exact = binomtest(round(value / 4), 25).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((100 * exact.low, 100 * exact.high))
    assert 0 <= low < high <= 100


def test_equal_targets_of_an_unbounded_score_have_no_interval() -> None:
    low, high = interval(np.full(6, 1.7), np.arange(6), seed=0, transform=np.exp)
    assert math.isnan(low) and math.isnan(high)


def test_rounding_noise_does_not_count_as_variation() -> None:
    values = np.array([0.1 + 0.2, 0.3])
    assert math.isnan(interval(values, np.arange(2), seed=0)[0])


@pytest.mark.parametrize(("share", "n"), [(0.0, 1), (1.0, 200), (0.3, 10), (0.5, 79)])
def test_wilson_equals_scipy(share: float, n: int) -> None:
    expected = binomtest(round(share * n), n).proportion_ci(method="wilson")
    assert wilson_interval(round(share * n) / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_bad_input_is_an_error() -> None:
    with pytest.raises(ValueError, match="values and groups: 3 against 2"):
        interval(np.zeros(3), np.zeros(2), seed=0)
    with pytest.raises(ValueError, match="finite"):
        interval(np.array([1.0, np.nan]), np.arange(2), seed=0)
    with pytest.raises(ValueError, match="no values"):
        target_means(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="not a share"):
        wilson_interval(83.5, 200)
    with pytest.raises(ValueError, match="not a share"):
        wilson_interval(0.5, 0)
