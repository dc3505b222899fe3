"""Tests between methods: goldens, what identity means, and simulations of error rates and power."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control, permutation_test, ttest_rel

from eval.comparison import (
    EQUAL,
    MCNEMAR,
    PERMUTATION,
    STUDENT,
    Scores,
    corpus_difference,
    detectable_against_alike,
    detectable_difference,
    holm,
    mcnemar_p,
    newcombe_interval,
    paired_difference,
    permutation_p,
)
from eval.infilling import bleu_resamples, bleu_statistics, corpus_bleu
from eval.statistics import seed_means, student_tails, wilson_interval


def total(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0]


def simulated(seed: int, targets: int, samples: int, rates: tuple[float, float] = (0.6, 0.5)) -> list[Scores]:
    """Successes and failures of two methods that find the same targets hard, 0 or 100."""
    generator = np.random.default_rng(seed)
    ease = generator.beta(2, 2, targets)
    groups = np.repeat(np.arange(targets), samples)
    exponents = [math.log(rate) / math.log(0.5) for rate in rates]
    chances = [np.repeat(ease**exponent, samples) for exponent in exponents]
    return [Scores(100.0 * (generator.random(len(groups)) < chance), groups) for chance in chances]


def counts_of_texts(texts: list[str], references: list[str]) -> np.ndarray:
    pairs = zip(texts, references, strict=True)
    return np.stack([bleu_statistics(text, [reference]) for text, reference in pairs])


def story_statistics(targets: int) -> tuple[np.ndarray, np.ndarray]:
    """BLEU statistics of two methods, the first of which keeps more words of the reference."""
    generator = np.random.default_rng(5)
    words = [f"w{i}" for i in range(12)]
    references = [list(generator.choice(words, 9)) for _ in range(targets)]

    def noisy(share: float) -> list[str]:
        return [
            " ".join(word if generator.random() > share else generator.choice(words) for word in reference)
            for reference in references
        ]

    told = [" ".join(reference) for reference in references]
    return counts_of_texts(noisy(0.2), told), counts_of_texts(noisy(0.3), told)


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("seeds", [1, 5])
def test_a_method_does_not_differ_from_itself(samples: int, seeds: int) -> None:
    ours, _ = simulated(0, 40, samples * seeds)
    ours = ours._replace(training_seeds=np.tile(np.arange(seeds), 40 * samples))
    found = paired_difference(ours, ours, seed=0, largest=100.0)
    assert found[:5] == (0.0, 0.0, 0.0, 1.0, EQUAL)
    assert found.note.startswith("equal on all targets")
    statistics, _ = story_statistics(20)
    assert corpus_difference(statistics, statistics, corpus_bleu, seed=0)[:5] == (0.0, 0.0, 0.0, 1.0, EQUAL)


def test_different_texts_that_all_succeed_leave_doubt() -> None:
    perfect = Scores(np.full(25, 100.0), np.arange(25))
    found = paired_difference(perfect, perfect, seed=0, largest=100.0, same_texts=False)
    reach = 100 - 100 * wilson_interval(1.0, 25)[0]
    assert (found.value, found.low, found.high, found.p) == pytest.approx((0, -reach, reach, 1))


def test_order_of_texts_and_of_methods_does_not_matter() -> None:
    ours, theirs = simulated(1, 60, 5)
    found = paired_difference(ours, theirs, seed=2, largest=100.0)
    shuffle = np.random.default_rng(0).permutation(300)
    moved = Scores(ours.values[shuffle], ours.targets[shuffle])
    assert paired_difference(moved, theirs, seed=2, largest=100.0)[:4] == pytest.approx(found[:4])
    other_way = paired_difference(theirs, ours, seed=2, largest=100.0)
    assert other_way[:4] == pytest.approx((-found.value, -found.high, -found.low, found.p))
    assert found.value == pytest.approx(ours.values.mean() - theirs.values.mean())


def test_pairing_narrows_the_interval_of_methods_that_find_the_same_targets_hard() -> None:
    ours, theirs = simulated(3, 200, 5)
    paired = paired_difference(ours, theirs, seed=0, largest=100.0)
    elsewhere = theirs._replace(targets=np.repeat(np.random.default_rng(0).permutation(200), 5))
    unpaired = paired_difference(ours, elsewhere, seed=0, largest=100.0)
    assert paired.value == pytest.approx(unpaired.value)
    assert paired.high - paired.low < 0.85 * (unpaired.high - unpaired.low)
    assert paired.detectable < 0.85 * unpaired.detectable
    assert detectable_against_alike(ours) == pytest.approx(unpaired.detectable, rel=0.1)


def test_the_interval_of_normal_differences_is_that_of_the_paired_t_test() -> None:
    generator = np.random.default_rng(2)
    first, second = generator.normal(size=(2, 30))
    found = paired_difference(Scores(first, np.arange(30)), Scores(second, np.arange(30)), seed=0)
    low, high = ttest_rel(first, second).confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.04 * (high - low))
    assert found.p == pytest.approx(ttest_rel(first, second).pvalue, abs=0.02)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (0, 1), (7, 7), (3, 12), (40, 22)])
def test_mcnemar_is_scipys_binomial_test_of_wins_and_losses(wins: int, losses: int) -> None:
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    outcome = np.repeat([1, -1, 0], [wins, losses, 10])
    assert mcnemar_p(outcome == 1, outcome == -1) == pytest.approx(expected)


def test_one_outcome_per_target_gets_mcnemar_which_is_the_exact_permutation_test() -> None:
    ours, theirs = simulated(4, 30, 1)
    found = paired_difference(ours, theirs, seed=0, largest=100.0)
    assert found.test == MCNEMAR
    assert 0 < (ours.values != theirs.values).sum() <= 13  # so that all permutations are tried
    assert found.p == pytest.approx(permutation_p(ours.values[:, None], theirs.values[:, None], total, 0))
    graded = paired_difference(ours, theirs._replace(values=theirs.values * 0.9), seed=0, largest=100.0)
    assert graded.test == PERMUTATION
    assert paired_difference(*simulated(4, 30, 2), seed=0, largest=100.0).test == PERMUTATION


@pytest.mark.parametrize("targets", [6, 13])
def test_few_targets_are_permuted_in_all_ways_as_scipy_does(targets: int) -> None:
    first, second = np.random.default_rng(targets).normal(0.3, 1, (2, targets))
    expected = permutation_test(
        (first, second), lambda a, b: (a - b).mean(), permutation_type="samples", n_resamples=np.inf
    )
    assert permutation_p(first[:, None], second[:, None], total, seed=0) == pytest.approx(expected.pvalue)


def test_many_targets_are_permuted_at_random_as_scipy_does() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 60)) + np.array([[0.25], [0]])
    expected = permutation_test(
        (first, second), lambda a, b: (a - b).sum(), permutation_type="samples", n_resamples=9999, rng=1
    ).pvalue
    found = permutation_p(first[:, None], second[:, None], total, seed=0)
    assert found == pytest.approx(expected, abs=4 * (expected / 10000) ** 0.5)
    assert found == permutation_p(first[:, None], second[:, None], total, seed=0)
    assert found != permutation_p(first[:, None], second[:, None], total, seed=1)


def test_no_p_value_is_smaller_than_the_permutations_allow() -> None:
    ones, zeros = np.ones((40, 1)), np.zeros((40, 1))
    assert permutation_p(ones, zeros, total, seed=0) == 1 / 10_001
    assert permutation_p(ones[:5], zeros[:5], total, seed=0) == 2 / 2**5


def test_a_perplexity_is_tested_on_its_logarithm_and_shown_as_itself() -> None:
    generator = np.random.default_rng(1)
    first = Scores(generator.normal(3.0, 0.5, 80), np.arange(80))
    second = Scores(first.values + generator.normal(0.1, 0.3, 80), np.arange(80))
    nats, shown = (paired_difference(first, second, 0, transform=of) for of in (None, np.exp))
    assert shown.value == pytest.approx(np.exp(first.values.mean()) - np.exp(second.values.mean()))
    assert shown.p == nats.p
    assert shown.low < shown.value < shown.high < 0
    base = np.exp(second.values.mean())
    assert shown.detectable == pytest.approx(base * math.expm1(nats.detectable))


def test_a_corpus_metric_that_is_a_mean_gets_what_the_mean_gets() -> None:
    ours, theirs = simulated(6, 50, 4)
    means = [of.values.reshape(50, 4).mean(axis=1, keepdims=True) for of in (ours, theirs)]
    found = corpus_difference(*means, lambda sums: sums[..., 0] / 50, seed=3)
    expected = paired_difference(ours, theirs, seed=3)
    assert found[:4] == pytest.approx(expected[:4])
    assert found.detectable == pytest.approx(expected.detectable, rel=0.06)


def test_bleu_is_compared_on_the_resamples_that_its_intervals_come_from() -> None:
    ours, theirs = story_statistics(60)
    found = corpus_difference(ours, theirs, corpus_bleu, seed=4)
    assert found.value == corpus_bleu(ours.sum(axis=0)) - corpus_bleu(theirs.sum(axis=0))
    differences = bleu_resamples(ours, seed=4) - bleu_resamples(theirs, seed=4)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(differences, student_tails(60))))
    assert found.low > 0 and found.p < 0.01 and found.detectable < found.value


def test_the_permutations_of_bleu_are_all_exchanges_of_texts() -> None:
    ours, theirs = (statistics[:7] for statistics in story_statistics(20))
    observed = abs(corpus_bleu(ours.sum(axis=0)) - corpus_bleu(theirs.sum(axis=0)))
    reached = 0
    for swaps in product([False, True], repeat=7):
        swapped = np.array(swaps)[:, None]
        first, second = np.where(swapped, theirs, ours), np.where(swapped, ours, theirs)
        reached += abs(corpus_bleu(first.sum(axis=0)) - corpus_bleu(second.sum(axis=0))) >= observed - 1e-9
    assert permutation_p(ours, theirs, corpus_bleu, seed=0) == reached / 2**7


def test_newcombe_of_unrelated_methods_adds_the_squares_of_wilson_distances() -> None:
    first, second = np.array(list(product([0.0, 100.0], repeat=2)) * 3).T  # 6 of 12 each, uncorrelated
    low, high = wilson_interval(0.5, 12)
    reach = 100 * math.hypot(0.5 - low, high - 0.5)
    scores = [Scores(values, np.arange(12)) for values in (first, second)]
    assert newcombe_interval(*scores, 100.0) == pytest.approx((-reach, reach))


def test_the_interval_is_newcombes_where_few_targets_differ() -> None:
    theirs = Scores(np.full(25, 100.0), np.arange(25))
    ours = theirs._replace(values=np.repeat([0.0, 100.0], [2, 23]))
    found = paired_difference(ours, theirs, seed=0, largest=100.0)
    assert (found.low, found.high) == newcombe_interval(ours, theirs, 100.0)
    assert found.low < found.value == -8 < 0 < found.high
    none = paired_difference(theirs._replace(values=np.zeros(25)), theirs, seed=0, largest=100.0)
    assert -100 < none.value + 100 < none.high + 100 < 30 and none.low == pytest.approx(-100)


def test_unbounded_scores_that_differ_alike_everywhere_have_no_interval() -> None:
    values = np.random.default_rng(0).normal(size=30)
    found = paired_difference(Scores(values + 1, np.arange(30)), Scores(values, np.arange(30)), seed=0)
    assert found.value == pytest.approx(1) and found.p < 0.001
    assert math.isnan(found.low) and found.note.startswith("no interval: all targets differ alike")


def test_five_training_seeds_of_both_are_drawn_anew_and_fewer_are_named() -> None:
    ours, theirs = simulated(8, 100, 5)
    seeds = np.tile(np.arange(5), 100)
    better_model = 100 * (seeds == 0)
    ours = ours._replace(values=np.maximum(ours.values, better_model))
    of_one = paired_difference(ours, theirs, seed=0, largest=100.0)
    assert of_one.note == "conditioned on 1 training seed" and of_one.test == PERMUTATION
    assert of_one.low > 0 and of_one.p < 0.001
    ours, theirs = ours._replace(training_seeds=seeds), theirs._replace(training_seeds=seeds)
    of_five = paired_difference(ours, theirs, seed=0, largest=100.0)
    assert of_five.note == "over targets and 5 training seeds" and of_five.test == STUDENT
    assert of_five.p > 0.05
    assert of_five.high - of_five.low > 2 * (of_one.high - of_one.low)
    assert of_five.detectable > 2 * of_one.detectable
    some = ours._replace(training_seeds=seeds % 3)
    assert paired_difference(some, theirs, 0).note == "conditioned on 3 and 5 training seeds"


def test_five_training_seeds_that_do_not_differ_keep_their_error_rate() -> None:
    """Seeds with a standard deviation of 0 and of 5 points; the t-test's degrees of freedom are estimated."""
    generator = np.random.default_rng(0)
    groups, seeds = np.repeat(np.arange(100), 5), np.tile(np.arange(5), 100)
    for spread in (0.0, 5.0):
        found = 0
        for _ in range(300):
            shared = generator.normal(0, 30, 100)
            noise = generator.normal(0, 30, (2, 100, 5)) + generator.normal(0, spread, (2, 1, 5))
            pair = [Scores((shared[:, None] + part).ravel(), groups, seeds) for part in noise]
            found += paired_difference(*pair, seed=0).p <= 0.05
        assert found <= 0.05 * 300 + 2.6 * (0.05 * 0.95 * 300) ** 0.5


