"""The dynamics of COLD: down the energy, every part counts, and every chain has its own randomness."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.cold.energy import Energy, EnergySettings, Gap, Terms
from baselines.cold.langevin import (
    Draws,
    LangevinSettings,
    complete,
    descend,
    deviation,
    discretise,
    first,
)
from baselines.cold.method import Cold
from baselines.soft import Padded, likeliest, read_context, rollout, write
from pipeline.language_model import LanguageModel
from pipeline.seeding import generator

WEIGHTS = EnergySettings(constraint=0.5, keyword_weight=0.05, forward_share=0.6, top_k=10)
LANGEVIN = LangevinSettings(words=8, iterations=30, rate=0.1, chains=1, noise=1.0)
GAPS = 6


@pytest.fixture(scope="module")
def backward(stories: Any) -> LanguageModel:
    return LanguageModel.load(stories.models["backward_language_model"]).requires_grad_(False)


@pytest.fixture(scope="module")
def gap(stories: Any) -> Gap:
    settings = {"forward_share": 0.6, "constraint": 0.5, "keyword_weight": 0.05, "top_k": 5}
    sides = [(gap.left, gap.right) for gap in stories.gaps[:GAPS]]
    return Cold("cold", settings, stories.vocabulary, stories.models).gap(sides)


class Chain:
    """What one chain per gap ends with."""

    def __init__(self, stories: Any, backward: LanguageModel, gap: Gap, weights: EnergySettings,
                 langevin: LangevinSettings = LANGEVIN, seed: int = 0) -> None:  # fmt: skip
        self.model, self.gap, self.weights = stories.model, gap, weights
        self.energy = Energy(stories.model, backward, gap, weights)
        self.start = first(stories.model, gap, langevin.words)
        draws = Draws([generator("test", seed, i) for i in range(GAPS)], langevin.chains)
        self.soft = descend(self.energy, self.start, draws, langevin)

    def terms(self, soft: Tensor) -> Terms:
        """The terms without noise, each keyword placed by the text alone."""
        return self.energy.terms(soft, torch.zeros(*soft.shape[:2], self.gap.keywords.ids.shape[1]))

    def coverage(self) -> float:
        """Share of the keywords that the written words hold."""
        ids = discretise(self.model, self.gap, self.soft, self.weights.top_k)
        held = (ids[:, :, None] == self.gap.keywords.ids[:, None]).any(1) & self.gap.keywords.mask
        return float(held.sum() / self.gap.keywords.mask.sum())


# --- the descent


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_energy_falls(stories: Any, backward: Any, gap: Gap, noise: float) -> None:
    """Of every text when there is no noise; measured twice, since the words allowed follow the text."""
    chain = Chain(stories, backward, gap, WEIGHTS, replace(LANGEVIN, noise=noise))
    start, end = (
        [chain.energy.total(chain.terms(soft)) for _ in range(2)][1] for soft in (chain.start, chain.soft)
    )
    assert end.mean() < start.mean() - 0.2 and (noise or (end < start).all())


def test_a_constraint_makes_the_right_side_likelier(stories: Any, backward: Any, gap: Gap) -> None:
    ends = [Chain(stories, backward, gap, replace(WEIGHTS, constraint=c)) for c in (0.0, 0.5)]
    without, with_it = (chain.energy.future_term(chain.soft).mean() for chain in ends)
    assert with_it < without - 0.1


def test_keyword_weight_brings_keywords(stories: Any, backward: Any, gap: Gap) -> None:
    none, some = (
        Chain(stories, backward, gap, replace(WEIGHTS, keyword_weight=w)).coverage() for w in (0.0, 5.0)
    )
    assert some > none + 0.2


def test_fluency_alone_has_the_texts_own_words(stories: Any, backward: Any, gap: Gap) -> None:
    """With c = 0 and rho = 1 nothing else is left of the energy, and no gradient comes from the right."""
    weights = replace(WEIGHTS, constraint=0.0, forward_share=1.0)
    chain = Chain(stories, backward, gap, weights, replace(LANGEVIN, noise=0.0))
    terms = chain.terms(chain.soft)
    assert torch.equal(chain.energy.total(terms), terms.forward)
    assert terms.backward.abs().sum() == terms.future.abs().sum() == 0


def test_rate_0_leaves_the_first_text(stories: Any, backward: Any, gap: Gap) -> None:
    chain = Chain(stories, backward, gap, WEIGHTS, replace(LANGEVIN, rate=0.0, noise=0.0, iterations=2))
    assert torch.equal(chain.soft, chain.start)
    alone = rollout(stories.model, gap.left, LANGEVIN.words, 1.0, lambda _, logits: logits)
    assert torch.equal(chain.start, alone)


def test_noise_is_added_after_every_iteration(stories: Any, backward: Any, gap: Gap) -> None:
    """With rate 0 its variance is the sum of the schedule's."""
    settings = replace(LANGEVIN, rate=0.0, iterations=8, noise=0.5)
    chain = Chain(stories, backward, gap, WEIGHTS, settings)
    expected = sum(deviation(i, settings) ** 2 for i in range(8)) ** 0.5
    assert float((chain.soft - chain.start).std()) == pytest.approx(expected, rel=0.02)


