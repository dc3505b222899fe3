"""Gradient control: the original's updates, the fluency term, and guidance inside sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.embedding import nearness
from diffusion_lm.guidance import GuidanceSettings, ascend, fluency_slope, frame_loss, gradient_guide
from diffusion_lm.process import Process
from diffusion_lm.sampling import FREE, Canvas, SamplingSettings, Step, reverse_gaussian, sample
from pipeline.seeding import generator

Tensors = Mapping[str, Tensor]
Make = Callable[..., DiffusionLM]
RELEASED = GuidanceSettings(
    updates=3, rate=0.1, fluency=0.01, optimizer="sign", anchor="released", idle=10 / 200
)
TASKS = [("pos", 0.0001), ("tree", 0.0005), ("span", 0.1)]
STORED = [*((*task, t) for task in TASKS for t in (100, 10, 9)), ("attr", 0.01, 100)]


def no_noise() -> Tensor:
    raise AssertionError("nothing draws noise unless it is asked for")


class Reverse(NamedTuple):
    """The stored reverse step: sample, mean and standard deviation, and the aim of a quadratic loss."""

    sample: Tensor
    mean: Tensor
    sigma: Tensor
    target: Tensor

    def quadratic(self, x: Tensor) -> Tensor:
        """The stand-in for a classifier, per text: mean((x - target)^2)."""
        return (x - self.target).square().mean((1, 2))


@pytest.fixture
def reverse(tensors: Tensors) -> Reverse:
    named = (tensors[f"guide/{name}"] for name in Reverse._fields)
    x, mean, sigma, target = named
    return Reverse(x, mean, sigma[:, None, None], target)


@pytest.mark.parametrize(("task", "coefficient", "t"), STORED)
def test_guided_steps_of_the_original(
    tensors: Tensors, reverse: Reverse, task: str, coefficient: float, t: int
) -> None:
    """Three updates of the released size in the last 190 of 200 steps, at the stored points; none at t = 9.

    The original averages the loss over the batch, we do not: the direction of a sign step is the same.
    """
    name = f"guide/{task}_coef{coefficient:g}/t{t}/"
    points: list[Tensor] = []

    def loss(x: Tensor, index: int) -> Tensor:
        assert index == t
        points.append(x.detach())
        return reverse.quadratic(x)

    guide = gradient_guide(loss, replace(RELEASED, fluency=coefficient), 200)
    sigma = float(reverse.sigma[0])  # the same for all rows
    out = guide(Step(t, reverse.sample, reverse.mean, sigma, reverse.sample, no_noise))
    torch.testing.assert_close(out, tensors[name + "out"], atol=1e-5, rtol=0)
    assert len(points) == (3 if t >= 10 else 0)
    for found, expected in zip(points, tensors[name + "iterates"], strict=False):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_fluency_slope_of_the_original(tensors: Tensors, reverse: Reverse) -> None:
    """Its gradient is averaged over the batch of 3."""
    slope = 0.0005 * fluency_slope(reverse.sample, reverse.mean, reverse.sigma, "released") / 3
    torch.testing.assert_close(slope, tensors["guide/logp_grad_coef0.0005"], atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("t", [100, 9])
def test_length_control_of_the_original(tensors: Tensors, reverse: Reverse, t: int) -> None:
    """START and END are pulled to their places through the denoiser, here a matrix."""
    matrix, free = tensors["guide/len/denoiser_matrix"], tensors["guide/len/free_mask"]
    known, sigma = tensors["guide/len/target_embeddings"], float(reverse.sigma.mean())
    loss = frame_loss(lambda x: x @ matrix, known, free, sigma)
    guide = gradient_guide(lambda x, index: loss(x), RELEASED, 200)
    out = guide(Step(t, reverse.sample, reverse.mean, sigma, reverse.sample, no_noise))
    torch.testing.assert_close(out, tensors[f"guide/len/t{t}/out"], atol=1e-5, rtol=0)


def test_a_whole_guided_step_of_the_original(tensors: Tensors, reverse: Reverse) -> None:
    """Denoise, clamp, draw and guide at t = 100 of 200."""
    name, table, x_t = "guide/full_step_t100/", tensors["clamp/embedding"], reverse.sample
    estimate = x_t @ tensors["guide/len/denoiser_matrix"]
    x0 = table[nearness(estimate, table).argmax(-1)]
    assert torch.equal(x0, tensors[name + "pred_xstart"])
    mean, sigma = reverse_gaussian(Process.of("sqrt", 200), x_t, x0, 100, 1.0)
    drawn = mean + sigma * tensors[name + "noise"]
    torch.testing.assert_close(drawn, tensors[name + "before_guidance"], atol=1e-5, rtol=0)
    out = ascend(drawn, mean, sigma, reverse.quadratic, replace(RELEASED, fluency=0.0005))
    torch.testing.assert_close(out, tensors[name + "out"], atol=1e-5, rtol=0)


def test_frame_loss_counts_known_places_only() -> None:
    known, free = torch.zeros(2, 3, 4), torch.tensor([[False, True, False], [True, True, False]])
    x = torch.tensor([1.0, 10.0, 2.0])[None, :, None].expand(2, 3, 4)
    loss = frame_loss(lambda point: point, known, free, 0.5)(x)
    assert loss.tolist() == [4 * (1 + 4) / 0.5, 4 * 4 / 0.5]


def wavy(x: Tensor) -> Tensor:
    """A loss per text whose gradient changes along the way."""
    return (3 * x).sin().sum((1, 2)) + x.pow(4).sum((1, 2)) / 10


def with_torch(reverse: Reverse, settings: GuidanceSettings, afresh: bool) -> Tensor:
    """The updates by torch's Adagrad: one optimiser, or a new one each time (the released code)."""
    x = reverse.sample.clone().requires_grad_()
    optimizer = torch.optim.Adagrad([x], lr=settings.rate)
    for _ in range(settings.updates):
        optimizer = torch.optim.Adagrad([x], lr=settings.rate) if afresh else optimizer
        optimizer.zero_grad()
        gaussian = ((x - reverse.mean) ** 2 / (2 * reverse.sigma**2)).sum()
        released = ((x - reverse.mean) ** 2 / reverse.sigma).sum()
        fluency = gaussian if settings.anchor == "gaussian" else released
        (wavy(x).sum() + settings.fluency * fluency).backward()
        optimizer.step()
    return x.detach()


