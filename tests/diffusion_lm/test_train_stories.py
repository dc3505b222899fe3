"""Training on stories: what the texts are, where slots stay empty, and that a killed training goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion_lm import train, train_stories
from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.infilling import SLOTS_FIRST, slots_first
from diffusion_lm.layout import framed
from diffusion_lm.train_stories import ExampleSettings, Lessons, Told, training_texts
from pipeline.command import Job, Spec
from pipeline.corpora.infilling import examples
from pipeline.corpora.vocabulary import END, PAD, START, Vocabulary
from pipeline.errors import InputError
from pipeline.records import Text, read_records, write_records
from pipeline.settings import resolve
from pipeline.training import TrainingSettings

SIZES = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 32, "time_channels": 8, "dropout": 0}
WORDS = {"predict": "words", "normalised": True, "self_conditioning": True}
CANVAS, PADDED = {"layout": "canvas", **WORDS}, {"layout": "pad", "positions": 40}
FORMS: dict[str, dict[str, Any]] = {
    "stories": {"examples": "stories", "slack": 0, "clean_context": 0, "model": PADDED},
    "story canvases": {
        "examples": "stories",
        "slack": 0,
        "clean_context": 0,
        "model": CANVAS | {"positions": 64},
    },
    "neighbours": {"examples": "neighbours", "slack": 0, "clean_context": 0, "model": CANVAS},
    "ends": {"examples": "ends", "slack": 5, "clean_context": 0.5, "model": CANVAS},
    "padded ends": {"examples": "ends", "slack": 5, "clean_context": 0, "model": PADDED},
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
Files = dict[str, Path]


def spec(form: dict[str, Any], **training: Any) -> Spec:
    """The command's settings, as the configuration gives them."""
    model = {**SIZES, "dimension": 4, "positions": 48, "diffusion_steps": 20, **form["model"]}
    own = {"steps": 3, "batch_size": 8, "learning_rate": 0.01, "ema": 0.5, **training}
    given = resolve("paper", {"diffusion": {"model": model, "training": own}})["diffusion"]
    return Spec({**given, **{key: value for key, value in form.items() if key != "model"}})


def trained(stories: Files, path: Path, given: Spec) -> Path:
    train_stories.main(Job(given, stories, {"model": path}))
    return path


def vocabulary(stories: Files) -> Vocabulary:
    return Vocabulary.load(stories["vocabulary"])


def training_stories(stories: Files) -> list[Text]:
    return [text for text in read_records(stories["corpus"], Text) if text.split == "train"]


# --- texts


def test_a_text_is_a_whole_story(stories: Files) -> None:
    known = vocabulary(stories)
    told = training_texts(stories["corpus"], known, "stories")
    assert [known.decode(text.middle) for text in told] == [s.tokens for s in training_stories(stories)]
    assert all(text.ids == text.middle for text in told)


@pytest.mark.parametrize("context", ["neighbours", "ends"])
def test_a_text_is_a_sentence_and_what_stands_around_it(stories: Files, context: Any) -> None:
    known = vocabulary(stories)
    told = training_texts(stories["corpus"], known, context)
    expected = examples(training_stories(stories), context)
    assert [tuple(known.decode(part) for part in text) for text in told] == expected
    assert [known.decode(text.ids) for text in told] == [e.left + e.middle + e.right for e in expected]


def lessons(slack: int = 0, clean_context: float = 0.0, most: int = 99, seed: int = 0) -> Lessons:
    texts = [Told([4], [4] * (2 + i % 5), [5, 6]) for i in range(40)]
    training = TrainingSettings(99, 8, 0.1, 0, 0, 0, 0, 0, "fp32", seed)
    return Lessons(texts, ExampleSettings("ends", slack, clean_context), training, canvas=False, most=most)


def told_at(made: Lessons, steps: int) -> list[Told]:
    return [told for step in range(steps) for told in made.texts_at(step)]


def test_up_to_slack_slots_stay_empty_behind_the_sentence() -> None:
    """Each number equally often, and nowhere else."""
    empty = []
    for told in told_at(lessons(3), 60):
        empty.append(told.middle.count(PAD))
        words = len(told.middle) - empty[-1]
        assert told == ([4], [4] * words + [PAD] * empty[-1], [5, 6]) and 2 <= words <= 6
    found = torch.tensor(empty).bincount()
    assert len(found) == 4
    assert (found / found.sum() * 4 - 1).abs().max() < 0.25


def test_without_slack_no_slot_stays_empty() -> None:
    assert not any(PAD in told.ids for told in told_at(lessons(), 10))


def test_empty_slots_leave_a_text_within_the_positions() -> None:
    assert max(len(told.ids) for told in told_at(lessons(9, most=10), 30)) == 10


