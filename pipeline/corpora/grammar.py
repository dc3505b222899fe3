"""The embedded restaurant corpus: descriptions with fields, tags and trees that are right by construction."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

from pipeline.corpora.grammar_rules import EXCEPTIONS, RULES, UNIVERSAL, VALUES
from pipeline.records import Text

SHORTEST, LONGEST = 6, 20  # tokens
FEWEST, MOST = 2, 5  # fields
PATIENCE = 10_000  # draws in a row that bring nothing new before we give up

SLOT = re.compile(r"\{([^{}]+)\}")
LEAF = re.compile(r"\(([^\s()]+) ([^\s()]+)\)")

Meaning = TypeVar("Meaning", bound=Hashable)
Item = TypeVar("Item", bound=Hashable)


def restaurant_texts(seed: int, sizes: Mapping[str, int]) -> list[Text]:
    """Restaurant descriptions in the manner of E2E, each unlike all others.

    A text has 6 to 20 tokens, 2 to 5 ``fields``, universal ``tags`` and a ``tree`` under ``TOP``. It
    contains a value's words exactly when the field has that value. Splits share no set of fields.

    Args:
        seed: the same seed and sizes give the same texts.
        sizes: texts per split, for example ``{"train": 6000, "valid": 300}``.

    Raises:
        ValueError: the grammar has fewer different texts than ``sizes`` asks for.
    """
    rng = random.Random(f"restaurants {seed}")
    return [
        _text(f"{split}-{index:06d}", split, dict(sorted(meaning)), _spell(tree))
        for split, dealt in split_by_meaning(_draws(rng), sizes, rng).items()
        for index, (meaning, tree) in enumerate(dealt)
    ]


def split_by_meaning(
    draws: Iterator[tuple[Meaning, Item]], sizes: Mapping[str, int], rng: random.Random
) -> dict[str, list[tuple[Meaning, Item]]]:
    """Deal drawn (meaning, item) pairs into splits: all pairs differ, no meaning is in two splits.

    Raises:
        ValueError: ``draws`` brings nothing new any more.
    """
    splits: dict[str, dict[tuple[Meaning, Item], None]] = {split: {} for split in sizes}
    split_of: dict[Meaning, str] = {}
    fruitless = 0
    while any(len(splits[split]) < size for split, size in sizes.items()):
        meaning, item = next(draws)
        if meaning not in split_of:
            split_of[meaning] = rng.choices(list(sizes), weights=list(sizes.values()))[0]
        split = split_of[meaning]
        if (meaning, item) not in splits[split] and len(splits[split]) < sizes[split]:
            splits[split][meaning, item] = None
            fruitless = 0
        elif (fruitless := fruitless + 1) > PATIENCE:
            raise ValueError(f"too few different texts for {dict(sizes)}: ask for fewer")
    return {split: list(pairs) for split, pairs in splits.items()}


def _draws(rng: random.Random) -> Iterator[tuple[frozenset[tuple[str, str]], str]]:
    """Endless (fields, tree) pairs, all lengths equally often, so that a length is rarely met by chance."""
    waiting: defaultdict[int, list[tuple[frozenset[tuple[str, str]], str]]] = defaultdict(list)
    while True:
        length = rng.randint(SHORTEST, LONGEST)
        while not waiting[length]:
            mentions: list[tuple[str, str]] = []
            tree = _expand("{TEXT}", mentions, rng)
            repeats_a_field = len(dict(mentions)) < len(mentions)
            if not repeats_a_field and FEWEST <= len(mentions) <= MOST:
                waiting[len(LEAF.findall(tree))].append((frozenset(mentions), tree))
        yield waiting[length].pop()


def _expand(template: str, mentions: list[tuple[str, str]], rng: random.Random) -> str:
    """Fill the slots of a template, and append the (field, value) pairs that it mentions."""

    def fill(slot: re.Match[str]) -> str:
        symbol = slot[1]
        if symbol in RULES:
            return _expand(rng.choice(RULES[symbol]), mentions, rng)
        value, tags = rng.choice(list(VALUES[symbol].items()))
        mentions.append((symbol, value))
        return " ".join(f"({tag} {word})" for tag, word in zip(tags.split(), value.split(), strict=True))

    return SLOT.sub(fill, template)


def _spell(tree: str) -> str:
    """Capitals at the start of sentences, and ``an`` before vowels (no word of ours needs more than that)."""
    words = [word for _, word in LEAF.findall(tree)]
    spelled = []
    for before, word, after in zip([".", *words], words, [*words[1:], "."], strict=False):
        word = "an" if word == "a" and after[0].lower() in "aeiou" else word
        spelled.append(word[0].upper() + word[1:] if before in (".", "?") else word)
    words_left = iter(spelled)
    return LEAF.sub(lambda leaf: f"({leaf[1]} {next(words_left)})", tree)


def _text(identity: str, split: str, fields: dict[str, str], tree: str) -> Text:
    leaves = LEAF.findall(tree)
    tokens = [word for _, word in leaves]
    tags = [EXCEPTIONS.get(word.lower(), UNIVERSAL[tag]) for tag, word in leaves]
    return Text(identity, split, " ".join(tokens), tokens, fields, tags, tree)
