"""Guards: hand counts, and self-BLEU against sacrebleu."""

from __future__ import annotations

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from eval import guards


def test_doubled_words_counts_adjacent_repeats() -> None:
    assert guards.doubled_words("near near the the the pub near".split()) == 3
    assert guards.doubled_words(["near"]) == guards.doubled_words([]) == 0
    assert guards.doubled_words(["Near", "near"]) == 0


def test_unk_rate_is_percent_of_words() -> None:
    assert guards.unk_rate(["UNK", "is", "UNK", "unk"]) == 50
    assert guards.unk_rate([]) == 0


def test_a_copy_is_a_whole_training_text() -> None:
    training = {("a", "café"), ("b",)}
    assert guards.is_copy(["a", "café"], training)
    assert not guards.is_copy(["a", "cafe\u0301"], training)
    assert not guards.is_copy(["a"], training)
    assert not guards.is_copy([], training)


def test_distinct_n_by_hand() -> None:
    texts = [["a", "b", "a"], ["a", "b"]]
    assert guards.distinct_n(texts, 1) == 2 / 5
    assert guards.distinct_n(texts, 2) == 2 / 3
    assert guards.distinct_n(texts, 4) == 0
    assert guards.distinct_n([[]], 1) == 0


def test_distinct_n_is_the_mean_over_full_blocks() -> None:
    same, other = [["a"]] * 4, [["b"], ["c"], ["d"], ["e"]]
    assert guards.distinct_n(same + other, 1, block=4) == (1 / 4 + 1) / 2
    assert guards.distinct_n([*same, ["z"]], 1, block=4) == 1 / 4  # the rest is not used
    assert guards.distinct_n(same[:3], 1, block=4) == 1 / 3  # one short block


def test_distinct_n_does_not_fall_with_more_of_the_same_kind() -> None:
    draw = np.random.default_rng(0).integers(0, 500, (1280, 8))
    texts = [[str(word) for word in row] for row in draw]
    few, many = guards.distinct_n(texts[:128], 2), guards.distinct_n(texts, 2)
    assert abs(few - many) < 0.02


def sacrebleu_self(texts: list[list[str]]) -> float:
    bleu = BLEU(tokenize="none", effective_order=True, force=True)
    joined = [" ".join(text) for text in texts]
    others = [joined[:i] + joined[i + 1 :] for i in range(len(joined))]
    return float(np.mean([bleu.sentence_score(h, r).score for h, r in zip(joined, others, strict=True)]))


@pytest.mark.parametrize("seed", range(4))
def test_self_bleu_equals_sacrebleu(seed: int) -> None:
    generator = np.random.default_rng(seed)
    words = ["the", "pub", "is", "cheap", "日本", "café", "."]
    texts = [list(generator.choice(words, size=generator.integers(0, 12))) for _ in range(20)]
    texts += [[], ["the"] * 7, ["the"] * 5, list(texts[3])]
    assert guards.self_bleu(texts) == pytest.approx(sacrebleu_self(texts), abs=1e-10)


def test_self_bleu_of_equal_unrelated_and_single_texts() -> None:
    assert guards.self_bleu([["a", "b", "c", "d", "e"]] * 3) == pytest.approx(100)
    assert guards.self_bleu([["a", "b"], ["c", "d"]]) == 0
    assert guards.self_bleu([["a", "b"]]) == 0


def test_self_bleu_is_the_mean_over_full_blocks() -> None:
    texts = [["a", "b"], ["a", "b"], ["c", "d"], ["e", "f"]]
    assert guards.self_bleu(texts, block=2) == pytest.approx(50)


def test_repetitive_texts_have_a_quarter_of_their_word_pairs_again() -> None:
    assert guards.is_repetitive("1 out of 5 1 out of 5".split())
    assert guards.is_repetitive(["a", "b", "a", "b"]) and guards.is_repetitive(["a"] * 3)
    assert guards.is_repetitive("a b c a b".split())  # three of four
    assert not guards.is_repetitive("a b c d a b".split())
    assert not any(map(guards.is_repetitive, ([], ["a"], ["a", "a"])))


def test_duplicates_are_texts_that_equal_another_one() -> None:
    assert guards.duplicate_rate([["a"], ["b"], ["a"], ["a", "b"]]) == 50
    assert guards.duplicate_rate([["a"]]) == 0


def test_mean_length() -> None:
    assert guards.mean_length([["a"], [], ["a", "b"]]) == 1


@pytest.mark.parametrize(
    "guard",
    [guards.mean_length, guards.self_bleu, guards.duplicate_rate, lambda t: guards.distinct_n(t, 1)],
)
def test_no_texts_is_an_error(guard) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="no texts"):
        guard([])


def test_lists_of_different_length_are_an_error() -> None:
    guards.require_same_length([1], ["a"], "texts")
    with pytest.raises(ValueError, match="texts and references: 2 against 1"):
        guards.require_same_length([1, 2], [1], "texts and references")
