"""Soft texts: reading from caches, rollouts, and what the shared part of both methods refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import one_hot

from baselines.soft import (
    Padded,
    Reading,
    barred,
    likeliest,
    next_logits,
    read_context,
    right_losses,
    rollout,
    soft_vectors,
    word_vectors,
    write,
)
from pipeline.decoding import search
from pipeline.language_model import Row


def test_reading_behind_a_context_equals_reading_all_at_once(stories: Any) -> None:
    """For rows of different lengths, in two steps; the context stays as it is."""
    model, context = stories.model, stories.left(5)
    assert len({len(gap.left) for gap in stories.gaps[:5]}) > 1
    ids = torch.tensor([model.encode(["She", "lost", "the", "kite"])] * 5)
    for _ in range(2):
        reading = Reading(model, context)
        logits = torch.cat([reading.read(word_vectors(model, part)) for part in ids.split(3, 1)], 1)
        for row, gap in enumerate(stories.gaps[:5]):
            whole = torch.tensor([[model.start, *model.encode(gap.left), *ids[row].tolist()]])
            expected = barred(model, model.network(whole).logits[0, -5:])
            assert torch.allclose(barred(model, context.logits[row]), expected[0], atol=1e-4)
            assert torch.allclose(barred(model, logits[row]), expected[1:], atol=1e-4)


def test_sure_soft_words_are_words(stories: Any) -> None:
    model = stories.model
    ids = torch.tensor([[5, 7, 9]])
    assert torch.equal(
        soft_vectors(model, one_hot(ids, len(stories.vocabulary)) * 1e5), word_vectors(model, ids)
    )


def test_losses_of_the_right_side_are_the_language_models(stories: Any) -> None:
    """Of every row alone, padding aside."""
    model, gaps = stories.model, stories.gaps[:6]
    middle = torch.tensor([model.encode(["He", "lost", "it", "."])] * 6)
    start = torch.full((6, 1), model.start)
    found = right_losses(model, start, word_vectors(model, middle), stories.right(6))
    rows = [Row([model.start, *middle[0].tolist(), *model.encode(gap.right)], 5) for gap in gaps]
    assert found.tolist() == pytest.approx([float(own.mean()) for own in model.token_losses(rows)], abs=1e-5)


def test_gradients_reach_the_soft_words_alone(stories: Any) -> None:
    model, context = stories.model, stories.left(3)
    soft = rollout(model, context, 4, 1.0, lambda _, logits: logits).requires_grad_()
    start = torch.full((3, 1), model.start)
    right_losses(model, start, soft_vectors(model, soft), stories.right(3)).sum().backward()
    assert soft.grad is not None and (soft.grad.flatten(1).norm(dim=1) > 0).all()
    assert all(weight.grad is None for weight in model.parameters())


def test_greedy_words_are_those_of_greedy_decoding(stories: Any) -> None:
    """Behind START alone, where the decoder of all methods can begin too, and as far as it goes."""
    model = stories.model
    (expected,) = search(model, [[]], beams=1, longest=20)
    begun = read_context(model, [[model.start]])
    greedy = write(model, begun, 20, lambda _, logits: likeliest(model, logits))[0].tolist()
    assert len(expected) > 10 and greedy[: len(expected)] == expected


@pytest.mark.parametrize(("sharpness", "share"), [(0.001, 1.0), (0.1, 0.6)])
def test_sharp_rollouts_are_nearly_greedy(stories: Any, sharpness: float, share: float) -> None:
    model, context = stories.model, stories.left(8)
    soft = rollout(model, context, 12, sharpness, lambda _, logits: logits)
    greedy = write(model, context, 12, lambda _, logits: likeliest(model, logits))
    assert (likeliest(model, soft) == greedy).float().mean() >= share


def test_no_text_has_start_or_padding_or_ends(stories: Any) -> None:
    """Such words are as unlikely as the unlikeliest, so that norms of logits stay what they are."""
    model = stories.model
    logits = torch.zeros(2, len(stories.vocabulary))
    logits[:, [model.start, model.pad, model.end]], logits[:, 7] = 9.0, 1.0
    assert likeliest(model, logits).tolist() == [7, 7]
    told = next_logits(
        model, torch.randn(2, model.network.config.n_embd, generator=torch.Generator().manual_seed(0))
    )
    assert torch.equal(told[:, model.end], told.amin(1)) and torch.equal(told[:, model.pad], told.amin(1))
    assert told.isfinite().all() and (told.amax(1) > told.amin(1)).all()


def test_rows_are_repeated_one_behind_the_other(stories: Any) -> None:
    context, right = stories.left(2), stories.right(2)
    assert torch.equal(context.repeat(3).logits, context.logits[[0, 0, 0, 1, 1, 1]])
    assert torch.equal(context.repeat(3).history[1][0], context.history[1][0][[0, 0, 0, 1, 1, 1]])
    assert torch.equal(right.repeat(2).ids, right.ids[[0, 0, 1, 1]])
    assert Padded.of(stories.model, [[], []]).ids.shape == (2, 0)
