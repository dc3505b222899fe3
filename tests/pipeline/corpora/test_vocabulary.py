"""The vocabulary: which words it keeps, in which order, and what it does with the specials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.corpora.e2e import read_e2e
from pipeline.corpora.vocabulary import END, PAD, START, UNK, Vocabulary
from pipeline.errors import InputError
from pipeline.files import sha256


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build([["The", "Mill", "\n"], ["a", "Mill", "\n"]], more_than=0)


def test_words_come_after_the_specials_in_order_of_first_appearance(vocabulary: Vocabulary) -> None:
    assert vocabulary.words == ("START", "END", "UNK", "PAD", "The", "Mill", "\n", "a")
    assert len(vocabulary) == 8


def test_a_word_must_be_seen_more_often_than_the_limit() -> None:
    texts = [["ten"]] * 10 + [["eleven"]] * 11
    assert Vocabulary.build(texts).words[4:] == ("eleven",)


def test_encode_gives_unk_to_words_it_does_not_know(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode(["Mill", "pub", "\n"]) == [5, UNK, 6]


def test_a_text_cannot_spell_a_special() -> None:
    vocabulary = Vocabulary.build([["END", "PAD", "pub"]], more_than=0)
    assert vocabulary.words[4:] == ("pub",)
    assert vocabulary.encode(["END", "START", "PAD", "UNK"]) == [UNK] * 4
    assert "END" not in vocabulary and "pub" in vocabulary


def test_decode_stops_at_end_and_keeps_unk(vocabulary: Vocabulary) -> None:
    assert vocabulary.decode([START, 4, UNK, PAD, 5, END, 7, PAD]) == ["The", "UNK", "Mill"]


def test_decode_undoes_encode(vocabulary: Vocabulary) -> None:
    tokens = ["a", "Mill", "\n"]
    assert vocabulary.decode(vocabulary.encode(tokens)) == tokens


def test_save_and_load(vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary
    assert json.loads(path.read_text(encoding="utf-8")) == list(vocabulary.words)
    assert vocabulary.digest() == sha256(path)


def test_the_digest_follows_the_order(vocabulary: Vocabulary) -> None:
    assert (
        Vocabulary((*vocabulary.words[:4], *reversed(vocabulary.words[4:]))).digest() != vocabulary.digest()
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"START": 0}', "not a JSON list of words"),
        ('["START", "END", "UNK", "PAD", 5]', "not a JSON list of words"),
        ('["The", "Mill"]', "does not begin with START, END, UNK, PAD"),
        ('["START", "END", "UNK", "PAD", "pub", "a", "pub"]', "'pub' stands in it twice"),
        ('["START"', "not JSON"),
    ],
)
def test_load_refuses_what_save_did_not_write(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=problem) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.real_data
@pytest.mark.parametrize("form", ["src1", "csv"])
def test_e2e_has_the_821_words_of_the_paper(real_data: Path, form: str) -> None:
    texts = read_e2e(real_data, form, keep_newline=True)  # type: ignore[arg-type]
    known = json.loads((real_data / "e2e/e2e_train_vocab_count_gt10.json").read_text(encoding="utf-8"))
    expected = known["specials"] + [word for word, _ in known["tokens_first_seen_order_with_train_count"]]
    vocabulary = Vocabulary.build(text.tokens for text in texts["train"])
    assert list(vocabulary.words) == expected
    assert len(vocabulary) == 821
