"""The embedded story corpus: plots of five sentences, whose middle follows from its neighbours."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.corpora.grammar import split_by_meaning
from pipeline.records import Text

GIRLS = ("Anna", "Clara", "Ella", "Ivy", "Mia", "Nina", "Ruth", "Zoe")
BOYS = ("Ben", "Finn", "Hugo", "Leo", "Max", "Omar", "Sam", "Tom")
HELPERS = ("aunt", "brother", "cousin", "friend", "grandmother", "neighbour", "sister", "uncle")
PLACES = ("beach", "forest", "garden", "market", "meadow", "park")

Choice = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Plot:
    """What a plot is about (each slot takes one word) and how each of its five sentences may be told."""

    slots: dict[str, tuple[str, ...]]
    sentences: tuple[tuple[str, ...], ...]


# Sentences 2 to 4 always share a slot with a neighbour. {she}, {him} and {his} agree with the name.
PLOTS: dict[str, Plot] = {
    "saving": Plot(
        {
            "helper": HELPERS,
            "prize": ("bicycle", "camera", "guitar", "kite", "telescope", "tent"),
            "chore": ("boats", "bottles", "cars", "dishes", "windows"),
        },
        (
            (
                "{name} wanted to buy a {prize} .",
                "{name} saw a red {prize} in a shop .",
            ),
            (
                "But the {prize} cost too much money .",
                "{She} had no money for the {prize} .",
            ),
            (
                "So {she} washed {chore} for {his} {helper} .",
                "To earn some , {she} cleaned {chore} for {his} {helper} .",
            ),
            (
                "{His} {helper} paid {him} well for the clean {chore} .",
                "Soon the {chore} were clean and {his} {helper} paid {him} .",
            ),
            (
                "{name} bought the {prize} the same day .",
                "The next day {name} went home with the {prize} .",
            ),
        ),
    ),
    "losing": Plot(
        {
            "helper": HELPERS,
            "thing": ("book", "hat", "key", "necklace", "ring", "watch"),
            "place": PLACES,
            "spot": ("bench", "bush", "rock", "tree"),
        },
        (
            (
                "{name} carried a {thing} on a walk to the {place} .",
                "{name} took {his} {thing} to the {place} .",
            ),
            (
                "On the way home {she} lost the {thing} .",
                "Later {she} could not find the {thing} .",
            ),
            (
                "{She} searched the whole {place} with {his} {helper} .",
                "{His} {helper} went back to the {place} with {him} .",
            ),
            (
                "{His} {helper} looked under a {spot} and found it .",
                "There {his} {helper} saw it behind a {spot} .",
            ),
            (
                "{name} thanked {his} {helper} for finding the {thing} .",
                "{name} hugged {his} {helper} and kept the {thing} safe .",
            ),
        ),
    ),
    "breaking": Plot(
        {
            "helper": HELPERS,
            "toy": ("boat", "doll", "kite", "robot", "train", "truck"),
            "place": PLACES,
            "tool": ("glue", "nails", "string", "tape", "wire"),
        },
        (
            (
                "{name} played with a wooden {toy} near the {place} .",
                "One day {name} took a {toy} to the {place} .",
            ),
            (
                "Suddenly the {toy} fell and broke .",
                "{She} dropped the {toy} on a stone and broke it .",
            ),
            (
                "{She} carried the broken {toy} to {his} {helper} .",
                "{name} cried and showed the {toy} to {his} {helper} .",
            ),
            (
                "{His} {helper} fixed it with some {tool} .",
                "{His} {helper} got some {tool} and repaired it .",
            ),
            (
                "With the {tool} the {toy} was as good as new .",
                "{name} was happy to play with the {toy} again .",
            ),
        ),
    ),
    "learning": Plot(
        {
            "helper": HELPERS,
            "music": ("drums", "flute", "guitar", "piano", "trumpet", "violin"),
            "event": ("concert", "party", "wedding", "contest"),
        },
        (
            (
                "{name} was asked to play the {music} at a {event} .",
                "{name} wanted to play the {music} at a {event} .",
            ),
            (
                "But {she} did not know how to play the {music} .",
                "But {his} {music} sounded terrible and {she} was afraid .",
            ),
            (
                "So {his} {helper} taught {him} every evening .",
                "{She} asked {his} {helper} for lessons every evening .",
            ),
            (
                "After many lessons with {his} {helper} {she} played well .",
                "{His} {helper} said {she} was ready for the {event} .",
            ),
            (
                "At the {event} everyone loved the sound of the {music} .",
                "{name} played the {music} at the {event} without a mistake .",
            ),
        ),
    ),
    "baking": Plot(
        {
            "helper": HELPERS,
            "treat": ("cake", "pie", "pizza", "pudding", "tart"),
            "missing": ("butter", "eggs", "flour", "milk", "sugar"),
            "event": ("party", "picnic", "wedding"),
        },
        (
            (
                "{name} wanted to make a {treat} for a {event} .",
                "{name} promised to bring a {treat} to a {event} .",
            ),
            (
                "But there was no {missing} for the {treat} .",
                "In the kitchen {she} could not find any {missing} .",
            ),
            (
                "{She} borrowed some {missing} from {his} {helper} .",
                "So {she} asked {his} {helper} for some {missing} .",
            ),
            (
                "With the {missing} from {his} {helper} {she} began to bake .",
                "{His} {helper} gave {him} the {missing} and helped {him} bake .",
            ),
            (
                "At the {event} everyone ate the whole {treat} .",
                "Everyone at the {event} loved the {treat} .",
            ),
        ),
    ),
    "rescuing": Plot(
        {
            "helper": HELPERS,
            "animal": ("bird", "duck", "kitten", "puppy", "rabbit"),
            "place": PLACES,
            "snack": ("bread", "cheese", "milk", "rice", "water"),
        },
        (
            (
                "{name} found a small {animal} near the {place} .",
                "While walking by the {place} , {name} saw a {animal} .",
            ),
            (
                "The {animal} was alone and very hungry .",
                "The poor {animal} was weak and had no food .",
            ),
            (
                "{She} took the {animal} home and gave it {snack} .",
                "{She} ran home and got some {snack} for the {animal} .",
            ),
            (
                "After the {snack} it slept in the lap of {his} {helper} .",
                "{His} {helper} watched it finish all the {snack} .",
            ),
            (
                "{name} and {his} {helper} kept the {animal} .",
                "The {animal} stayed with {name} and became a good friend .",
            ),
        ),
    ),
}


def story_texts(seed: int, sizes: Mapping[str, int]) -> list[Text]:
    """Stories of five ``sentences`` (5 to 12 tokens each), each story unlike all others.

    A story is told from a plot, a character and one word per slot of the plot. Splits share no such choice.

    Args:
        seed: the same seed and sizes give the same stories.
        sizes: stories per split, for example ``{"train": 6000, "valid": 300}``.

    Raises:
        ValueError: there are fewer different stories than ``sizes`` asks for.
    """
    return [_text(identity, split, story) for identity, split, _, story in _dealt(seed, sizes)]


def retellings(seed: int, sizes: Mapping[str, int]) -> dict[str, list[list[str]]]:
    """For every story of :func:`story_texts`, by id: all ways to tell each of its sentences with its words.

    Sentence i of the story is one of the ways at i. Arguments and errors are those of ``story_texts``.
    """
    return {identity: _ways(dict(choice)) for identity, _, choice, _ in _dealt(seed, sizes)}


def _dealt(seed: int, sizes: Mapping[str, int]) -> Iterator[tuple[str, str, Choice, tuple[str, ...]]]:
    """Id, split, choice and sentences of every story."""
    rng = random.Random(f"stories {seed}")
    for split, dealt in split_by_meaning(_draws(rng), sizes, rng).items():
        for index, (choice, story) in enumerate(dealt):
            yield f"{split}-{index:06d}", split, choice, story


def _ways(choice: dict[str, str]) -> list[list[str]]:
    """All ways to tell each sentence of the plot chosen, with the words chosen."""
    words = choice | _pronouns(choice["name"])
    return [[way.format(**words) for way in ways] for ways in PLOTS[choice["plot"]].sentences]


def _text(identity: str, split: str, story: tuple[str, ...]) -> Text:
    text = " ".join(story)
    return Text(identity, split, text, text.split(), sentences=[sentence.split() for sentence in story])


def _draws(rng: random.Random) -> Iterator[tuple[Choice, tuple[str, ...]]]:
    """Endless (choice of plot, character and words; five sentences) pairs."""
    while True:
        title = rng.choice(list(PLOTS))
        words = {slot: rng.choice(options) for slot, options in PLOTS[title].slots.items()}
        choice = {"plot": title, **words, "name": rng.choice(GIRLS + BOYS)}
        yield tuple(choice.items()), tuple(rng.choice(ways) for ways in _ways(choice))


def _pronouns(name: str) -> dict[str, str]:
    she, him, his = ("she", "her", "her") if name in GIRLS else ("he", "him", "his")
    return {"she": she, "him": him, "his": his, "She": she.capitalize(), "His": his.capitalize()}
