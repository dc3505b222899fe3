"""What the tests of PPLM share: a toy corpus, a language model trained on it, and both kinds of head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from baselines import language_model
from baselines.pplm import train
from baselines.pplm.attribute import HEADS, Discriminator, Head
from baselines.pplm.method import PPLM
from pipeline.command import Job
from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.language_model import LanguageModel, LanguageModelSettings, build
from pipeline.methods import load_method
from pipeline.records import Target, Text, write_records
from pipeline.tasks import make_targets
from pipeline.training import TrainingSettings

LONGEST = 20
SIZES = LanguageModelSettings("train", hidden=32, layers=2, heads=2, positions=24, dropout=0.0)
PERTURBATION = {"updates": 3, "step": 0.2, "kl_scale": 0.01, "gamma": 1.0, "horizon": 1, "window": 0}
DRAWING = {"fusion": 0.95, "top_k": 10, "longest": LONGEST, "batch_size": 64}
SETTINGS = {"module": "baselines.pplm.method", "attribute": "discriminator", **PERTURBATION, **DRAWING}


def training(steps: int, rate: float) -> TrainingSettings:
    return TrainingSettings(
        steps=steps, batch_size=32, learning_rate=rate, warmup=10, weight_decay=0.0, clip=1.0, ema=0.98,
        muon_rate=0.0, precision="fp32", seed=0,
    )  # fmt: skip


class World(NamedTuple):
    """The corpus, its files, a language model, and the files of its heads by form."""

    texts: list[Text]
    valid: list[Text]
    vocabulary: Vocabulary
    inputs: dict[str, Path]
    model: LanguageModel
    heads: dict[str, Path]

    def spec(self, form: str = "sigmoids", steps: int = 400) -> dict[str, Any]:
        """The settings of a head's training."""
        return {"head": form, "most_words": LONGEST, "training": asdict(training(steps, 3e-2))}

    def head(self, form: str = "sigmoids") -> Head:
        """A trained head."""
        return Head.load(self.heads[form], self.vocabulary.digest(), self.model)

    def targets(self) -> list[Target]:
        """Every field value of the training texts."""
        return make_targets("semantic_content", self.texts, {"first": 1, "last": LONGEST})

    def wanted(self, texts: int, horizon: int = 1) -> Discriminator:
        """A discriminator that wants a value of its own from each of so many texts."""
        return Discriminator(self.head(), torch.arange(texts), horizon)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("pplm")
    texts = restaurant_texts(0, {"train": 600, "valid": 100})
    known, valid = ([text for text in texts if text.split == split] for split in ("train", "valid"))
    vocabulary = Vocabulary.build([text.tokens for text in known], more_than=1)
    corpus = {"corpus": folder / "corpus.jsonl", "vocabulary": folder / "vocabulary.json"}
    write_records(corpus["corpus"], texts)
    vocabulary.save(corpus["vocabulary"])
    inputs = {**corpus, "language_model": folder / "language_model.safetensors"}
    spec = {"model": asdict(SIZES), "training": asdict(training(250, 1e-2))}
    language_model.main(Job(spec, corpus, {"model": inputs["language_model"]}))
    model = LanguageModel.load(inputs["language_model"]).requires_grad_(False)
    heads = {form: folder / f"{form}.safetensors" for form in HEADS}
    made = World(known, valid, vocabulary, inputs, model, heads)
    for form, path in heads.items():
        train.main(Job(made.spec(form), inputs, {"model": path}))
    return made


@pytest.fixture
def pplm(world: World) -> Callable[..., PPLM]:
    """Makes the method; keywords change its settings."""

    def make(form: str = "sigmoids", **changes: Any) -> PPLM:
        models = {"language_model": world.inputs["language_model"], "attribute": world.heads[form]}
        made = load_method("pplm", {**SETTINGS, **changes}, world.vocabulary, models)
        assert isinstance(made, PPLM)
        return made

    return make


@pytest.fixture(scope="session")
def other_model(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of the same vocabulary and sizes, but untrained."""
    path = tmp_path_factory.mktemp("other") / "language_model.safetensors"
    build(SIZES, world.vocabulary, [], seed=1).save(path, SIZES, vocabulary=world.vocabulary.digest())
    return path