@pytest.mark.parametrize("anchor", ["gaussian", "released"])
@pytest.mark.parametrize("optimizer", ["adagrad", "sign"])
def test_updates_are_those_of_adagrad(reverse: Reverse, optimizer: str, anchor: str) -> None:
    """Both anchors are gradients of what their names say; ``sign`` is an Adagrad that forgets."""
    settings = replace(RELEASED, optimizer=optimizer, anchor=anchor, fluency=0.05)
    expected = with_torch(reverse, settings, afresh=optimizer == "sign")
    out = ascend(reverse.sample, reverse.mean, reverse.sigma, wavy, settings)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    forgetful = ascend(reverse.sample, reverse.mean, reverse.sigma, wavy, replace(settings, optimizer="sign"))
    assert torch.allclose(out, forgetful, atol=1e-5) == (optimizer == "sign")


def test_the_gaussian_anchor_is_a_log_probability(reverse: Reverse) -> None:
    x = reverse.sample.clone().requires_grad_()
    density = torch.distributions.Normal(reverse.mean, reverse.sigma)
    (slope,) = torch.autograd.grad(-density.log_prob(x).sum(), x)
    found = fluency_slope(reverse.sample, reverse.mean, reverse.sigma, "gaussian")
    torch.testing.assert_close(found, slope, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["adagrad", "sign"])
def test_updates_lower_the_loss(reverse: Reverse, optimizer: str) -> None:
    """Without fluency every text comes nearer to its aim, and with much of it, to the mean."""
    free = replace(RELEASED, fluency=0.0, optimizer=optimizer, rate=0.01)
    out = ascend(reverse.sample, reverse.mean, reverse.sigma, reverse.quadratic, free)
    assert (reverse.quadratic(out) < reverse.quadratic(reverse.sample)).all()
    tied = replace(free, fluency=1000.0)
    out = ascend(reverse.sample, reverse.mean, reverse.sigma, reverse.quadratic, tied)
    assert (out - reverse.mean).abs().sum() < (reverse.sample - reverse.mean).abs().sum()


