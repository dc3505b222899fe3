"""Writing: what it equals without steering, how distributions are fused, what is kept and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from transformers import TopKLogitsWarper

from baselines.pplm import writing
from baselines.pplm.attribute import AttributeModel, BagOfWords
from baselines.pplm.perturbation import History, Moment, PerturbationSettings
from baselines.pplm.writing import WritingSettings, cost, write
from pipeline import decoding
from pipeline.decoding import GumbelNoise
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel, LanguageModelSettings, build
from pipeline.seeding import generator

LONGEST = 20
ROWS = 7
PERTURBATION = PerturbationSettings(updates=2, step=0.5, kl_scale=0.01, gamma=1.0, window=0)
SETTINGS = WritingSettings(PERTURBATION, fusion=0.95, top_k=10)


def generators(rows: int = ROWS) -> list[torch.Generator]:
    return [generator("texts", row) for row in range(rows)]


def attributes(world: Any, rows: int = ROWS) -> dict[str, AttributeModel]:
    """Both attribute models, each wanting something of every text."""
    values = [target.control["value"] for target in world.targets()[:rows]]
    return {"discriminator": world.wanted(rows), "words": BagOfWords.of(world.model, values)}


@pytest.mark.parametrize("attribute", ["discriminator", "words"])
@pytest.mark.parametrize("unsteered", [{"updates": 0}, {"step": 0.0}])
def test_without_updates_or_steps_it_is_top_k_sampling(
    world: Any, attribute: str, unsteered: dict[str, Any]
) -> None:
    rows = 24
    wanted = attributes(world, rows)[attribute]
    top_k = [TopKLogitsWarper(10)]
    base = decoding.sample(
        world.model, [[]] * rows, generators(rows), LONGEST, 1.0, steering=lambda rows: top_k
    )
    changed = replace(SETTINGS, perturbation=replace(PERTURBATION, **unsteered))
    plain = write(world.model, wanted, generators(rows), changed, LONGEST)
    assert [world.model.before_end(ids) for ids in plain] == base
    assert len({len(ids) for ids in base}) > 3
    steered = write(world.model, wanted, generators(rows), SETTINGS, LONGEST)
    assert steered != plain
    assert [ids[0] for ids in steered] == [ids[0] for ids in plain]  # behind START nothing is steered


@pytest.mark.parametrize("attribute", ["discriminator", "words"])
def test_without_fusion_the_greedy_text_is_the_language_models(world: Any, attribute: str) -> None:
    base = decoding.search(world.model, [[]] * ROWS, 1, LONGEST)
    greedy = replace(SETTINGS, fusion=0.0, top_k=1)
    wanted = attributes(world)[attribute]
    written = write(world.model, wanted, generators(), greedy, LONGEST)
    assert [world.model.before_end(ids) for ids in written] == base
    assert write(world.model, wanted, generators(), replace(greedy, fusion=1.0), LONGEST) != written


def test_fusion_is_a_geometric_mean(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[float, torch.Tensor] = {}
    scores: list[torch.Tensor] = []

    def draw(log_q: torch.Tensor, top_k: int, noise: GumbelNoise) -> torch.Tensor:
        scores.append(log_q)
        return torch.full((1,), 9)

    monkeypatch.setattr(writing, "draw", draw)
    for fusion in (0.0, 0.25, 1.0):
        scores.clear()
        write(world.model, world.wanted(1), generators(1), replace(SETTINGS, fusion=fusion), 4)
        found[fusion] = torch.cat(scores)
    assert torch.allclose(found[0.25], 0.75 * found[0.0] + 0.25 * found[1.0], atol=1e-4)
    assert not torch.allclose(found[0.0][1:], found[1.0][1:], atol=0.05)


def test_the_perturbation_stays_in_the_history(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moments: list[tuple[Moment, History]] = []

    def spy(model: LanguageModel, moment: Moment, *rest: Any) -> History:
        moments.append((moment, perturb(model, moment, *rest)))
        return moments[-1][1]

    perturb = writing.perturb
    monkeypatch.setattr(writing, "perturb", spy)
    write(world.model, world.wanted(1), generators(1), SETTINGS, 5)
    assert len(moments) == 4
    for length, ((before, after), (later, _)) in enumerate(pairwise(moments), 1):
        assert after[0][0].shape[2] == length
        for (kept, _), (moved, _) in zip(later.history, after, strict=True):
            assert torch.equal(kept[:, :, :length], moved)
        for (plain, _), (old, _) in zip(later.unperturbed, before.unperturbed, strict=True):
            assert torch.equal(plain[:, :, : length + 1], old)


def test_what_no_text_may_have_is_never_written(world: Any) -> None:
    sizes = LanguageModelSettings("train", hidden=16, layers=1, heads=2, positions=24, dropout=0.0)
    model = build(sizes, world.vocabulary, [], seed=0).requires_grad_(False)
    words = model.network.transformer.wte.weight
    words[model.barred] = words[30].clone()  # as likely as a word that is often written
    values = ["pub"] * 40
    written = write(
        model, BagOfWords.of(model, values), generators(40), replace(SETTINGS, top_k=1000), LONGEST
    )
    tokens = [token for ids in written for token in ids]
    assert 30 in tokens and not set(model.barred) & set(tokens)


@dataclass
class Counts:
    """What went through the language model."""

    tokens: int = 0
    rows: int = 0
    backward: int = 0


@pytest.fixture
def counts(world: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    found = Counts()

    def count(module: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        found.rows, length, _ = keywords["inputs_embeds"].shape
        found.tokens += found.rows * length

    def grad(*arguments: Any, **keywords: Any) -> Any:
        found.backward += found.rows
        return original(*arguments, **keywords)

    original = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", grad)
    hook = world.model.network.transformer.register_forward_pre_hook(count, with_kwargs=True)
    yield found
    hook.remove()


@pytest.mark.parametrize(
    ("attribute", "longest"), [("discriminator", LONGEST), ("words", LONGEST), ("words", 3)]
)
def test_the_costs_are_what_the_language_model_reads_for_unfinished_texts(
    world: Any, counts: Counts, attribute: str, longest: int
) -> None:
    wanted = attributes(world)[attribute]
    written = write(world.model, wanted, generators(), SETTINGS, longest)
    costs = [cost(len(ids), PERTURBATION.updates, wanted.horizon) for ids in written]
    assert (counts.tokens, counts.backward) == tuple(map(sum, zip(*costs, strict=True)))


def test_the_cost_of_one_text_by_hand() -> None:
    assert cost(1, updates=30, horizon=1) == (1, 0)
    assert cost(4, updates=30, horizon=1) == (1 + 3 * (1 + 60 + 1), 90)
    assert cost(4, updates=30, horizon=0) == (1 + 3 * (1 + 30 + 1), 90)


def test_a_text_ends_with_end_or_is_cut(world: Any) -> None:
    for longest, ended in ((LONGEST, 1), (3, 0)):
        written = write(world.model, world.wanted(ROWS), generators(), SETTINGS, longest)
        assert all(len(ids) == longest or ids[-1] == world.model.end for ids in written)
        assert all(ids.index(world.model.end) == len(ids) - 1 for ids in written if world.model.end in ids)
        assert any(world.model.end in ids for ids in written) == ended


def test_a_text_that_the_language_model_cannot_hold_is_refused(world: Any) -> None:
    arguments = (world.model, world.wanted(1), generators(1), SETTINGS)
    assert write(*arguments, 23)
    with pytest.raises(InputError, match="24 positions, but a text with its prompt needs 25"):
        write(*arguments, 24)
