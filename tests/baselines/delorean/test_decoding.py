"""The passes of DELOREAN: what each leaves alone, and that they go where they should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from baselines.delorean.decoding import (
    FORWARD_SHARPNESS,
    DeloreanSettings,
    backward,
    candidates,
    forward,
    losses,
    row_norms,
)
from baselines.soft import Context, Padded, likeliest, rollout
from pipeline.language_model import LanguageModel

SETTINGS = DeloreanSettings(
    words=10, longest=16, passes=3, iterations=4, mix=0.88, step=0.003,
    first_temperature=1.0, backward_temperature=1.0, forward_temperature=1.0,
)  # fmt: skip
GAPS = 6


@pytest.fixture(scope="module")
def model(stories: Any) -> LanguageModel:
    return stories.model


@pytest.fixture(scope="module")
def left(stories: Any) -> Context:
    return stories.left(GAPS)


@pytest.fixture(scope="module")
def right(stories: Any) -> Padded:
    return stories.right(GAPS)


@pytest.fixture(scope="module")
def first(model: LanguageModel, left: Context) -> torch.Tensor:
    return rollout(model, left, SETTINGS.words, 0.01, lambda _, logits: logits)


def test_mix_1_is_the_language_model_alone(model: Any, left: Any, right: Any) -> None:
    """Whatever the backward passes do."""
    settings = replace(SETTINGS, mix=1.0, step=0.05)
    alone = rollout(model, left, settings.longest, FORWARD_SHARPNESS, lambda _, logits: logits)
    for ids in candidates(model, left, right, settings):
        assert torch.equal(ids, likeliest(model, alone))


def test_mix_0_keeps_the_backward_words(model: Any, left: Any, first: Any) -> None:
    whole = forward(model, left, first + 1.0, replace(SETTINGS, mix=0.0))
    assert torch.equal(whole[:, : SETTINGS.words], first + 1.0)


def test_words_behind_the_soft_ones_are_the_language_models(model: Any, left: Any, first: Any) -> None:
    """They follow the mixed words, whose own change is the share 1 - mix of that backward."""
    whole, moved = (forward(model, left, soft, SETTINGS) for soft in (first, first + 0.5))
    change = (moved - whole)[:, 0]
    assert torch.allclose(change, torch.full_like(change, 0.5 * (1 - SETTINGS.mix)), atol=1e-4)
    assert torch.allclose(moved[:, SETTINGS.words :], whole[:, SETTINGS.words :], atol=1e-3)


def test_step_0_moves_nothing(model: Any, right: Any, first: Any) -> None:
    assert torch.equal(backward(model, first, right, replace(SETTINGS, step=0.0)), first)


@pytest.mark.parametrize("step", [0.001, 0.003])
def test_small_steps_make_the_right_side_likelier_every_time(
    model: Any, right: Any, first: Any, step: float
) -> None:
    soft, settings = first, replace(SETTINGS, iterations=1, step=step)
    found = [losses(model, soft, right, settings)]
    for _ in range(8):
        soft = backward(model, soft, right, settings)
        found.append(losses(model, soft, right, settings))
    assert (torch.stack(found).diff(dim=0) < 0).all()
    assert torch.equal(soft, backward(model, first, right, replace(settings, iterations=8)))


def test_larger_steps_go_further(model: Any, right: Any, first: Any) -> None:
    ends = [losses(model, backward(model, first, right, replace(SETTINGS, step=step)), right, SETTINGS).mean()
            for step in (0.0, 0.001, 0.003, 0.01)]  # fmt: skip
    assert ends == sorted(ends, reverse=True) and ends[-1] < ends[0] - 0.1


def test_a_step_is_a_share_of_the_texts_own_norm(model: Any, right: Any, first: Any) -> None:
    moved = backward(model, first, right, replace(SETTINGS, iterations=1, step=0.02))
    assert torch.allclose(row_norms(moved - first), 0.02 * row_norms(first), rtol=1e-3)


def test_a_text_does_not_depend_on_the_others_of_its_batch(model: Any, right: Any, first: Any) -> None:
    together = backward(model, first, right, SETTINGS)
    for row in range(GAPS):
        alone = backward(model, first[row : row + 1], Padded(*(t[row : row + 1] for t in right)), SETTINGS)
        assert torch.allclose(alone[0], together[row], atol=1e-3)


def test_every_pass_gives_a_candidate(model: Any, left: Any, right: Any) -> None:
    texts = candidates(model, left, right, replace(SETTINGS, passes=5))
    assert [tuple(ids.shape) for ids in texts] == [(GAPS, SETTINGS.longest)] * 5
    assert texts[0].tolist() == candidates(model, left, right, replace(SETTINGS, passes=1))[0].tolist()


def test_the_passes_go_on_from_one_another(model: Any, left: Any, right: Any) -> None:
    """By hand: two passes."""
    settings = replace(SETTINGS, passes=2, step=0.02)
    soft = rollout(model, left, settings.words, 0.01, lambda _, logits: logits)
    for ids in candidates(model, left, right, settings):
        whole = forward(model, left, backward(model, soft, right, settings), settings)
        assert torch.equal(ids, likeliest(model, whole))
        soft = whole[:, : settings.words]


@pytest.mark.parametrize("name", ["first_temperature", "backward_temperature", "forward_temperature"])
def test_every_temperature_counts(model: Any, left: Any, right: Any, name: str) -> None:
    def end(settings: DeloreanSettings) -> torch.Tensor:
        temperature = settings.first_temperature
        soft = rollout(model, left, settings.words, 0.01, lambda _, logits: logits / temperature)
        return forward(model, left, backward(model, soft, right, settings), settings)

    assert not torch.allclose(end(replace(SETTINGS, **{name: 2.0})), end(SETTINGS), atol=0.1)
