"""Sentence BLEU in array form against sacrebleu, and the two selection rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from eval.mbr import choose, ngram_counts, select, utility_matrices

REFERENCE = Path(__file__).parents[1] / "reference" / "diffusion_lm_reference.npz"
WORDS = ["the", "pub", "is", "cheap", ".", "£", "café", "日本", "U\u0308ber", "a\x00", "a", "\n", "\xa0"]
ODD = [[], ["the"], ["the"] * 9, ["the", "the"], ["\n"], ["日本", "料理", "店"], ["the", "\n"]]


def random_group(seed: int, size: int = 12) -> list[list[str]]:
    generator = np.random.default_rng(seed)
    texts = [
        [WORDS[i] for i in generator.integers(len(WORDS), size=n)] for n in generator.integers(15, size=size)
    ]
    return [*texts, *ODD, list(texts[0])]


def sacrebleu_matrix(group: list[list[str]]) -> np.ndarray:
    bleu = BLEU(tokenize="none", effective_order=True, force=True)
    texts = [" ".join(text) for text in group]
    return np.array([[bleu.sentence_score(h, [r]).score for r in texts] for h in texts])


@pytest.mark.parametrize("seed", range(5))
def test_utilities_equal_sacrebleu(seed: int) -> None:
    group = random_group(seed)
    np.testing.assert_allclose(utility_matrices([group])[0], sacrebleu_matrix(group), rtol=0, atol=1e-12)


def test_utilities_of_ordinary_sentences_equal_sacrebleu() -> None:
    group = [
        "The Eagle is a cheap coffee shop near Burger King in the riverside area .".split(),
        "The Eagle is a cheap coffee shop in the city centre near Burger King .".split(),
        "Near Burger King there is a cheap coffee shop called The Eagle .".split(),
        "The Eagle".split(),
    ]
    np.testing.assert_allclose(utility_matrices([group])[0], sacrebleu_matrix(group), rtol=0, atol=1e-12)


def test_groups_do_not_influence_one_another() -> None:
    first, second = random_group(1), random_group(2)
    together = utility_matrices([first, second])
    np.testing.assert_array_equal(together[1], utility_matrices([second])[0])


def test_a_group_of_empty_candidates_has_no_utility() -> None:
    assert utility_matrices([[[], []]])[0].tolist() == [[0, 0], [0, 0]]
    assert select([[], []]) == 0
    assert select([[], []], "released") == 1


def test_ngrams_do_not_cross_from_one_text_into_the_next() -> None:
    counts = ngram_counts([["a", "b"], ["c", "a", "b", "a", "b"], []])
    assert counts[0].sum(axis=1).tolist() == [2, 5, 0]
    assert [matrix.sum() for matrix in counts] == [7, 5, 3, 2]
    assert counts[1].max() == 2


def test_released_rule_reproduces_the_released_selection() -> None:
    reference = np.load(REFERENCE)
    assert choose(reference["mbr/utility_hyp_ref"], "released") == reference["mbr/selected"][0]


def test_rules_differ_in_direction_and_in_ties() -> None:
    utility = np.array([[100, 60, 0], [10, 100, 10], [0, 0, 100.0]])
    assert choose(utility, "paper") == 0  # rows 30, 10, 0
    assert choose(utility, "released") == 1  # columns 5, 30, 5
    even = np.ones((3, 3))
    assert (choose(even, "paper"), choose(even, "released")) == (0, 2)


def test_the_own_term_does_not_count() -> None:
    assert choose(np.array([[100.0, 0, 0], [0, 0, 1], [0, 1, 0]])) == 1


def test_identical_candidates_tie_in_spite_of_rounding() -> None:
    group = random_group(3)
    best = group[select(group)]
    doubled = [*group, best, best]
    assert doubled.index(best) == select(doubled)
    assert select(doubled, "released") == len(doubled) - 1


def test_the_choice_is_the_candidate_most_like_the_others() -> None:
    group = [
        ["x", "y"],
        "the pub is cheap .".split(),
        "the pub is near .".split(),
        [],
        "a pub is cheap .".split(),
    ]
    assert select(group) == select(group, "released") == 1


def test_one_candidate_is_chosen_and_none_is_an_error() -> None:
    assert select([["a"]]) == select([[]]) == 0
    with pytest.raises(ValueError, match="no candidates"):
        select([])