@pytest.mark.parametrize("optimizer", ["adagrad", "sign"])
def test_texts_do_not_move_each_other(reverse: Reverse, optimizer: str) -> None:
    """A batch of different controls equals each of them alone."""
    settings = replace(RELEASED, optimizer=optimizer)
    together = ascend(reverse.sample, reverse.mean, reverse.sigma, reverse.quadratic, settings)
    for row in range(3):
        one = Reverse(*(part[row : row + 1] for part in reverse))
        alone = ascend(one.sample, one.mean, one.sigma, one.quadratic, settings)
        torch.testing.assert_close(alone[0], together[row], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("idle", "first"), [(0.0, 1), (0.05, 1), (0.25, 5), (1.0, 20)])
def test_the_last_steps_are_idle(reverse: Reverse, idle: float, first: int) -> None:
    """Steps below the idle share, and the last step, which has no noise, return the sample itself."""
    guide = gradient_guide(lambda x, index: reverse.quadratic(x), replace(RELEASED, idle=idle), 20)
    for index in range(20):
        step = Step(index, reverse.sample, reverse.mean, 0.1 if index else 0.0, reverse.sample, no_noise)
        assert torch.equal(guide(step), reverse.sample) == (index < first)


def test_guidance_steers_texts_of_one_batch_to_their_own_words(make_model: Make) -> None:
    """Each text is drawn to the vector of its own word, where unguided texts hardly have it.

    The gradients are taken inside sampling, which takes none itself, and reach no weight of the model.
    """
    model = make_model()
    with torch.no_grad():  # a denoiser that believes what it sees
        model.embedding.weight.mul_(2)
    model.denoiser = Believer()  # type: ignore[assignment]
    wanted = torch.tensor([5, 9, 7])
    vectors = model.embedding.table[wanted].detach()[:, None]

    def loss(x: Tensor, index: int) -> Tensor:
        return (x - math.sqrt(model.process.alpha_bar_prev[index]) * vectors).square().sum((1, 2))

    guidance = replace(RELEASED, optimizer="adagrad", anchor="gaussian", rate=0.3)
    settings = SamplingSettings(
        steps=20,
        eta=1.0,
        clamp_from=0.0,
        temperature=1.0,
        truncate=0.0,
        single_words=False,
        as_released=False,
    )
    shares = []
    for guide in (None, gradient_guide(loss, guidance, 20)):
        own = [generator("guided", row) for row in range(3)]
        written = sample(model, Canvas.of([[FREE] * 8] * 3), own, settings, guide)
        shares.append((written == wanted[:, None]).float().mean(1))
    assert (shares[0] < 0.5).all() and (shares[1] > 0.8).all()
    assert all(parameter.grad is None for parameter in model.parameters())


class Believer(torch.nn.Module):
    """A stand-in network that takes the noisy text for the clean one."""

    def forward(self, x: Tensor, time: Tensor, *rest: Tensor | None) -> Tensor:
        return x


def test_plain_gradient_steps_scale_with_the_variance() -> None:
    """``gradient`` moves x by rate * sigma^2 * slope, so a control that is met moves nothing."""
    settings = replace(RELEASED, optimizer="gradient", anchor="gaussian", updates=1, rate=2.0, fluency=0.0)
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    moved = ascend(x, x, 0.5, lambda point: point.square().sum((1, 2)), settings)
    torch.testing.assert_close(moved, x - 2.0 * 0.25 * 2 * x)
    assert torch.equal(ascend(x, x, 0.5, lambda point: 0 * point.sum((1, 2)), settings), x)


def test_langevin_noise_follows_every_update_at_the_scale_of_its_step() -> None:
    x, draws = torch.zeros(1, 2, 3), iter([torch.full((1, 2, 3), 1.0), torch.full((1, 2, 3), 10.0)])
    still = replace(RELEASED, updates=2, fluency=0, rate=0.5)

    def moved(sigma: float, **changes: object) -> Tensor:
        settings = replace(still, **changes)  # type: ignore[arg-type]
        return ascend(x, x, sigma, lambda point: 0 * point.sum((1, 2)), settings, lambda: next(draws))

    assert moved(0.3, langevin=0.2) == pytest.approx(0.2 * (1 + 10))  # sqrt(2 * 0.5) is 1
    draws = iter([torch.full((1, 2, 3), 1.0), torch.full((1, 2, 3), 10.0)])
    assert moved(0.3, langevin=0.2, optimizer="gradient") == pytest.approx(0.2 * 0.3 * 11)


def test_without_langevin_noise_no_noise_is_drawn() -> None:
    x = torch.ones(1, 2, 3)
    ascend(x, x, 0.5, lambda point: point.sum((1, 2)), RELEASED, no_noise)
