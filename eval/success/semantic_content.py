"""Semantic content: does the text hold the wanted value? (paper section 6.1, Table 2)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def score(tokens: Sequence[str], control: Mapping[str, Any]) -> dict[str, float]:
    """Success of one text in percent, 0 or 100, by three definitions.

    - ``ctrl`` (paper, section 6.1): the value string is contained in the text.
    - ``ctrl_released`` (control_gen/eval_control.py:179-205, 306-310, 493-508): the same, case sensitive,
      after the released cleaning: PAD dropped, one START at the front and one END at the back stripped,
      newline kept. So "no" is found in "not". The release then runs spaCy's tokeniser on the joined words;
      that is left out, since the words come from it (the 4,672 validation texts of E2E come back unchanged).
    - ``ctrl_strict`` (ours): the words of the value follow one another as whole words; newline dropped.

    Args:
        tokens: the words of the text.
        control: ``field`` and ``value``, the value tokenised like the text and joined by spaces.

    Raises:
        ValueError: an empty value, which every text would contain.
    """
    value = str(control["value"])
    if not value.split():
        raise ValueError("the value of a semantic_content target is empty")
    return {
        "ctrl": 100.0 * (value in " ".join(tokens)),
        "ctrl_released": 100.0 * (value in " ".join(released_words(tokens))),
        "ctrl_strict": 100.0 * _holds([w for w in tokens if w != "\n"], value.split()),
    }


def released_words(tokens: Sequence[str]) -> list[str]:
    """The released cleaning: drop PAD, then one START at the front and one END at the back."""
    words = [word for word in tokens if word != "PAD"]
    words = words[1:] if words[:1] == ["START"] else words
    return words[:-1] if words[-1:] == ["END"] else words


def _holds(words: list[str], wanted: list[str]) -> bool:
    return any(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1))