def test_holms_correction_by_hand() -> None:
    """5 values in order: 5 x 0.004, 4 x 0.011, 3 x 0.02, 2 x 0.02 (raised to the one before), 0.7."""
    found = holm(np.array([0.02, 0.7, 0.004, 0.02, 0.011]))
    assert found == pytest.approx([0.06, 0.7, 0.02, 0.06, 0.044])


def test_holms_correction_keeps_order_stays_below_one_and_skips_what_was_not_compared() -> None:
    p = np.random.default_rng(0).random(40) ** 3
    found = holm(p)
    assert (np.diff(found[np.argsort(p)]) >= 0).all() and found.max() <= 1
    assert (found >= p).all() and (found <= np.minimum(1, 40 * p)).all()
    assert (found >= false_discovery_control(p) - 1e-12).all()
    with_gap = holm(np.array([0.01, np.nan, 0.03]))
    assert with_gap == pytest.approx([0.02, np.nan, 0.03], nan_ok=True)
    assert len(holm(np.array([]))) == 0


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("targets", [20, 200])
def test_mcnemar_keeps_its_error_rate_where_methods_are_alike(level: float, targets: int) -> None:
    generator = np.random.default_rng(targets)
    chance = generator.beta(2, 1, (4000, targets))
    first, second = generator.random((2, 4000, targets)) < chance
    p = np.array([mcnemar_p(a & ~b, b & ~a) for a, b in zip(first, second, strict=True)])
    assert (p <= level).mean() <= level + 2.6 * (level * (1 - level) / 4000) ** 0.5


