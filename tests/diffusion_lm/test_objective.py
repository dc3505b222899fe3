"""Training losses: the original's, term by term, and the cross-entropy of the ``fast`` recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.objective import paper_terms, stratified_steps, uniform_steps, word_loss, words_loss
from diffusion_lm.process import Process

Tensors = Mapping[str, Tensor]
Make = Callable[..., DiffusionLM]


class Recorder(nn.Module):
    """A stand-in network: answers by ``answer`` and remembers what it was given."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer
        self.calls: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, time: Tensor, *rest: Tensor | None) -> Tensor:
        self.calls.append((x, time))
        return self.answer(x)


def with_network(model: DiffusionLM, answer: Callable[[Tensor], Tensor]) -> Recorder:
    """Put a stand-in in the place of the denoiser."""
    recorder = Recorder(answer)
    model.denoiser = recorder  # type: ignore[assignment]
    return recorder


def stored_terms(make_model: Make, tensors: Tensors, predict: str) -> tuple[dict[str, Tensor], Recorder]:
    """The loss terms of the stored batch through a network that always returns the stored output."""
    model = make_model(words=7, diffusion_steps=2000, predict=predict)
    model.embedding.load_state_dict({"weight": tensors["loss/embedding"], "bias": tensors["loss/head_bias"]})
    recorder = with_network(model, lambda x: tensors["loss/model_output"])
    names = ("input_ids", "t", "x_start_noise", "noise")
    return paper_terms(model, *(tensors[f"loss/{name}"] for name in names)), recorder


def test_loss_of_the_original_term_by_term(make_model: Make, tensors: Tensors) -> None:
    terms, network = stored_terms(make_model, tensors, "x0")
    for ours, theirs in {"mse": "mse", "rounding": "decoder_nll", "prior": "tT_loss"}.items():
        torch.testing.assert_close(terms[ours], tensors[f"loss/{theirs}"], atol=1e-6, rtol=1e-5, msg=ours)
    total = sum(terms.values(), torch.zeros(()))
    torch.testing.assert_close(total, tensors["loss/loss"], atol=1e-5, rtol=0)
    ((x_t, time),) = network.calls
    torch.testing.assert_close(x_t, tensors["loss/x_t"], atol=1e-6, rtol=0)
    torch.testing.assert_close(time, tensors["loss/model_time"])


def test_only_step_0_aims_at_the_clean_words(make_model: Make, tensors: Tensors) -> None:
    """The other rows aim at x_0, which was drawn around the words; the stored parts tell the two apart."""
    terms, _ = stored_terms(make_model, tensors, "x0")
    first = tensors["loss/t"] == 0
    assert first.tolist() == [True, False, False, False]
    expected = torch.where(first, tensors["loss/t0_loss"], tensors["loss/mse_before_t0_replacement"])
    torch.testing.assert_close(terms["mse"], expected, atol=1e-6, rtol=0)
    x0, output = tensors["loss/x_start"], tensors["loss/model_output"]
    torch.testing.assert_close(terms["mse"][1:], (x0 - output).square().mean((1, 2))[1:], atol=1e-6, rtol=0)


def test_loss_of_the_original_with_the_output_read_as_noise(make_model: Make, tensors: Tensors) -> None:
    terms, _ = stored_terms(make_model, tensors, "eps")
    torch.testing.assert_close(terms["mse"], tensors["loss_eps/mse"], atol=1e-5, rtol=0)
    total = sum(terms.values(), torch.zeros(()))
    torch.testing.assert_close(total, tensors["loss_eps/loss"], atol=1e-5, rtol=0)


def test_word_loss_is_minus_log_probability() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0, 4, 2], [1, 1, 3]])
    expected = -logits.softmax(-1).gather(-1, ids[..., None])[..., 0].log()
    torch.testing.assert_close(word_loss(logits, ids), expected)


@pytest.fixture
def texts() -> tuple[Tensor, Tensor, Tensor]:
    """Words, free places and mask of two texts of 2 and 3 words between START and END."""
    ids = torch.tensor([[0, 8, 9, 1, 3], [0, 5, 6, 7, 1]])
    free = ids > 3
    return ids, free, ids != 3


def test_the_words_loss_counts_free_words_only(
    make_model: Make, texts: tuple[Tensor, Tensor, Tensor]
) -> None:
    """It is their mean cross-entropy; logits of known and absent places get no gradient."""
    ids, free, mask = texts
    model = make_model(predict="words")
    logits = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with_network(model, lambda x: logits)
    losses = words_loss(model, ids, free, mask)
    for row in range(2):
        torch.testing.assert_close(losses[row], word_loss(logits, ids)[row, free[row]].mean())
    losses.sum().backward()
    assert logits.grad is not None
    assert not logits.grad[~free].any() and logits.grad[free].all()


def test_known_words_enter_clean_and_free_words_noisy(
    make_model: Make, texts: tuple[Tensor, Tensor, Tensor]
) -> None:
    ids, free, mask = texts
    model = make_model(predict="words")
    network = with_network(model, lambda x: torch.zeros(2, 5, 11))
    words_loss(model, ids, free, mask)
    ((x_t, _),) = network.calls
    clean = model.embedding(ids)
    assert torch.equal(x_t[~free], clean[~free])
    assert (x_t[free] - clean[free]).abs().min() > 0


