"""The teacher as a judge: what it reads, word by word, and whose teacher it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.fluency import Teacher
from pipeline import checkpoint
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError

WORDS = "The Mill serves French food".split()


@pytest.fixture(scope="module")
def teacher(judges: Any) -> Teacher:
    return Teacher(judges.teacher, Vocabulary.load(judges.vocabulary))


def test_losses_are_minus_log_probabilities_of_words_and_end(teacher: Teacher) -> None:
    model = teacher.model
    ids = [model.start, *model.encode(WORDS), model.end]
    with torch.no_grad():
        logits = model.network(input_ids=torch.tensor([ids[:-1]])).logits[0].double()
    expected = -logits.log_softmax(-1)[torch.arange(len(ids) - 1), ids[1:]]
    (losses,) = teacher.token_losses([WORDS])
    assert losses.dtype == np.float64
    np.testing.assert_allclose(losses, expected.numpy(), rtol=1e-5)


def test_an_empty_text_is_judged_by_its_end(teacher: Teacher) -> None:
    assert [len(losses) for losses in teacher.token_losses([[], WORDS, ["The"]])] == [1, 6, 2]


def test_words_outside_the_vocabulary_are_one_unknown_word(teacher: Teacher) -> None:
    """Also those that spell the special words: no text can end its own sequence."""
    unknown = teacher.token_losses(
        [["The", word, "food"] for word in ("UNK", "sushi", "END", "PAD", "START")]
    )
    assert all(np.array_equal(losses, unknown[0]) for losses in unknown)
    assert not np.array_equal(teacher.token_losses([["The", "Mill", "food"]])[0], unknown[0])


def test_a_text_is_judged_alone(teacher: Teacher) -> None:
    texts = [WORDS[:n] for n in (5, 1, 3, 0)]
    together = teacher.token_losses(texts)
    for text, losses in zip(texts, together, strict=True):
        np.testing.assert_allclose(teacher.token_losses([text])[0], losses, rtol=1e-5)


def test_a_text_beyond_the_teachers_positions_is_bad_input(teacher: Teacher) -> None:
    assert len(teacher.token_losses([["The"] * 31])[0]) == 32
    with pytest.raises(InputError, match="has 32 positions, but a text with its prompt needs 33"):
        teacher.token_losses([["The"] * 32])


def test_the_teacher_of_another_vocabulary_is_refused(judges: Any) -> None:
    words = Vocabulary.load(judges.vocabulary).words
    with pytest.raises(InputError, match=r"teacher.safetensors: .*\(vocabulary is"):
        Teacher(judges.teacher, Vocabulary((*words, "sushi")))


def test_another_kind_of_model_is_refused(judges: Any, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "m.safetensors", "Diffusion-LM", {}, {"w": torch.zeros(1)})
    with pytest.raises(InputError, match="holds a Diffusion-LM; a language model is needed"):
        Teacher(tmp_path / "m.safetensors", Vocabulary.load(judges.vocabulary))
