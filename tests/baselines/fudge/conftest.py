"""What the tests of FUDGE share: a toy corpus with gold tags and trees, a language model, discriminators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from baselines import language_model
from baselines.fudge import train
from baselines.fudge.discriminator import Discriminator, DiscriminatorSettings
from baselines.fudge.train import DISCRIMINATED
from pipeline.command import Job
from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.language_model import LanguageModelSettings
from pipeline.records import Target, Text, write_records
from pipeline.tasks import TASKS
from pipeline.training import TrainingSettings
from pipeline.trees import masked, spans

MOST_WORDS = 20
SHAPE = DiscriminatorSettings(hidden=32, layers=2, heads=2, dropout=0.0, seed=0)
LANGUAGE_MODEL = LanguageModelSettings("train", hidden=32, layers=2, heads=2, positions=24, dropout=0.0)


def training(steps: int, rate: float = 5e-3) -> TrainingSettings:
    return TrainingSettings(
        steps=steps, batch_size=32, learning_rate=rate, warmup=10, weight_decay=0.0, clip=1.0, ema=0.98,
        muon_rate=0.0, precision="fp32", seed=0,
    )  # fmt: skip


class World(NamedTuple):
    """The corpus, its files, and a language model that knows no control."""

    texts: list[Text]
    valid: list[Text]
    vocabulary: Vocabulary
    inputs: dict[str, Path]
    language_model: Path

    def training(self, steps: int = 5) -> TrainingSettings:
        """How a discriminator is trained."""
        return training(steps)

    def spec(self, task: str, steps: int) -> dict[str, Any]:
        """The settings of a discriminator's training."""
        schedule = asdict(training(steps))
        return {"task": task, "model": asdict(SHAPE), "training": schedule, "most_words": MOST_WORDS}

    def target(self, task: str, text: int, name: str = "") -> Target:
        """What a validation text fulfils."""
        chosen = self.valid[text]
        assert chosen.fields and chosen.tree
        field, value = list(chosen.fields.items())[text % len(chosen.fields)]
        first, last, label = spans(chosen.tree)[0]
        control = {"field": field, "value": value, "length": len(chosen.tokens), "tags": chosen.tags}
        control |= {"tree": masked(chosen.tree), "first": first, "last": last, "label": label}
        return Target(name or chosen.id, task, {key: control[key] for key in TASKS[task].control})


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("fudge")
    texts = restaurant_texts(0, {"train": 600, "valid": 100})
    known, valid = ([text for text in texts if text.split == split] for split in ("train", "valid"))
    vocabulary = Vocabulary.build([text.tokens for text in known], more_than=1)
    inputs = {"corpus": folder / "corpus.jsonl", "vocabulary": folder / "vocabulary.json"}
    write_records(inputs["corpus"], texts)
    vocabulary.save(inputs["vocabulary"])
    path = folder / "language_model.safetensors"
    settings = {"model": asdict(LANGUAGE_MODEL), "training": asdict(training(250, rate=1e-2))}
    language_model.main(Job(settings, inputs, {"model": path}))
    return World(known, valid, vocabulary, inputs, path)


@pytest.fixture(scope="session")
def trained(world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """A discriminator of a task, trained for so many steps; each is trained once."""
    folder, made = tmp_path_factory.mktemp("discriminators"), dict[tuple[str, int], Path]()

    def file(task: str, steps: int) -> Path:
        if (task, steps) not in made:
            made[task, steps] = folder / f"{task}-{steps}.safetensors"
            train.main(Job(world.spec(task, steps), world.inputs, {"model": made[task, steps]}))
        return made[task, steps]

    return file


@pytest.fixture(params=DISCRIMINATED)
def discriminator(
    request: pytest.FixtureRequest, world: World, trained: Callable[[str, int], Path]
) -> Discriminator:
    """A discriminator that has seen five batches: enough to be no constant."""
    return Discriminator.load(trained(request.param, 5))
