"""The discriminator: two ways to read that agree, what a score is, and its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.fudge import discriminator as module
from baselines.fudge.controls import Asked
from baselines.fudge.discriminator import TOLERANCE, Discriminator
from pipeline.corpora.vocabulary import START
from pipeline.errors import InputError

MOST_WORDS = 20


def batch(model: Discriminator, length: int) -> tuple[Tensor, Asked]:
    """Random words behind START, [5, length], and random controls."""
    random = torch.Generator().manual_seed(length)
    words = model.words.num_embeddings
    ids = torch.randint(4, words, (5, length), generator=random)
    ids[:, 0] = START
    sizes = [len(names) + 3 for names in model.encoding.names]
    columns = [torch.randint(size, (5, MOST_WORDS + 2), generator=random) for size in sizes]
    features = torch.stack(columns, -1) if columns else torch.zeros(5, MOST_WORDS + 2, 0, dtype=torch.long)
    return ids, Asked(features, torch.randint(model.encoding.outputs, (5,), generator=random))


def whole(model: Discriminator, ids: Tensor, asked: Asked) -> Tensor:
    """log P after each word of whole sequences, [B, L]."""
    logits = model(ids, asked.features[:, : ids.shape[1]])
    return model.log_probabilities(logits, asked.output)


@pytest.mark.parametrize("length", [1, 7, MOST_WORDS + 1])
@torch.no_grad()
def test_candidates_in_one_call_equal_as_many_whole_sequences(
    discriminator: Discriminator, length: int
) -> None:
    prefix, asked = batch(discriminator, length)
    ids = torch.stack([torch.randperm(40)[:30] for _ in prefix])
    together = discriminator.candidates(prefix, asked, ids)
    each = [whole(discriminator, torch.cat([prefix, c[:, None]], 1), asked)[:, -1] for c in ids.unbind(1)]
    torch.testing.assert_close(together, torch.stack(each, 1), rtol=0, atol=1e-5)
    assert together.std(1).min() > 1e-3  # candidates do matter


@torch.no_grad()
def test_a_candidate_does_not_see_the_others(discriminator: Discriminator) -> None:
    prefix, asked = batch(discriminator, 6)
    ids = torch.arange(10, 30).repeat(5, 1)
    together = discriminator.candidates(prefix, asked, ids)
    torch.testing.assert_close(discriminator.candidates(prefix, asked, ids[:, 3:4]), together[:, 3:4])
    torch.testing.assert_close(discriminator.candidates(prefix, asked, ids.flip(1)), together.flip(1))


@pytest.mark.parametrize("rows", [1, 2, 100])
@torch.no_grad()
def test_texts_may_be_read_in_pieces(
    discriminator: Discriminator, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix, asked = batch(discriminator, 6)
    ids = torch.arange(10, 30).repeat(5, 1)
    expected = discriminator.candidates(prefix, asked, ids)
    monkeypatch.setattr(module, "ROWS", rows)
    torch.testing.assert_close(discriminator.candidates(prefix, asked, ids), expected)


@torch.no_grad()
def test_a_prefix_is_judged_without_what_follows(discriminator: Discriminator) -> None:
    ids, asked = batch(discriminator, 12)
    changed, others = batch(discriminator, 12)[0].flip(0), batch(discriminator, 13)[1]
    mixed = torch.cat([ids[:, :5], changed[:, 5:]], 1)
    told = Asked(torch.cat([asked.features[:, :5], others.features[:, 5:]], 1), asked.output)
    before, after = whole(discriminator, ids, asked), whole(discriminator, mixed, told)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@torch.no_grad()
def test_what_is_told_of_a_word_counts(discriminator: Discriminator) -> None:
    ids, asked = batch(discriminator, 12)
    if discriminator.features:
        told = asked.features.clone()
        told[:, 6] = (told[:, 6] + 1) % 3
        before, after = whole(discriminator, ids, asked), whole(discriminator, ids, Asked(told, asked.output))
        assert (before != after).any(0).tolist() == [place >= 6 for place in range(12)]
    else:
        other = (asked.output + 1) % discriminator.encoding.outputs
        assert (whole(discriminator, ids, asked) != whole(discriminator, ids, Asked(*asked[:1], other))).all()


@torch.no_grad()
def test_a_length_is_met_within_two_words(trained: Callable[[str, int], Path]) -> None:
    model = Discriminator.load(trained("length", 5))
    logits = torch.randn(MOST_WORDS + 1, 3, MOST_WORDS + 1)
    every = torch.arange(MOST_WORDS + 1)
    probabilities = logits.softmax(-1)
    expected = [
        probabilities[n, :, max(0, n - TOLERANCE) : n + TOLERANCE + 1].sum(-1) for n in range(MOST_WORDS + 1)
    ]
    torch.testing.assert_close(model.log_probabilities(logits, every).exp(), torch.stack(expected))


@torch.no_grad()
def test_every_field_value_is_a_sigmoid_of_its_own(trained: Callable[[str, int], Path]) -> None:
    model = Discriminator.load(trained("semantic_content", 5))
    logits = torch.randn(2, 3, model.encoding.outputs) * 100
    found = model.log_probabilities(logits, torch.tensor([4, 7]))
    expected = torch.stack([logits[0, :, 4], logits[1, :, 7]]).double().sigmoid().log().clamp(min=-1e3)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert found.isfinite().all()


def test_a_file_gives_the_same_discriminator_back(discriminator: Discriminator, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    discriminator.save(path, "words")
    loaded = Discriminator.load(path, task=discriminator.encoding.task, vocabulary="words")
    assert loaded.encoding == discriminator.encoding and loaded.settings == discriminator.settings
    ids, asked = batch(discriminator, 9)
    assert torch.equal(whole(loaded, ids, asked), whole(discriminator, ids, asked))


def test_a_file_for_another_task_or_vocabulary_or_of_another_kind_is_told(
    world: Any, trained: Callable[[str, int], Path]
) -> None:
    path = trained("length", 5)
    with pytest.raises(InputError, match="task is 'length', expected 'parts_of_speech'"):
        Discriminator.load(path, task="parts_of_speech")
    with pytest.raises(InputError, match="vocabulary is '.*', expected 'other'"):
        Discriminator.load(path, task="length", vocabulary="other")
    with pytest.raises(InputError, match="holds a language model; a FUDGE discriminator is needed"):
        Discriminator.load(world.language_model)
