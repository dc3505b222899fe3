"""The word list of a corpus: four special words, then every word seen often enough, as first seen."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.errors import InputError
from pipeline.files import read_json, write_text

START, END, UNK, PAD = 0, 1, 2, 3
SPECIALS = ("START", "END", "UNK", "PAD")


@dataclass(frozen=True)
class Vocabulary:
    """Words by id; ids 0 to 3 are START, END, UNK and PAD.

    The specials are positions in a sequence, not words of a text: a text that happens to contain the
    word ``END`` gets UNK for it, so that no text can end its own sequence.
    """

    words: tuple[str, ...]

    @classmethod
    def build(cls, token_lists: Iterable[Sequence[str]], more_than: int = 10) -> Vocabulary:
        """Keep the words seen more than ``more_than`` times, in order of first appearance.

        On E2E's training split, newline words kept, this gives the 821 entries of the paper.
        """
        counts = Counter(word for tokens in token_lists for word in tokens)
        kept = (word for word, count in counts.items() if count > more_than and word not in SPECIALS)
        return cls((*SPECIALS, *kept))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read the JSON list that :meth:`save` wrote.

        Raises:
            InputError: missing file, not a list of distinct words, or not opened by the specials.
        """
        words = read_json(path)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InputError(path, "not a JSON list of words", "make it again from the corpus")
        if tuple(words[: len(SPECIALS)]) != SPECIALS:
            raise InputError(
                path, f"does not begin with {', '.join(SPECIALS)}", "put them in front, in this order"
            )
        if repeated := [word for word, count in Counter(words).items() if count > 1]:
            raise InputError(path, f"{repeated[0]!r} stands in it twice", "keep each word once")
        return cls(tuple(words))

    def save(self, path: Path) -> None:
        """Write the words as a JSON list, atomically; the position is the id."""
        write_text(path, self._as_json())

    def digest(self) -> str:
        """SHA-256 of the file :meth:`save` writes, in hexadecimal."""
        return hashlib.sha256(self._as_json().encode()).hexdigest()

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """The id of each token; a word that is not in the vocabulary becomes UNK."""
        return [self._ids.get(token, UNK) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words up to the first END, without START and PAD; UNK stays as the word ``UNK``."""
        words: list[str] = []
        for i in ids:
            if i == END:
                break
            if i not in (START, PAD):
                words.append(self.words[i])
        return words

    def __len__(self) -> int:
        """Number of entries, specials included."""
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        """Whether ``word`` is an ordinary word of the vocabulary (a special is not)."""
        return word in self._ids

    def _as_json(self) -> str:
        return json.dumps(self.words, ensure_ascii=False, indent=0) + "\n"

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words) if i >= len(SPECIALS)}
