"""Story language models: both directions, a quick loss that is the plain one, and every refusal."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines import story_language_model
from baselines.story_language_model import mean_loss, told_texts
from pipeline import checkpoint
from pipeline.command import Job
from pipeline.corpora.stories import story_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.language_model import KIND, LanguageModel, LanguageModelSettings
from pipeline.records import Text, write_records
from pipeline.training import TrainingSettings

MODEL = LanguageModelSettings("train", hidden=32, layers=2, heads=2, positions=64, dropout=0.0)
TRAINING = TrainingSettings(
    steps=80, batch_size=16, learning_rate=1e-2, warmup=5, weight_decay=0.0, clip=1.0, ema=0.9,
    muon_rate=0.02, precision="fp32", seed=0,
)  # fmt: skip


def spec(direction: str, **changes: Any) -> dict[str, Any]:
    return {
        "model": asdict(MODEL),
        "training": asdict(TRAINING),
        "direction": direction,
        "examples": "stories",
        **changes,
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("stories")
    found = {"corpus": folder / "stories.jsonl", "vocabulary": folder / "stories_vocabulary.json"}
    stories = story_texts(0, {"train": 400, "valid": 40})
    write_records(found["corpus"], stories)
    Vocabulary.build([story.tokens for story in stories], more_than=3).save(found["vocabulary"])
    return found


@pytest.fixture(scope="module")
def models(inputs: dict[str, Path]) -> dict[str, Path]:
    folder = inputs["corpus"].parent
    found = {direction: folder / direction / "model.safetensors" for direction in ("forward", "backward")}
    for direction, path in found.items():
        story_language_model.main(Job(spec(direction), inputs, {"model": path}))
    return found


@pytest.fixture(scope="module")
def held_out() -> list[list[str]]:
    stories = story_texts(0, {"train": 400, "valid": 40})
    return [story.tokens for story in stories if story.split == "valid"]


def nats(model: LanguageModel, texts: list[list[str]]) -> float:
    return float(np.concatenate(model.token_losses([model.row(words) for words in texts])).mean())


def test_each_direction_reads_stories_its_own_way(models: dict[str, Path], held_out: list[list[str]]) -> None:
    forward, backward = (LanguageModel.load(models[d], direction=d) for d in ("forward", "backward"))
    turned = [words[::-1] for words in held_out]
    assert nats(forward, held_out) < 2.2 < 3.5 < nats(forward, turned)
    assert nats(backward, turned) < 2.2 < 3.5 < nats(backward, held_out)


def test_the_command_names_the_direction_in_the_checkpoint(
    run_command: Any, inputs: dict[str, Path], tmp_path: Path
) -> None:
    short, path = asdict(replace(TRAINING, steps=2)), tmp_path / "model.safetensors"
    module = "baselines.story_language_model"
    done = run_command(module, spec("backward", training=short), inputs, {"model": path})
    assert done.code == 0 and "story_language_model backward: 2/2" in done.stderr
    digest = Vocabulary.load(inputs["vocabulary"]).digest()
    LanguageModel.load(path, vocabulary=digest, direction="backward")
    with pytest.raises(InputError, match="direction is 'backward', expected 'forward'"):
        LanguageModel.load(path, direction="forward")
    with pytest.raises(InputError, match="task is None, expected 'infilling'"):
        LanguageModel.load(path, task="infilling")
    done = run_command(module, spec("backwards"), inputs, {"model": path})
    assert done.code == 2
    assert done.stderr.startswith(
        "error: --spec.direction: 'backwards' is not one of ['forward', 'backward']"
    )


def test_the_quick_loss_is_the_plain_mean(models: dict[str, Path], held_out: list[list[str]]) -> None:
    model = LanguageModel.load(models["forward"])
    rows = [model.row(words[20:], words[: 3 * i]) for i, words in enumerate(held_out[:6])]
    plain = model.losses(rows).sum() / sum(len(row.ids) - row.prompt for row in rows)
    plain.backward()
    expected = {n: p.grad for n, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    story_language_model._quicken(model)
    quick = mean_loss(model, rows)
    quick.backward()
    torch.testing.assert_close(quick, plain)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-4)


def test_training_again_gives_the_same_weights(
    models: dict[str, Path], inputs: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    story_language_model.main(Job(spec("forward"), inputs, {"model": path}))
    first, again = (checkpoint.load(p, KIND) for p in (models["forward"], path))
    assert first[0] == again[0] and all(torch.equal(first[1][name], again[1][name]) for name in first[1])


def test_a_killed_training_ends_with_the_same_weights(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    training = asdict(replace(TRAINING, steps=8))
    for name, steps in {"whole": (8,), "killed": (5, 8)}.items():
        job = Job(spec("forward", training=training), inputs, {"model": tmp_path / name / "m.safetensors"})
        for most in steps:
            run_until(job, most, monkeypatch)
        found.append(checkpoint.load(job.outputs["model"], KIND)[1])
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def run_until(job: Job, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the job; before step ``most`` its state is saved and it dies, if there is such a step."""
    real = story_language_model.train

    def dying(model: Any, loss: Any, settings: Any, *rest: Any) -> None:
        def mortal(step: int) -> torch.Tensor:
            if step == most:
                raise KeyboardInterrupt
            return loss(step)

        real(model, mortal, settings, *rest, save_every=0.0)

    with monkeypatch.context() as patch:
        patch.setattr(story_language_model, "train", dying)
        if most == job.spec["training"]["steps"]:
            story_language_model.main(job)
        else:
            with pytest.raises(KeyboardInterrupt):
                story_language_model.main(job)


def test_words_outside_the_vocabulary_are_unk_and_long_stories_are_left_out(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Vocabulary.load(inputs["vocabulary"]).words[4:9]
    stories = [[*words, "brasserie", "END"], ["brasserie"] * 7, list(words) * 20]
    path = tmp_path / "stories.jsonl"
    write_records(path, [Text(str(i), "train", "", tokens) for i, tokens in enumerate(stories)])
    read: list[list[int]] = []
    monkeypatch.setattr(
        story_language_model, "mean_loss", lambda model, rows: read.extend(r.ids for r in rows) or loss(model)
    )
    job = Job(
        spec("backward", training=asdict(replace(TRAINING, steps=1))),
        {**inputs, "corpus": path},
        {"model": tmp_path / "model.safetensors"},
    )
    story_language_model.main(job)
    assert sorted(read) == [[0, *[2] * 7, 1], [0, 2, 2, 8, 7, 6, 5, 4, 1]]
    with pytest.raises(InputError, match=r"no row of story_language_model backward fits 6 positions"):
        small = asdict(replace(MODEL, positions=6))
        story_language_model.main(replace(job, spec={**job.spec, "model": small}))


def loss(model: LanguageModel) -> torch.Tensor:
    total: torch.Tensor = sum((p.sum() for p in model.parameters()), start=torch.zeros(()))
    return total


def test_rows_may_begin_within_a_story() -> None:
    story = story_texts(0, {"train": 1})[0]
    whole, parts = told_texts([story], "stories"), told_texts([story], "neighbours")
    sentences = story.sentences or []
    assert whole == [story.tokens]
    assert parts == [[*sentences[i - 1], *sentences[i], *sentences[i + 1]] for i in (1, 2, 3)]
