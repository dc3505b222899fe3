"""Length: does the text have the wanted number of words? (paper section 6.1, Table 2)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.success.semantic_content import released_words

TOLERANCE = 2


def score(tokens: Sequence[str], control: Mapping[str, Any]) -> dict[str, float]:
    """Success of one text in percent, 0 or 100, by three definitions.

    - ``ctrl`` (paper, section 6.1): the number of words, as generated, is within 2 of the wanted one.
    - ``ctrl_released`` (control_gen/eval_control.py:179-205, 510-526): equal, after the released cleaning,
      newline kept. The released target counts START and END too (words = target - 2); the line with the
      tolerance is commented out there.
    - ``ctrl_strict`` (ours): equal, newline dropped.

    Args:
        tokens: the words of the text.
        control: ``length``, the wanted number of words without START and END.
    """
    wanted = int(control["length"])
    words = sum(word != "\n" for word in tokens)
    return {
        "ctrl": 100.0 * (abs(len(tokens) - wanted) <= TOLERANCE),
        "ctrl_released": 100.0 * (len(released_words(tokens)) == wanted),
        "ctrl_strict": 100.0 * (words == wanted),
    }
