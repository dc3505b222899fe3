"""The embedded restaurant corpus is right by construction, and no control is met by chance."""

import random
from collections import Counter
from itertools import pairwise, repeat

import pytest
from nltk import Tree

from pipeline.corpora.grammar import restaurant_texts, split_by_meaning
from pipeline.corpora.grammar_rules import EXCEPTIONS, RULES, UNIVERSAL, VALUES
from pipeline.records import Text

SIZES = {"train": 6000, "human": 300, "valid": 300, "test": 300}
SMALL = {"train": 200, "test": 20}
ALL_VALUES = [(name, value) for name, values in VALUES.items() for value in values]
Span = tuple[str, int, int]


@pytest.fixture(scope="module")
def texts() -> list[Text]:
    return restaurant_texts(0, SIZES)


@pytest.fixture(scope="module")
def train(texts: list[Text]) -> list[Text]:
    return [text for text in texts if text.split == "train"]


@pytest.fixture(scope="module")
def trees(texts: list[Text]) -> dict[str, Tree]:
    return {text.id: Tree.fromstring(text.tree) for text in texts}


@pytest.fixture(scope="module")
def pairs(texts: list[Text]) -> list[tuple[Text, Text]]:
    """Random (sample, target) pairs: what a model that ignores its control would score."""
    rng = random.Random(0)
    held_out = [text for text in texts if text.split != "train"]
    return [(rng.choice(texts), rng.choice(held_out)) for _ in range(2000)]


def spans(tree: Tree) -> Counter[Span]:
    """Labelled constituents above the preterminals, without the root."""
    found: Counter[Span] = Counter()

    def visit(node: Tree, start: int) -> int:
        if node.height() == 2:
            return start + 1
        end = start
        for child in node:
            end = visit(child, end)
        found[node.label(), start, end] += 1
        return end

    visit(tree, 0)
    return found - Counter({("TOP", 0, len(tree.leaves())): 1})


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_there_are_eight_fields_and_at_least_32_values() -> None:
    fields = {"name", "Type", "price", "customer rating", "near", "food", "area", "family friendly"}
    assert set(VALUES) == fields
    assert 32 <= len(ALL_VALUES) <= 42


def test_a_text_contains_a_value_exactly_when_the_field_has_it(texts: list[Text]) -> None:
    for text in texts:
        for name, value in ALL_VALUES:
            has = text.fields[name] == value if name in text.fields else False
            assert (value in text.text) is has, (text.text, name, value)
            assert (value.lower() in text.text.lower()) is has, (text.text, name, value)
            assert (f" {value} " in f" {text.text} ") is has, (text.text, name, value)


def test_fields_are_known_and_between_two_and_five(texts: list[Text]) -> None:
    for text in texts:
        assert 2 <= len(text.fields) <= 5
        assert set(text.fields.items()) <= set(ALL_VALUES)
    assert {len(text.fields) for text in texts} == {2, 3, 4, 5}


def test_splits_have_their_sizes_and_ids(texts: list[Text]) -> None:
    expected = [f"{split}-{index:06d}" for split, size in SIZES.items() for index in range(size)]
    assert [text.id for text in texts] == expected
    assert all(text.id.startswith(text.split) for text in texts)


def test_texts_are_unique(texts: list[Text]) -> None:
    assert len({text.text for text in texts}) == len(texts)


def test_no_meaning_is_in_two_splits(texts: list[Text]) -> None:
    split_of: dict[frozenset[tuple[str, str]], str] = {}
    for text in texts:
        assert split_of.setdefault(frozenset(text.fields.items()), text.split) == text.split


def test_every_tree_parses_to_the_tokens_and_tags(texts: list[Text], trees: dict[str, Tree]) -> None:
    for text in texts:
        tree = trees[text.id]
        assert tree.label() == "TOP"
        assert "\n" not in text.tree
        assert tree.leaves() == text.tokens == text.text.split(" ")
        assert [EXCEPTIONS.get(word.lower(), UNIVERSAL[tag]) for word, tag in tree.pos()] == text.tags
        assert text.sentences is None


def test_every_rule_and_tag_is_used(trees: dict[str, Tree]) -> None:
    used = {tag for tree in trees.values() for _, tag in tree.pos()}
    assert used == set(UNIVERSAL)
    templates = "".join(template for alternatives in RULES.values() for template in alternatives)
    assert all(f"{{{symbol}}}" in templates for symbol in RULES if symbol != "TEXT")


def test_sentences_begin_with_a_capital_and_end_with_a_stop(texts: list[Text]) -> None:
    for text in texts:
        assert text.tokens[-1] == "."
        for before, token in pairwise([".", *text.tokens]):
            assert before not in {".", "?"} or token[0].isupper(), text.text


def test_articles_agree_with_the_next_word(texts: list[Text]) -> None:
    misleading = {"hour", "honest", "one", "unique", "university", "usual"}  # letters that belie the sound
    assert misleading.isdisjoint(token.lower() for text in texts for token in text.tokens)
    for text in texts:
        for article, word in pairwise(text.tokens):
            if article.lower() in {"a", "an"}:
                assert (article.lower() == "an") == (word[0].lower() in "aeiou"), text.text


def test_vocabulary_is_small_and_every_word_frequent(texts: list[Text], train: list[Text]) -> None:
    counts = Counter(token for text in train for token in text.tokens)
    assert 150 <= len(counts) <= 300
    assert min(counts.values()) >= 20
    assert {token for text in texts for token in text.tokens} == set(counts)


def test_a_length_is_rarely_met_by_chance(train: list[Text]) -> None:
    counts = Counter(len(text.tokens) for text in train)
    assert set(counts) == set(range(6, 21))
    assert min(counts.values()) >= 0.02 * len(train)
    assert max(counts.values()) <= 0.1 * len(train)
    close = [sum(counts[length + d] for d in range(-2, 3)) / len(train) for length in range(6, 21)]
    assert mean(close) < 0.35


def test_a_value_is_rarely_met_by_chance(train: list[Text]) -> None:
    counts = Counter(item for text in train for item in text.fields.items())
    shares = [counts[item] / len(train) for item in ALL_VALUES]
    assert mean(shares) <= 0.15
    assert min(shares) >= 0.02 and max(shares) <= 0.25


def test_tags_are_rarely_met_by_chance(pairs: list[tuple[Text, Text]]) -> None:
    agreement = [
        sum(ours == theirs for ours, theirs in zip(sample.tags, target.tags, strict=False)) / len(target.tags)
        for sample, target in pairs
    ]
    assert mean(agreement) < 0.4


def test_trees_and_spans_are_rarely_met_by_chance(
    pairs: list[tuple[Text, Text]], trees: dict[str, Tree]
) -> None:
    f1, met = [], []
    for sample, target in pairs:
        ours, theirs = spans(trees[sample.id]), spans(trees[target.id])
        f1.append(2 * (ours & theirs).total() / (ours.total() + theirs.total()))
        met.append(mean([float(span in ours) for span in theirs]))
    assert mean(f1) < 0.4
    assert mean(met) < 0.4


def test_the_seed_decides_everything() -> None:
    assert restaurant_texts(3, SMALL) == restaurant_texts(3, SMALL)
    first, second = (restaurant_texts(seed, SMALL) for seed in (3, 4))
    assert {text.text for text in first} != {text.text for text in second}


def test_asking_for_too_many_texts_is_an_error() -> None:
    with pytest.raises(ValueError, match="ask for fewer"):
        split_by_meaning(repeat(("meaning", "text")), {"train": 2}, random.Random(0))