@pytest.mark.parametrize("self_conditioning", [False, True])
def test_writing_at_free_places_only_is_the_same_loss(
    make_model: Make, texts: tuple[Tensor, Tensor, Tensor], self_conditioning: bool
) -> None:
    """For every text, and in every gradient."""
    ids, free, mask = texts
    model = make_model(predict="words", self_conditioning=self_conditioning)
    found = []
    for free_only in (False, True):
        torch.manual_seed(0)
        losses = words_loss(model, ids, free, mask, free_only)
        slopes = torch.autograd.grad(losses.sum(), list(model.parameters()), materialize_grads=True)
        found.append([losses, *slopes])
    for whole, part in zip(*found, strict=True):
        torch.testing.assert_close(whole, part)


@pytest.mark.parametrize("predict", ["x0", "eps"])
def test_partial_noising_of_all_places_is_the_papers_loss(make_model: Make, predict: str) -> None:
    ids, t = torch.tensor([[0, 5, 6, 1], [0, 7, 1, 3]]), torch.tensor([0, 9])
    noises = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    model = make_model(predict=predict)
    whole = paper_terms(model, ids, t, *noises)
    partial = paper_terms(model, ids, t, *noises, free=torch.ones_like(ids, dtype=torch.bool))
    for name, term in whole.items():
        torch.testing.assert_close(partial[name], term)


def test_words_outside_the_free_places_are_clean_and_do_not_count(make_model: Make, tensors: Tensors) -> None:
    """The terms of a text whose first two words are free are means over these two."""
    ids, t = tensors["loss/input_ids"], tensors["loss/t"]
    noises = tensors["loss/x_start_noise"], tensors["loss/noise"]
    model = make_model(words=7, diffusion_steps=2000)
    free = torch.zeros_like(ids, dtype=torch.bool)
    free[:, :2] = True
    network = with_network(model, lambda x: tensors["loss/model_output"])
    partial = paper_terms(model, ids, t, *noises, free=free)
    ((x, _),) = network.calls
    assert torch.equal(x[:, 2:], model.embedding(ids)[:, 2:])
    network.answer = lambda x: tensors["loss/model_output"][:, :2]
    short = paper_terms(model, ids[:, :2], t, *(noise[:, :2] for noise in noises))
    for name, term in short.items():
        torch.testing.assert_close(partial[name], term)


def test_a_text_without_free_words_has_no_loss(make_model: Make) -> None:
    ids = torch.tensor([[0, 1], [0, 1]])
    model = make_model(predict="words")
    losses = words_loss(model, ids, torch.zeros_like(ids, dtype=torch.bool), None)
    assert losses.tolist() == [0.0, 0.0]


def test_words_beyond_a_text_change_no_loss(make_model: Make, texts: tuple[Tensor, Tensor, Tensor]) -> None:
    ids, free, mask = texts
    model = make_model(predict="words", self_conditioning=True)
    losses = []
    for padding in (3, 10):
        torch.manual_seed(0)
        losses.append(words_loss(model, torch.where(mask, ids, padding), free, mask))
    torch.testing.assert_close(*losses)


def test_half_of_a_batch_sees_its_own_estimate(
    make_model: Make, texts: tuple[Tensor, Tensor, Tensor]
) -> None:
    """The first half gets the model's estimate of these very texts, without gradient; the rest gets zeros."""
    ids, free, mask = texts
    model = make_model(predict="words", self_conditioning=True)
    weights = torch.randn(8, 11, generator=torch.Generator().manual_seed(1)).requires_grad_()
    network = with_network(model, lambda x: x @ weights)
    words_loss(model, ids, free, mask)
    (first, first_time), (both, time) = network.calls
    assert torch.equal(first[..., :4], both[:1, :, :4]) and torch.equal(first_time, time[:1])
    assert not first[..., 4:].any() and not both[1:, :, 4:].any()
    estimate = (first @ weights).softmax(-1) @ model.embedding.table
    torch.testing.assert_close(both[:1, :, 4:], estimate)
    (slope,) = torch.autograd.grad(both[..., 4:].sum() + weights.sum(), weights)
    assert torch.equal(slope, torch.ones_like(slope))


def test_training_on_words_learns_words(make_model: Make) -> None:
    """A tiny model fits two texts: the loss falls far below that of guessing."""
    model = make_model(predict="words", normalised=True)
    ids = torch.tensor([[0, 5, 6, 7, 1], [0, 8, 9, 10, 1]]).repeat(4, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    torch.manual_seed(0)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = words_loss(model, ids, ids > 3, None).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.8 and sum(losses[-10:]) / 10 < 0.5


@pytest.mark.parametrize(("rows", "width"), [(20, 1), (10, 2), (4, 5)])
def test_every_stratum_gets_one_step(rows: int, width: int) -> None:
    process = Process.of("sqrt", 20)
    torch.manual_seed(rows)
    for _ in range(20):
        steps = stratified_steps(rows, process)
        assert sorted((steps // width).tolist()) == list(range(rows))


@pytest.mark.parametrize("draw", [stratified_steps, uniform_steps])
def test_each_text_gets_every_step_equally_often(draw: Callable[[int, Process], Tensor]) -> None:
    """Also with a batch that does not divide T, and for the first row alone."""
    process = Process.of("sqrt", 20)
    torch.manual_seed(0)
    steps = torch.stack([draw(7, process) for _ in range(3000)])
    assert steps.min() == 0 and steps.max() == 19
    for drawn, tolerance in ((steps.flatten(), 0.15), (steps[:, 0], 0.4)):
        shares = drawn.bincount(minlength=20) / len(drawn) * 20
        assert (shares - 1).abs().max() < tolerance
