"""Intervals of cells with few seeds: what they cover, and whose noise counts."""

from __future__ import annotations

import numpy as np
import pytest

from eval.replicates import Replicates, cell_intervals


def grid(random: np.random.Generator, seeds: int, noise: float) -> dict[str, Replicates]:
    """Twenty cells of true mean 1; each seed's mean varies by ``noise``, and that of 64 texts by 0.1."""
    shift = random.normal(1, noise, (20, seeds))
    return {
        str(cell): Replicates.of([random.normal(mean, 0.8, 64) for mean in means])
        for cell, means in enumerate(shift)
    }


@pytest.mark.parametrize("noise", [0, 0.1, 1])
def test_an_interval_covers_the_truth_whatever_the_noise_between_seeds(noise: float) -> None:
    random = np.random.default_rng(0)
    inside = []
    for _ in range(60):
        cells = grid(random, 2, noise)
        inside += [low < 1 < high for low, high, _ in cell_intervals(cells, cells).values()]
    assert 0.925 < np.mean(inside) < 0.98


def test_the_noise_of_the_pooled_cells_counts_for_all_and_that_of_others_for_none() -> None:
    texts = np.array([0.9, 1.1] * 32)
    calm = {name: Replicates.of([texts, texts]) for name in "ab"}
    wild = Replicates.of([texts, texts + 5])
    before = cell_intervals(calm, calm)
    assert cell_intervals({**calm, "c": wild}, "ab")["a"] == before["a"]
    shaken = cell_intervals({**calm, "c": wild}, "abc")
    assert shaken["a"].high - shaken["a"].low > 5 * (before["a"].high - before["a"].low)


def test_one_seed_tells_nothing_of_the_noise_between_seeds_and_the_note_says_so() -> None:
    values = np.random.default_rng(1).normal(1, 1, 400)
    bounds = cell_intervals({"a": Replicates.of([values])}, ["a"])["a"]
    assert bounds.high - bounds.low == pytest.approx(2 * 1.96 * values.std(ddof=1) / 20, rel=1e-3)
    assert "conditioned on its training seeds" in bounds.note


def test_a_single_text_has_no_interval() -> None:
    with pytest.raises(ValueError, match="two texts of every seed"):
        Replicates.of([np.array([1.0])])
