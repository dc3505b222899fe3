"""Sentences between sentences: what infilling is learned from and asked on (paper Section 6.4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from pipeline.corpora.tokenizer import spacy_tokens
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError, nearest
from pipeline.records import Target, Text
from pipeline.tasks import INFILLING

SENTENCES = 5  # of a story
Context = Literal["neighbours", "ends"]
Around = tuple[str, str]  # letters and digits of the sentences left and right


class Example(NamedTuple):
    """A sentence and what stands around it, as words."""

    left: list[str]
    middle: list[str]
    right: list[str]


def examples(stories: Iterable[Text], context: Context) -> list[Example]:
    """Three examples of every story: its second, third and fourth sentence.

    Args:
        context: ``neighbours`` are the sentences before and after it (the released AR infilling), ``ends``
            the story's first and last sentence (the form of aNLG's contexts).

    Raises:
        InputError: a story without five sentences, or no such kind of context.
    """
    if context not in get_args(Context):
        raise InputError("context", f"cannot be '{context}'", nearest(context, get_args(Context)))
    return [example for story in stories for example in _examples(story, context)]


def _examples(story: Text, context: Context) -> list[Example]:
    told = story.sentences or []
    if len(told) != SENTENCES or not all(told):
        raise InputError(
            f"story '{story.id}'", f"{len(told)} sentences", f"a story has {SENTENCES}, none empty"
        )
    inner = range(1, SENTENCES - 1)
    if context == "ends":
        return [Example(told[0], told[i], told[-1]) for i in inner]
    return [Example(told[i - 1], told[i], told[i + 1]) for i in inner]


def sentence_words(sentence: str) -> list[str]:
    """The tokens of a sentence, those of white space left out."""
    return [token for token in spacy_tokens(sentence) if not token.isspace()]


def infilling_target(left: str, right: str, references: Iterable[str], identity: str = "") -> Target:
    """Ask for the sentence between ``left`` and ``right``; all are words joined by single spaces.

    ``source_id`` is the SHA-256 of the context, so that a file can name it without its text; without an
    ``identity`` the first 16 digits of it are the ``target_id``.
    """
    digest = hashlib.sha256(f"{left}\n{right}".encode()).hexdigest()
    return Target(
        identity or f"context-{digest[:16]}",
        INFILLING,
        {"left": left, "right": right},
        list(references),
        digest,
    )


def letters(sentence: str) -> str:
    """Its letters and digits alone, case folded: the same however the sentence was tokenised."""
    return re.sub(r"[\W_]+", "", sentence.casefold())


def around(target: Target) -> Around:
    """The context of a target, comparable to those of :func:`contexts_of`."""
    return letters(target.control["left"]), letters(target.control["right"])


def contexts_of(stories: Iterable[Text]) -> Iterator[set[Around]]:
    """For each story the four pairs that may be a context: sentences two apart, and its two ends."""
    for story in stories:
        told = [letters(" ".join(sentence)) for sentence in story.sentences or []]
        yield {*zip(told, told[2:], strict=False), (told[0], told[-1])}


def without_contexts(stories: Sequence[Text], targets: Iterable[Target]) -> list[Text]:
    """The stories that hold no target's context: who learns from them has not read the answer."""
    asked = {around(target) for target in targets}
    pairs = zip(stories, contexts_of(stories), strict=True)
    return [story for story, contexts in pairs if not contexts & asked]


def unseen(targets: Iterable[Target], stories: Iterable[Text]) -> list[Target]:
    """The targets whose context stands in none of the stories."""
    contexts: set[Around] = set().union(*contexts_of(stories))
    return [target for target in targets if around(target) not in contexts]


class Overlap(NamedTuple):
    """How many contexts of targets stand in stories, and how many references are a sentence of one."""

    contexts: int
    references: int


def overlap(targets: Sequence[Target], stories: Sequence[Text]) -> Overlap:
    """Count what of the targets ``stories`` hold already, by letters and digits only."""
    sentences = {letters(" ".join(words)) for story in stories for words in story.sentences or []}
    references = [reference for target in targets for reference in target.references or []]
    known = sum(letters(reference) in sentences for reference in references)
    return Overlap(len(targets) - len(unseen(targets, stories)), known)


def unknown_share(sentences: Iterable[str], vocabulary: Vocabulary) -> float:
    """The share of the sentences' words that are not in the vocabulary; 0 where there are no words."""
    words = [word for sentence in sentences for word in sentence.split()]
    return sum(word not in vocabulary for word in words) / max(1, len(words))
