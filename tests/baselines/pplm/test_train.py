"""Training the attribute head: its examples, what it learns, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.pplm import train
from baselines.pplm.attribute import HEADS, Head, mean_hidden
from baselines.pplm.train import examples, training_texts
from pipeline.command import Job
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.records import Text, write_records
from pipeline.tasks import field_values

PUB = Text("0", "train", "a Thai pub", ["a", "Thai", "pub"], {"Type": "pub", "food": "Thai"})
DINER = Text("1", "train", "a diner", ["a", "diner"], {"Type": "diner"})
BARE = Text("2", "train", "a place", ["a", "place"])
CLASSES = [("Type", "pub"), ("Type", "diner"), ("food", "Thai")]


def test_sigmoids_see_all_values_of_a_text_and_softmax_one_at_a_time() -> None:
    rows, labels = examples(Head("sigmoids", CLASSES, 4), [PUB, DINER])
    assert (rows.tolist(), labels.tolist()) == ([0, 1], [[1, 0, 1], [0, 1, 0]])
    rows, labels = examples(Head("softmax", CLASSES, 4), [PUB, DINER])
    assert (rows.tolist(), labels.tolist()) == ([0, 0, 1], [[1, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_training_texts_are_short_and_state_a_field(tmp_path: Path) -> None:
    path, valid = tmp_path / "corpus.jsonl", Text("3", "valid", "pub", ["pub"], {"Type": "pub"})
    write_records(path, [PUB, DINER, BARE, valid])
    assert training_texts(path, 3) == [PUB, DINER]
    assert training_texts(path, 2) == [DINER]
    with pytest.raises(InputError, match="no training text of at most 1 words that states a field"):
        training_texts(path, 1)


@pytest.mark.parametrize("form", HEADS)
def test_the_head_tells_the_values_of_unseen_texts(world: Any, form: str) -> None:
    """Among the values of a field that a text states, the likeliest beats the most frequent one."""
    head, right, common = world.head(form), 0, 0
    scores = head.log_probabilities(mean_hidden(world.model, [text.tokens for text in world.valid]))
    for field, values in field_values(world.texts).items():
        columns = [head.classes[field, value] for value in values]
        gold = {i: text.fields[field] for i, text in enumerate(world.valid) if field in text.fields}
        right += sum(values[int(scores[i, columns].argmax())] == value for i, value in gold.items())
        common += Counter(gold.values()).most_common(1)[0][1]
    assert right > 1.5 * common


def test_training_again_gives_the_same_head_and_its_seed_counts(world: Any, tmp_path: Path) -> None:
    found = {}
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        path, spec = tmp_path / name / "model.safetensors", world.spec(steps=4)
        train.main(Job(spec | {"training": spec["training"] | {"seed": seed}}, world.inputs, {"model": path}))
        found[name] = path.read_bytes()
    assert found["a"] == found["b"] != found["c"]


def test_the_language_model_stays_frozen_and_of_its_vocabulary(world: Any, tmp_path: Path) -> None:
    texts = [text.tokens for text in world.valid[:3]]
    world.model.requires_grad_(True)
    try:
        assert not mean_hidden(world.model, texts).requires_grad
    finally:
        world.model.requires_grad_(False)
    other = tmp_path / "vocabulary.json"
    Vocabulary((*world.vocabulary.words, "more")).save(other)
    with pytest.raises(InputError, match="vocabulary is"):
        train.main(Job(world.spec(), world.inputs | {"vocabulary": other}, {"model": tmp_path / "m"}))


def test_bf16_reads_nearly_the_same(world: Any) -> None:
    texts = [text.tokens for text in world.valid[:3]]
    with torch.autocast("cpu", torch.bfloat16):
        low = mean_hidden(world.model, texts)
    assert low.dtype == torch.float32
    assert torch.allclose(low, mean_hidden(world.model, texts), atol=0.05)
