"""What scorers ask of a judge of syntax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Sentence = Sequence[str]


class Judge(Protocol):
    """A tagger and a parser. Both read many sentences at once; a sentence without words gets [] and ""."""

    def tags(self, sentences: Sequence[Sentence]) -> list[list[str]]:
        """One universal part-of-speech tag for each word of each sentence."""

    def trees(self, sentences: Sequence[Sentence]) -> list[str]:
        """One bracketed tree (:mod:`pipeline.trees`) for each sentence."""