def test_texts_follow_from_seed_and_step() -> None:
    one, again, other = lessons(9, 0.5), lessons(9, 0.5), lessons(9, 0.5, seed=1)
    assert [again.rows_at(step) for step in (7, 3, 5)] == [one.rows_at(step) for step in (7, 3, 5)]
    assert one.rows_at(0) != one.rows_at(5) and told_at(one, 5) != told_at(other, 5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_rows_knows_what_stands_around_the_sentence(share: float) -> None:
    """The slots are free in every row, those that stay empty too; START and END never are."""
    made, clean = lessons(3, share), []
    for step in range(60):
        for told, (ids, free) in zip(made.texts_at(step), made.rows_at(step), strict=True):
            assert ids == slots_first(*told)
            clean.append(not free[-1])
            around = not clean[-1]
            assert free == [*[True] * len(told.middle), around, around, False, False, around]
    assert sum(clean) / len(clean) == pytest.approx(share, abs=0.07)


def test_whole_stories_stand_on_their_canvas_from_start_to_end() -> None:
    training = TrainingSettings(99, 2, 0.1, 0, 0, 0, 0, 0, "fp32", 0)
    made = Lessons([Told([], [4, 5], [])], ExampleSettings("stories", 0, 0.0), training, canvas=True, most=9)
    assert made.rows_at(0) == [framed([4, 5])]


def test_empty_slots_are_words_to_be_learned(
    make_model: Callable[..., DiffusionLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PAD inside a canvas counts and is noised; PAD behind a shorter row of the batch does neither."""
    seen: list[tuple[Tensor, ...]] = []

    def watched(model: DiffusionLM, ids: Tensor, free: Tensor, mask: Tensor, _: bool) -> Tensor:
        seen.append((ids, free, mask))
        return torch.zeros(len(ids))

    monkeypatch.setattr(train, "words_loss", watched)
    rows = [Told([4], [PAD, PAD], [5]).row(False), Told([4], [], [5]).row(True)]
    train.canvas_loss(make_model(predict="words"), lambda step: rows)(0)
    ((ids, free, mask),) = seen
    assert ids.tolist() == [[PAD, PAD, 5, END, START, 4], [5, END, START, 4, PAD, PAD]]
    assert free.int().tolist() == [[1, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0]]
    assert mask.int().tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]


# --- the command


@every_form
def test_every_form_trains_and_is_a_diffusion_lm(stories: Files, tmp_path: Path, form: Any) -> None:
    first, again, other = (
        trained(stories, tmp_path / name / "model.safetensors", spec(form, seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    model, lengths = train.load(first, vocabulary(stories))
    assert all(weight.isfinite().all() for weight in model.state_dict().values())
    _, header = train.load_kind(first, train.KIND, vocabulary(stories))
    assert header[SLOTS_FIRST] == (form in (FORMS["neighbours"], FORMS["ends"]))
    number = len(training_stories(stories)) * (1 if form["examples"] == "stories" else 3)
    assert sum(lengths) == number and len(lengths) - 1 <= model.settings.positions - 2


def test_canvases_that_do_not_fit_are_left_out(stories: Files, tmp_path: Path) -> None:
    known = vocabulary(stories)
    fitting = [told for told in training_texts(stories["corpus"], known, "ends") if len(told.ids) <= 28]
    form = {**FORMS["ends"], "model": CANVAS | {"positions": 30}}
    _, lengths = train.load(trained(stories, tmp_path / "model.safetensors", spec(form)), known)
    assert 0 < sum(lengths) == len(fitting) < len(training_texts(stories["corpus"], known, "ends"))


def test_an_interrupted_training_ends_with_the_same_weights(
    stories: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spec(FORMS["ends"], steps=6)
    whole = trained(stories, tmp_path / "whole.safetensors", given).read_bytes()
    real = train_stories.canvas_loss

    def interrupted(*arguments: Any) -> Callable[[int], Tensor]:
        loss = real(*arguments)

        def until(step: int) -> Tensor:
            if step == 4:
                raise KeyboardInterrupt
            return loss(step)

        return until

    path = tmp_path / "half.safetensors"
    monkeypatch.setattr("pipeline.training.time.monotonic", iter(range(0, 10**6, 1000)).__next__)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_stories, "canvas_loss", interrupted)
        trained(stories, path, given)
    assert not path.exists() and list((tmp_path / "half.work").iterdir())
    assert trained(stories, path, given).read_bytes() == whole


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "slack of stories": ({**FORMS["stories"], "slack": 2}, "slack: whole stories have no slots"),
    "clean stories": (
        {**FORMS["story canvases"], "clean_context": 1.0},
        "clean_context: nothing stands around",
    ),
    "clean rows": ({**FORMS["padded ends"], "clean_context": 0.5}, "clean_context: nothing stands around"),
    "blocks": ({**FORMS["stories"], "model": {"layout": "block"}}, "model.layout: cannot be 'block'"),
    "another kind": ({**FORMS["ends"], "examples": "middle"}, "cannot be 'middle'"),
    "no room": ({**FORMS["ends"], "model": CANVAS | {"positions": 8}}, "of at most 6 words"),
}


@pytest.mark.parametrize(("form", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_refused(
    stories: Files, tmp_path: Path, form: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as caught:
        trained(stories, tmp_path / "model.safetensors", spec(form))
    assert told in str(caught.value)


def test_a_corpus_without_training_texts_is_refused(stories: Files, tmp_path: Path) -> None:
    held_out = [text for text in read_records(stories["corpus"], Text) if text.split != "train"]
    write_records(tmp_path / "stories.jsonl", held_out)
    with pytest.raises(InputError, match="no training text"):
        trained(
            {**stories, "corpus": tmp_path / "stories.jsonl"}, tmp_path / "m.safetensors", spec(FORMS["ends"])
        )
