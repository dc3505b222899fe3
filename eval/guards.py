"""Guards: cheap numbers that show a text or a set of texts going wrong while its main scores look good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence, Set, Sized
from itertools import pairwise

import numpy as np

from eval.mbr import bleu, ngram_counts

UNK = "UNK"
BLOCK = 128
VARIED = 0.75  # more of a text's pairs of words must differ


def require_same_length(first: Sized, second: Sized, what: str) -> None:
    """Stop before a silent cut: two lists that belong together must be equally long.

    Raises:
        ValueError: they are not.
    """
    if len(first) != len(second):
        raise ValueError(f"{what}: {len(first)} against {len(second)}")


def doubled_words(tokens: Sequence[str]) -> int:
    """Number of words that equal the word before them."""
    return sum(left == right for left, right in pairwise(tokens))


def is_repetitive(tokens: Sequence[str]) -> bool:
    """Whether a quarter or more of the pairs of neighbouring words stood in the text before.

    No held-out text of E2E or of the embedded corpus is: the least varied has four fifths of its pairs new.
    """
    pairs = list(pairwise(tokens))
    return len(set(pairs)) <= VARIED * len(pairs) and len(pairs) > 0


def unk_rate(tokens: Sequence[str]) -> float:
    """Percent of the words that are UNK; 0 for an empty text."""
    return 100 * sum(word == UNK for word in tokens) / max(len(tokens), 1)


def is_copy(tokens: Sequence[str], training_set: Set[tuple[str, ...]]) -> bool:
    """Whether the text, word for word, is a text of the training set."""
    return tuple(tokens) in training_set


def mean_length(texts: Collection[Sequence[str]]) -> float:
    """Mean number of words.

    Raises:
        ValueError: no texts.
    """
    if not texts:
        raise ValueError("no texts")
    return sum(map(len, texts)) / len(texts)


def distinct_n(texts: Sequence[Sequence[str]], n: int, block: int = BLOCK) -> float:
    """Distinct n-grams per n-gram (0 to 1), averaged over blocks of ``block`` consecutive texts.

    The ratio falls with the number of texts, so only full blocks count; what is left after the last one is
    not used. Fewer texts than one block are one short block, whose value compares with none but its like. A
    block without n-grams has ratio 0.

    Raises:
        ValueError: no texts.
    """
    return float(np.mean([_distinct(part, n) for part in _blocks(texts, block)]))


def self_bleu(texts: Sequence[Sequence[str]], block: int = BLOCK) -> float:
    """Mean sentence BLEU-4 (0 to 100) of each text against all others of its block as references.

    sacrebleu's definition with several references (see :mod:`eval.mbr`); high means the texts repeat one
    another. It rises with the number of references, hence the blocks of :func:`distinct_n`, which bound
    the cost too. A single text repeats nobody: 0.

    Raises:
        ValueError: no texts.
    """
    return float(np.mean([_self_bleu(part) for part in _blocks(texts, block)]))


def duplicate_rate(texts: Sequence[Sequence[str]]) -> float:
    """Percent of the texts that equal another one of them, whichever target either answers.

    Raises:
        ValueError: no texts.
    """
    if not texts:
        raise ValueError("no texts")
    times = Counter(tuple(text) for text in texts)
    return 100 * sum(count for count in times.values() if count > 1) / len(texts)


def _blocks(texts: Sequence[Sequence[str]], block: int) -> list[Sequence[Sequence[str]]]:
    if not texts:
        raise ValueError("no texts")
    full = len(texts) // block
    return [texts[i * block : (i + 1) * block] for i in range(full)] or [texts]


def _distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    ngrams = [tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)]
    return len(set(ngrams)) / max(len(ngrams), 1)


def _self_bleu(texts: Sequence[Sequence[str]]) -> float:
    if len(texts) == 1:
        return 0.0
    counts = ngram_counts(texts)
    matches = np.stack([np.minimum(matrix, _most_elsewhere(matrix)).sum(axis=1) for matrix in counts])
    totals = np.stack([matrix.sum(axis=1) for matrix in counts])
    return float(bleu(matches, totals, totals[0], _closest_other(totals[0])).mean())


def _most_elsewhere(counts: np.ndarray) -> np.ndarray:
    """For each text and n-gram the largest count in any other text, [texts, n-grams]."""
    second, first = np.partition(counts, (-2, -1), axis=0)[-2:]
    return np.where(counts == first, np.where((counts == first).sum(axis=0) > 1, first, second), first)


def _closest_other(lengths: np.ndarray) -> np.ndarray:
    """For each text the length of the other text closest to its own, the shorter one of equals, [texts]."""
    distance = np.abs(lengths[:, None] - lengths[None, :]) * (lengths.max() + 1) + lengths[None, :]
    np.fill_diagonal(distance, np.iinfo(distance.dtype).max)
    return lengths[distance.argmin(axis=1)]
