"""What scoring knows of human texts: near copies against brute force, the band of fluency, the file."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.human_texts import HumanTexts, digest, fingerprint, measure
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.records import Text

WORDS = [f"word{i}" for i in range(300)]
VOCABULARY = Vocabulary(("START", "END", "UNK", "PAD", *WORDS))
TRAINING = ["word1 word2 word3 word4 word5 word6", "word7 word8 word9 word10 word11"]
HELDOUT = ["word20 word21 word22 word23 word24"]


def human_texts(training: list[str] = TRAINING, heldout: list[str] = HELDOUT) -> HumanTexts:
    prints = [[fingerprint(text.split(), VOCABULARY) for text in texts] for texts in (training, heldout)]
    return HumanTexts(VOCABULARY, (1.0, 2.0), *prints, {digest(text.split()) for text in training})


def near(*texts: str, heldout: bool = True) -> list[bool]:
    return human_texts().near_copies([text.split() for text in texts], heldout)


def test_two_edits_are_near_and_three_are_not() -> None:
    assert near(TRAINING[0], "word1 word3 word4 word5", "word1 word30 word3 word4 word5 word6 word31") == [
        *(True, True, True),
    ]
    assert near("word30 word31 word32 word4 word5 word6", "word4 word5 word6") == [False, False]


def test_held_out_texts_count_only_where_they_should() -> None:
    assert near(HELDOUT[0]) == [True]
    assert near(HELDOUT[0], TRAINING[1], heldout=False) == [False, True]


def test_every_unknown_word_is_the_same_word() -> None:
    """A model writes UNK where a training text has a rare word."""
    texts = human_texts([f"{TRAINING[0]} Zizzi {TRAINING[1]} Bibimbap House ."])
    assert texts.near_copies([f"{TRAINING[0]} UNK {TRAINING[1]} UNK UNK UNK".split()]) == [True]


def test_an_empty_text_is_near_to_texts_of_two_words() -> None:
    assert near("") == [False]
    assert human_texts(["word1 word2"]).near_copies([[]]) == [True]


def test_only_whole_texts_are_copies() -> None:
    texts = human_texts()
    assert texts.is_copy(TRAINING[0].split()) and not texts.is_copy(TRAINING[0].split()[:-1])
    assert not texts.is_copy(HELDOUT[0].split())


def test_the_band_has_two_sides() -> None:
    texts = human_texts()
    assert [texts.is_fluent(nats) for nats in (0.9, 1.0, 1.5, 2.0, 2.1)] == [False, True, True, True, False]


def edits(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, 1):
        corner, row[0] = row[0], i
        for j, right in enumerate(second, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (left != right))
    return row[-1]


def test_near_copies_are_those_of_a_brute_force_search() -> None:
    rng = random.Random(0)
    known = [" ".join(rng.choices(WORDS[:4], k=rng.randint(0, 8))) for _ in range(30)]
    asked = [rng.choices(WORDS[:4], k=rng.randint(0, 9)) for _ in range(60)]
    texts = human_texts(known[:20], known[20:])
    prints = [fingerprint(text.split(), VOCABULARY) for text in known]
    expected = [min(edits(fingerprint(words, VOCABULARY), p) for p in prints) <= 2 for words in asked]
    assert texts.near_copies(asked) == expected
    assert 0 < sum(expected) < 60


def test_fingerprints_are_letters_of_an_alphabet_of_64_and_the_same_everywhere() -> None:
    letters = set(fingerprint(WORDS, VOCABULARY))
    assert 55 <= len(letters) <= 64  # of 300 words, so that a letter stands for about five
    assert all("0" <= letter <= "o" for letter in letters)
    assert fingerprint(["word1", "word2", "Zizzi", "UNK"], VOCABULARY) == fingerprint(
        ["word1", "word2", "UNK", "Zizzi"], VOCABULARY
    )
    assert fingerprint(WORDS[:8], VOCABULARY) == "SNQH6i\\P"


def test_a_thousand_texts_are_compared_with_ten_thousand_in_a_moment() -> None:
    rng = random.Random(0)
    known = [" ".join(rng.choices(WORDS, k=rng.randint(5, 40))) for _ in range(10_000)]
    texts = human_texts(known, HELDOUT)
    asked = [known[i].split()[1:] if i % 2 else rng.choices(WORDS, k=20) for i in range(1000)]
    start = time.process_time()
    found = texts.near_copies(asked)
    assert time.process_time() - start < 2
    assert found == [i % 2 == 1 for i in range(1000)]


# --- measuring a corpus


class Counting:
    """A teacher for whom a text costs as many nats per token as it has words."""

    vocabulary = VOCABULARY

    def token_losses(self, texts: list[list[str]]) -> list[np.ndarray]:
        self.asked = texts
        return [np.full(len(words) + 1, float(len(words))) for words in texts]


def corpus(heldout: int = 101) -> list[Text]:
    splits = [("train", TRAINING * 3), ("valid", [" ".join(WORDS[: i + 1]) for i in range(heldout)])]
    named = [(f"{split}-{i}", split, text) for split, texts in splits for i, text in enumerate(texts)]
    return [Text(*entry, entry[-1].split()) for entry in named]


def test_fluency_is_that_of_the_middle_of_held_out_texts() -> None:
    """Of texts of 1 to 101 words, 2.5 of 100 intervals lie at either end."""
    texts = measure(corpus(), Counting(), seed=0)  # type: ignore[arg-type]
    assert texts.band == pytest.approx((3.5, 98.5))
    assert len(texts.training) == len(texts.copies) == 2 and len(texts.heldout) == 101


def test_of_many_held_out_texts_some_are_drawn_by_seed() -> None:
    many = enumerate(corpus(100) * 21)
    texts, teacher, drawn = [Text(f"{i}", t.split, t.text, t.tokens) for i, t in many], Counting(), []
    for seed in (0, 0, 1):
        measure(texts, teacher, seed)  # type: ignore[arg-type]
        drawn.append(teacher.asked)
    assert len(drawn[0]) == 2000
    assert drawn[0] == drawn[1] != drawn[2]


def test_released_sentences_count_whether_the_corpus_has_them_or_not() -> None:
    texts = measure(corpus(), Counting(), 0, [["word200", "word201", "word202"]])  # type: ignore[arg-type]
    assert texts.near_copies([["word200", "word201", "word202", "word203"]]) == [True]


def test_a_corpus_without_held_out_texts_is_bad_input() -> None:
    with pytest.raises(InputError, match="no held-out texts"):
        measure(corpus(0), Counting(), 0)  # type: ignore[arg-type]


# --- the file


def test_what_is_saved_comes_back_and_has_no_word_in_it(tmp_path: Path) -> None:
    texts = measure(corpus(), Counting(), 0)  # type: ignore[arg-type]
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    texts.save(first)
    back = HumanTexts.load(first, VOCABULARY)
    assert back.band == texts.band and back.copies == texts.copies
    assert (sorted(back.training), sorted(back.heldout)) == (sorted(texts.training), sorted(texts.heldout))
    back.save(second)
    assert first.read_bytes() == second.read_bytes()
    assert b"word" not in first.read_bytes()


def test_a_file_of_another_vocabulary_or_kind_is_refused(tmp_path: Path, judges: Any) -> None:
    human_texts().save(tmp_path / "human_texts.safetensors")
    with pytest.raises(InputError, match="vocabulary is"):
        HumanTexts.load(tmp_path / "human_texts.safetensors", Vocabulary(VOCABULARY.words[:-1]))
    with pytest.raises(InputError, match="a human_texts is needed"):
        HumanTexts.load(judges.teacher, Vocabulary.load(judges.vocabulary))


def test_the_command_measures_a_corpus(run_command: Callable[..., Any], judges: Any, tmp_path: Path) -> None:
    inputs = {name: path for name, path in judges.inputs.items() if name != "human_texts"}
    outputs = {"human_texts": tmp_path / "human_texts.safetensors"}
    spec = {"seed": 0, "threads": 1, "released_targets": False, "data_dir": ""}
    assert run_command("eval.human_texts", spec, inputs, outputs).code == 0
    texts = HumanTexts.load(outputs["human_texts"], Vocabulary.load(judges.vocabulary))
    assert texts.is_copy("The Mill is a pub .".split()) and not texts.is_copy("A human text".split())
    assert texts.near_copies(["The Mill is a pub".split(), "A human".split()]) == [True, True]
    assert texts.is_fluent(texts.band[0])
