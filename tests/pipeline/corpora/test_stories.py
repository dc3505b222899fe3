"""The embedded stories have the promised shape, and their splits share no plot instantiation."""

from collections import Counter
from itertools import pairwise

import pytest

from pipeline.corpora.stories import BOYS, GIRLS, PLOTS, story_texts
from pipeline.records import Text

SIZES = {"train": 6000, "human": 300, "valid": 300, "test": 300}
SMALL = {"train": 100, "test": 10}
SLOT_WORDS = {word for plot in PLOTS.values() for words in plot.slots.values() for word in words}


@pytest.fixture(scope="module")
def texts() -> list[Text]:
    return story_texts(0, SIZES)


def test_every_plot_tells_five_sentences_in_two_or_more_ways() -> None:
    for plot in PLOTS.values():
        assert len(plot.sentences) == 5
        assert all(len(ways) >= 2 for ways in plot.sentences)


def test_stories_have_five_sentences_of_5_to_12_tokens(texts: list[Text]) -> None:
    for text in texts:
        assert len(text.sentences) == 5
        for sentence in text.sentences:
            assert 5 <= len(sentence) <= 12, sentence
            assert sentence[0][0].isupper() and sentence[-1] == "."


def test_tokens_and_text_join_the_sentences(texts: list[Text]) -> None:
    for text in texts:
        assert text.tokens == [token for sentence in text.sentences for token in sentence]
        assert text.text == " ".join(text.tokens)
        assert text.fields is None and text.tags is None and text.tree is None


def test_splits_have_their_sizes_and_ids(texts: list[Text]) -> None:
    expected = [f"{split}-{index:06d}" for split, size in SIZES.items() for index in range(size)]
    assert [text.id for text in texts] == expected
    assert all(text.id.startswith(text.split) for text in texts)


def test_stories_are_unique(texts: list[Text]) -> None:
    assert len({text.text for text in texts}) == len(texts)


def test_no_plot_instantiation_is_in_two_splits(texts: list[Text]) -> None:
    split_of: dict[frozenset[str], str] = {}
    for text in texts:
        told = frozenset(SLOT_WORDS.union(GIRLS, BOYS).intersection(text.tokens))
        assert split_of.setdefault(told, text.split) == text.split, text.text


def test_vocabulary_is_small_and_every_word_frequent(texts: list[Text]) -> None:
    counts = Counter(token for text in texts if text.split == "train" for token in text.tokens)
    assert 150 <= len(counts) <= 300
    assert min(counts.values()) >= 20
    assert {token for text in texts for token in text.tokens} == set(counts)


def test_middle_sentences_share_a_slot_with_their_neighbours(texts: list[Text]) -> None:
    for text in texts:
        for before, middle, after in zip(*(text.sentences[i : i + 3] for i in range(3)), strict=True):
            assert SLOT_WORDS.intersection(middle) & {*before, *after}, middle


def test_pronouns_agree_with_the_character(texts: list[Text]) -> None:
    for text in texts:
        words = {token.lower() for token in text.tokens}
        (name,) = set(GIRLS + BOYS).intersection(text.tokens)
        assert words.isdisjoint({"he", "him", "his"} if name in GIRLS else {"she", "her"}), text.text


def test_the_article_is_never_before_a_vowel(texts: list[Text]) -> None:
    for text in texts:
        for article, word in pairwise(text.tokens):
            assert article.lower() != "a" or word[0] not in "aeiou", text.text


def test_the_seed_decides_everything() -> None:
    assert story_texts(3, SMALL) == story_texts(3, SMALL)
    first, second = (story_texts(seed, SMALL) for seed in (3, 4))
    assert {text.text for text in first} != {text.text for text in second}
