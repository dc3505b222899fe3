"""FUDGE as a method: what lambda does, compositions, costs, batches, and every refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from baselines.fudge.method import Fudge
from pipeline import decoding
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel
from pipeline.methods import Request, load_method
from pipeline.records import Target
from pipeline.seeding import generator
from pipeline.tasks import COMPOSITIONS, make_targets, parts

LONGEST = 20
TREE, TAGS = COMPOSITIONS
SINGLE = ("semantic_content", "length", "parts_of_speech", "syntax_tree", "syntax_spans")
STRENGTH: dict[str, Any] = dict.fromkeys(SINGLE, 2.0)

Make = Callable[..., Fudge]


@pytest.fixture
def fudge(world: Any, trained: Callable[[str, int], Path]) -> Make:
    """Makes the method for a task, with discriminators trained for so many steps."""

    def make(task: str, steps: int = 5, **changes: Any) -> Fudge:
        settings = {"candidates": 200, "top_k": 10, "strength": STRENGTH, "precision": "fp32"}
        settings |= {"module": "baselines.fudge.method", "longest": LONGEST, **changes}
        names = {
            part: f"discriminator_{part}" if task in COMPOSITIONS else "discriminator" for part in parts(task)
        }
        models = {names[part]: trained(part, steps) for part in parts(task)}
        models["language_model"] = world.language_model
        made = load_method("fudge", settings, world.vocabulary, models)
        assert isinstance(made, Fudge)
        return made

    return make


@pytest.fixture
def equal_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same draws for a sample's number, whatever the task and the method's name."""
    monkeypatch.setattr(Fudge, "generator", lambda self, request, seed: generator(seed, request.index))


def requests(world: Any, task: str, count: int = 7) -> list[Request]:
    return [Request(world.target(task, text), text) for text in range(count)]


def written(method: Fudge, asked: Sequence[Request], seed: int = 3) -> list[tuple[list[str], int, int]]:
    return list(method.write(asked, seed))


# --- what lambda does


@pytest.mark.usefixtures("equal_noise")
@pytest.mark.parametrize("task", [*SINGLE, *COMPOSITIONS])
def test_without_strength_it_is_top_k_sampling_from_the_language_model(
    world: Any, fudge: Make, task: str
) -> None:
    from transformers import TopKLogitsWarper

    model = LanguageModel.load(world.language_model)
    generators = [generator(3, index) for index in range(7)]
    top_k = [TopKLogitsWarper(10)]
    base = decoding.sample(model, [[]] * 7, generators, LONGEST, 1.0, steering=lambda rows: top_k)
    texts = [
        words
        for words, _, _ in written(fudge(task, strength=dict.fromkeys(SINGLE, 0)), requests(world, task))
    ]
    assert texts == [model.decode(ids) for ids in base]
    steered = written(fudge(task, strength=dict.fromkeys(SINGLE, 200.0)), requests(world, task))
    assert texts != [words for words, _, _ in steered]


def share_met(world: Any, method: Fudge, targets: Sequence[Target]) -> float:
    texts = [sample.text.split() for sample in method.generate(targets, 4, seed=0)]
    controls = [target.control for target in targets for _ in range(4)]
    if "length" in controls[0]:
        met = [abs(len(text) - control["length"]) <= 2 for text, control in zip(texts, controls, strict=True)]
    else:
        met = [control["value"] in " ".join(text) for text, control in zip(texts, controls, strict=True)]
    return float(np.mean(met))


@pytest.mark.parametrize("task", ["semantic_content", "length"])
def test_control_is_better_with_more_strength(world: Any, fudge: Make, task: str) -> None:
    targets = make_targets(task, world.texts, {"first": 6, "last": LONGEST})
    none, some, more = (
        share_met(world, fudge(task, 300, strength={task: strength}), targets) for strength in (0, 1, 4)
    )
    assert none + 0.1 < some < more


@pytest.mark.usefixtures("equal_noise")
@pytest.mark.parametrize("task", COMPOSITIONS)
def test_a_composition_with_one_strength_of_zero_is_the_other_control_alone(
    world: Any, fudge: Make, task: str
) -> None:
    both = [words for words, _, _ in written(fudge(task, strength=STRENGTH), requests(world, task))]
    for part, other in (parts(task), parts(task)[::-1]):
        steered = fudge(task, strength={**STRENGTH, task: {part: 50.0, other: 0}})
        alone = fudge(part, strength={part: 50.0})
        assert written(steered, requests(world, task)) == written(alone, requests(world, part))
        assert both != [words for words, _, _ in written(alone, requests(world, part))]


def test_a_composition_takes_its_own_strengths_or_those_of_its_parts(fudge: Make) -> None:
    given = {"semantic_content": 8, "syntax_tree": 20, "parts_of_speech": 10, TREE: {"syntax_tree": 3}}
    method = fudge(TREE, strength=given)
    assert [method.strength(TREE, part) for part in parts(TREE)] == [8, 3]
    assert [method.strength(TAGS, part) for part in parts(TAGS)] == [8, 10]
    assert method.strength("syntax_tree", "syntax_tree") == 20
    with pytest.raises(InputError, match=r"methods\.fudge\.strength: none for length"):
        method.strength("length", "length")


