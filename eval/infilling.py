"""Metrics of infilling (paper Table 5): a text against all references of its context.

Texts are compared as tokenised. BLEU and CIDEr read them in lower case, as the tokeniser of the paper's tool
leaves them (e2e-metrics; the author in issue 59 of the release). ``ROUGE-L`` and ``BERTScore`` count the best
reference, ``CIDEr`` the mean over the references, ``BLEU-4`` is of a whole set of texts and is made from
statistics of each.

Metrics with the suffix ``_loo`` leave one reference out, so that a reference can be measured itself: it is
scored against the others, and every other text against each choice of all but one, averaged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, reduce
from importlib.metadata import version
from operator import or_

import numpy as np
from pycocoevalcap.cider.cider_scorer import CiderScorer, precook

from eval.guards import require_same_length
from eval.mbr import MAX_ORDER, bleu

BERT_SCORE = "BERTScore"
METRICS = ("BLEU-4", "ROUGE-L", "CIDEr", BERT_SCORE)
LOO = "_loo"
SIGNED = "|"  # stands between BERTScore's name and its signature in records
STATISTICS = (
    *(f"bleu_matches_{n}" for n in range(1, MAX_ORDER + 1)),
    *(f"bleu_ngrams_{n}" for n in range(1, MAX_ORDER + 1)),
    *("bleu_length", "bleu_reference_length"),
)
Pair = tuple[str, str]  # text, reference
PairScores = Callable[[Sequence[Pair]], np.ndarray]  # one number per pair
Words = tuple[str, ...]

_OVER_REFERENCES: dict[str, Callable[[np.ndarray], np.floating]] = {
    "ROUGE-L": np.max,
    "CIDEr": np.mean,
    BERT_SCORE: np.max,
}
_SIGNATURES = {
    "BLEU-4": f"sacrebleu nrefs:var|case:lc|eff:no|tok:none|smooth:exp|version:{version('sacrebleu')}",
    "ROUGE-L": f"rouge-score {version('rouge-score')}, F1, best reference, no stemming",
    "CIDEr": f"pycocoevalcap {version('pycocoevalcap')}, CIDEr-D times 100, lower case, IDF of all targets",
}


def signature(metric: str, bert_score: str = "") -> str:
    """What makes a metric's numbers comparable; that of BERTScore is its encoder's and is passed through."""
    return _SIGNATURES.get(metric.removesuffix(LOO), bert_score)


def score_texts(
    texts: Sequence[str],
    references: Sequence[Sequence[str]],
    itself: Sequence[int | None],
    scorers: Mapping[str, PairScores],
) -> list[dict[str, float]]:
    """Every metric of every text, and what ``BLEU-4`` is made from (:data:`STATISTICS`).

    Args:
        texts: the infills.
        references: of each text's context.
        itself: the number of the reference that a text is, if it is one; such a text only has metrics that
            leave it out, and none where it is alone.
        scorers: ``ROUGE-L``, ``CIDEr`` and ``BERTScore`` of pairs.

    Raises:
        ValueError: lists of different lengths.
    """
    for name, other in (("references", references), ("numbers of references", itself)):
        require_same_length(texts, other, f"texts and {name}")
    pairs = [(text, told) for text, group in zip(texts, references, strict=True) for told in group]
    ends = np.cumsum([len(group) for group in references])[:-1]
    split = {name: np.split(_scored(scorer, pairs, name), ends) for name, scorer in scorers.items()}
    return [
        _metrics(text, group, own, {name: values[i] for name, values in split.items()})
        for i, (text, group, own) in enumerate(zip(texts, references, itself, strict=True))
    ]


def _scored(scorer: PairScores, pairs: Sequence[Pair], name: str) -> np.ndarray:
    values = scorer(pairs)
    require_same_length(pairs, values, f"pairs and their {name}")
    return values


def comparisons(count: int, itself: int | None) -> dict[str, list[list[int]]]:
    """Which references a text is compared with: by suffix, groups of them whose scores are averaged."""
    everyone = list(range(count))
    groups = {"": [everyone]} if itself is None else {}
    if count > 1:
        left_out = everyone if itself is None else [itself]
        groups[LOO] = [[i for i in everyone if i != one] for one in left_out]
    return groups


def _metrics(
    text: str, references: Sequence[str], itself: int | None, values: Mapping[str, np.ndarray]
) -> dict[str, float]:
    found: dict[str, float] = {}
    for suffix, groups in comparisons(len(references), itself).items():
        for name, of_pair in values.items():
            over = _OVER_REFERENCES[name]
            found[name + suffix] = float(np.mean([over(of_pair[group]) for group in groups]))
        counted = [bleu_statistics(text, [references[i] for i in group]) for group in groups]
        means = np.mean(counted, axis=0).tolist()
        found |= {name + suffix: mean for name, mean in zip(STATISTICS, means, strict=True)}
    return found


def rouge_l(pairs: Sequence[Pair]) -> np.ndarray:
    """ROUGE-L F1 in percent, over rouge-score's own words: letters and digits, in lower case."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    return np.array([100 * scorer.score(reference, text)["rougeL"].fmeasure for text, reference in pairs])