@pytest.mark.parametrize(("targets", "samples", "their_samples"), [(9, 5, 5), (200, 5, 5), (200, 5, 1)])
def test_permutation_keeps_its_error_rate_where_methods_are_alike(
    targets: int, samples: int, their_samples: int
) -> None:
    """Also if they have unlike numbers of samples, so that exchange is fair of the mean only."""
    generator = np.random.default_rng(targets + their_samples)
    chance = generator.beta(2, 1, (1500, targets))
    first, second = (generator.binomial(n, chance) / n for n in (samples, their_samples))
    pairs = zip(first, second, strict=True)
    p = np.array([permutation_p(a[:, None], b[:, None], total, 0, permutations=999) for a, b in pairs])
    for level in (0.01, 0.05, 0.1):
        assert (p <= level).mean() <= level + 2.6 * (level * (1 - level) / 1500) ** 0.5
    assert (p <= 0.1).mean() > 0.04  # and is no needless doubt


@pytest.mark.parametrize("targets", [20, 200])
def test_the_detectable_difference_is_found_in_80_of_100_cases(targets: int) -> None:
    """Differences have a standard deviation of 30 points; both that and each estimate of it are used."""
    generator = np.random.default_rng(targets)
    truth = detectable_difference(30 / targets**0.5, targets - 1)
    found, estimates = 0, []
    for _ in range(1000):
        theirs = generator.normal(50, 40, targets)
        ours = theirs + generator.normal(truth, 30, targets)
        found += permutation_p(ours[:, None], theirs[:, None], total, 0, permutations=999) <= 0.05
        estimates.append(detectable_difference((ours - theirs).std(ddof=1) / targets**0.5, targets - 1))
    assert 760 <= found <= 840
    assert np.mean(estimates) == pytest.approx(truth, rel=0.03)


