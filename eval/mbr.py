"""Minimum Bayes risk selection with sentence BLEU (paper section 5.2), and that BLEU in array form.

BLEU is sacrebleu's ``BLEU(tokenize="none", effective_order=True, force=True).sentence_score``: exponential
smoothing, orders up to 4. sacrebleu splits at white space, so a newline word is no word here either.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Literal

import numpy as np

MAX_ORDER = 4
Rule = Literal["paper", "released"]


def ngram_counts(texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """How often each text holds each n-gram: one matrix, texts x distinct n-grams, per order 1 to 4.

    Rows of the first matrix add up to the text lengths. A column may be all zero.
    """
    words = [" ".join(text).split() for text in texts]
    owner = np.repeat(np.arange(len(words)), [len(text) for text in words])
    numbers: dict[str, int] = {}
    fresh = count()
    unigrams = np.array([numbers.setdefault(w, next(fresh)) for text in words for w in text], dtype=np.int64)
    grams, matrices = unigrams, []
    for n in range(1, MAX_ORDER + 1):
        if n > 1:  # an n-gram is the (n-1)-gram that starts with it, and its last word
            grams = grams[:-1] * (unigrams.max(initial=0) + 1) + unigrams[n - 1 :]
        distinct, grams = np.unique(grams, return_inverse=True)
        start, end = owner[: len(grams)], owner[n - 1 :]
        cells = (start * len(distinct) + grams)[start == end]  # the others cross from one text into the next
        shape = len(words), len(distinct)
        matrices.append(np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape))
    return matrices


def bleu(matches: np.ndarray, totals: np.ndarray, length: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Sentence BLEU (0 to 100) from its sufficient statistics.

    Args:
        matches: clipped n-gram matches, [4, ...].
        totals: n-grams of the hypothesis, broadcastable to ``matches``.
        length: words of the hypothesis, broadcastable to ``matches[0]``.
        reference: words of the reference, likewise.
    """
    matches, totals = np.broadcast_arrays(matches.astype(float), totals)
    present = totals > 0
    missed = present & (matches == 0)
    halvings = 2.0 ** np.cumsum(missed, axis=0)  # each order without a match counts half of the one before
    smoothed = np.where(missed, 1 / halvings, matches)
    precision = np.divide(smoothed, totals, where=present, out=np.ones(totals.shape))
    order = np.maximum(present.sum(axis=0), 1)
    mean_log = np.log(100 * precision, where=present, out=np.zeros(totals.shape)).sum(axis=0) / order
    brevity = np.minimum(0.0, 1 - reference / np.maximum(length, 1))
    return np.where(matches.any(axis=0), np.exp(brevity + mean_log), 0.0)


def utility_matrices(groups: Sequence[Sequence[Sequence[str]]]) -> list[np.ndarray]:
    """Sentence BLEU of every candidate against every other one of its target.

    Args:
        groups: for each target its candidates, each a list of words.

    Returns:
        For each target ``U`` with ``U[i, j]`` = BLEU of hypothesis i against reference j, in 0 to 100.
        An empty candidate has utility 0 on both sides; the diagonal of the others is 100.
    """
    return [_utility(group) for group in groups]


def _utility(group: Sequence[Sequence[str]]) -> np.ndarray:
    counts = ngram_counts(group)
    matches = np.stack([_clipped_overlap(matrix) for matrix in counts])
    totals = np.stack([matrix.sum(axis=1) for matrix in counts])
    return bleu(matches, totals[:, :, None], totals[0][:, None], totals[0][None, :])


def _clipped_overlap(counts: np.ndarray) -> np.ndarray:
    """sum_g min(X[i, g], X[j, g]) as products of the level sets of X, which BLAS does fast and exactly."""
    overlap = np.zeros((len(counts), len(counts)))
    for level in range(1, counts.max(initial=0) + 1):
        reached = (counts >= level).astype(np.float32)
        overlap += reached @ reached.T
    return overlap


def choose(utility: np.ndarray, rule: Rule = "paper") -> int:
    """Index of the candidate with the highest mean utility; the diagonal is left out.

    Args:
        utility: ``U[hypothesis, reference]`` of one target.
        rule: ``paper`` (default) takes the candidate as the hypothesis against all others as references, and
            the first of equals. The paper's sum runs over the whole set; the candidate's own term is the
            same constant for each candidate with words. ``released`` takes all others as hypotheses against
            the candidate as the reference, and the last of equals (anlg_infill/mbr_eval.py:158-181; BLEU was
            smoothed otherwise there).

    Raises:
        ValueError: no candidates.
    """
    if not len(utility):
        raise ValueError("no candidates to choose from")
    others = np.where(np.eye(len(utility), dtype=bool), 0.0, utility)
    # Rounded, because equal candidates sum equal terms in different orders.
    means = np.round(others.sum(axis=1 if rule == "paper" else 0) / max(len(utility) - 1, 1), 9)
    return int(means.argmax()) if rule == "paper" else len(means) - 1 - int(means[::-1].argmax())


def select(group: Sequence[Sequence[str]], rule: Rule = "paper") -> int:
    """Index of the MBR choice among the candidates of one target (see :func:`choose`)."""
    return choose(_utility(group), rule)
