"""Every term of COLD's energy against its formula, on tensors small enough to compute it word by word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.cold.energy import Allowed, Energy, EnergySettings, Gap, Terms, allow, following
from baselines.cold.keywords import keywords
from baselines.soft import Padded, likeliest, read_context, rollout
from pipeline.language_model import LanguageModel, Row

SETTINGS = EnergySettings(constraint=0.5, keyword_weight=0.05, forward_share=0.6, top_k=5)
GAPS, WORDS = 4, 6


@pytest.fixture(scope="module")
def backward(stories: Any) -> LanguageModel:
    return LanguageModel.load(stories.models["backward_language_model"]).requires_grad_(False)


@pytest.fixture(scope="module")
def gap(stories: Any, backward: LanguageModel) -> Gap:
    model, gaps = stories.model, stories.gaps[:GAPS]
    right = [model.encode(g.right) for g in gaps]
    last = torch.tensor([model.encode(g.left[-1:]) for g in gaps])
    reversed_right = read_context(backward, [[backward.start, *row[::-1]] for row in right])
    wanted = Padded.of(model, [model.encode(keywords(model, g.right)) for g in gaps])
    return Gap(stories.left(GAPS), last, Padded.of(model, right), reversed_right, wanted)


@pytest.fixture(scope="module")
def soft(stories: Any, gap: Gap) -> Tensor:
    """The language model's soft texts, disturbed."""
    made = rollout(stories.model, gap.left, WORDS, 1.0, lambda _, logits: logits)
    return made + torch.randn(made.shape, generator=torch.Generator().manual_seed(0))


def energy(stories: Any, backward: LanguageModel, gap: Gap, **changes: Any) -> Energy:
    return Energy(stories.model, backward, gap, replace(SETTINGS, **changes))


def zeros(gap: Gap) -> Tensor:
    return torch.zeros(GAPS, WORDS, gap.keywords.ids.shape[1])


# --- the words that are allowed


def test_allowed_are_the_likeliest_and_keywords_once_each(stories: Any) -> None:
    model = stories.model
    logits = torch.zeros(2, 1, len(stories.vocabulary))
    logits[:, 0, 10:14] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    logits[:, 0, model.end] = 9.0  # no text has it
    wanted = Padded(torch.tensor([[11, 20], [30, 0]]), torch.tensor([[True, True], [True, False]]))
    allowed = allow(model, logits, wanted, 2)
    found = [
        sorted(ids[mask].tolist()) for ids, mask in zip(allowed.ids[:, 0], allowed.mask[:, 0], strict=True)
    ]
    assert found == [[10, 11, 20], [10, 11, 30]]


def test_the_best_allowed_word_is_chosen(stories: Any) -> None:
    logits = torch.arange(8.0).expand(1, 2, 8)
    ids = torch.tensor([[[1, 5, 7], [2, 0, 6]]])
    mask = torch.tensor([[[True, True, False], [True, True, True]]])
    assert Allowed(ids, mask).best(logits).tolist() == [[5, 6]]


# --- the terms


def test_fluency_from_left_to_right_is_the_cross_entropy_to_the_masked_model(
    stories: Any, backward: Any, gap: Gap, soft: Tensor
) -> None:
    """The first time the text's own best words are read, later the best among those allowed before."""
    model, own = stories.model, energy(stories, backward, gap)
    for time in (0, 1):
        words = own.allowed.best(soft) if own.allowed else likeliest(model, soft)
        assert (time == 0) == torch.equal(words, likeliest(model, soft))
        found = own.forward_term(soft, soft.log_softmax(-1))
        logits = following(model, gap.left, words)
        for row in range(GAPS):
            kept = gap.keywords.ids[row][gap.keywords.mask[row]]
            expected = 0.0
            for place in range(WORDS):
                told = logits[row, place].clone()
                best = (
                    told.index_fill(0, torch.tensor([*model.barred, model.end, model.unknown]), -torch.inf)
                    .topk(5)
                    .indices
                )
                inside = torch.full_like(told, -torch.inf)
                inside[best], inside[kept] = told[best], told[kept]
                expected -= float((inside.softmax(0) * soft[row, place].log_softmax(0)).sum()) / WORDS
            assert float(found[row]) == pytest.approx(expected, abs=1e-4)


