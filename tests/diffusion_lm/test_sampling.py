"""Reverse diffusion: the original's steps and infilling run, and what sampling promises of every text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.embedding import nearness
from diffusion_lm.process import Process
from diffusion_lm.sampling import (
    FREE,
    Canvas,
    Noise,
    SamplingSettings,
    Step,
    reverse_gaussian,
    sample,
    single_words,
    truncated_normal,
)
from pipeline.corpora.vocabulary import END, PAD, START
from pipeline.seeding import generator

Arrays = Mapping[str, np.ndarray]
Tensors = Mapping[str, Tensor]
Make = Callable[..., DiffusionLM]
SETTINGS = SamplingSettings(
    steps=8, eta=1.0, clamp_from=1.0, temperature=1.0, truncate=0.0, single_words=False, as_released=False
)


class Linear(nn.Module):
    """A stand-in network: x times a matrix. Remembers its inputs."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix
        self.inputs: list[Tensor] = []

    def forward(self, x: Tensor, time: Tensor, *rest: Tensor | None) -> Tensor:
        self.inputs.append(x)
        return x @ self.matrix


def with_network(model: DiffusionLM, matrix: Tensor) -> Linear:
    """Put a stand-in in the place of the denoiser."""
    network = Linear(matrix)
    model.denoiser = network  # type: ignore[assignment]
    return network


def lively(model: DiffusionLM) -> DiffusionLM:
    """The model with larger outputs: an untrained network hardly looks at its input."""
    last = model.denoiser.down[2]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(8)
    return model


class Watcher:
    """A guide that changes nothing and remembers every step."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> Tensor:
        self.steps.append(step)
        return step.sample


def generators(count: int, *key: str) -> list[torch.Generator]:
    return [generator("test", *key, i) for i in range(count)]


def framed(*words: int) -> list[list[int]]:
    """Canvases of so many free words between START and END."""
    return [[START, *[FREE] * n, END] for n in words]


@pytest.mark.parametrize("steps", [2000, 200])
@pytest.mark.parametrize("clamping", ["noclamp", "clamp"])
@pytest.mark.parametrize("eta", ["0.0", "0.5", "1.0"])
def test_reverse_steps_of_the_original(tensors: Tensors, steps: int, clamping: str, eta: str) -> None:
    """Mean, standard deviation and sample of each row at its own step; at eta 1 also those of DDPM."""
    name, process = f"step/t{steps}/{clamping}/", Process.of("sqrt", steps)
    x0, table = tensors["step/model_output"], tensors["clamp/embedding"]
    if clamping == "clamp":
        x0 = table[nearness(x0, table).argmax(-1)]
    torch.testing.assert_close(x0, tensors[name + "pred_xstart"], atol=1e-6, rtol=0)
    drawn = [
        reverse_gaussian(process, x_t[None], clean[None], int(t), float(eta))
        for x_t, clean, t in zip(tensors["step/x_t"], x0, tensors[f"step/t{steps}/t"], strict=True)
    ]
    mean, sigma = torch.cat([m for m, _ in drawn]), torch.tensor([s for _, s in drawn])
    sampled = mean + sigma[:, None, None] * tensors[name + "ddpm_noise"]
    torch.testing.assert_close(mean, tensors[f"{name}ddim_eta{eta}_mean"], atol=1e-4, rtol=0)
    # The original subtracts neighbouring levels in float32.
    torch.testing.assert_close(sigma, tensors[f"{name}ddim_eta{eta}_sigma"], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(sampled, tensors[f"{name}ddim_eta{eta}_sample"], atol=1e-4, rtol=0)
    if eta == "1.0":
        torch.testing.assert_close(mean, tensors[name + "ddpm_mean"], atol=1e-4, rtol=0)
        torch.testing.assert_close(sampled, tensors[name + "ddpm_sample"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("index", [0, 1, 7, 19])
def test_full_noise_is_the_posterior(index: int) -> None:
    """At eta 1 the step is q(x_{t-1} | x_t, x_0), also between coarse levels."""
    process = Process.of("sqrt", 60).strided(20)
    x_t, x0 = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(index))
    mean, sigma = reverse_gaussian(process, x_t, x0, index, 1.0)
    expected = process.posterior_mean(x0, x_t, torch.full((3,), index))
    torch.testing.assert_close(mean, expected, atol=1e-4, rtol=0)
    assert sigma**2 == pytest.approx(process.posterior_variance[index], rel=1e-9)


def test_without_noise_a_step_stays_on_its_path() -> None:
    """At eta 0 the true x_0 leads from x_t to the x_{t-1} of the same noise."""
    process = Process.of("sqrt", 20)
    x0, noise = torch.randn(2, 1, 5, 4, generator=torch.Generator().manual_seed(1))
    now, before = (process.q_sample(x0, torch.tensor([t]), noise) for t in (8, 7))
    mean, sigma = reverse_gaussian(process, now, x0, 8, 0.0)
    assert sigma == 0
    torch.testing.assert_close(mean, before, atol=1e-5, rtol=0)


def test_truncated_noise_of_the_original(reference: Arrays) -> None:
    """Components beyond the bound are drawn again, not cut: the standard deviation tells."""
    draws = zip(
        reference["topp/top_p"],
        reference["topp/observed_abs_max"],
        reference["topp/observed_std"],
        strict=True,
    )
    for bound, largest, deviation in draws:
        noise = truncated_normal((50_000,), torch.Generator().manual_seed(0), float(bound))
        assert float(noise.abs().max()) <= bound
        assert float(noise.abs().max()) == pytest.approx(largest, rel=1e-3)
        assert float(noise.std()) == pytest.approx(deviation, rel=0.01)


def test_without_a_bound_noise_is_plain(reference: Arrays) -> None:
    """Our 0 is the original's -1."""
    assert reference["topp/minus1_equals_untruncated"]
    plain = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(truncated_normal((7, 3), torch.Generator().manual_seed(0), 0.0), plain)


