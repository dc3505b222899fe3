"""What the tests of Diffusion-LM share: the arrays that the original code computed, and tiny models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusion_lm.denoiser import DiffusionLM, ModelSettings
from pipeline.corpora.stories import story_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.records import write_records

ARRAYS = Path(__file__).parents[1] / "reference" / "diffusion_lm_reference.npz"
TINY = ModelSettings(
    words=11, dimension=4, hidden=32, layers=2, heads=2, intermediate=64, positions=16, time_channels=8,
    dropout=0.0, embedding="learned", normalised=False, predict="x0", self_conditioning=False, layout="pad",
    diffusion_steps=20, schedule="sqrt", seed=1,
)  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def reference() -> Mapping[str, np.ndarray]:
    """Arrays by name; ``tests/reference/README.md`` says what each one is."""
    with np.load(ARRAYS) as arrays:
        return {name: arrays[name] for name in arrays}


@pytest.fixture(scope="session")
def tensors(reference: Mapping[str, np.ndarray]) -> Mapping[str, Tensor]:
    """The same arrays as tensors."""
    return {name: torch.as_tensor(array) for name, array in reference.items()}


@pytest.fixture
def make_model() -> Callable[..., DiffusionLM]:
    """Makes a tiny model in evaluation mode; keywords change its settings."""

    def make(**changes: Any) -> DiffusionLM:
        return DiffusionLM(replace(TINY, **changes)).eval()

    return make


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small corpus of stories and its vocabulary, as a training command reads them."""
    folder = tmp_path_factory.mktemp("stories")
    texts = story_texts(0, {"train": 20, "valid": 2})
    write_records(folder / "stories.jsonl", texts)
    training = [text.tokens for text in texts if text.split == "train"]
    Vocabulary.build(training, more_than=0).save(folder / "vocabulary.json")
    return {"corpus": folder / "stories.jsonl", "vocabulary": folder / "vocabulary.json"}
