"""FT-sample and FT-search: texts that follow their control, whatever batch they are in, and every refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.fine_tuning.method import FineTuned
from baselines.fine_tuning.prompts import prompt
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.methods import Request, load_method
from pipeline.records import Target

TASKS = ("semantic_content", "parts_of_speech", "syntax_tree", "syntax_spans", "length")
DECODING = {"module": "baselines.fine_tuning.method", "temperature": 1.0, "beams": 4, "longest": 20}


def method(world: Any, task: str, decoding: str, **changes: Any) -> FineTuned:
    settings = {**DECODING, "decoding": decoding, **changes}
    models = {"language_model": world.models[task]}
    made = load_method(f"ft_{decoding}", settings, world.vocabulary, models)
    assert isinstance(made, FineTuned)
    return made


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("decoding", ["sample", "search"])
def test_a_text_does_not_depend_on_its_batch(world: Any, task: str, decoding: str) -> None:
    writer = method(world, task, decoding)
    requests = [Request(target, index) for target in world.targets(task)[::3] for index in range(2)][:7]
    together = list(writer.write(requests, seed=3))
    assert together == [next(writer.write([request], seed=3)) for request in requests]
    assert len(together) == 7


def test_samples_differ_and_searched_texts_do_not(world: Any) -> None:
    chosen = world.targets("syntax_tree")[:4]
    writer = method(world, "syntax_tree", "sample")
    sampled = list(writer.generate(chosen, 5, seed=0))
    assert [s.target_id for s in sampled] == [t.target_id for t in chosen for _ in range(5)]
    assert len({s.text for s in sampled[:5]}) > 1
    assert [s.text for s in sampled] != [s.text for s in writer.generate(chosen, 5, seed=1)]
    searched = list(method(world, "syntax_tree", "search").generate(chosen, 2, seed=0))
    assert [s.text for s in searched[::2]] == [s.text for s in searched[1::2]]


@pytest.mark.parametrize("task", TASKS)
def test_every_target_can_be_asked_and_the_cost_counted(world: Any, task: str) -> None:
    asked, known = world.targets(task)[:12], {*world.vocabulary.words} - {"START", "END", "PAD"}
    for decoding, beams in {"sample": 1, "search": 4}.items():
        samples = method(world, task, decoding, longest=9).generate(asked, 1, seed=0)
        for target, sample in zip(asked, samples, strict=True):
            words, control = sample.text.split(), prompt(target.task, target.control)
            assert len(words) <= 9 and {*words} <= known
            assert sample.forward_tokens == (len(control) + 1 + len(words)) * beams
            assert sample.backward_passes == 0


@pytest.mark.parametrize("task", ["semantic_content", "length"])
def test_the_model_follows_its_control(world: Any, task: str) -> None:
    asked = [t for t in world.targets(task) if t.control.get("length", 6) >= 6]
    texts = [s.text.split() for s in method(world, task, "search").generate(asked, 1, seed=0)]
    shifted = [*asked[len(asked) // 2 :], *asked[: len(asked) // 2]]
    assert share_met(asked, texts) > 2 * share_met(shifted, texts)


def share_met(asked: list[Target], texts: list[list[str]]) -> float:
    if asked[0].task == "length":
        met = [abs(len(text) - t.control["length"]) <= 2 for t, text in zip(asked, texts, strict=True)]
    else:
        met = [t.control["value"] in " ".join(text) for t, text in zip(asked, texts, strict=True)]
    return float(np.mean(met))


def test_generation_refuses_what_it_cannot_do(world: Any) -> None:
    writer = method(world, "length", "sample")
    with pytest.raises(InputError, match="ft_sample.*not applicable to unconditional.*under a control only"):
        next(writer.generate([Target("any", "unconditional", {})], 1, 0))
    with pytest.raises(InputError, match="ft_poe multiplies two"):
        writer.require("semantic_content+syntax_tree")
    with pytest.raises(InputError, match="task is 'length', expected 'semantic_content'"):
        next(writer.generate([Target("x", "semantic_content", {"field": "food", "value": "pub"})], 1, 0))
    with pytest.raises(InputError, match="target 'x': the model's prompts cannot say '21'"):
        next(writer.generate([Target("x", "length", {"length": 21})], 1, 0))
    with pytest.raises(InputError, match="has 96 positions"):
        next(method(world, "length", "sample", longest=96).generate(world.targets("length")[:1], 1, 0))


def test_a_model_of_another_vocabulary_is_told(world: Any) -> None:
    words = Vocabulary((*world.vocabulary.words, "brasserie"))
    models = {"language_model": world.models["length"]}
    writer = FineTuned("ft", {**DECODING, "decoding": "sample"}, words, models)
    with pytest.raises(InputError, match=r"\.safetensors: .*vocabulary is"):
        next(writer.generate(world.targets("length")[:1], 1, 0))