def test_fluency_from_right_to_left_reads_the_reversed_story(
    stories: Any, backward: Any, gap: Gap, soft: Tensor
) -> None:
    """What comes next is barred: a word that the model would write twice in a row."""
    found = energy(stories, backward, gap).backward_term(soft, soft.log_softmax(-1))
    words = likeliest(backward, soft)
    for row in range(GAPS):
        right = gap.right.ids[row][gap.right.mask[row]].tolist()
        read = [backward.start, *right[::-1], *words[row].tolist()[:0:-1]]
        told = backward.network(torch.tensor([read])).logits[0, -WORDS:].flip(0)
        told[:, [*backward.barred, backward.end, backward.unknown]] = told.amin(1, keepdim=True)
        barred = told.clone()
        barred[:-1] -= 1e4 * told[1:].softmax(1)
        expected = -(barred.softmax(1) * soft[row].log_softmax(1)).sum(1).mean()
        assert float(found[row]) == pytest.approx(float(expected), rel=1e-3)


def test_the_future_of_sure_words_is_the_language_models_loss(stories: Any, backward: Any, gap: Gap) -> None:
    """Behind the last word on the left alone."""
    model = stories.model
    words = model.encode(["He", "lost", "the", "kite", "again", "."])
    sure = torch.nn.functional.one_hot(torch.tensor([words] * GAPS), len(stories.vocabulary)) * 1e4
    found = energy(stories, backward, gap).future_term(sure)
    rows = [
        Row([last, *words, *ids[mask].tolist()], 1 + WORDS)
        for last, ids, mask in zip(gap.last[:, 0].tolist(), *gap.right, strict=True)
    ]
    expected = [float(own.mean()) for own in model.token_losses(rows)]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_the_gradient_of_the_future_passes_the_sharpening_unscaled(
    stories: Any, backward: Any, gap: Gap, soft: Tensor
) -> None:
    leaf, sharp = soft.clone().requires_grad_(), (soft / 0.3).requires_grad_()
    own = energy(stories, backward, gap)
    (found,) = torch.autograd.grad(own.future_term(leaf).sum(), leaf)
    (scaled,) = torch.autograd.grad(own.future_term(sharp * 0.3).sum(), sharp)
    assert found.norm() > 0 and torch.allclose(found * 0.3, scaled, atol=1e-5)


def test_keywords_are_wanted_where_the_noise_puts_them(
    stories: Any, backward: Any, gap: Gap, soft: Tensor
) -> None:
    own, noise, log_y = energy(stories, backward, gap), zeros(gap), soft.log_softmax(-1)
    noise[:, 2] = 1e3
    found = own.keyword_term(log_y, noise)
    for row in range(GAPS):
        kept = gap.keywords.ids[row][gap.keywords.mask[row]]
        expected = -log_y[row, 2, kept].clamp(min=-20).mean() if len(kept) else torch.tensor(0.0)
        assert float(found[row]) == pytest.approx(float(expected), abs=1e-4)
    present = soft.clone()
    present[0, 4, gap.keywords.ids[0]] += 50  # noise aside, each keyword is wanted where it is likeliest
    assert own.keyword_term(present.log_softmax(-1), zeros(gap))[0] < own.keyword_term(log_y, zeros(gap))[0]


def test_the_energy_is_the_weighted_sum(stories: Any, backward: Any, gap: Gap) -> None:
    terms = Terms(*torch.tensor([[1.0], [10.0], [100.0], [1000.0]]))
    own = energy(stories, backward, gap, constraint=0.25, forward_share=0.9, keyword_weight=0.5)
    assert own.total(terms).item() == pytest.approx(0.75 * (0.9 + 1.0) + 0.25 * (100 + 500))


def test_no_text_depends_on_the_others_of_its_batch(
    stories: Any, backward: Any, gap: Gap, soft: Tensor
) -> None:
    terms = energy(stories, backward, gap).terms(soft, zeros(gap))
    assert torch.stack(terms).shape == (4, GAPS) and (torch.stack(terms) > 0).all()
    doubled = energy(stories, backward, gap.repeat(2)).terms(
        soft.repeat_interleave(2, 0), zeros(gap).repeat_interleave(2, 0)
    )
    for own, twice in zip(terms, doubled, strict=True):
        assert torch.allclose(twice, own.repeat_interleave(2), atol=1e-4)


def test_only_the_soft_text_gets_gradients(stories: Any, backward: Any, gap: Gap, soft: Tensor) -> None:
    """And the fluency targets do not: they stand on the other side of the cross-entropy."""
    leaf = soft.clone().requires_grad_()
    own = energy(stories, backward, gap)
    own.forward_term(leaf, leaf.log_softmax(-1)).sum().backward()
    assert own.allowed is not None and leaf.grad is not None
    wanted = own.allowed.of(following(stories.model, gap.left, likeliest(stories.model, soft))).softmax(-1)
    expected = soft.softmax(-1).scatter_add(2, own.allowed.ids, -wanted) / WORDS
    assert torch.allclose(leaf.grad, expected, atol=1e-5)
