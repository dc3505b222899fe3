"""Sentences between sentences: what infilling is learned from and asked on (paper Section 6.4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from pipeline.errors import InputError
from pipeline.records import Text

SENTENCES = 5  # of a story
Context = Literal["neighbours", "ends"]


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
        InputError: a story without five sentences.
    """
    return [example for story in stories for example in _examples(story, context)]


def _examples(story: Text, context: Context) -> list[Example]:
    told = story.sentences or []
    if len(told) != SENTENCES or not all(told):
        how = f"a story has {SENTENCES}, none empty"
        raise InputError(f"story '{story.id}'", f"{len(told)} sentences", how)
    inner = range(1, SENTENCES - 1)
    if context == "ends":
        return [Example(told[0], told[i], told[-1]) for i in inner]
    return [Example(told[i - 1], told[i], told[i + 1]) for i in inner]
