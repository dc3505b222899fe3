"""Training of the discriminators: labels, drawn controls, what is learned, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.fudge import train
from baselines.fudge.controls import Encoding
from baselines.fudge.discriminator import Discriminator
from baselines.fudge.train import DISCRIMINATED, Lesson, Lessons, edited, losses, training_texts
from pipeline.command import Job
from pipeline.corpora.vocabulary import END, PAD, START
from pipeline.errors import InputError
from pipeline.records import Text, write_records

MOST_WORDS = 20
SYNTAX = ("parts_of_speech", "syntax_tree", "syntax_spans")


def lessons(world: Any, task: str) -> Lessons:
    encoding = Encoding.collect(task, world.texts, MOST_WORDS)
    return Lessons(encoding, world.texts, world.vocabulary, world.training())


def same(a: Lesson, b: Lesson) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# --- labels and drawn controls


def test_labels_of_fields_are_all_pairs_of_the_text(world: Any) -> None:
    taught = lessons(world, "semantic_content")
    values = taught.encoding.values
    for number, text in enumerate(world.texts[:50]):
        stated = {tuple(values[i]) for i in taught.labels(number, ()).nonzero().flatten()}
        assert stated == set((text.fields or {}).items())


def test_the_label_of_a_length_is_the_number_of_words(world: Any) -> None:
    lesson = lessons(world, "length").at(0)
    words = (lesson.ids != PAD).sum(1) - 2  # START and END
    assert lesson.labels.argmax(1).tolist() == words.tolist() and lesson.labels.sum(1).eq(1).all()


@pytest.mark.parametrize("task", SYNTAX)
def test_half_of_the_controls_are_the_texts_own_and_labelled_so(world: Any, task: str) -> None:
    taught, random = lessons(world, task), np.random.default_rng(0)
    own = []
    for number in random.integers(len(world.texts), size=2000):
        told = taught.drawn(number, random)
        own.append(told in taught.stated[number])
        assert taught.labels(number, told).tolist() == [float(own[-1])]
    assert 0.47 < np.mean(own) < 0.6


@pytest.mark.parametrize("task", SYNTAX)
def test_a_control_that_happens_to_be_the_own_one_is_right(world: Any, task: str) -> None:
    twins = [world.texts[0], replace(world.texts[0], id="twin")]
    encoding = Encoding.collect(task, world.texts, MOST_WORDS)
    taught, random = Lessons(encoding, twins, world.vocabulary, world.training()), np.random.default_rng(0)
    drawn = [taught.drawn(0, random) for _ in range(200)]
    strange = [told for told in drawn if told not in taught.stated[0]]
    assert all(taught.labels(0, told).item() == 1 for told in drawn if told not in strange)
    assert (len(strange) > 0) == (task != "syntax_spans")  # of twins, only an edited control is wrong


@pytest.mark.parametrize("task", ["parts_of_speech", "syntax_tree"])
def test_a_quarter_of_the_controls_are_another_texts_and_a_quarter_edited(world: Any, task: str) -> None:
    taught, random = lessons(world, task), np.random.default_rng(0)
    known = {told for stated in taught.stated for told in stated}
    numbers = random.integers(len(world.texts), size=2000)
    drawn = [(taught.stated[number][0], taught.drawn(number, random)) for number in numbers]
    other = np.mean([told in known and told != own for own, told in drawn])
    edits = [(own, told) for own, told in drawn if told not in known]
    assert 0.2 < other < 0.35 and 0.15 < len(edits) / len(drawn) < 0.3
    assert all(abs(len(own) - len(told)) <= 1 for own, told in edits)


def test_an_edit_changes_one_word() -> None:
    own, other, random = tuple((i,) for i in range(5)), ((7,), (8,)), np.random.default_rng(0)
    found = {edited(own, other, random) for _ in range(2000)}
    substituted = {(*own[:i], new, *own[i + 1 :]) for i in range(5) for new in other}
    inserted = {(*own[:i], new, *own[i:]) for i in range(6) for new in other}
    deleted = {(*own[:i], *own[i + 1 :]) for i in range(5)}
    assert found == substituted | inserted | deleted


def test_a_wrong_span_is_one_of_another_text(world: Any) -> None:
    taught, random = lessons(world, "syntax_spans"), np.random.default_rng(0)
    known = {told for stated in taught.stated for told in stated}
    assert all(taught.drawn(number, random) in known for number in range(500))


@pytest.mark.parametrize("task", DISCRIMINATED)
def test_a_batch_depends_on_its_step_alone(world: Any, task: str) -> None:
    fresh, resumed, other = lessons(world, task), lessons(world, task), lessons(world, task)
    other.seed += 1
    taught = [fresh.at(step) for step in range(9)]
    assert same(resumed.at(8), taught[8]) and same(resumed.at(3), taught[3])
    assert not same(taught[7], taught[8])
    assert same(other.at(8), taught[8]) == (task not in SYNTAX)  # only they draw anything


@pytest.mark.parametrize("task", SYNTAX)
def test_a_text_that_comes_again_is_asked_anew(
    world: Any, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = lessons(world, task)
    monkeypatch.setattr(taught.batches, "at", lambda step: range(32))
    assert same(taught.at(1), taught.at(1)) and not same(taught.at(1), taught.at(2))


def test_a_batch_holds_whole_texts(world: Any) -> None:
    taught = lessons(world, "parts_of_speech")
    for ids, number in zip(taught.at(4).ids.tolist(), taught.batches.at(4), strict=True):
        words = world.vocabulary.encode(world.texts[number].tokens)
        assert ids == [START, *words, END, *[PAD] * (len(ids) - len(words) - 2)]


# --- what is learned


def test_padding_has_no_loss_and_changes_none(discriminator: Discriminator, world: Any) -> None:
    taught = lessons(world, discriminator.encoding.task)
    order = np.argsort([len(text.tokens) for text in world.texts])
    together = taught.lesson([order[0], order[-1]], np.random.default_rng(0))
    alone = Lesson(together.ids[:1, :8], together.features[:1, :8], together.labels[:1])
    assert len(world.texts[order[0]].tokens) == 6 and together.ids.shape[1] > 8
    found = losses(discriminator, together)
    torch.testing.assert_close(found[:1, :8], losses(discriminator, alone))
    assert (found[0, 8:] == 0).all() and (found[0, :8] > 0).all()


@torch.no_grad()
def judged(model: Discriminator, world: Any) -> tuple[Tensor, Tensor, Lesson]:
    """Losses and shares of right outputs [B, L] of five lessons on each validation text."""
    taught = Lessons(model.encoding, world.valid, world.vocabulary, world.training())
    lesson = taught.lesson([*range(len(world.valid))] * 5, np.random.default_rng(0))
    right = (model(lesson.ids, lesson.features) > 0) == (lesson.labels[:, None] > 0)
    return losses(model, lesson), right.float().mean(-1), lesson


def prior(task: str, labels: Tensor) -> float:
    """Cross-entropy of the frequencies of the labels [B, outputs]."""
    shares = labels.mean(0).double()
    if task == "length":
        return float(-torch.xlogy(shares, shares).sum())
    return float(-(torch.xlogy(shares, shares) + torch.xlogy(1 - shares, 1 - shares)).mean())


@pytest.mark.parametrize("task", DISCRIMINATED)
def test_the_longer_the_prefix_the_smaller_the_loss_on_texts_never_seen(
    world: Any, trained: Callable[[str, int], Path], task: str
) -> None:
    found, right, lesson = judged(Discriminator.load(trained(task, 300)), world)
    ends = (lesson.ids == END).int().argmax(1)
    share = torch.arange(found.shape[1]) / ends[:, None]  # of the text that is read
    parts = [(low <= share) & (share <= high) for low, high in ((0, 0.3), (0.35, 0.65), (0.7, 1))]
    early, middle, late = (float(found[part].mean()) for part in parts)
    assert early > middle > late
    assert found.sum() / (lesson.ids != PAD).sum() < 0.95 * prior(task, lesson.labels)
    last = right[torch.arange(len(ends)), ends].mean()
    if task in ("parts_of_speech", "syntax_tree"):
        assert last > 0.85 and right[:, 0].mean() < 0.6  # before the first word it can only guess


def test_training_again_gives_the_same_file(
    world: Any, trained: Callable[[str, int], Path], tmp_path: Path
) -> None:
    for task in DISCRIMINATED:
        again = tmp_path / f"{task}.safetensors"
        train.main(Job(world.spec(task, 5), world.inputs, {"model": again}))
        assert again.read_bytes() == trained(task, 5).read_bytes()


# --- the command


def test_the_command_trains_a_discriminator(
    world: Any, run_command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    code, _, told = run_command(
        "baselines.fudge.train", world.spec("length", 2), world.inputs, {"model": path}
    )
    assert code == 0 and "fudge length: 2/2" in told
    model = Discriminator.load(path, task="length", vocabulary=world.vocabulary.digest())
    assert model.encoding.most_words == MOST_WORDS and not model.training


def test_only_training_texts_of_few_words_that_fulfil_a_control_are_learned(tmp_path: Path) -> None:
    path, words = tmp_path / "corpus.jsonl", ["a", "pub"]
    good = Text("0", "train", "a pub", words, {"food": "pub"}, ["DET", "NOUN"], "(TOP (NP (DT a) (NN pub)))")
    bare = replace(good, id="1", fields={}, tree="(TOP (DT a) (NN pub))")
    valid, long, empty = (
        replace(good, id="2", split="valid"),
        replace(good, id="3", tokens=["a"] * 3),
        replace(good, id="4", tokens=[]),
    )
    write_records(path, [good, bare, valid, long, empty])
    for task, expected in {
        "semantic_content": [good],
        "syntax_spans": [good],
        "length": [good, bare],
    }.items():
        assert training_texts(path, task, 2) == expected
    assert training_texts(path, "syntax_tree", 2) == [good, bare]


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("parts_of_speech", {"tags": None}, "corpus.jsonl:1: text '0' has no tags; annotate it"),
        ("syntax_spans", {"tree": None}, "corpus.jsonl:1: text '0' has no tree; annotate it"),
        ("parts_of_speech", {"tags": ["DET"]}, "tags of 1 words for 2 tokens"),
        ("syntax_tree", {"tree": "(TOP (NP (NN pub)))"}, "tree of 1 words for 2 tokens"),
        ("syntax_tree", {"tree": "(TOP (NP"}, "not a tree"),
        ("semantic_content", {"fields": None}, "no training text of at most 20 words fulfils a control"),
        ("length", {"split": "valid"}, "no training text of at most 20 words"),
        ("lengths", {}, "task 'lengths': no discriminator for it; did you mean 'length'"),
        ("infilling", {}, "no discriminator for it"),
    ],
)
def test_training_refuses_what_it_cannot_do(
    world: Any, tmp_path: Path, task: str, changes: dict[str, object], message: str
) -> None:
    text = Text("0", "train", "a pub", ["a", "pub"], {"food": "pub"}, ["DET", "NOUN"], "(NP (DT a) (NN pub))")
    corpus, output = tmp_path / "corpus.jsonl", {"model": tmp_path / "model.safetensors"}
    write_records(corpus, [replace(text, **changes)])
    with pytest.raises(InputError, match=message):
        train.main(Job(world.spec(task, 1), {**world.inputs, "corpus": corpus}, output))
    assert not output["model"].exists()
