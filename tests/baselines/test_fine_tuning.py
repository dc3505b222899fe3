"""FT-sample and FT-search: prompts, rows, what training teaches, generation, and every refusal."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from baselines import fine_tuning
from baselines.fine_tuning import FineTuned, extra_words, prompt, training_rows, training_texts
from pipeline import checkpoint
from pipeline.command import Job
from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.vocabulary import UNK, Vocabulary
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel, LanguageModelSettings, Row, build
from pipeline.methods import Request, load_method
from pipeline.records import Target, Text, write_records
from pipeline.tasks import make_targets
from pipeline.training import TrainingSettings

MODEL = LanguageModelSettings("train", hidden=32, layers=2, heads=2, positions=48, dropout=0.0)
TRAINING = TrainingSettings(
    steps=200, batch_size=16, learning_rate=1e-2, warmup=5, weight_decay=0.0, clip=1.0, ema=0.9,
    muon_rate=0.0, precision="fp32", seed=0,
)  # fmt: skip
MOST_WORDS = 20
DECODING = {"module": "baselines.fine_tuning", "temperature": 1.0, "beams": 4, "longest": MOST_WORDS}
FIELDS = {"name": "The Mill", "food": "Fast food"}
PUB = Text("0", "train", "The Mill is a pub", ["The", "Mill", "is", "a", "pub"], FIELDS)


class World(NamedTuple):
    """A toy corpus, its files, and one trained model."""

    task: str
    texts: list[Text]
    vocabulary: Vocabulary
    inputs: dict[str, Path]
    model: Path


def spec(task: str, **changes: Any) -> dict[str, Any]:
    sizes = {"task": task, "loss_on_prompt": False, "most_words": MOST_WORDS, "threads": 1}
    return {**sizes, "model": asdict(MODEL), "training": asdict(TRAINING), **changes}


@pytest.fixture(scope="session", params=["semantic_content", "length"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp(request.param)
    texts = restaurant_texts(0, {"train": 100, "valid": 5})
    vocabulary = Vocabulary.build([t.tokens for t in texts if t.split == "train"], more_than=1)
    inputs = {"corpus": folder / "corpus.jsonl", "vocabulary": folder / "vocabulary.json"}
    write_records(inputs["corpus"], texts)
    vocabulary.save(inputs["vocabulary"])
    model = folder / "model.safetensors"
    fine_tuning.main(Job(spec(request.param), inputs, {"model": model}))
    return World(request.param, [t for t in texts if t.split == "train"], vocabulary, inputs, model)


def method(world: World, decoding: str, **changes: Any) -> FineTuned:
    settings = {**DECODING, "decoding": decoding, **changes}
    made = load_method(f"ft_{decoding}", settings, world.vocabulary, {"language_model": world.model})
    assert isinstance(made, FineTuned)
    return made


def targets(world: World) -> list[Target]:
    return make_targets(world.task, world.texts, {"first": 0, "last": MOST_WORDS})


# --- prompts and rows


def test_prompts() -> None:
    control = {"field": "customer rating", "value": "5 out of 5"}
    assert prompt("semantic_content", control) == "customer rating : 5 out of 5".split()
    assert prompt("length", {"length": 17}) == ["17"]


def test_extra_words_are_those_of_prompts() -> None:
    assert extra_words("semantic_content", [PUB, PUB], 3) == ["name", ":", "The", "Mill", "food", "Fast"]
    assert extra_words("length", [PUB], 3) == ["0", "1", "2", "3"]


def test_rows_hold_every_stated_control_and_learn_words_and_end() -> None:
    vocabulary = Vocabulary.build([PUB.tokens], more_than=0)
    expected = {"semantic_content": ["name : The Mill", "food : Fast food"], "length": ["5"]}
    for task, prompts in expected.items():
        model = build(MODEL, vocabulary, extra_words(task, [PUB], MOST_WORDS), seed=0)
        rows = training_rows(model, task, [PUB], loss_on_prompt=False)
        whole = training_rows(model, task, [PUB], loss_on_prompt=True)
        for row, released, words in zip(rows, whole, prompts, strict=True):
            given = [*model.encode_prompt(words.split()), model.start]
            assert UNK not in given
            assert row.ids == released.ids == [*given, *model.encode(PUB.tokens), model.end]
            assert row.prompt == len(given) and released.prompt == 1
            assert len(model.token_losses([row])[0]) == len(PUB.tokens) + 1
            assert len(model.token_losses([released])[0]) == len(row.ids) - 1


def test_training_texts_are_short_and_of_the_training_split(tmp_path: Path) -> None:
    path, valid = tmp_path / "corpus.jsonl", Text("1", "valid", "a pub", ["a", "pub"])
    write_records(path, [PUB, valid])
    assert training_texts(path, 5) == [PUB]
    with pytest.raises(InputError, match="no training text of at most 4 words"):
        training_texts(path, 4)


# --- training


def test_the_true_control_makes_a_text_likelier_than_a_shuffled_one(world: World) -> None:
    model = LanguageModel.load(world.model)
    rows = training_rows(model, world.task, world.texts, loss_on_prompt=False)
    half = len(rows) // 2
    others = [*rows[half:], *rows[:half]]
    shuffled = [
        Row([*other.ids[: other.prompt], *row.ids[row.prompt :]], other.prompt)
        for row, other in zip(rows, others, strict=True)
    ]
    assert sum(row.ids == false.ids for row, false in zip(rows, shuffled, strict=True)) < len(rows) / 4
    true, false = (np.mean([loss.sum() for loss in model.token_losses(r)]) for r in (rows, shuffled))
    assert true < false - 0.5


def test_training_again_gives_the_same_model_and_its_settings_count(world: World, tmp_path: Path) -> None:
    short = {**asdict(TRAINING), "steps": 3}
    found = []
    for name, changes in {"a": {}, "b": {}, "c": {"loss_on_prompt": True}}.items():
        path = tmp_path / name / "model.safetensors"
        fine_tuning.main(Job(spec(world.task, training=short, **changes), world.inputs, {"model": path}))
        header, weights = checkpoint.load(path, "language model")
        found.append((header, {key: weight.numpy().tobytes() for key, weight in weights.items()}))
    first, again, released = found
    assert first == again and first[0] == released[0] and first[1] != released[1]
    assert (first[0]["task"], first[0]["vocabulary"]) == (world.task, world.vocabulary.digest())


def test_training_refuses_what_it_cannot_do(world: World, tmp_path: Path) -> None:
    output = {"model": tmp_path / "model.safetensors"}
    with pytest.raises(InputError, match="no fine-tuning for it.*did you mean 'length'"):
        fine_tuning.main(Job(spec("lengths"), world.inputs, output))
    bare = tmp_path / "bare.jsonl"
    write_records(bare, [Text("0", "train", "a", ["a"])])
    with pytest.raises(InputError, match="states a control"):
        fine_tuning.main(Job(spec("semantic_content"), {**world.inputs, "corpus": bare}, output))
    with pytest.raises(InputError, match="has 8 positions"):
        fine_tuning.main(Job(spec(world.task, model={**asdict(MODEL), "positions": 8}), world.inputs, output))
    assert not output["model"].exists()


# --- generation


@pytest.mark.parametrize("decoding", ["sample", "search"])
def test_a_text_does_not_depend_on_its_batch(world: World, decoding: str) -> None:
    writer = method(world, decoding)
    requests = [Request(target, index) for target in targets(world)[::3] for index in range(2)][:7]
    together = list(writer.write(requests, seed=3))
    assert together == [next(writer.write([request], seed=3)) for request in requests]
    assert len(together) == 7


def test_samples_differ_and_searched_texts_do_not(world: World) -> None:
    chosen = targets(world)[:4]
    sampled = list(method(world, "sample").generate(chosen, 5, seed=0))
    assert [s.target_id for s in sampled] == [t.target_id for t in chosen for _ in range(5)]
    assert len({s.text for s in sampled[:5]}) > 1
    assert [s.text for s in sampled] != [s.text for s in method(world, "sample").generate(chosen, 5, seed=1)]
    searched = list(method(world, "search").generate(chosen, 2, seed=0))
    assert [s.text for s in searched[::2]] == [s.text for s in searched[1::2]]


def test_every_target_can_be_asked_and_the_cost_counted(world: World) -> None:
    asked, known = targets(world), {*world.vocabulary.words} - {"START", "END", "PAD"}
    for decoding, beams in {"sample": 1, "search": 4}.items():
        samples = method(world, decoding, longest=9).generate(asked, 1, seed=0)
        for target, sample in zip(asked, samples, strict=True):
            words, control = sample.text.split(), prompt(target.task, target.control)
            assert len(words) <= 9 and {*words} <= known
            assert sample.forward_tokens == (len(control) + 1 + len(words)) * beams
            assert sample.backward_passes == 0


def test_the_model_follows_its_control(world: World) -> None:
    asked = [t for t in targets(world) if world.task == "semantic_content" or t.control["length"] >= 6]
    texts = [s.text.split() for s in method(world, "search").generate(asked, 1, seed=0)]
    shifted = [*asked[len(asked) // 2 :], *asked[: len(asked) // 2]]
    assert share_met(asked, texts) > 2 * share_met(shifted, texts)


def share_met(asked: list[Target], texts: list[list[str]]) -> float:
    if asked[0].task == "length":
        met = [abs(len(text) - t.control["length"]) <= 2 for t, text in zip(asked, texts, strict=True)]
    else:
        met = [t.control["value"] in " ".join(text) for t, text in zip(asked, texts, strict=True)]
    return float(np.mean(met))


def test_generation_refuses_what_it_cannot_do(world: World) -> None:
    writer = method(world, "sample")
    with pytest.raises(InputError, match="ft_sample.*not applicable to unconditional.*under a control only"):
        next(writer.generate([Target("any", "unconditional", {})], 1, 0))
    other = {"semantic_content": "length", "length": "semantic_content"}[world.task]
    control = {"length": 6} if other == "length" else {"field": "food", "value": "pub"}
    with pytest.raises(InputError, match=f"task is '{world.task}', expected '{other}'"):
        next(writer.generate([Target("x", other, control)], 1, 0))
    strange = {"length": 21} if world.task == "length" else {"field": "food", "value": "brasserie"}
    with pytest.raises(InputError, match="target 'x': the model's prompts cannot say '.*(21|brasserie)'"):
        next(writer.generate([Target("x", world.task, strange)], 1, 0))
    with pytest.raises(InputError, match="has 48 positions"):
        next(method(world, "sample", longest=48).generate(targets(world)[:1], 1, 0))


def test_a_model_of_another_vocabulary_is_told(world: World) -> None:
    words = Vocabulary((*world.vocabulary.words, "brasserie"))
    writer = FineTuned("ft", {**DECODING, "decoding": "sample"}, words, {"language_model": world.model})
    with pytest.raises(InputError, match=r"model\.safetensors: .*vocabulary is"):
        next(writer.generate(targets(world)[:1], 1, 0))
