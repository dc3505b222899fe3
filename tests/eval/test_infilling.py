"""Metrics of infilling against the libraries that define them, and leaving one reference out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from pycocoevalcap.cider.cider import Cider as PublicCider
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from eval.infilling import (
    STATISTICS,
    Cider,
    Pair,
    bleu_resamples,
    bleu_statistics,
    comparisons,
    corpus_bleu,
    rouge_l,
    score_texts,
    signature,
)
from eval.statistics import resample_means

WORDS = "The the dog Dog ran home . , was happy café it 's a".split()


def sentence(random: np.random.Generator, most: int = 12) -> str:
    return " ".join(WORDS[i] for i in random.integers(len(WORDS), size=random.integers(1, most)))


def draw(seed: int, contexts: int = 12) -> tuple[list[str], list[list[str]]]:
    """Texts, two of them too short for BLEU-4 and one empty, and one to five references of each."""
    random = np.random.default_rng(seed)
    texts = ["", "dog", "the dog .", *(sentence(random) for _ in range(contexts - 3))]
    return texts, [[sentence(random) for _ in range(random.integers(1, 6))] for _ in texts]


def sacrebleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, str]:
    """Score and signature; sacrebleu wants lists of equal lengths, with None for what is missing."""
    metric = BLEU(lowercase=True, tokenize="none", force=True)
    most = max(map(len, references))
    streams = [[group[i] if i < len(group) else None for group in references] for i in range(most)]
    return metric.corpus_score(texts, streams).score, str(metric.get_signature())


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    counted = [bleu_statistics(text, group) for text, group in zip(texts, references, strict=True)]
    return float(corpus_bleu(np.sum(counted, axis=0)))


@pytest.mark.parametrize("seed", range(8))
def test_bleu_is_that_of_sacrebleu_for_any_set_of_texts(seed: int) -> None:
    texts, references = draw(seed)
    for chosen in (slice(None), slice(0, 3), slice(3, 5), slice(5, None, 2)):
        expected, _ = sacrebleu(texts[chosen], references[chosen])
        assert bleu(texts[chosen], references[chosen]) == pytest.approx(expected, abs=1e-9)


def test_bleu_of_equal_texts_is_100_whatever_the_case() -> None:
    references = [["The dog ran home .", "a"], ["it 's a happy dog"]]
    assert bleu(["the DOG ran home .", "It 's a happy dog"], references) == pytest.approx(100)


def test_bleu_of_texts_shorter_than_four_words_is_zero_as_it_is_in_sacrebleu() -> None:
    texts, references = ["the dog", "it ran"], [["the dog"], ["it ran home"]]
    assert bleu(texts, references) == sacrebleu(texts, references)[0] == 0


def test_the_signature_of_bleu_is_the_one_that_sacrebleu_gives() -> None:
    assert signature("BLEU-4") == signature("BLEU-4_loo") == f"sacrebleu {sacrebleu(*draw(0))[1]}"


def test_the_closest_reference_counts_for_length_and_the_shorter_of_equals() -> None:
    found = dict(zip(STATISTICS, bleu_statistics("a b c", ["a", "a b", "a b c d", "x"]), strict=True))
    assert (found["bleu_length"], found["bleu_reference_length"]) == (3, 2)
    assert [found[f"bleu_matches_{n}"] for n in range(1, 5)] == [3, 2, 1, 0]
    assert [found[f"bleu_ngrams_{n}"] for n in range(1, 5)] == [3, 2, 1, 0]


def test_resampled_bleu_draws_the_targets_of_the_other_intervals() -> None:
    texts, references = draw(3, contexts=30)
    counted = np.stack([bleu_statistics(t, group) for t, group in zip(texts, references, strict=True)])
    resampled = bleu_resamples(counted, seed=5, resamples=200)
    draws = np.random.default_rng(5).integers(len(counted), size=(200, len(counted)))
    np.testing.assert_allclose(resampled, [corpus_bleu(counted[drawn].sum(axis=0)) for drawn in draws])
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert low < corpus_bleu(counted.sum(axis=0)) < high
    lengths = counted[:, STATISTICS.index("bleu_length")]
    np.testing.assert_allclose(resample_means(lengths, 5, 200), lengths[draws].mean(axis=1))


# --- metrics of single texts


def full(texts: Sequence[str], references: Sequence[Sequence[str]], name: str, scorer: object) -> list[float]:
    found = score_texts(texts, references, [None] * len(texts), {name: scorer})  # type: ignore[dict-item]
    return [metrics[name] for metrics in found]


@pytest.mark.parametrize("seed", range(3))
def test_rouge_takes_the_best_reference_as_the_library_does(seed: int) -> None:
    texts, references = draw(seed)
    library = RougeScorer(["rougeL"], use_stemmer=False)
    expected = [
        100 * library.score_multi(group, text)["rougeL"].fmeasure
        for text, group in zip(texts, references, strict=True)
    ]
    assert full(texts, references, "ROUGE-L", rouge_l) == pytest.approx(expected)
    assert expected[0] == 0 < max(expected)


def test_rouge_by_hand() -> None:
    """Four words of five in common, the full stop is no word, endings are not cut off."""
    assert rouge_l([("The dogs ran home now .", "the dog ran home now !")]) == pytest.approx([100 * 4 / 5])


@pytest.mark.parametrize("seed", range(3))
def test_cider_is_that_of_the_reference_implementation(seed: int) -> None:
    texts, references = draw(seed)
    numbered = range(len(texts))
    gts = {i: [told.lower() for told in references[i]] for i in numbered}
    mean, expected = PublicCider().compute_score(gts, {i: [texts[i].lower()] for i in numbered})
    found = full(texts, references, "CIDEr", Cider(references))
    assert found == pytest.approx(100 * expected)
    assert np.mean(found) == pytest.approx(100 * mean)
    assert mean > 0


def test_the_weights_of_cider_do_not_follow_the_texts_that_are_scored() -> None:
    texts, references = draw(1)
    found = full(texts, references, "CIDEr", Cider(references))
    part = full(texts[4:6], references[4:6], "CIDEr", Cider(references))
    assert part == pytest.approx(found[4:6])
    assert full(texts[4:6], references[4:6], "CIDEr", Cider(references[4:6])) != pytest.approx(found[4:6])


def test_cider_by_the_formula() -> None:
    """Two contexts: words of both have weight 0, the others log 2; so only unigrams and bigrams differ.

    Text ``a b c`` against ``a b d``: unigram weights (0, log 2, log 2) and (0, log 2, log 2) share b, of
    bigrams both have ``a b`` and one other, of trigrams none, and there are no four-grams.
    """
    cider = Cider([["a b d"], ["a x"]])
    unigram = bigram = 1 / 2
    assert cider([("A b c", "a b d")]) == pytest.approx([1000 * (unigram + bigram) / 4])
    longer = math.exp(-(1**2) / (2 * 6**2))  # one more word
    unigram, bigram = 1 / math.sqrt(2 * 3), 1 / math.sqrt(2 * 3)
    assert cider([("a b c e", "a b d")]) == pytest.approx([1000 * longer * (unigram + bigram) / 4])


def test_the_most_that_cider_gives_is_1000() -> None:
    cider = Cider([["it ran home fast"], ["the dog was happy"]])
    assert cider([("it ran home fast", "it ran home fast"), ("", "it ran home fast")]).tolist() == [1000, 0]


# --- leaving one reference out

PLACES = {"text": 0, "one": 1, "two": 4, "three": 9, "other": 2}


def distance(pairs: Sequence[Pair]) -> np.ndarray:
    """A stand-in for a metric: minus the squared distance of two names."""
    return np.array([-float((PLACES[text] - PLACES[told]) ** 2) for text, told in pairs])


SCORERS = {"ROUGE-L": distance, "CIDEr": distance}


def test_every_reference_but_one_in_turn_by_hand() -> None:
    """Squared distances of the text are 1, 16 and 81; the best without the first is 16, else 1."""
    (found,) = score_texts(["text"], [["one", "two", "three"]], [None], SCORERS)
    assert found["ROUGE-L"] == -1
    assert found["ROUGE-L_loo"] == pytest.approx(-(16 + 1 + 1) / 3)
    assert found["CIDEr"] == found["CIDEr_loo"] == pytest.approx(-(1 + 16 + 81) / 3)


def test_a_reference_is_scored_against_the_others_only() -> None:
    """From two it is 9 to one, and 25 to three."""
    (found,) = score_texts(["two"], [["one", "two", "three"]], [1], SCORERS)
    assert {name: value for name, value in found.items() if "bleu" not in name} == {
        "ROUGE-L_loo": -9,
        "CIDEr_loo": pytest.approx(-(9 + 25) / 2),
    }
    assert not set(STATISTICS) & set(found)


def test_the_statistics_of_bleu_are_averaged_over_what_is_left_out() -> None:
    references = ["a b c", "a x", "y"]
    (found,) = score_texts(["a b c"], [references], [None], {})
    left = [[r for r in references if r != one] for one in references]
    for place, name in enumerate(STATISTICS):
        expected = [bleu_statistics("a b c", group)[place] for group in left]
        assert found[f"{name}_loo"] == pytest.approx(np.mean(expected))
    assert found["bleu_matches_1_loo"] == pytest.approx((1 + 3 + 3) / 3)
    assert found["bleu_matches_1"] == 3


def test_equal_references_leave_each_other_in() -> None:
    (found,) = score_texts(["one"], [["one", "one"]], [0], SCORERS)
    assert found["ROUGE-L_loo"] == 0


def test_one_reference_cannot_be_left_out() -> None:
    text, human = score_texts(["one", "one"], [["one"], ["one"]], [None, 0], SCORERS)
    assert human == {}
    assert set(text) == {"ROUGE-L", "CIDEr", *STATISTICS}


def test_which_references_a_text_is_compared_with() -> None:
    assert comparisons(3, None) == {"": [[0, 1, 2]], "_loo": [[1, 2], [0, 2], [0, 1]]}
    assert comparisons(3, 1) == {"_loo": [[0, 2]]}
    assert comparisons(1, None) == {"": [[0]]}


def test_lists_of_different_lengths_are_an_error_and_never_cut() -> None:
    with pytest.raises(ValueError, match="texts and references: 2 against 1"):
        score_texts(["one", "two"], [["one"]], [None, None], SCORERS)
    with pytest.raises(ValueError, match="texts and numbers of references: 1 against 2"):
        score_texts(["one"], [["one"]], [None, None], SCORERS)

    def short(pairs: Sequence[Pair]) -> np.ndarray:
        return distance(pairs)[1:]

    scorer: dict[str, Callable[[Sequence[Pair]], np.ndarray]] = {"ROUGE-L": short}
    with pytest.raises(ValueError, match="pairs and their ROUGE-L: 2 against 1"):
        score_texts(["one"], [["one", "two"]], [None], scorer)
