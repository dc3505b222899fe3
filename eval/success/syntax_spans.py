"""Syntax spans: is the wanted constituent in the text's parse? (paper section 6.1, Table 2)"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.oracles.judge import Judge
from eval.success.batch import Scores, in_one_call, required, without_newlines
from eval.success.semantic_content import released_words
from pipeline.records import Target
from pipeline.trees import Span, spans


def score(texts: list[list[str]], targets: list[Target], judge: Judge | None) -> Scores:
    """Success of texts in percent, 0 or 100, by three definitions.

    The control is ``first`` and ``last``, word numbers from 0, both included, and ``label``, which may be a
    chain of unary constituents such as ``S::NP`` and is compared as a whole.

    - ``ctrl`` (paper, section 6.1): the span stands in the parse of the text, as generated.
    - ``ctrl_released`` (control_gen/eval_control.py:179-205, 239-255, 474-491): the same after the released
      cleaning, newline kept.
    - ``ctrl_strict`` (ours): the same, newline dropped.
    """
    cleaned = [released_words(words) for words in texts]
    strict = [without_newlines(words) for words in texts]
    said = in_one_call(required(judge).trees, texts, cleaned, strict)
    keys = ("ctrl", "ctrl_released", "ctrl_strict")
    return [
        {key: _holds(tree, target.control) for key, tree in zip(keys, trees, strict=True)}
        for target, *trees in zip(targets, *said, strict=True)
    ]


def paper(texts: list[list[str]], targets: list[Target], judge: Judge | None) -> Scores:
    """Only ``ctrl`` of :func:`score`."""
    (said,) = in_one_call(required(judge).trees, texts)
    return [{"ctrl": _holds(tree, t.control)} for t, tree in zip(targets, said, strict=True)]


def _holds(tree: str, control: Mapping[str, Any]) -> float:
    wanted = Span(control["first"], control["last"], control["label"])
    return 100.0 * bool(tree and wanted in spans(tree))
