"""Ranking candidates: the cut to one sentence, the filters, and both scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from baselines.ranking import (
    Candidate,
    LanguageModelRanker,
    NextSentenceRanker,
    best,
    candidates,
    first_sentence,
    repeats,
)
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel, LanguageModelSettings, Row, build

WORDS = ("Anna", "lost", "the", "key", ".", "She", "searched", "a", "park")
LEFT, RIGHT = ["Anna", "lost", "the", "key", "."], ["She", "searched", "the", "park", "."]


class ByLength:
    """Scores a text by its length and counts a token per word."""

    def scores(self, candidates: list[Candidate]) -> list[float]:
        return [float(len(candidate.text)) for candidate in candidates]

    def tokens(self, candidate: Candidate) -> int:
        return sum(map(len, candidate))


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    settings = LanguageModelSettings("train", hidden=16, layers=2, heads=2, positions=24, dropout=0.0)
    vocabulary = Vocabulary(("START", "END", "UNK", "PAD", *WORDS))
    return build(settings, vocabulary, [], seed=0).requires_grad_(False)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with a next-sentence head, saved as a hub model is."""
    from transformers import BertConfig, BertForNextSentencePrediction, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*special, *map(str.lower, WORDS)]))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(special) + len(WORDS), initializer_range=1.0, **sizes)
    BertForNextSentencePrediction(config).save_pretrained(folder)
    return folder


# --- candidates


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("She searched . A park . And", "She searched ."),
        ("He ran . She searched the park ! And", "He ran . She searched the park !"),  # too early an end
        ("He ran . And so", "He ran ."),  # no other
        ("She searched the", "She searched the"),
        ("", ""),
    ],
)
def test_a_text_is_cut_behind_its_first_sentence(text: str, cut: str) -> None:
    assert first_sentence(text.split()) == cut.split()


def test_repetitive_texts_are_recognised() -> None:
    assert repeats("the park the park the park the park")
    assert not repeats("the park the park the park")  # three times
    assert not repeats("a of the a of the a of the in")
    assert not repeats("key . key . key . key .".replace(" . ", " " * 4))  # no five without spaces around


def test_candidates_differ_and_repetitive_ones_are_the_last_resort() -> None:
    dull, fine = ["park"] * 12, ["She", "searched", "."]
    assert candidates([[*fine, "A"], dull, fine]) == [fine]
    assert candidates([dull, dull]) == [dull]


# --- scores


def test_the_best_text_of_each_gap_wins_and_what_was_read_is_counted() -> None:
    texts = [[["a"], ["a", "key"]], [["park"], ["park"]], [["She", "lost", "a", "key"], ["a"], ["key"]]]
    chosen = best(ByLength(), [(LEFT, RIGHT)] * 3, texts)
    assert [text for text, _ in chosen] == [["a", "key"], ["park"], ["She", "lost", "a", "key"]]
    assert [cost for _, cost in chosen] == [3 + 2 * 10, 0, 6 + 3 * 10]


def test_the_language_models_score_is_the_sum_of_both_means(model: LanguageModel) -> None:
    text, ranker = ["a", "park", "."], LanguageModelRanker(model)
    whole = [model.start, *model.encode([*LEFT, *text, *RIGHT])]
    given = torch.tensor([whole])
    told = model.network(given).logits[0, :-1].log_softmax(-1).gather(1, given[0, 1:, None])[:, 0]
    expected = float(told[5:8].mean() + told[8:].mean())
    (score, _) = ranker.scores([Candidate(LEFT, text, RIGHT), Candidate(LEFT, [], RIGHT)])
    assert score == pytest.approx(expected, abs=1e-5)
    assert ranker.tokens(Candidate(LEFT, text, RIGHT)) == len(whole) - 1


def test_an_empty_text_is_scored_by_what_follows(model: LanguageModel) -> None:
    row = Row([model.start, *model.encode([*LEFT, *RIGHT])], 6)
    (score,) = LanguageModelRanker(model).scores([Candidate(LEFT, [], RIGHT)])
    assert score == pytest.approx(-model.token_losses([row])[0].mean(), abs=1e-6)


def test_berts_score_is_the_sum_of_two_logits(bert: Path) -> None:
    ranker, text = NextSentenceRanker(str(bert)), ["a", "park", "."]
    pairs = [("Anna lost the key .", "a park . She searched the park ."),
             ("Anna lost the key . a park .", "She searched the park .")]  # fmt: skip
    read = [ranker.tokenizer(*pair, return_tensors="pt") for pair in pairs]
    with torch.no_grad():
        expected = sum(float(ranker.network(**each).logits[0, 0]) for each in read)
    scores = ranker.scores([Candidate(LEFT, text, RIGHT), Candidate(LEFT, ["key", "."], RIGHT)])
    assert scores[0] == pytest.approx(expected, abs=1e-5) and scores[0] != pytest.approx(scores[1], abs=1e-3)
    assert ranker.tokens(Candidate(LEFT, text, RIGHT)) == 2 * (13 + 3)


def test_what_is_no_bert_with_the_head_is_refused(bert: Path, tmp_path: Path) -> None:
    from transformers import BertModel

    with pytest.raises(InputError, match=r"missing: not a BERT for ranking \("):
        NextSentenceRanker(str(tmp_path / "missing"))
    BertModel.from_pretrained(bert).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="it has no next-sentence head"):
        NextSentenceRanker(str(tmp_path))
