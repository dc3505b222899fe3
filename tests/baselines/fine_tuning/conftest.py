"""A toy corpus, the shared language model trained on it, and one fine-tuned model per task."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from baselines import language_model
from baselines.fine_tuning import train
from pipeline.command import Job
from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.language_model import LanguageModelSettings
from pipeline.records import Target, Text, write_records
from pipeline.tasks import TASKS, make_targets
from pipeline.training import TrainingSettings
from pipeline.trees import masked, spans

MODEL = LanguageModelSettings("train", hidden=32, layers=2, heads=2, positions=96, dropout=0.0)
TRAINING = TrainingSettings(
    steps=200, batch_size=16, learning_rate=1e-2, warmup=5, weight_decay=0.0, clip=1.0, ema=0.9,
    muon_rate=0.0, precision="fp32", seed=0,
)  # fmt: skip
MOST_WORDS = 20
FINE_TUNED = ("semantic_content", "parts_of_speech", "syntax_tree", "syntax_spans", "length")


class World(NamedTuple):
    """The corpus, its files, and the fine-tuned models by task."""

    texts: list[Text]
    vocabulary: Vocabulary
    inputs: dict[str, Path]
    models: dict[str, Path]

    def spec(self, task: str, **changes: Any) -> dict[str, Any]:
        """The settings of a training."""
        return training_spec(task, **changes)

    def targets(self, task: str) -> list[Target]:
        """A few targets of a task that texts of the corpus fulfil."""
        if task in ("semantic_content", "length"):
            return make_targets(task, self.texts, {"first": 0, "last": MOST_WORDS})
        named = {
            text.id: {key: control(text)[key] for key in TASKS[task].control} for text in self.texts[:12]
        }
        return [Target(name, task, asked) for name, asked in named.items()]


def control(text: Text) -> dict[str, Any]:
    """Everything that can be asked of a text."""
    assert text.fields and text.tree and text.spans
    field, value = next(iter(text.fields.items()))
    first, last, label = text.spans[len(text.spans) // 2]
    span = {"first": first, "last": last, "label": label}
    return {"field": field, "value": value, "tags": text.tags, "tree": masked(text.tree), **span}


def training_spec(task: str, **changes: Any) -> dict[str, Any]:
    """The settings of a training."""
    own = {"task": task, "loss_on_prompt": False, "controls_per_text": 0, "most_words": MOST_WORDS}
    return {**own, "model": asdict(replace(MODEL, source="shared")), "training": asdict(TRAINING), **changes}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("fine_tuning")
    parsed = [
        replace(text, spans=[list(span) for span in spans(text.tree or "")])
        for text in restaurant_texts(0, {"train": 150, "valid": 5})
    ]
    texts = [text for text in parsed if text.split == "train" and len(text.tokens) <= MOST_WORDS]
    vocabulary = Vocabulary.build([text.tokens for text in texts], more_than=1)
    inputs = {name: folder / file for name, file in FILES.items()}
    write_records(inputs["corpus"], parsed)
    vocabulary.save(inputs["vocabulary"])
    given = {name: inputs[name] for name in ("corpus", "vocabulary")}
    base = {"model": asdict(MODEL), "training": asdict(TRAINING)}
    language_model.main(Job(base, given, {"model": inputs["language_model"]}))
    models = {task: folder / f"{task}.safetensors" for task in FINE_TUNED}
    for task, path in models.items():
        train.main(Job(training_spec(task), inputs, {"model": path}))
    return World(texts, vocabulary, inputs, models)


FILES = {
    "corpus": "corpus.jsonl",
    "vocabulary": "vocabulary.json",
    "language_model": "language_model.safetensors",
}
