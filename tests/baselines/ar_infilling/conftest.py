"""A few embedded stories, a model of each layout, and a language model of whole stories."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from baselines import story_language_model
from baselines.ar_infilling import train
from baselines.ar_infilling.method import ARInfilling
from pipeline.command import Job
from pipeline.corpora.infilling import Example, examples
from pipeline.corpora.stories import story_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.language_model import LanguageModelSettings
from pipeline.methods import load_method
from pipeline.records import Target, Text, write_records
from pipeline.tasks import INFILLING
from pipeline.training import TrainingSettings

MODEL = LanguageModelSettings("train", hidden=32, layers=2, heads=2, positions=64, dropout=0.0)
TRAINING = TrainingSettings(
    steps=220, batch_size=16, learning_rate=1e-2, warmup=5, weight_decay=0.0, clip=1.0, ema=0.9,
    muon_rate=0.02, precision="fp32", seed=0,
)  # fmt: skip


class World(NamedTuple):
    """Stories and their files, the models by layout (and ``stories``), held-out examples, their targets."""

    stories: list[Text]
    vocabulary: Vocabulary
    inputs: dict[str, Path]
    models: dict[str, Path]
    held_out: list[Example]
    targets: list[Target]

    def spec(self, layout: str, **changes: Any) -> dict[str, Any]:
        """The settings of a training."""
        sizes = {"model": asdict(MODEL), "training": asdict(TRAINING)}
        return {**sizes, "layout": layout, "context": "neighbours", **changes}

    def method(self, layout: str = "separated", **changes: Any) -> ARInfilling:
        """A method that reads the model of a layout."""
        settings = {"module": "baselines.ar_infilling.method", "temperature": 1.0, "longest": 20, **changes}
        models = {"language_model": self.models[layout]}
        made = load_method("ar_infilling", settings, self.vocabulary, models)
        assert isinstance(made, ARInfilling)
        return made


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ar_infilling")
    stories = story_texts(0, {"train": 400, "valid": 20})
    vocabulary = Vocabulary.build([story.tokens for story in stories], more_than=3)
    inputs = {"corpus": folder / "stories.jsonl", "vocabulary": folder / "vocabulary.json"}
    write_records(inputs["corpus"], stories)
    vocabulary.save(inputs["vocabulary"])
    models = {name: folder / f"{name}.safetensors" for name in (*train.LAYOUTS, "stories")}
    held_out = examples([story for story in stories if story.split == "valid"], "neighbours")
    controls = [{"left": " ".join(e.left), "right": " ".join(e.right)} for e in held_out]
    targets = [Target(f"story-{i}", INFILLING, c, ["x"]) for i, c in enumerate(controls)]
    world = World(stories, vocabulary, inputs, models, held_out, targets)
    for layout in train.LAYOUTS:
        train.main(Job(world.spec(layout), inputs, {"model": models[layout]}))
    story_spec = {"model": asdict(MODEL), "training": asdict(TRAINING), "direction": "forward"}
    story_spec["examples"] = "stories"
    story_language_model.main(Job(story_spec, inputs, {"model": models["stories"]}))
    return world
