"""The words of the right side that COLD wants in the text before it (cold_decoding.py:582-606)."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.language_model import LanguageModel


def keywords(model: LanguageModel, words: Sequence[str]) -> list[str]:
    """Different alphanumeric words that the model knows and that are no stop words; no first word's capital.

    The original also drops adverbs, and tells names at the beginning by a tagger; here a first word keeps its
    capital if the model does not know it without.
    """
    from spacy.lang.en.stop_words import STOP_WORDS

    plain = [word.lower() if i == 0 and _known(model, word.lower()) else word for i, word in enumerate(words)]
    kept = (word for word in plain if word.isalnum() and word.lower() not in STOP_WORDS)
    return [word for word in dict.fromkeys(kept) if _known(model, word)]


def _known(model: LanguageModel, word: str) -> bool:
    return model.encode([word]) != [model.unknown]
