"""Forward process and posterior: the original's numbers, Bayes' rule, and coarser copies of a process."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusion_lm.process import Process, released_steps

Arrays = Mapping[str, np.ndarray]
Tensors = Mapping[str, Tensor]


@pytest.mark.parametrize("steps", [2000, 200])
def test_forward_process_of_the_original(tensors: Tensors, steps: int) -> None:
    """x_t, posterior mean and variance, and the noise recovered from x_t, for one step per row."""
    process, t = Process.of("sqrt", steps), tensors[f"q/t{steps}"]
    x0, noise, x_t = tensors["q/x_start"], tensors["q/noise"], tensors[f"q/x_t_t{steps}"]
    torch.testing.assert_close(process.q_sample(x0, t, noise), x_t, atol=1e-6, rtol=0)
    mean = process.posterior_mean(x0, x_t, t)
    torch.testing.assert_close(mean, tensors[f"q/posterior_mean_t{steps}"], atol=1e-5, rtol=0)
    log_variance = torch.as_tensor(process.posterior_log_variance)[t].float()[:, None, None].expand_as(x0)
    torch.testing.assert_close(log_variance, tensors[f"q/posterior_log_variance_t{steps}"], atol=1e-5, rtol=0)
    # 1 / sqrt(abar_T) is 2e3 at T = 2000, and multiplies the rounding of x_t.
    eps = process.eps_from_x0(x_t, x0, t)
    torch.testing.assert_close(eps, tensors[f"q/eps_from_xstart_t{steps}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("t", [1, 7, 30, 58])
def test_posterior_is_bayes_rule(t: int) -> None:
    """q(x_{t-1} | x_t, x_0) is q(x_t | x_{t-1}) q(x_{t-1} | x_0), normalised; precisions add."""
    process = Process.of("cosine", 60)
    x0, x_t = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(t))
    before, beta = process.alpha_bar[t - 1], process.beta[t]
    precision = 1 / (1 - before) + (1 - beta) / beta
    mean = (
        np.sqrt(before) * x0.double() / (1 - before) + np.sqrt(1 - beta) * x_t.double() / beta
    ) / precision
    assert process.posterior_variance[t] == pytest.approx(1 / precision, rel=1e-9)
    assert process.posterior_log_variance[t] == pytest.approx(-np.log(precision), rel=1e-9)
    found = process.posterior_mean(x0, x_t, torch.tensor([t]))
    torch.testing.assert_close(found.double(), mean, atol=1e-5, rtol=1e-5)


def test_the_last_step_returns_the_clean_estimate() -> None:
    process = Process.of("sqrt", 60)
    x0, x_t = torch.randn(2, 1, 3, 4)
    torch.testing.assert_close(process.posterior_mean(x0, x_t, torch.tensor([0])), x0)
    assert process.posterior_variance[0] == 0 and np.isfinite(process.posterior_log_variance).all()


def test_noise_and_clean_estimates_are_inverse() -> None:
    """q_sample, eps_from_x0 and x0_from_eps solve one equation for its three unknowns."""
    process, t = Process.of("sqrt", 60), torch.tensor([0, 10, 40, 55])
    x0, noise = torch.randn(2, 4, 3, 2, generator=torch.Generator().manual_seed(3))
    x_t = process.q_sample(x0, t, noise)
    torch.testing.assert_close(process.eps_from_x0(x_t, x0, t), noise, atol=1e-4, rtol=0)
    torch.testing.assert_close(process.x0_from_eps(x_t, noise, t), x0, atol=1e-4, rtol=0)


def test_noised_samples_have_the_stated_moments() -> None:
    process = Process.of("sqrt", 60)
    noise = torch.randn(1, 100, 1000, generator=torch.Generator().manual_seed(4))
    x_t = process.q_sample(torch.full_like(noise, 2.0), torch.tensor([20]), noise)
    assert float(x_t.mean()) == pytest.approx(2 * np.sqrt(process.alpha_bar[20]), abs=0.01)
    assert float(x_t.std()) == pytest.approx(process.sigma[20], rel=0.01)


@pytest.mark.parametrize("steps", [1, 7, 20, 60])
def test_a_coarse_step_is_its_fine_steps_one_after_another(steps: int) -> None:
    """Weight of x_0 and variance after every fine forward step, met again at the coarse levels."""
    fine = Process.of("sqrt", 60)
    coarse, reached = fine.strided(steps), {}
    weight, variance = 1.0, 0.0
    for time, beta in zip(fine.time, fine.beta, strict=True):
        weight, variance = weight * np.sqrt(1 - beta), variance * (1 - beta) + beta
        reached[time] = weight, variance
    for time, level in zip(coarse.time, coarse.alpha_bar, strict=True):
        assert reached[time] == pytest.approx((np.sqrt(level), 1 - level), rel=1e-9)
    assert len(coarse) == steps and coarse.time[-1] == fine.time[-1]
    assert len(set(coarse.time)) == steps
    assert (coarse.beta > 0).all()


@pytest.mark.parametrize("total", [50, 60, 2000])
def test_any_number_of_steps_is_spread_evenly(total: int) -> None:
    """Gaps differ by one at most, the first one (from no noise) included; the last level is always there."""
    places = Process(np.linspace(0.9, 0.1, total), np.arange(total, dtype=float))  # the time is the index
    for steps in (*range(1, 61), total):
        if steps <= total:
            gaps = np.diff(places.strided(steps).time, prepend=-1)
            assert set(gaps) <= {total // steps, -(-total // steps)} and gaps.sum() == total


def test_all_steps_are_the_process_itself() -> None:
    fine = Process.of("sqrt", 60)
    np.testing.assert_array_equal(fine.strided(60).alpha_bar, fine.alpha_bar)
    np.testing.assert_array_equal(fine.strided(60).time, fine.time)


@pytest.mark.parametrize("steps", [0, 61])
def test_an_impossible_number_of_steps_is_an_error(steps: int) -> None:
    with pytest.raises(ValueError, match=f"{steps} of 60"):
        Process.of("sqrt", 60).strided(steps)


@pytest.mark.parametrize(("name", "sections"), [("respaced200", "200"), ("ddim200", "ddim200")])
def test_respaced_processes_of_the_original(reference: Arrays, name: str, sections: str) -> None:
    """The original's respacing visits chosen steps of T = 2000 at their own levels and times."""
    steps = released_steps(2000, sections)
    np.testing.assert_array_equal(steps, reference[f"{name}/timestep_map"])
    process = Process.of("sqrt", 2000).at(steps)
    np.testing.assert_allclose(process.alpha_bar, reference[f"{name}/alphas_cumprod"], rtol=1e-12)
    np.testing.assert_allclose(process.beta, reference[f"{name}/betas"], rtol=1e-11)
    time = reference[f"{name}/model_time_at_first_second_last"]
    np.testing.assert_allclose(process.time[[0, 1, -1]], time, rtol=1e-7)


@pytest.mark.parametrize(("total", "sections"), [(300, "10,15,20"), (2000, "20")])
def test_sections_of_the_original(reference: Arrays, total: int, sections: str) -> None:
    expected = reference[f"space_timesteps/{total}_{sections.replace(',', '_')}"]
    np.testing.assert_array_equal(released_steps(total, sections), expected)


def test_sections_may_be_of_one_step_and_of_unequal_size() -> None:
    """The first parts take the remainder of the division; a section of one step takes its part's first."""
    assert released_steps(11, "1,2,1") == [0, 4, 7, 8]


@pytest.mark.parametrize("sections", ["ddim7", "11", "2,6"])
def test_impossible_spacing_is_an_error(sections: str) -> None:
    with pytest.raises(ValueError, match="10|5"):
        released_steps(10, sections)
