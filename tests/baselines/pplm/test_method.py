"""PPLM as a method: what it controls, what must not matter, and every refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baselines.pplm.method import PPLM
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.methods import Request, load_method
from pipeline.records import Target
from pipeline.tasks import TASKS

Make = Callable[..., PPLM]
KINDS = [{"form": "sigmoids"}, {"form": "softmax"}, {"attribute": "words"}]


def requests(world: Any, count: int = 7) -> list[Request]:
    targets = world.targets()
    return [Request(targets[5 * i % len(targets)], i) for i in range(count)]


def share_met(world: Any, method: PPLM) -> float:
    """Share of texts that hold the wanted value, over all targets."""
    targets = world.targets()
    samples = list(method.generate(targets, 2, seed=0))
    values = [target.control["value"] for target in targets for _ in range(2)]
    return sum(value in sample.text for value, sample in zip(values, samples, strict=True)) / len(samples)


@pytest.mark.parametrize("kind", KINDS)
def test_control_is_better_with_more_strength(world: Any, pplm: Make, kind: dict[str, Any]) -> None:
    none = share_met(world, pplm(**kind, updates=0))
    some = share_met(world, pplm(**kind, updates=3, step=0.3))
    more = share_met(world, pplm(**kind, updates=5, step=1.0))
    assert none < some < more and more > none + 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_does_not_depend_on_its_batch(world: Any, pplm: Make, kind: dict[str, Any]) -> None:
    asked, method = requests(world), pplm(**kind)
    together = list(method.write(asked, 3))
    assert len({len(words) for words, _, _ in together}) > 1  # some had ended long before others
    assert together == [next(method.write([request], 3)) for request in asked]
    assert together == list(pplm(**kind, batch_size=2).write(asked, 3))
    assert together[::-1] == list(method.write(asked[::-1], 3))


def test_seed_and_target_count(world: Any, pplm: Make) -> None:
    asked, method = requests(world), pplm()
    first = [words for words, _, _ in method.write(asked, 3)]
    assert first != [words for words, _, _ in method.write(asked, 4)]
    other = [Request(asked[0].target, request.index) for request in asked]
    assert first != [words for words, _, _ in method.write(other, 3)]


@pytest.mark.parametrize(
    "change", [{"kl_scale": 50.0}, {"gamma": 0.0}, {"window": 1}, {"horizon": 3}, {"top_k": 2}]
)
def test_every_setting_counts(world: Any, pplm: Make, change: dict[str, Any]) -> None:
    asked = requests(world)
    texts = [[words for words, _, _ in pplm(step=1.0, **c).write(asked, 3)] for c in ({}, change)]
    assert texts[0] != texts[1]


def test_costs_follow_the_settings(world: Any, pplm: Make) -> None:
    for settings, horizon in (({"updates": 2, "horizon": 2}, 2), ({"updates": 3, "attribute": "words"}, 0)):
        for words, forward, backward in pplm(**settings).write(requests(world), 3):
            steered = min(len(words), 19)  # END ends a shorter text, and is drawn too
            assert backward == steered * settings["updates"]
            assert forward == 1 + steered * (2 + settings["updates"] * (1 + horizon))


@pytest.mark.parametrize("task", sorted(set(TASKS) - {"semantic_content"}))
def test_other_tasks_are_refused_with_the_reason(pplm: Make, task: str) -> None:
    assert set(PPLM.refusals) == set(TASKS) - PPLM.tasks
    with pytest.raises(InputError, match=f"not applicable to .*; {PPLM.refusals[task][:40]}"):
        list(pplm().generate([Target("t", task, {})], 1, 0))


def test_a_value_that_was_not_learned_is_refused(pplm: Make) -> None:
    unknown = Target("name=Pub", "semantic_content", {"field": "name", "value": "Pub"})
    with pytest.raises(
        InputError, match="target 'name=Pub': the attribute head has not learned 'name = Pub'"
    ):
        list(pplm().generate([unknown], 1, 0))


def test_an_unknown_attribute_model_is_refused(world: Any, pplm: Make) -> None:
    with pytest.raises(InputError, match=r"methods\.pplm\.attribute: .*'word'; did you mean 'words'"):
        next(pplm(attribute="word").write(requests(world), 0))


def test_models_of_other_training_are_refused(world: Any, pplm: Make, other_model: Path) -> None:
    asked, made = requests(world), pplm()
    models = {**made.models, "language_model": other_model}
    with pytest.raises(InputError, match="language_model is"):
        next(load_method("pplm", made.settings, world.vocabulary, models).write(asked, 0))
    larger = Vocabulary((*world.vocabulary.words, "more"))
    with pytest.raises(InputError, match="vocabulary is"):
        next(load_method("pplm", made.settings, larger, made.models).write(asked, 0))


def test_words_need_no_head(world: Any, pplm: Make) -> None:
    made = pplm(attribute="words")
    models = {"language_model": made.models["language_model"]}
    alone = load_method("pplm", made.settings, world.vocabulary, models)
    assert list(alone.write(requests(world), 0)) == list(made.write(requests(world), 0))
