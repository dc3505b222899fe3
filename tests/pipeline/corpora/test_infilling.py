"""Examples of stories, the targets of contexts, and the check that training has not read them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from pipeline.corpora.infilling import (
    Example,
    Overlap,
    contexts_of,
    examples,
    infilling_target,
    letters,
    overlap,
    sentence_words,
    unknown_share,
    unseen,
    without_contexts,
)
from pipeline.corpora.vocabulary import SPECIALS, Vocabulary
from pipeline.errors import InputError
from pipeline.records import Target, Text
from pipeline.tasks import check_targets

TOLD = ["Ann's dog ran .", "It fell .", "Ann ran after it .", "It was cold !", "They slept ."]


def story(*sentences: str, identity: str = "s") -> Text:
    words = [sentence.split() for sentence in sentences]
    return Text(identity, "train", " ".join(sentences), [w for s in words for w in s], sentences=words)


def target(left: str, right: str, *references: str) -> Target:
    return infilling_target(left, right, references)


# --- examples


def test_neighbours_are_the_sentences_before_and_after() -> None:
    a, b, c, d, e = (sentence.split() for sentence in TOLD)
    assert examples([story(*TOLD)], "neighbours") == [Example(a, b, c), Example(b, c, d), Example(c, d, e)]


def test_ends_are_the_first_and_the_last_sentence() -> None:
    a, b, c, d, e = (sentence.split() for sentence in TOLD)
    assert examples([story(*TOLD)], "ends") == [Example(a, b, e), Example(a, c, e), Example(a, d, e)]


@pytest.mark.parametrize(
    "broken",
    [story(*TOLD[:4]), story(*TOLD, "More ."), story(*TOLD[:4], ""), Text("s", "train", "a", ["a"])],
    ids=["four", "six", "an empty one", "no sentences"],
)
def test_a_story_has_five_sentences(broken: Text) -> None:
    with pytest.raises(InputError, match="story 's': . sentences; a story has 5, none empty"):
        examples([broken], "ends")


def test_other_contexts_are_refused() -> None:
    context: Any = "end"
    with pytest.raises(InputError, match="context: cannot be 'end'; did you mean 'ends'"):
        examples([], context)


# --- words and targets


def test_white_space_is_no_word() -> None:
    assert sentence_words(" Ann's  dog\tisn't here.\n") == ["Ann", "'s", "dog", "is", "n't", "here", "."]


def test_a_target_is_named_by_the_hash_of_its_context() -> None:
    made = target("It was cold .", "Ann slept .", "Ann went in .")
    digest = hashlib.sha256(b"It was cold .\nAnn slept .").hexdigest()
    assert (made.source_id, made.target_id) == (digest, f"context-{digest[:16]}")
    assert made.source_id == target("It was cold .", "Ann slept .", "Another .").source_id
    assert made.source_id != target("It was cold . Ann", "slept .", "Ann went in .").source_id


def test_a_given_identity_names_the_target() -> None:
    made = infilling_target("A .", "B .", ["C ."], "anlg-1")
    assert made.target_id == "anlg-1"
    assert made.source_id == target("A .", "B .", "C .").source_id


def test_targets_pass_the_check_of_targets() -> None:
    check_targets("here", [target("A .", "B .", "C .")], Vocabulary(SPECIALS), longest=5)


# --- what training has read


def test_letters_do_not_depend_on_the_tokens() -> None:
    raw = "She didn't pay $5.50 -- at  Café_Rouge!"
    assert letters(raw) == letters(" ".join(sentence_words(raw))) == "shedidntpay550atcaférouge"
    assert letters("Straße") == letters("STRASSE")


def test_a_story_holds_four_contexts() -> None:
    (held,) = contexts_of([story("A", "B", "C", "D", "E")])
    assert held == {("a", "c"), ("b", "d"), ("c", "e"), ("a", "e")}


HELD = {
    "the ends": ("Ann's dog ran .", "They slept ."),
    "neighbours": ("It fell .", "It was cold !"),
    "otherwise tokenised": ("Ann 's dog ran.", "THEY slept"),
}
NOT_HELD = {
    "adjacent": ("It fell .", "Ann ran after it ."),
    "turned round": ("They slept .", "Ann's dog ran ."),
    "three apart": ("Ann's dog ran .", "It was cold !"),
    "one side": ("Ann's dog ran .", "They woke ."),
}


@pytest.mark.parametrize(("left", "right"), HELD.values(), ids=HELD)
def test_a_context_in_a_story_is_found(left: str, right: str) -> None:
    told, other, asked = story(*TOLD), story("A", "B", "C", "D", "E"), target(left, right, "x")
    assert without_contexts([told, other], [asked]) == [other]
    assert unseen([asked], [other, told]) == []
    assert overlap([asked], [other, told]) == Overlap(contexts=1, references=0)


@pytest.mark.parametrize(("left", "right"), NOT_HELD.values(), ids=NOT_HELD)
def test_sentences_that_are_no_context_are_not(left: str, right: str) -> None:
    told, asked = story(*TOLD), target(left, right, "x")
    assert without_contexts([told], [asked]) == [told]
    assert unseen([asked], [told]) == [asked]
    assert overlap([asked], [told]) == Overlap(contexts=0, references=0)


def test_references_that_are_a_sentence_of_a_story_are_counted() -> None:
    asked = [
        target("A", "B", "It fell !", "It fell . It was cold .", "They  Slept"),
        target("B", "C", "it fell"),
    ]
    assert overlap(asked, [story(*TOLD)]) == Overlap(contexts=0, references=3)


def test_nothing_overlaps_without_stories() -> None:
    asked = [target("A", "B", "C")]
    assert overlap(asked, []) == (0, 0)
    assert unseen(asked, []) == asked


def test_the_share_of_unknown_words() -> None:
    vocabulary = Vocabulary((*SPECIALS, "It", "fell", "."))
    assert unknown_share(["It fell .", "it fell END fell ."], vocabulary) == 2 / 8
    assert unknown_share([], vocabulary) == unknown_share([""], vocabulary) == 0
