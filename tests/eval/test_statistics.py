"""Intervals: coverage, determinism, and what happens when nothing varies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from eval.statistics import bootstrap_interval, target_means, wilson_interval


def test_target_means_weigh_targets_equally() -> None:
    values, groups = np.array([0.0, 100, 100, 100, 100]), np.array(["b", "a", "a", "a", "a"])
    assert target_means(values, groups).tolist() == [100, 0]


def test_the_interval_covers_the_truth_in_95_of_100_cases() -> None:
    """Targets differ in difficulty, samples of a target depend on one another: 60 targets x 4 samples."""
    generator = np.random.default_rng(7)
    groups = np.repeat(np.arange(60), 4)
    covered = 0
    for trial in range(1000):
        difficulty = generator.beta(3, 2, 60)  # mean 0.6
        values = 100.0 * (generator.random((60, 4)) < difficulty[:, None]).ravel()
        low, high = bootstrap_interval(values, groups, seed=trial, resamples=500)
        covered += low <= 60 <= high
    assert 930 <= covered <= 970


def test_resampling_samples_instead_of_targets_would_be_too_narrow() -> None:
    values = np.repeat([0.0, 100.0] * 10, 50)
    low, high = bootstrap_interval(values, np.repeat(np.arange(20), 50), seed=0)
    assert high - low > 30  # 2 x 1.96 x 50 / sqrt(20) = 44; over samples it would be 6


def test_the_same_seed_gives_the_same_interval() -> None:
    values, groups = np.random.default_rng(0).normal(size=200), np.repeat(np.arange(40), 5)
    first = bootstrap_interval(values, groups, seed=3)
    assert first == bootstrap_interval(values, groups, seed=3)
    assert first != bootstrap_interval(values, groups, seed=4)


def test_the_order_of_samples_and_targets_does_not_matter() -> None:
    values, groups = np.arange(40.0), np.repeat(np.arange(8), 5)
    shuffle = np.random.default_rng(1).permutation(40)
    expected = bootstrap_interval(values, groups, seed=0)
    assert bootstrap_interval(values[shuffle], groups[shuffle], seed=0) == pytest.approx(expected)


def test_the_interval_of_a_normal_mean_has_the_textbook_width() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(values, np.arange(400), seed=0)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)
    narrow = bootstrap_interval(values, np.arange(400), seed=0, level=0.5)
    assert low < narrow[0] < values.mean() < narrow[1] < high


def test_a_transform_maps_both_ends() -> None:
    values, groups = np.random.default_rng(0).normal(2, 0.5, 100), np.arange(100)
    low, high = bootstrap_interval(values, groups, seed=0)
    assert bootstrap_interval(values, groups, seed=0, transform=np.exp) == (math.exp(low), math.exp(high))


@pytest.mark.parametrize("value", [100.0, 0.0, 40.0])
def test_equal_targets_of_a_bounded_score_get_a_wilson_interval(value: float) -> None:
    low, high = bootstrap_interval(np.full(50, value), np.repeat(np.arange(25), 2), seed=0, largest=100.0)
    exact = binomtest(round(value / 4), 25).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((100 * exact.low, 100 * exact.high))
    assert 0 <= low < high <= 100


def test_equal_targets_of_an_unbounded_score_have_no_interval() -> None:
    low, high = bootstrap_interval(np.full(6, 1.7), np.arange(6), seed=0, transform=np.exp)
    assert math.isnan(low) and math.isnan(high)


def test_rounding_noise_does_not_count_as_variation() -> None:
    values = np.array([0.1 + 0.2, 0.3])
    assert math.isnan(bootstrap_interval(values, np.arange(2), seed=0)[0])


@pytest.mark.parametrize(("share", "n"), [(0.0, 1), (1.0, 200), (0.3, 10), (0.5, 79)])
def test_wilson_equals_scipy(share: float, n: int) -> None:
    expected = binomtest(round(share * n), n).proportion_ci(method="wilson")
    assert wilson_interval(round(share * n) / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_bad_input_is_an_error() -> None:
    with pytest.raises(ValueError, match="values and groups: 3 against 2"):
        bootstrap_interval(np.zeros(3), np.zeros(2), seed=0)
    with pytest.raises(ValueError, match="finite"):
        bootstrap_interval(np.array([1.0, np.nan]), np.arange(2), seed=0)
    with pytest.raises(ValueError, match="no values"):
        target_means(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="not a share"):
        wilson_interval(83.5, 200)
    with pytest.raises(ValueError, match="not a share"):
        wilson_interval(0.5, 0)
