"""Syntax tree: how much of the wanted tree is in the text's parse? (paper section 6.1, Table 2)"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TypeVar

from eval.oracles.judge import Judge
from eval.success.batch import Scores, in_one_call, required, without_newlines
from pipeline.records import Target
from pipeline.trees import ROOTS, Tree, read_tree, spans

Bracket = TypeVar("Bracket")

# What EVALB does not count with benepar's parameter file (EVALB/nk.prm; ROOTS are deleted there too).
PUNCTUATION = frozenset({",", ":", "``", "''", ".", "?", "!", "-NONE-"})
SAME_LABEL = {"PRT": "ADVP"}
ANY_TAG = "NN"  # the release gives every word this tag, so that none is punctuation
PADDING = "."


def score(texts: list[list[str]], targets: list[Target], judge: Judge | None) -> Scores:
    """Success of texts, 0 to 100, by three definitions; ``control["tree"]`` is the wanted tree, words masked.

    - ``ctrl`` (paper, section 6.1): F1 of the labelled brackets of the parse (:func:`bracket_f1`).
    - ``ctrl_released`` (control_gen/eval_control.py:257-285, 439-472): the text is cut, or padded with ".",
      to the wanted number of words and parsed then (so an empty text too); all tags are made equal, so that
      punctuation counts. There it is one F1 over the brackets of all texts of a target, here that of each.
    - ``ctrl_strict`` (ours): F1 of the spans of both trees, unary chains joined to one span, punctuation
      counted, nothing cut or padded; newline dropped.

    ``length_mismatch`` is 1 if the text, as generated, has another number of words than the tree, else 0.
    """
    lengths = [len(_read(target.control["tree"]).words) for target in targets]
    fitted = [_fitted(words, length) for words, length in zip(texts, lengths, strict=True)]
    strict = [without_newlines(words) for words in texts]
    said = in_one_call(required(judge).trees, texts, fitted, strict)
    scores = []
    for words, target, length, tree, fitting, plain in zip(texts, targets, lengths, *said, strict=True):
        wanted = target.control["tree"]
        found = {
            "ctrl": tree_f1(wanted, tree),
            "ctrl_released": bracket_f1(_untagged(wanted), _untagged(fitting)),
            "ctrl_strict": f1(Counter(spans(wanted)), Counter(spans(plain))) if plain else 0.0,
        }
        scores.append(found | {"length_mismatch": float(len(words) != length)})
    return scores


def paper(texts: list[list[str]], targets: list[Target], judge: Judge | None) -> Scores:
    """Only ``ctrl`` of :func:`score`."""
    (said,) = in_one_call(required(judge).trees, texts)
    return [{"ctrl": tree_f1(t.control["tree"], tree)} for t, tree in zip(targets, said, strict=True)]


def tree_f1(wanted: str, found: str) -> float:
    """:func:`bracket_f1` of two bracketed trees; 0 for a text without words, whose tree is ''."""
    return bracket_f1(_read(wanted), _read(found)) if found else 0.0


def bracket_f1(wanted: Tree, found: Tree) -> float:
    """F1 (0 to 100) of the labelled brackets of two trees, as EVALB counts them (:func:`brackets`).

    EVALB refuses two trees that disagree about which words are punctuation. Where both have as many words,
    the tags of the wanted tree say so for both; otherwise each tree's own tags do.
    """
    tags = wanted.tags if len(wanted.tags) == len(found.tags) else found.tags
    return f1(brackets(wanted, wanted.tags), brackets(found, tags))


def brackets(tree: Tree, tags: Sequence[str]) -> Counter[tuple[str, int, int]]:
    """Every constituent as EVALB sees it: its label, and its first and last word (excluded) by number.

    Words whose tag is punctuation are not numbered; a constituent of nothing else, and root labels, are left
    out; PRT is ADVP, and a label ends at its first "-" or "=" (EVALB/evalb.c: massage_data, modify_label).
    """
    place = list(accumulate((tag not in PUNCTUATION for tag in tags), initial=0))
    found = ((_label(span.label), place[span.first], place[span.last + 1]) for span in tree.constituents)
    return Counter(b for b in found if b[0] not in ROOTS and b[1] < b[2])


def f1(wanted: Counter[Bracket], found: Counter[Bracket]) -> float:
    """F1 (0 to 100) of two collections, repeats counted; 100 if both are empty, 0 if one of them is."""
    if not wanted and not found:
        return 100.0
    return 200 * (wanted & found).total() / (wanted.total() + found.total())


@lru_cache(maxsize=4096)  # many texts share a target
def _read(tree: str) -> Tree:
    return read_tree(tree)


def _untagged(tree: str) -> Tree:
    read = _read(tree)
    return read._replace(tags=[ANY_TAG] * len(read.words))


def _fitted(words: list[str], length: int) -> list[str]:
    return words[:length] + [PADDING] * (length - len(words))


def _label(label: str) -> str:
    plain = label.replace("=", "-").split("-")[0]
    return SAME_LABEL.get(plain, plain)