@pytest.mark.parametrize("truncate", [0.0, 0.5])
def test_a_texts_noise_is_its_own(truncate: float) -> None:
    """Neither the other texts of a batch nor its width move a draw; beyond a text's end there is none."""
    together = Noise(generators(3), [4, 7, 2], 5, truncate)
    drawn = [together.draw() for _ in range(3)]
    for row, length in enumerate((4, 7, 2)):
        alone = Noise(generators(3)[row : row + 1], [length], 5, truncate)
        for noise in drawn:
            assert torch.equal(noise[row, :length], alone.draw()[0])
            assert not noise[row, length:].any()


def test_infilling_run_of_the_original(
    make_model: Make, tensors: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight steps from stored noise: free places as stored, context put back without noise after each.

    The original noises the context of the very first state; its network has no attention here, so that
    does not reach the free places.
    """
    model = make_model(diffusion_steps=8, words=8)
    np.testing.assert_allclose(model.process.beta, tensors["infill/betas"].numpy(), rtol=1e-11)
    with_network(model, tensors["guide/len/denoiser_matrix"])
    free = tensors["infill/free_mask"]
    context = tensors["infill/context"][~free]  # four given words
    with torch.no_grad():
        model.embedding.weight[4:] = context
    words = torch.full(free.shape, FREE)
    words[~free] = torch.arange(4, 8)
    noises = iter([tensors["infill/initial_noise"], *tensors["infill/step_noise"]])
    monkeypatch.setattr(Noise, "draw", lambda self: next(noises))
    canvas, watcher = Canvas(words, torch.ones_like(free)), Watcher()
    sample(model, canvas, generators(2), replace(SETTINGS, clamp_from=0.0), watcher)
    steps, trajectory = watcher.steps, tensors["infill/trajectory"]
    for number in range(8):
        assert steps[number].index == 7 - number
        found = steps[number].sample[free]
        torch.testing.assert_close(found, trajectory[number][free], atol=1e-4, rtol=1e-5)
        assert torch.equal(steps[number].x_t[~free], context)
    for number in range(1, 8):  # the state after a step, context included, is where the next one starts
        torch.testing.assert_close(steps[number].x_t, trajectory[number - 1], atol=1e-4, rtol=1e-5)


PREDICTIONS = [("x0", False), ("eps", False), ("words", False), ("words", True)]


@pytest.mark.parametrize(("predict", "self_conditioning"), PREDICTIONS)
def test_known_words_never_change(make_model: Make, predict: str, self_conditioning: bool) -> None:
    model = make_model(predict=predict, self_conditioning=self_conditioning)
    rows = [[START, FREE, 7, FREE, END], [5, FREE, FREE, 6], [FREE, 9, 9], [8, 8]]
    canvas = Canvas.of(rows)
    seen: list[Tensor] = []

    def watch(step: Step) -> Tensor:
        seen.append(step.x_t)
        return step.sample + 100  # a guide may push them, too

    written = sample(model, canvas, generators(4), SETTINGS, watch)
    known = ~canvas.free
    assert torch.equal(written[known], canvas.words[known])
    assert (written >= 0).all()
    assert len(seen) == 8
    assert all(torch.equal(x_t[known], model.embedding(canvas.words.clamp(min=0))[known]) for x_t in seen)


@pytest.mark.parametrize(("predict", "self_conditioning"), PREDICTIONS)
@pytest.mark.parametrize("clamp_from", [0.0, 1.0])
def test_a_frame_holds_words_only(
    make_model: Make, predict: str, self_conditioning: bool, clamp_from: float
) -> None:
    """Between a given START and END no START, END or PAD is written, even where the model would."""
    model = make_model(predict=predict, self_conditioning=self_conditioning)
    with torch.no_grad():
        last = model.denoiser.down[2]
        assert isinstance(last, nn.Linear)
        last.weight.zero_()
        last.bias.copy_(torch.eye(11)[PAD] * 9 if predict == "words" else model.embedding.table[PAD])
    settings = replace(SETTINGS, clamp_from=clamp_from)
    inside = sample(model, Canvas.of(framed(5, 3, 9)), generators(3), settings)[:, 1:6]
    assert not torch.isin(inside[0], torch.tensor([START, END, PAD])).any()
    open_ended = sample(model, Canvas.of([[FREE] * 6] * 3), generators(3), settings)
    if predict != "eps":  # a constant noise estimate says nothing
        assert (open_ended == PAD).all()  # without a frame they may be written


@pytest.mark.parametrize(("predict", "self_conditioning"), PREDICTIONS)
@pytest.mark.parametrize("barred", [(START,), (START, END), (START, END, PAD), (8,)], ids=str)
def test_barred_words_fill_no_free_place(
    make_model: Make, predict: str, self_conditioning: bool, barred: tuple[int, ...]
) -> None:
    """What a canvas bars is barred with and without a frame, and nothing else is."""
    model = lively(make_model(predict=predict, self_conditioning=self_conditioning))
    rows = [*framed(5, 9), [7, *[FREE] * 6, 7]]
    canvas = Canvas.of(rows * 60, barred)
    for single in (False, True):
        settings = replace(SETTINGS, single_words=single, clamp_from=0.5)
        written = sample(model, canvas, generators(180), settings)
        assert set(written[canvas.free].tolist()) <= set(range(11)) - set(barred)
    allowed = ~canvas.forbidden(11)[:, 0]
    assert allowed.sum(1).eq(11 - len(barred)).all() and not allowed[:, list(barred)].any()


@pytest.mark.parametrize(("predict", "self_conditioning"), PREDICTIONS)
def test_a_text_does_not_depend_on_its_batch(make_model: Make, predict: str, self_conditioning: bool) -> None:
    """Seven texts of unequal length at once, one by one, and in another order: the same words."""
    model = lively(make_model(predict=predict, self_conditioning=self_conditioning, seed=2))
    rows = framed(3, 9, 5, 9, 12, 4, 7)

    def write(order: Sequence[int]) -> list[list[int]]:
        own = generators(7)
        chosen = [rows[i] for i in order]
        written = sample(model, Canvas.of(chosen), [own[i] for i in order], SETTINGS)
        return [
            row[: len(known)]
            for row, known in zip(written[torch.tensor(order).argsort()].tolist(), rows, strict=False)
        ]

    together = write(range(7))
    assert together == write([4, 2, 6, 0, 1, 5, 3])
    for i, row in enumerate(rows):
        alone = sample(model, Canvas.of([row]), [generators(7)[i]], SETTINGS).tolist()
        assert alone == [together[i]]
    assert len({word for row in together for word in row}) > 4  # the texts are no constant
    assert together[1] != together[3]  # nor follow from their length


def test_the_same_generators_write_the_same_texts(make_model: Make) -> None:
    model, canvas = lively(make_model()), Canvas.of(framed(8, 8))
    torch.manual_seed(1)
    first = sample(model, canvas, generators(2), SETTINGS)
    torch.manual_seed(2)  # the global generator has no part in it
    assert torch.equal(sample(model, canvas, generators(2), SETTINGS), first)
    assert not torch.equal(sample(model, canvas, generators(2, "other"), SETTINGS), first)


@pytest.mark.parametrize(("clamp_from", "clamped"), [(1.0, 8), (0.5, 4), (0.25, 2), (0.0, 0)])
def test_clamping_starts_late(make_model: Make, clamp_from: float, clamped: int) -> None:
    """The estimate in a step's mean is a word's vector in the last ``clamp_from`` of the steps only."""
    model, watcher = make_model(), Watcher()
    with_network(model, torch.eye(4) / 2)
    settings = replace(SETTINGS, clamp_from=clamp_from)
    sample(model, Canvas.of([[FREE] * 5]), generators(1), settings, watcher)
    of_x0, of_x_t = model.process.strided(8).posterior_weights
    estimates = [(step.mean - of_x_t[step.index] * step.x_t) / of_x0[step.index] for step in watcher.steps]
    misses = [torch.cdist(x0[0], model.embedding.table).amin(1).max().item() for x0 in estimates]
    assert [miss < 1e-3 for miss in misses] == [False] * (8 - clamped) + [True] * clamped


@pytest.mark.parametrize(("temperature", "truncate"), [(1.0, 0.0), (0.5, 0.0), (1.0, 0.3)])
def test_noise_is_scaled_and_bounded_at_every_step(
    make_model: Make, temperature: float, truncate: float
) -> None:
    """(sample - mean) / sigma is the temperature times standard noise, and nothing at the last step."""
    watcher = Watcher()
    settings = replace(SETTINGS, temperature=temperature, truncate=truncate)
    sample(make_model(), Canvas.of([[FREE] * 16] * 20), generators(20), settings, watcher)
    steps = watcher.steps
    assert torch.equal(steps[-1].sample, steps[-1].mean) and steps[-1].sigma == 0
    noise = torch.stack([(step.sample - step.mean) / step.sigma for step in steps[:-1]])
    if truncate:
        assert float(noise.abs().max()) <= truncate + 1e-4
    else:
        assert float(noise.std()) == pytest.approx(temperature, rel=0.05)


def test_more_steps_than_the_model_has_are_an_error(make_model: Make) -> None:
    with pytest.raises(ValueError, match="21 of 20"):
        sample(make_model(), Canvas.of(framed(3)), generators(1), replace(SETTINGS, steps=21))


def test_the_network_sees_its_own_last_estimate(make_model: Make) -> None:
    """Self-conditioning starts from zeros and goes on with the estimate as predicted, not as clamped."""
    model = make_model(self_conditioning=True)
    network = with_network(model, torch.randn(8, 4, generator=torch.Generator().manual_seed(1)) / 2)
    sample(model, Canvas.of([[FREE] * 5]), generators(1), SETTINGS)
    assert len(network.inputs) == 8
    assert not network.inputs[0][..., 4:].any()
    for before, after in zip(network.inputs, network.inputs[1:], strict=False):
        assert torch.equal(after[..., 4:], before @ network.matrix)


def test_single_words_never_repeat_a_word() -> None:
    """Of two equal neighbours the less certain one takes its runner-up; runs break up; PAD may repeat."""
    scores = torch.zeros(1, 4, 9)
    scores[0, 0, 5], scores[0, 0, 6] = 3.0, 2.5  # leads by 0.5
    scores[0, 1, 5], scores[0, 1, 7] = 3.0, 1.0  # leads by 2
    scores[0, 2:, PAD] = 9.0
    assert single_words(scores).tolist() == [[6, 5, PAD, PAD]]
    run = torch.randn(50, 12, 9, generator=torch.Generator().manual_seed(0))
    run[..., 5] += 4  # almost every place wants word 5
    words = single_words(run)
    assert not ((words[:, 1:] == words[:, :-1]) & (words[:, 1:] != PAD)).any()
    calm = torch.eye(9)[None, [4, 5, 4, 6]]
    assert single_words(calm).tolist() == calm.argmax(-1).tolist()  # nothing to mend, nothing changed


def test_single_words_depend_on_no_place_beyond_the_text() -> None:
    """END and what lies behind it in a longer batch stand already; their predictions push no word aside."""
    scores = torch.randn(2000, 12, 12, generator=torch.Generator().manual_seed(1))
    scores[:, :7, :4] = -torch.inf
    known = torch.full((2000, 12), FREE)
    known[:, 7], known[:, 8:] = END, PAD
    alone, batched = single_words(scores[:, :8], known[:, :8]), single_words(scores, known)
    assert torch.equal(alone, batched[:, :8])
    assert torch.equal(batched[:, 7:], known[:, 7:])
    assert not (alone[:, 1:] == alone[:, :-1]).any()


def test_a_word_gives_way_to_its_known_neighbour() -> None:
    scores = torch.zeros(1, 3, 9)
    scores[0, :, 5] = torch.tensor([9.0, 1.0, 9.0])
    scores[0, (0, 2), (6, 7)] = 8.0
    known = torch.tensor([[FREE, 5, FREE]])
    assert single_words(scores, known).tolist() == [[6, 5, 7]]