class Cider(CiderScorer):  # type: ignore[misc]
    """CIDEr-D times 100 by its reference implementation (Vedantam et al., 2015), with fixed IDF weights.

    They come from the references of all contexts, whichever texts are scored, so that a text's score does
    not depend on the others. A text that equals its reference has about 1000.

    Args:
        references: of each context.
    """

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.crefs = [[precook(told.lower()) for told in group] for group in references]
        self.compute_doc_freq()
        self._contexts = len(references)

    @property
    def ref_len(self) -> float:
        """Logarithm of the number of contexts; the base class would set it to that of texts."""
        return float(np.log(self._contexts))

    @ref_len.setter
    def ref_len(self, value: float) -> None: ...

    def __call__(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Each pair's score; that of a text is the mean over its references."""
        self.ctest = [precook(text.lower()) for text, _ in pairs]
        self.crefs = [[precook(reference.lower())] for _, reference in pairs]
        return 100 * np.array(self.compute_cider())


def bleu_statistics(text: str, references: Sequence[str]) -> np.ndarray:
    """What corpus BLEU adds up over texts, in the order of :data:`STATISTICS`.

    The reference length is the closest one, the shorter of equals.
    """
    words, others = _words(text), tuple(map(_words, references))
    found = _ngrams(words)
    matches = found & _most_ngrams(others)
    closest = min((len(other) for other in others), key=lambda length: (abs(length - len(words)), length))
    return np.array([*_by_order(matches), *_by_order(found), len(words), closest], dtype=float)


def _words(text: str) -> Words:
    return tuple(text.lower().split())


def _ngrams(words: Words) -> Counter[Words]:
    orders = range(1, MAX_ORDER + 1)
    return Counter(words[i : i + n] for n in orders for i in range(len(words) - n + 1))


@lru_cache(maxsize=1024)
def _most_ngrams(references: tuple[Words, ...]) -> Counter[Words]:
    """Each n-gram as often as the reference has it that has it most often."""
    return reduce(or_, map(_ngrams, references))


def _by_order(ngrams: Counter[Words]) -> list[int]:
    counts = [0] * MAX_ORDER
    for ngram, count in ngrams.items():
        counts[len(ngram) - 1] += count
    return counts


def corpus_bleu(statistics: np.ndarray) -> np.ndarray:
    """BLEU-4 (0 to 100) from added statistics, [..., 10] -> [...].

    It is sacrebleu's ``BLEU(lowercase=True, tokenize="none", force=True).corpus_score``. Texts that are all
    shorter than four words have 0.
    """
    added = np.moveaxis(statistics, -1, 0)
    matches, ngrams, (length, reference) = np.split(added, [MAX_ORDER, 2 * MAX_ORDER])
    return np.where(ngrams[-1] > 0, bleu(matches, ngrams, length, reference), 0.0)


def bleu_resamples(statistics: np.ndarray, seed: int, resamples: int = 2000) -> np.ndarray:
    """BLEU-4 of sets of targets drawn anew, [targets, 10] -> [resamples].

    Equal seeds draw the targets that :func:`eval.statistics.target_draws` draws.
    """
    targets = len(statistics)
    draws = np.random.default_rng(seed).integers(targets, size=(resamples, targets))
    times = np.stack([np.bincount(draw, minlength=targets) for draw in draws])
    return corpus_bleu(times @ statistics)
