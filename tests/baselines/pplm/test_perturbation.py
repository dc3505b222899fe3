"""One perturbation: reading, the losses, where gradients go, and how far the history moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.pplm.attribute import AttributeModel, BagOfWords
from baselines.pplm.perturbation import (
    NEVER,
    History,
    Moment,
    PerturbationSettings,
    log_probabilities,
    look_ahead,
    losses,
    perturb,
    read,
)

SETTINGS = PerturbationSettings(updates=1, step=0.3, kl_scale=0.01, gamma=1.0, window=0)
READ = 6  # tokens before x_t
ROWS = 5


@pytest.fixture(scope="module")
def ids(world: Any) -> Tensor:
    """START and the first words of some texts [B, n + 1]."""
    texts = [text.tokens for text in world.valid if len(text.tokens) >= READ][:ROWS]
    return torch.tensor([[world.model.start, *world.model.encode(words)[:READ]] for words in texts])


@pytest.fixture(scope="module")
def moment(world: Any, ids: Tensor) -> Moment:
    """The state before the token that follows ``ids``, nothing perturbed yet."""
    history: History = []
    states = torch.zeros(len(ids), 32)
    with torch.no_grad():
        for token in world.model.network.transformer.wte(ids).unbind(1):
            before, summed = history, states
            hidden, history = read(world.model, before, token)
            states = states + hidden
        return Moment(token, before, history, log_probabilities(world.model, hidden), summed)


def no_norms(rows: int = ROWS) -> Tensor:
    return torch.zeros(2, rows)


def row(moment: Moment, i: int) -> Moment:
    """One text of the batch."""
    rest = slice(i, i + 1)
    histories = ([(k[rest], v[rest]) for k, v in history] for history in (moment.history, moment.unperturbed))
    return Moment(moment.token[rest], *histories, moment.log_u[rest], moment.hidden[rest])


def moved_by(before: History, after: History) -> Tensor:
    """How far keys and values moved together, [layers, B]."""
    pairs = zip(before, after, strict=True)
    moves = [torch.cat([(k - k0).flatten(1), (v - v0).flatten(1)], 1) for (k0, v0), (k, v) in pairs]
    return torch.stack([move.norm(dim=1) for move in moves])


def test_reading_token_by_token_is_reading_the_text(world: Any, ids: Tensor, moment: Moment) -> None:
    whole = world.model.network(ids, output_hidden_states=True)
    states = whole.hidden_states[-1]
    assert torch.allclose(moment.hidden, states[:, :-1].sum(1), atol=1e-4)
    allowed = [i for i in range(len(world.vocabulary)) if i not in world.model.barred]
    expected = whole.logits[:, -1, allowed].log_softmax(-1)
    assert torch.allclose(moment.log_u[:, allowed], expected, atol=1e-4)
    assert (moment.log_u[:, world.model.barred] < NEVER / 2).all()
    assert {keys.shape[2] for keys, _ in moment.history} == {READ}  # reading x_t left it as it was


def test_one_hot_probabilities_look_ahead_to_the_word_itself(world: Any, ids: Tensor, moment: Moment) -> None:
    sure = torch.eye(len(world.vocabulary))[torch.full((ROWS,), 7)]
    seen = look_ahead(world.model, moment.unperturbed, sure, horizon=1)
    longer = torch.cat([ids, torch.full((ROWS, 1), 7)], 1)
    states = world.model.network(longer, output_hidden_states=True).hidden_states[-1]
    assert torch.allclose(seen, states[:, -1], atol=1e-4)


class Spy(AttributeModel):
    """An attribute model that keeps what it is shown."""

    running_norm = False

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.features = torch.zeros(0)

    def loss(self, log_p: Tensor, features: Tensor) -> Tensor:
        self.features = features
        return features.sum(1)

    def select(self, rows: Tensor) -> AttributeModel:
        return self


@pytest.mark.parametrize("horizon", [0, 1, 2])
def test_the_discriminator_reads_the_mean_of_text_and_soft_words(
    world: Any, ids: Tensor, moment: Moment, horizon: int
) -> None:
    moved = [(keys + 0.5, values.clone().requires_grad_()) for keys, values in moment.history]
    spy = Spy(horizon)
    losses(world.model, moved, moment, spy)
    words = world.model.network.transformer.wte.weight
    now = read(world.model, moved, moment.token).hidden
    soft = log_probabilities(world.model, now).exp() @ words
    vectors = torch.cat([words[ids], soft[:, None].expand(-1, horizon, -1)], 1)
    states = world.model.network.transformer(inputs_embeds=vectors).last_hidden_state
    states[:, READ] = now  # x_t alone is read behind the perturbed history
    assert torch.allclose(spy.features, states.mean(1), atol=1e-4)
    assert spy.features.requires_grad == (horizon > 0)  # the gradient comes through the soft words only


def test_kl_is_that_of_the_perturbed_from_the_unperturbed_distribution(world: Any, moment: Moment) -> None:
    other = [(keys + 0.5, values - 0.5) for keys, values in moment.history]
    found = losses(world.model, other, moment, world.wanted(ROWS)).kl
    log_p = log_probabilities(world.model, read(world.model, other, moment.token).hidden)
    expected = torch.nn.functional.kl_div(moment.log_u, log_p, log_target=True, reduction="none").sum(1)
    assert torch.allclose(found, expected, atol=1e-5) and (found > 0.01).all()


def test_a_step_follows_the_gradient_on_a_perturbation_of_zero(world: Any, moment: Moment) -> None:
    deltas = [torch.zeros_like(t, requires_grad=True) for pair in moment.history for t in pair]
    pairs = zip(moment.history, deltas[::2], deltas[1::2], strict=True)
    history = [(keys + dk, values + dv) for (keys, values), dk, dv in pairs]
    found = losses(world.model, history, moment, world.wanted(ROWS))
    (found.attribute + 0.01 * found.kl).sum().backward()
    plain = perturb(world.model, moment, world.wanted(ROWS), replace(SETTINGS, gamma=0.0), no_norms())
    before = [tensor for pair in moment.history for tensor in pair]
    after = [tensor for pair in plain for tensor in pair]
    for old, new, delta in zip(before, after, deltas, strict=True):
        assert delta.grad is not None and delta.grad.abs().max() > 0
        assert torch.allclose(new - old, -0.3 * delta.grad, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.5])
def test_a_step_is_as_long_as_the_norm_of_keys_and_values_says(
    world: Any, moment: Moment, gamma: float
) -> None:
    own, moved = no_norms(), {}
    for power in (0.0, gamma):
        settings = replace(SETTINGS, gamma=power)
        after = perturb(world.model, moment, world.wanted(ROWS), settings, own)
        moved[power] = moved_by(moment.history, after)
    assert (own > 0).all()
    assert torch.allclose(moved[0.0], 0.3 * own, rtol=1e-2)
    assert torch.allclose(moved[gamma], 0.3 * own ** (1 - gamma), rtol=1e-2)


def test_only_bags_of_words_divide_by_the_largest_norm_so_far(world: Any, moment: Moment) -> None:
    bags = BagOfWords.of(world.model, ["pub", "Thai", "cheap", "Kingsway", "old town"])
    for wanted, remembers in ((bags, True), (world.wanted(ROWS), False)):
        own = no_norms()
        perturb(world.model, moment, wanted, SETTINGS, own)
        norms = 4 * own
        after = perturb(world.model, moment, wanted, SETTINGS, norms)
        assert torch.allclose(norms, 4 * own if remembers else own, rtol=1e-4)
        length = torch.full((2, ROWS), 0.3 / 4 if remembers else 0.3)
        assert torch.allclose(moved_by(moment.history, after), length, rtol=1e-2)


def test_a_window_moves_the_newest_positions_only(world: Any, moment: Moment) -> None:
    after = perturb(world.model, moment, world.wanted(ROWS), replace(SETTINGS, window=2), no_norms())
    for old, new in zip(moment.history, after, strict=True):
        for before, moved in zip(old, new, strict=True):
            assert torch.equal(moved[:, :, :-2], before[:, :, :-2])
            assert (moved[:, :, -2:] - before[:, :, -2:]).flatten(1).norm(dim=1).gt(1e-4).all()
    assert torch.allclose(moved_by(moment.history, after), torch.full((2, ROWS), 0.3), rtol=1e-2)


def test_the_weights_of_the_language_model_get_no_gradient(world: Any, moment: Moment) -> None:
    world.model.requires_grad_(True)
    try:
        perturb(world.model, moment, world.wanted(ROWS), SETTINGS, no_norms())
        assert all(weight.grad is None for weight in world.model.parameters())
    finally:
        world.model.requires_grad_(False)


def test_every_text_moves_on_its_own(world: Any, moment: Moment) -> None:
    settings, wanted = replace(SETTINGS, updates=4), world.wanted(ROWS)
    together = perturb(world.model, moment, wanted, settings, no_norms())
    for i in range(ROWS):
        alone = row(moment, i)
        moved = perturb(world.model, alone, wanted.select(torch.tensor([i])), settings, no_norms(1))
        for (keys, values), (own_keys, own_values) in zip(together, moved, strict=True):
            assert torch.allclose(keys[i : i + 1], own_keys, atol=1e-4)
            assert torch.allclose(values[i : i + 1], own_values, atol=1e-4)


@pytest.fixture
def means(world: Any, moment: Moment) -> Callable[..., tuple[float, float]]:
    """Mean attribute loss and KL over the texts after a perturbation."""

    def measure(**changes: Any) -> tuple[float, float]:
        wanted, settings = world.wanted(ROWS), replace(SETTINGS, **changes)
        after = perturb(world.model, moment, wanted, settings, no_norms())
        found = losses(world.model, after, moment, wanted)
        return float(found.attribute.mean()), float(found.kl.mean())

    return measure


def test_updates_make_the_attribute_likelier(means: Callable[..., tuple[float, float]]) -> None:
    (none, no_kl), (one, _), (many, some_kl) = (means(updates=m) for m in (0, 1, 20))
    assert none > one > many
    assert none - many > 0.1
    assert some_kl > 0.01 > no_kl


def test_a_larger_kl_scale_stays_closer_and_gains_less(means: Callable[..., tuple[float, float]]) -> None:
    (free, far), (bound, near), (tied, nearest) = (means(updates=20, kl_scale=k) for k in (0, 1, 10))
    assert far > near > nearest
    assert free < bound < tied
