"""Noise schedules: the original's numbers, and what every schedule must satisfy."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from diffusion_lm.process import Process
from diffusion_lm.schedule import betas

Arrays = Mapping[str, np.ndarray]
SCHEDULES = ("sqrt", "linear", "cosine")
FIGURE = Path(__file__).parents[2] / "results" / "paper" / "fig5_noise_schedule_computed.csv"


@pytest.mark.parametrize("name", SCHEDULES)
def test_betas_are_those_of_the_original(reference: Arrays, name: str) -> None:
    expected = reference["sched2000/betas" if name == "sqrt" else f"sched2000_{name}/betas"]
    np.testing.assert_allclose(betas(name, 2000), expected, rtol=1e-12)


@pytest.mark.parametrize("steps", [2000, 200])
def test_levels_and_posterior_are_those_of_the_original(reference: Arrays, steps: int) -> None:
    process = Process.of("sqrt", steps)
    of_x0, of_x_t = process.posterior_weights
    found = {
        "betas": process.beta,
        "alphas_cumprod": process.alpha_bar,
        "alphas_cumprod_prev": process.alpha_bar_prev,
        "posterior_variance": process.posterior_variance,
        "posterior_log_variance_clipped": process.posterior_log_variance,
        "posterior_mean_coef1": of_x0,
        "posterior_mean_coef2": of_x_t,
    }
    for name, values in found.items():
        # Our betas come back from the levels: a rounding of 1e-16 in a level weighs 1e-12 in a small beta.
        np.testing.assert_allclose(values, reference[f"sched{steps}/{name}"], rtol=1e-11, err_msg=name)


@pytest.mark.parametrize("steps", [2000, 200])
def test_the_network_reads_a_thousandth_of_the_whole_process(reference: Arrays, steps: int) -> None:
    np.testing.assert_array_equal(reference[f"sched{steps}/timestep_map"], np.arange(steps))
    time = Process.of("sqrt", steps).time[[0, 1, -1]]
    np.testing.assert_allclose(time, reference[f"sched{steps}/model_time_at_first_second_last"], rtol=1e-7)


def test_strided_levels_equal_a_fresh_schedule_but_for_the_last(reference: Arrays) -> None:
    """The released code builds a schedule afresh for 200 steps; its levels are every tenth of 2000.

    Except the last: alpha_bar(u) of the formula is negative at u = 1, so the last beta is cut to 0.999 and
    the last level is a thousandth of the one before, which lies 1 / T before the end.
    """
    strided = Process.of("sqrt", 2000).strided(200).alpha_bar
    fresh = reference["sched200/alphas_cumprod"]
    np.testing.assert_allclose(strided[:-1], fresh[:-1], rtol=1e-12)
    assert strided[-1] < fresh[-1] / 5
    for levels in (Process.of("sqrt", 2000).alpha_bar, fresh):
        assert levels[-1] == pytest.approx(levels[-2] * 0.001)


def test_released_times_are_too_early_for_their_noise(reference: Arrays) -> None:
    """Times of the fresh schedule, 0, 5, 10, ..., lie 4.5 before the times of the same levels in training."""
    process = Process.of("sqrt", 2000)
    released, matched = process.strided(200, as_released=True), process.strided(200)
    expected = reference["sched200/model_time_at_first_second_last"]
    np.testing.assert_allclose(released.time[[0, 1, -1]], expected, rtol=1e-7)
    np.testing.assert_allclose(matched.time - released.time, 4.5)
    np.testing.assert_array_equal(matched.alpha_bar, released.alpha_bar)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [50, 200, 2000])
def test_noise_grows_at_every_step(name: str, steps: int) -> None:
    variances, process = betas(name, steps), Process.of(name, steps)
    assert variances.dtype == np.float64 and len(variances) == steps
    assert (variances > 0).all() and (variances < 1).all()
    assert (np.diff(process.alpha_bar) < 0).all()
    assert 0 < process.sigma[0] < 0.5 and 0.999 < process.sigma[-1] < 1


@pytest.mark.parametrize(("steps", "first", "last"), [(2000, 0.12100, 2.0e-7), (200, 0.24907, 2.5e-6)])
def test_ends_of_the_sqrt_schedule(steps: int, first: float, last: float) -> None:
    """Words start with noise of standard deviation 0.12 (0.25) and end as noise alone."""
    process = Process.of("sqrt", steps)
    assert process.sigma[0] == pytest.approx(first, abs=5e-6)
    assert process.alpha_bar[-1] == pytest.approx(last, rel=0.05)


@pytest.mark.parametrize("steps", [20, 200, 2000])
def test_sqrt_levels_follow_the_formula_of_appendix_a(steps: int) -> None:
    """abar_t = 1 - sqrt(t / T + s), divided by its value 0.99 at t = 0, for all but the last step."""
    t = np.arange(1, steps)
    formula = (1 - np.sqrt(t / steps + 1e-4)) / 0.99
    np.testing.assert_allclose(Process.of("sqrt", steps).alpha_bar[:-1], formula, rtol=1e-11)


def test_an_unknown_schedule_is_an_error() -> None:
    with pytest.raises(KeyError):
        betas("square", 10)


@pytest.mark.skipif(not FIGURE.is_file(), reason="the table of Figure 5 is not there")
def test_curves_of_figure_5() -> None:
    """The stored curves sqrt(1 - abar_t), T = 2000, were computed apart from this code.

    ``sqrt_formula``, the printed formula that the code discretises, is the one curve that is not ours.
    """
    with FIGURE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] != "sqrt_formula"]
    methods = {"sqrt_discretised": "sqrt", "linear": "linear", "cosine": "cosine"}
    assert {row["method"] for row in rows} == set(methods)
    curves = {method: Process.of(name, 2000).sigma for method, name in methods.items()}
    for row in rows:
        step = int(row["metric"].partition("t=")[2])
        assert curves[row["method"]][step] == pytest.approx(float(row["value"]), abs=1e-6), row["metric"]
