"""Fine-tuning: the rows it learns, where it starts, what it teaches, and every refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.fine_tuning import train
from baselines.fine_tuning.prompts import prompt
from baselines.fine_tuning.train import initial, training_rows, training_texts
from pipeline import checkpoint
from pipeline.command import Job
from pipeline.corpora.vocabulary import UNK
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel, Row
from pipeline.records import Text, write_records

TASKS = ("semantic_content", "parts_of_speech", "syntax_tree", "syntax_spans", "length")
MOST_WORDS = 20


@pytest.mark.parametrize("task", TASKS)
def test_rows_hold_every_stated_control_and_learn_words_and_end(world: Any, task: str) -> None:
    model, text = LanguageModel.load(world.models[task]), world.texts[0]
    rows = training_rows(model, task, [text], 0, loss_on_prompt=False)
    whole = training_rows(model, task, [text], 0, loss_on_prompt=True)
    assert len(rows) == {"semantic_content": len(text.fields), "syntax_spans": len(text.spans)}.get(task, 1)
    for row, released in zip(rows, whole, strict=True):
        assert UNK not in row.ids[: row.prompt]
        assert row.ids[row.prompt - 1 :] == [model.start, *model.encode(text.tokens), model.end]
        assert released.ids == row.ids and released.prompt == 1
        assert len(model.token_losses([row])[0]) == len(text.tokens) + 1
        assert len(model.token_losses([released])[0]) == len(row.ids) - 1


def test_controls_of_one_text_can_be_limited(world: Any) -> None:
    model, texts = LanguageModel.load(world.models["syntax_spans"]), world.texts[:20]
    rows = training_rows(model, "syntax_spans", texts, 2, loss_on_prompt=False)
    assert len(rows) == sum(min(2, len(text.spans)) for text in texts)
    stated = {tuple(row.ids) for row in training_rows(model, "syntax_spans", texts, 0, loss_on_prompt=False)}
    assert {tuple(row.ids) for row in rows} < stated
    alone = training_rows(model, "syntax_spans", texts[5:6], 2, loss_on_prompt=False)
    assert all(row in rows for row in alone)  # what is drawn for a text depends on that text alone


def test_training_texts_are_short_and_of_the_training_split(tmp_path: Path) -> None:
    pub, path = Text("0", "train", "the pub", ["the", "pub"]), tmp_path / "corpus.jsonl"
    write_records(path, [pub, Text("1", "valid", "a", ["a"])])
    assert training_texts(path, 2) == [pub]
    with pytest.raises(InputError, match="no training text of at most 1 words"):
        training_texts(path, 1)


def test_training_starts_from_the_shared_model(world: Any, tmp_path: Path) -> None:
    shared = LanguageModel.load(world.inputs["language_model"])
    model = initial(Job(world.spec("length"), world.inputs, {}), world.texts)
    ids = torch.tensor([shared.row(world.texts[0].tokens).ids])
    with torch.no_grad():
        before, after = shared.network(ids).logits, model.network(ids).logits
    assert after.shape[-1] == before.shape[-1] + MOST_WORDS + 1
    torch.testing.assert_close(after[..., : before.shape[-1]], before)
    assert model.encode_prompt(["0", "20"]) == [len(world.vocabulary), len(world.vocabulary) + 20]
    alone = {name: path for name, path in world.inputs.items() if name != "language_model"}
    with pytest.raises(InputError, match="'language_model' is missing"):
        initial(Job(world.spec("length"), alone, {}), world.texts)


@pytest.mark.parametrize("task", TASKS)
def test_the_true_control_makes_a_text_likelier_than_a_shuffled_one(world: Any, task: str) -> None:
    model = LanguageModel.load(world.models[task])
    rows = training_rows(model, task, world.texts, 0, loss_on_prompt=False)
    half = len(rows) // 2
    others = [*rows[half:], *rows[:half]]
    shuffled = [
        Row([*other.ids[: other.prompt], *row.ids[row.prompt :]], other.prompt)
        for row, other in zip(rows, others, strict=True)
    ]
    assert sum(row.ids == false.ids for row, false in zip(rows, shuffled, strict=True)) < len(rows) / 4
    true, false = (np.mean([loss.sum() for loss in model.token_losses(r)]) for r in (rows, shuffled))
    assert true < false - (0.05 if task == "syntax_spans" else 0.3)


def test_training_again_gives_the_same_model_and_its_settings_count(world: Any, tmp_path: Path) -> None:
    short = {**world.spec("length")["training"], "steps": 3}
    found = []
    for name, changes in {"a": {}, "b": {}, "c": {"loss_on_prompt": True}}.items():
        path = tmp_path / name / "model.safetensors"
        train.main(Job(world.spec("length", training=short, **changes), world.inputs, {"model": path}))
        header, weights = checkpoint.load(path, "language model")
        found.append((header, {key: weight.numpy().tobytes() for key, weight in weights.items()}))
    first, again, released = found
    assert first == again and first[0] == released[0] and first[1] != released[1]
    assert (first[0]["task"], first[0]["vocabulary"]) == ("length", world.vocabulary.digest())


def test_training_refuses_what_it_cannot_do(world: Any, tmp_path: Path) -> None:
    output = {"model": tmp_path / "model.safetensors"}
    with pytest.raises(InputError, match="no fine-tuning for it.*did you mean 'length'"):
        train.main(Job(world.spec("lengths"), world.inputs, output))
    bare = tmp_path / "bare.jsonl"
    write_records(bare, [Text("0", "train", "a", ["a"])])
    for task in TASKS[:-1]:
        with pytest.raises(InputError, match="states a control"):
            train.main(Job(world.spec(task), {**world.inputs, "corpus": bare}, output))
    small = {**world.spec("length")["model"], "source": "train", "positions": 8}
    with pytest.raises(InputError, match="has 8 positions"):
        train.main(Job(world.spec("length", model=small), world.inputs, output))
    assert not output["model"].exists()


def test_every_target_of_the_corpus_can_be_said(world: Any) -> None:
    for task in TASKS:
        model = LanguageModel.load(world.models[task])
        for target in world.targets(task):
            assert model.unknown not in model.encode_prompt(prompt(task, target.control))