# --- randomness


def test_noise_fades_as_in_the_original() -> None:
    settings = replace(LANGEVIN, iterations=2000)
    found = [deviation(i, settings) for i in (0, 49, 50, 499, 500, 999, 1000, 1499, 1500, 1999)]
    assert found == [1.0, 1.0, 0.5, 0.5, 0.1, 0.1, 0.05, 0.05, 0.01, 0.01]
    assert [deviation(i, replace(LANGEVIN, iterations=4, noise=2.0)) for i in range(4)] == [2, 0.2, 0.1, 0.02]


def test_every_request_draws_for_its_own_chains_only() -> None:
    def draws(*names: str) -> Draws:
        return Draws([generator(name) for name in names], chains=2)

    both, alone = draws("a", "b"), draws("b")
    for _ in range(2):
        gumbel, normal = both.gumbel(3, [4, 2]), both.normal(3, 7)
        assert gumbel.shape == (4, 3, 4) and normal.shape == (4, 3, 7)
        assert torch.equal(gumbel[2:, :, :2], alone.gumbel(3, [2]))
        assert torch.equal(normal[2:], alone.normal(3, 7))
        assert not torch.equal(normal[0], normal[1])


def test_gumbel_noise_follows_its_distribution() -> None:
    noise = Draws([generator("gumbel")], 1).gumbel(100, [1000])
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.02)
    assert float(noise.std()) == pytest.approx(1.2825, abs=0.02)
    assert noise.isfinite().all()


def test_seeds(stories: Any, backward: Any, gap: Gap) -> None:
    few = replace(LANGEVIN, iterations=3)
    one, same, other = (Chain(stories, backward, gap, WEIGHTS, few, seed).soft for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.allclose(one, other)


# --- words


def test_one_word_allowed_and_no_keywords_is_greedy(stories: Any, gap: Gap) -> None:
    model, bare = stories.model, gap._replace(keywords=Padded.of(stories.model, [[]] * GAPS))
    soft = torch.randn(GAPS, 8, len(stories.vocabulary), generator=generator("soft"))
    greedy = write(model, gap.left, 8, lambda _, logits: likeliest(model, logits))
    assert torch.equal(discretise(model, bare, soft, top_k=1), greedy)
    assert not torch.equal(discretise(model, bare, soft, top_k=3), greedy)


def test_all_words_allowed_are_the_texts_own(stories: Any, gap: Gap) -> None:
    soft = torch.randn(GAPS, 8, len(stories.vocabulary), generator=generator("soft"))
    ids = discretise(stories.model, gap, soft, top_k=len(stories.vocabulary))
    assert torch.equal(ids, likeliest(stories.model, soft))


def test_texts_are_completed_without_the_left(stories: Any, gap: Gap) -> None:
    model = stories.model
    ids = torch.tensor([model.encode(["Anna", "lost", "the"]), model.encode(["He", "washed", "his"])])
    whole = complete(model, ids, 9)
    assert torch.equal(whole[:, :3], ids) and whole.shape == (2, 9)
    begun = read_context(model, [[model.start, *row] for row in ids.tolist()])
    assert torch.equal(whole[:, 3:], write(model, begun, 6, lambda _, logits: likeliest(model, logits)))
