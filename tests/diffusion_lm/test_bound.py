"""The bound: the original's numbers, a bound that is one, and estimates that agree with the whole sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusion_lm.bound import bound_loss, bound_terms, ends, kl_weights, spread_steps, step_kl, step_shares
from diffusion_lm.denoiser import DiffusionLM, Prediction
from diffusion_lm.process import Process

Tensors = Mapping[str, Tensor]
Make = Callable[..., DiffusionLM]
PRIOR = torch.tensor([0.5, 0.3, 0.15, 0.05])
VECTORS = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
ENTROPY = float(-(PRIOR * PRIOR.log()).sum())


class Known:
    """One word from a known distribution, and the best denoiser there is: its exact expectations."""

    def __init__(self, steps: int, offset: float = 0.0) -> None:
        self.process, self.offset = Process.of("sqrt", steps), offset
        self.settings = SimpleNamespace(dimension=2)
        self.embedding = type("Table", (), {"__call__": lambda _, ids: VECTORS[ids], "logits": self.logits})()

    def logits(self, x: Tensor) -> Tensor:
        """log p(w) + log N(x_0; Emb(w), sigma_0^2 I), so that rounding is exact."""
        distance = (x[..., None, :] - VECTORS).square().sum(-1)
        return PRIOR.log() - distance / (2 * self.process.sigma[0] ** 2)

    def __call__(self, x_t: Tensor, t: Tensor, process: Process) -> Prediction:
        left = torch.as_tensor(process.alpha_bar)[t][:, None, None].float()
        start = float(process.sigma[0] ** 2)
        spread = 1 - left + left * start  # of x_t around sqrt(abar) Emb(w)
        distance = (x_t[..., None, :] - left.sqrt()[..., None] * VECTORS).square().sum(-1)
        words = (PRIOR.log() - distance / (2 * spread)).softmax(-1)
        mean = words @ VECTORS
        gain = start * left.sqrt() / spread  # of x_0 given x_t and w
        x0 = mean + gain * (x_t - left.sqrt() * mean)
        return Prediction(torch.where((t == 0)[:, None, None], mean, x0) + self.offset, x0)


def expected_bound(model: Any, seed: int, draws: int = 100) -> float:
    """Mean over words and noise of the whole sum, in nats; places do not see each other: each is a draw."""
    words = torch.arange(len(PRIOR))
    noise = torch.Generator().manual_seed(seed)
    sums = [
        sum(bound_terms(model, word.expand(draws), noise, steps=10**6).values()) / draws for word in words
    ]
    return float(PRIOR @ torch.tensor(sums))


def test_the_terms_of_the_original(make_model: Make, tensors: Tensors) -> None:
    """T = 20 and a network that multiplies by a matrix; the original gives bits per dimension."""
    model = make_model(words=7, diffusion_steps=20)
    model.embedding.weight.data = tensors["loss/embedding"]
    model.embedding.bias.data = tensors["loss/head_bias"]
    matrix = tensors["guide/len/denoiser_matrix"]
    model.output = lambda x_t, *_: x_t @ matrix  # type: ignore[method-assign,assignment]
    np.testing.assert_allclose(model.process.beta, tensors["nll/betas"], rtol=1e-12)
    ids = tensors["loss/input_ids"]
    prior, rounding, x0 = ends(model, ids, tensors["nll/x_start_noise"])
    steps = [
        step_kl(model, ids, x0, torch.full((4,), t), noise, released=True)
        for t, noise in zip(range(19, -1, -1), tensors["nll/step_noise"], strict=True)
    ]
    bits = torch.stack([term.mean(1) for term in (prior, *steps, rounding)], 1) / (4 * math.log(2))
    torch.testing.assert_close(bits, tensors["nll/vb"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(bits.sum(1), tensors["nll/total_bpd"], atol=1e-4, rtol=1e-4)


def test_the_bound_lies_above_the_likelihood_and_closes_with_more_steps() -> None:
    gaps = [expected_bound(Known(steps), seed=1) - ENTROPY for steps in (5, 40, 400, 4000)]
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3] > -0.01
    assert gaps[0] > 0.2 and gaps[3] < 0.05, gaps


def test_a_worse_denoiser_has_a_looser_bound() -> None:
    assert expected_bound(Known(100, offset=0.2), seed=2) > expected_bound(Known(100), seed=2) + 0.3


def test_fewer_steps_estimate_the_whole_sum() -> None:
    """Unbiased: the mean of many estimates by 10 of 200 steps is the sum over all of them."""
    model, word = Known(200), torch.ones(50, dtype=torch.long)

    def mean(steps: int, draws: int) -> tuple[float, float]:
        noises = [torch.Generator().manual_seed(seed) for seed in range(draws)]
        found = [sum(bound_terms(model, word, noise, steps).values()) / 50 for noise in noises]  # type: ignore[arg-type]
        return float(np.mean(found)), float(np.std(found) / math.sqrt(draws))

    (whole, error), (estimate, own_error) = mean(200, 10), mean(10, 200)
    assert abs(whole - estimate) < 4 * math.hypot(error, own_error)
    assert own_error < 0.05


def test_the_value_of_a_text_does_not_depend_on_the_batch(make_model: Make) -> None:
    model, ids = make_model(), torch.tensor([0, 5, 6, 7, 1, 3, 3, 3])
    one, seven, all_at_once = (
        bound_terms(model, ids, torch.Generator().manual_seed(3), 20, batch_size=size) for size in (1, 7, 64)
    )
    for name, value in one.items():
        assert seven[name] == pytest.approx(value, rel=1e-5) == pytest.approx(all_at_once[name], rel=1e-5)


@pytest.mark.parametrize("schedule", ["sqrt", "cosine", "linear"])
def test_the_weights_are_differences_of_signal_to_noise(schedule: str) -> None:
    """coef^2 / (2 v) = (SNR(t - 1) - SNR(t)) / 2 (Kingma et al. 2021, equation 15)."""
    process = Process.of(schedule, 50)
    ratio = process.alpha_bar / (1 - process.alpha_bar)
    np.testing.assert_allclose(kl_weights(process)[1:], (ratio[:-1] - ratio[1:]) / 2, rtol=1e-8)


def test_steps_are_drawn_by_their_shares() -> None:
    process = Process.of("sqrt", 30)
    shares = step_shares(process)
    assert shares.sum() == pytest.approx(1) and shares.min() >= 0.1 / 30
    places = (torch.arange(30_000) + 0.5) / 30_000
    steps, scale = spread_steps(process, places)
    np.testing.assert_allclose(np.bincount(steps, minlength=30) / 30_000, shares, atol=1e-4)
    np.testing.assert_allclose(scale, 1 / shares[steps], rtol=1e-5)


def test_the_loss_is_the_bound_on_average(make_model: Make) -> None:
    """Mean of the training loss over its draws, against all steps of the same text."""
    model, ids = make_model(), torch.tensor([[0, 5, 6, 1, 3, 3]]).expand(512, -1)
    with torch.no_grad():
        losses = []
        for seed in range(20):
            torch.manual_seed(seed)
            losses.append(float(bound_loss(model, ids).mean()))
    noises = [torch.Generator().manual_seed(seed) for seed in range(60)]
    whole = [sum(bound_terms(model, ids[0], noise, 20).values()) / 6 for noise in noises]
    error = math.hypot(np.std(losses) / math.sqrt(20), np.std(whole) / math.sqrt(60))
    assert abs(np.mean(losses) - np.mean(whole)) < 4 * error < 1