def test_the_detectable_difference_is_the_textbooks() -> None:
    assert detectable_difference(1.0, 10**9) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    assert math.isnan(detectable_difference(0.0, 10)) and math.isnan(detectable_difference(math.nan, 10))
    one = Scores(np.array([1.0]), np.array([0]))
    assert math.isnan(detectable_against_alike(one))


@pytest.mark.parametrize(
    ("targets", "samples", "rates"), [(200, 5, (0.6, 0.5)), (200, 1, (0.6, 0.5)), (25, 5, (0.97, 0.9))]
)
def test_the_interval_of_a_difference_covers_the_truth(
    targets: int, samples: int, rates: tuple[float, float]
) -> None:
    everyone = np.random.default_rng(0).beta(2, 2, 10**6)
    truth = 100 * np.subtract(*[(everyone ** (math.log(rate) / math.log(0.5))).mean() for rate in rates])
    covered = 0
    for trial in range(400):
        ours, theirs = simulated(trial, targets, samples, rates)
        low, high = paired_difference(ours, theirs, trial % 4, largest=100.0)[1:3]
        covered += low <= truth <= high
    assert 0.925 * 400 <= covered <= 0.985 * 400


def test_unlike_targets_are_an_error() -> None:
    ours, theirs = simulated(0, 10, 2)
    with pytest.raises(ValueError, match="3 targets have texts of one method only, such as 7"):
        paired_difference(ours, Scores(theirs.values[:14], theirs.targets[:14]), seed=0)
    with pytest.raises(ValueError, match=r"statistics of \(3, 2\) against \(4, 2\)"):
        corpus_difference(np.ones((3, 2)), np.ones((4, 2)), total, seed=0)
    with pytest.raises(ValueError, match="1 targets are missing for some training seed"):
        seed_means(np.ones(3), np.array([0, 1, 0]), np.array([0, 0, 1]))
