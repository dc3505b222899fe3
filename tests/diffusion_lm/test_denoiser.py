"""The denoiser with the original's weights, the mask of short texts, and how an output is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from diffusion_lm.denoiser import DiffusionLM, load_released
from diffusion_lm.encoder import time_features
from diffusion_lm.objective import paper_terms

Tensors = Mapping[str, Tensor]
Make = Callable[..., DiffusionLM]
WEIGHTS = "denoiser/param/"


def released_weights(tensors: Tensors) -> dict[str, Tensor]:
    """The original's state dictionary."""
    return {key.removeprefix(WEIGHTS): value for key, value in tensors.items() if key.startswith(WEIGHTS)}


@pytest.fixture
def released(make_model: Make, tensors: Tensors) -> DiffusionLM:
    """A model with the weights of the original's small network, for T = 2000."""
    model = make_model(diffusion_steps=2000)
    load_released(model, released_weights(tensors))
    return model


def test_outputs_of_the_original(released: DiffusionLM, tensors: Tensors) -> None:
    out = released.denoiser(tensors["denoiser/x"], tensors["denoiser/t"])
    torch.testing.assert_close(out, tensors["denoiser/out"], atol=1e-5, rtol=0)
    logits = released.embedding.logits(tensors["denoiser/x"])
    torch.testing.assert_close(logits, tensors["denoiser/logits_of_x"], atol=1e-5, rtol=0)


def test_gradients_of_the_original(released: DiffusionLM, tensors: Tensors) -> None:
    """Gradient of mean(out^2) for positions, first time layer and first input layer."""
    denoiser = released.denoiser
    denoiser(tensors["denoiser/x"], tensors["denoiser/t"]).square().mean().backward()
    for name, weight in {
        "position_embeddings": denoiser.positions.weight,
        "time_embed_0": denoiser.time[0].weight,
        "up_0": denoiser.up[0].weight,
    }.items():
        expected = tensors[f"denoiser/grad_{name}"]
        torch.testing.assert_close(weight.grad, expected, atol=1e-6, rtol=1e-4, msg=name)


def test_training_loss_of_the_original_through_the_network(released: DiffusionLM, tensors: Tensors) -> None:
    """Loss and gradients, those of the table summed over its uses: target, input and rounding head."""
    ids, t, x0_noise, noise = (
        tensors[f"denoiser_loss/{name}"] for name in ("input_ids", "t", "x_start_noise", "noise")
    )
    terms = paper_terms(released, ids, t, x0_noise, noise)
    total = sum(terms.values(), torch.zeros(()))
    torch.testing.assert_close(terms["mse"], tensors["denoiser_loss/mse"], atol=1e-5, rtol=0)
    torch.testing.assert_close(total, tensors["denoiser_loss/loss"], atol=1e-5, rtol=0)
    total.mean().backward()
    for name, weight in {
        "embedding": released.embedding.weight,
        "head_bias": released.embedding.bias,
        "down_2": released.denoiser.down[2].weight,
    }.items():
        expected = tensors[f"denoiser_loss/grad_{name}"]
        torch.testing.assert_close(weight.grad, expected, atol=1e-6, rtol=1e-4, msg=name)


def test_the_averaged_table_is_read_not_the_raw_one(make_model: Make, tensors: Tensors) -> None:
    """Released averages store the tied table twice; only ``word_embedding.weight`` is averaged."""
    model, state = make_model(), released_weights(tensors)
    state["lm_head.weight"] = torch.full_like(state["lm_head.weight"], 9.0)
    load_released(model, state)
    assert torch.equal(model.embedding.table, state["word_embedding.weight"])


def test_time_features_of_the_original(tensors: Tensors) -> None:
    """Angles reach 1000 in float32, whose rounding is 6e-5 there and differs between processors' exp."""
    time, expected = tensors["time_embedding/t"], tensors["time_embedding/dim128"]
    found = time_features(time, 128)
    torch.testing.assert_close(found[time <= 1], expected[time <= 1], atol=1e-6, rtol=0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_masked_batch_equals_its_texts_alone(released: DiffusionLM) -> None:
    lengths = (3, 6, 5)
    x, time = (
        torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1)),
        torch.tensor([0.0, 5.0, 900.0]),
    )
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    together = released.denoiser(x, time, mask)
    for row, length in enumerate(lengths):
        alone = released.denoiser(x[row : row + 1, :length], time[row : row + 1])
        torch.testing.assert_close(together[row, :length], alone[0], atol=1e-5, rtol=0)


def test_nothing_beyond_the_mask_is_seen(released: DiffusionLM) -> None:
    """Other content there changes no bit of the text, and gets no gradient from it."""
    x, time = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([5.0, 900.0])
    mask = torch.arange(6) < torch.tensor([4, 6])[:, None]
    other = torch.where(mask[..., None], x, torch.full_like(x, 1e3)).requires_grad_()
    found = released.denoiser(other, time, mask)
    assert torch.equal(found[mask], released.denoiser(x, time, mask)[mask])
    found[mask].square().sum().backward()
    assert other.grad is not None
    assert not other.grad[~mask].any() and other.grad[mask].all()


