"""What the tests of DELOREAN and COLD share: embedded stories and tiny language models of both directions."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from baselines.soft import Context, Padded, read_context
from pipeline.corpora.infilling import Example, examples
from pipeline.corpora.stories import story_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.language_model import LanguageModel, LanguageModelSettings, build, fit
from pipeline.methods import Request
from pipeline.records import Target
from pipeline.training import TrainingSettings

SIZES = LanguageModelSettings("train", hidden=32, layers=2, heads=2, positions=64, dropout=0.0)
TRAINING = TrainingSettings(
    steps=250, batch_size=16, learning_rate=1e-2, warmup=10, weight_decay=0.0, clip=1.0, ema=0.98,
    muon_rate=0.0, precision="fp32", seed=0,
)  # fmt: skip


class StoryWorld(NamedTuple):
    """A vocabulary, the files of both models, the one from left to right, and gaps behind first sentences."""

    vocabulary: Vocabulary
    models: dict[str, Path]
    model: LanguageModel
    gaps: list[Example]

    def requests(self, count: int, index: int = 0) -> list[Request]:
        """One request for each of the first gaps."""
        controls = [{"left": " ".join(g.left), "right": " ".join(g.right)} for g in self.gaps[:count]]
        return [Request(Target(f"gap-{i}", "infilling", c), index) for i, c in enumerate(controls)]

    def left(self, count: int) -> Context:
        """What stands left of the first gaps, read."""
        rows = [[self.model.start, *self.model.encode(gap.left)] for gap in self.gaps[:count]]
        return read_context(self.model, rows)

    def right(self, count: int) -> Padded:
        """What stands right of the first gaps."""
        return Padded.of(self.model, [self.model.encode(gap.right) for gap in self.gaps[:count]])


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> StoryWorld:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("stories")
    texts = story_texts(0, {"train": 600, "valid": 30})
    known, unseen = ([text for text in texts if text.split == split] for split in ("train", "valid"))
    vocabulary = Vocabulary.build([text.tokens for text in known], more_than=1)
    models = {name: folder / f"{name}.safetensors" for name in ("language_model", "backward_language_model")}
    for path, step, direction in zip(models.values(), (1, -1), ("forward", "backward"), strict=True):
        model = build(SIZES, vocabulary, [], seed=0)
        rows = [model.row(text.tokens[::step]) for text in known]
        fit(model, rows, TRAINING, folder / direction, direction, "stories")
        model.save(path, SIZES, vocabulary=vocabulary.digest(), direction=direction)
    model = LanguageModel.load(models["language_model"]).requires_grad_(False)
    return StoryWorld(vocabulary, models, model, examples(unseen, "neighbours")[::3])