# --- what must not matter, and what must be counted


@pytest.mark.parametrize("task", [*SINGLE, TREE])
def test_a_text_does_not_depend_on_its_batch(world: Any, fudge: Make, task: str) -> None:
    method, asked = fudge(task), requests(world, task)
    together = written(method, asked)
    assert together == [written(method, [request])[0] for request in asked]
    assert len({len(words) for words, _, _ in together}) > 1  # some had ended long before others


def test_several_tasks_at_once_are_refused_by_the_files_only(world: Any, fudge: Make) -> None:
    asked = [*requests(world, "length", 2), *requests(world, "semantic_content", 1)]
    with pytest.raises(InputError, match="task is 'length', expected 'semantic_content'"):
        written(fudge("length"), asked)


class Counter:
    """Counts what networks read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from transformers import GPT2LMHeadModel

        self.tokens = 0
        self.watch(monkeypatch, GPT2LMHeadModel, lambda ids: ids)
        from baselines.fudge.discriminator import Encoder

        self.watch(monkeypatch, Encoder, lambda x: x[:, :, 0])

    def watch(self, patch: pytest.MonkeyPatch, kind: type[nn.Module], read: Callable[..., Any]) -> None:
        forward = kind.forward

        def counted(module: nn.Module, *given: Any, **named: Any) -> Any:
            self.tokens += read(named["input_ids"] if "input_ids" in named else given[0]).numel()
            return forward(module, *given, **named)

        patch.setattr(kind, "forward", counted)


@pytest.mark.parametrize("longest", [LONGEST, 4])
@pytest.mark.parametrize(("task", "candidates"), [("length", 200), ("parts_of_speech", 17), (TAGS, 30)])
def test_the_cost_is_every_token_that_a_network_reads(
    world: Any, fudge: Make, task: str, candidates: int, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, counter = fudge(task, candidates=candidates, longest=longest), Counter(monkeypatch)
    for request in requests(world, task, 3):
        counter.tokens = 0
        [(words, forward, backward)] = written(method, [request])
        assert len(words) <= longest
        assert (forward, backward) == (counter.tokens, 0)


def test_requests_are_written_in_chunks(world: Any, fudge: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    method, asked = fudge("length"), requests(world, "length")
    together = written(method, asked)
    monkeypatch.setattr("baselines.fudge.method.CHUNK", 3)
    assert written(method, asked) == together


def test_samples_are_drawn_anew_for_every_index_and_seed(world: Any, fudge: Make) -> None:
    targets = [world.target("length", text) for text in range(2)]
    samples = list(fudge("length").generate(targets, 4, seed=0))
    assert [(s.target_id, s.sample_index) for s in samples] == [
        (t.target_id, i) for t in targets for i in range(4)
    ]
    assert len({s.text for s in samples}) > 6
    assert [s.text for s in samples] != [s.text for s in fudge("length").generate(targets, 4, seed=1)]
    known = {*world.vocabulary.words} - {"START", "END", "PAD"}
    assert {word for s in samples for word in s.text.split()} <= known


# --- refusals


def test_it_refuses_texts_without_control(fudge: Make) -> None:
    with pytest.raises(InputError, match="fudge.*not applicable to unconditional; there is nothing to steer"):
        next(fudge("length").generate([Target("any", "unconditional", {})], 1, 0))


def test_a_control_that_was_not_learned_names_the_target(fudge: Make) -> None:
    for task, control, message in (
        ("semantic_content", {"field": "food", "value": "Martian"}, "not learned food=Martian"),
        ("length", {"length": 21}, "no text of 21 words"),
    ):
        with pytest.raises(InputError, match=f"target 'x'.*{message}"):
            next(fudge(task).generate([Target("x", task, control)], 1, 0))


def test_models_of_another_vocabulary_or_task_are_told(world: Any, fudge: Make, tmp_path: Path) -> None:
    method = fudge("length")
    method.vocabulary = Vocabulary((*world.vocabulary.words, "brasserie"))
    with pytest.raises(InputError, match=r"language_model\.safetensors: .*vocabulary is"):
        written(method, requests(world, "length", 1))
    other = fudge("semantic_content")
    other.models = {**other.models, "discriminator": method.models["discriminator"]}
    with pytest.raises(
        InputError, match=r"length-5\.safetensors: .*task is 'length', expected 'semantic_content'"
    ):
        written(other, requests(world, "semantic_content", 1))


def test_texts_longer_than_the_discriminator_knows_are_refused(world: Any, fudge: Make) -> None:
    with pytest.raises(InputError, match="knows texts of at most 20 words, but longest is 21"):
        written(fudge("length", longest=21), requests(world, "length", 1))


def test_a_language_model_of_sub_words_is_refused(
    world: Any, fudge: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sub_words = LanguageModel.load(world.language_model)
    sub_words.word_level = False
    monkeypatch.setattr(LanguageModel, "load", lambda *given, **expected: sub_words)
    with pytest.raises(InputError, match="cannot read sub-word tokens"):
        written(fudge("length"), requests(world, "length", 1))