def test_without_a_mask_every_place_is_seen(released: DiffusionLM) -> None:
    """The original attends to everything, PAD included."""
    x = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    released.denoiser(x, torch.tensor([5.0]))[0, 0].sum().backward()
    assert x.grad is not None and x.grad.all()


def test_time_and_place_matter(released: DiffusionLM) -> None:
    x = torch.ones(2, 3, 4)
    out = released.denoiser(x, torch.tensor([10.0, 500.0]))
    assert (out[0] - out[1]).abs().min() > 1e-4  # same text, other time
    assert (out[0, 0] - out[0, 1]).abs().min() > 1e-4  # same vector, other place


def test_noise_predictions_are_read_as_clean_estimates(make_model: Make) -> None:
    """With the true noise as output, the estimate is the clean text."""
    model, t = make_model(predict="eps"), torch.tensor([3, 12])
    x0, noise = torch.randn(2, 2, 5, 4, generator=torch.Generator().manual_seed(2))
    x_t = model.process.q_sample(x0, t, noise)
    prediction = model.read(noise, x_t, t, model.process)
    torch.testing.assert_close(prediction.x0, x0, atol=1e-4, rtol=0)
    torch.testing.assert_close(prediction.logits, model.embedding.logits(x0), atol=1e-3, rtol=0)


def test_word_predictions_are_read_as_expected_embeddings(make_model: Make) -> None:
    model, t = make_model(predict="words"), torch.tensor([3])
    logits = torch.full((1, 2, 11), -50.0)
    logits[0, 0, 6] = 50  # certain of word 6
    logits[0, 1, [7, 8]] = 50  # torn between words 7 and 8
    x0 = model.read(logits, torch.zeros(1, 2, 4), t, model.process).x0[0]
    table = model.embedding.table
    torch.testing.assert_close(x0, torch.stack([table[6], (table[7] + table[8]) / 2]))
    assert model(torch.zeros(1, 2, 4), t, model.process).logits.shape == (1, 2, 11)


def test_forbidden_words_are_neither_chosen_nor_blended_in(make_model: Make) -> None:
    """Rounding takes the best word that is left, whatever the network predicts."""
    forbidden = torch.zeros(1, 1, 11, dtype=torch.bool)
    forbidden[..., :4] = True
    for predict in ("x0", "words"):
        model = make_model(predict=predict)
        table = model.embedding.table
        output = table[None, [2, 5]] if predict == "x0" else torch.eye(11)[None, [2, 5]] * 90
        prediction = model.read(output, output[..., :4], torch.tensor([3]), model.process)
        free, _ = model.round(prediction, torch.zeros_like(forbidden))
        words, x0 = model.round(prediction, forbidden)
        assert free.argmax(-1).tolist() == [[2, 5]]
        assert (words[..., :4] == -torch.inf).all()
        words = words.argmax(-1)
        assert words[0, 1] == 5 and words[0, 0] >= 4
        if predict == "words":
            torch.testing.assert_close(x0[0, 0], table[4:].mean(0))  # no preference among those that are left
        else:
            nearest = 4 + int(torch.cdist(table[None, 2], table[4:]).argmin())
            assert words[0, 0] == nearest


def test_the_last_estimate_is_an_input_when_self_conditioned(make_model: Make) -> None:
    """Absent means zero; anything else moves the output, and is not mixed up with x_t."""
    model, t = make_model(self_conditioning=True), torch.tensor([3])
    x_t, previous = torch.randn(2, 1, 5, 4, generator=torch.Generator().manual_seed(2))

    def output(x: Tensor, estimate: Tensor | None) -> Tensor:
        return model.output(x, t, model.process, estimate)

    assert torch.equal(output(x_t, None), output(x_t, torch.zeros_like(x_t)))
    assert not torch.allclose(output(x_t, None), output(x_t, previous), atol=1e-3)
    assert not torch.allclose(output(previous, x_t), output(x_t, previous), atol=1e-3)


def test_the_network_reads_the_time_of_the_process_it_samples_from(make_model: Make) -> None:
    """A coarse copy keeps the times of training, so equal levels give equal outputs."""
    model = make_model()
    coarse = model.process.strided(5)
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(2))
    fine = model.output(x, torch.tensor([3, 19]), model.process)
    assert torch.equal(model.output(x, torch.tensor([0, 4]), coarse), fine)


def test_the_same_seed_makes_the_same_network(make_model: Make) -> None:
    first, same, other = (make_model(seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["denoiser.up.0.weight"], other["denoiser.up.0.weight"])


def test_dropout_works_in_training_only(make_model: Make) -> None:
    model = make_model(dropout=0.5)
    x, t = torch.ones(1, 5, 4), torch.tensor([3])
    assert torch.equal(model.output(x, t, model.process), model.output(x, t, model.process))
    model.train()
    assert not torch.equal(model.output(x, t, model.process), model.output(x, t, model.process))
    assert any(isinstance(module, nn.Dropout) for module in model.modules())
