"""The best of several texts for a gap, after DELOREAN's released ranking (abductive_ranking.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch

from pipeline.device import device
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel, Row
from pipeline.pretrained import require_safetensors

END_MARKS = (".", "!", "?")
EARLIEST_END = 10  # characters before an end mark; fewer are an abbreviation (abductive_ranking.py:140-149)
REPEATED, TIMES = 5, 4  # a text that has so many characters so many times is dropped (:165-181)


class Candidate(NamedTuple):
    """A text between two sentences, all as words."""

    left: list[str]
    text: list[str]
    right: list[str]


class Ranker(Protocol):
    """Scores candidates, the higher the better."""

    def scores(self, candidates: Sequence[Candidate]) -> list[float]:
        """One score per candidate."""

    def tokens(self, candidate: Candidate) -> int:
        """Tokens read for a candidate's score."""


class LanguageModelRanker:
    """log p(h | left) / |h| + log p(right | left, h) / |right| of text h."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def scores(self, candidates: Sequence[Candidate]) -> list[float]:
        """Both means in nats; an empty side counts 0."""
        losses = self.model.token_losses([self._row(candidate) for candidate in candidates])
        split = [(own[: len(c.text)], own[len(c.text) :]) for own, c in zip(losses, candidates, strict=True)]
        return [-sum(float(part.mean()) for part in parts if len(part)) for parts in split]

    def tokens(self, candidate: Candidate) -> int:
        """START and all words but the last."""
        return len(self._row(candidate).ids) - 1

    def _row(self, candidate: Candidate) -> Row:
        left, text, right = map(self.model.encode, candidate)
        return Row([self.model.start, *left, *text, *right], 1 + len(left))


class NextSentenceRanker:
    """BERT's logit that ``text right`` follows left, plus that that right follows ``left text`` (:50-79).

    Args:
        source: hub name or local folder.

    Raises:
        InputError: it cannot be loaded, or has no next-sentence head.
    """

    def __init__(self, source: str) -> None:
        from transformers import AutoModelForNextSentencePrediction, AutoTokenizer

        how = "give a hub name that can be reached, a local folder, or 'language_model'"
        require_safetensors(source)
        try:
            network, told = AutoModelForNextSentencePrediction.from_pretrained(
                source, use_safetensors=True, output_loading_info=True
            )
            if told["missing_keys"]:
                raise ValueError("it has no next-sentence head")
            self.tokenizer = AutoTokenizer.from_pretrained(source)
        except (OSError, ValueError) as error:
            what = f"not a BERT for ranking ({str(error).splitlines()[0]})"
            raise InputError(source, what, how) from None
        self.network = network.to(device()).eval()

    @torch.no_grad()
    def scores(self, candidates: Sequence[Candidate]) -> list[float]:
        """Sums of two logits; one candidate at a time, like the original."""
        return [
            sum(float(self.network(**self._read(*pair)).logits[0, 0]) for pair in self._pairs(candidate))
            for candidate in candidates
        ]

    def tokens(self, candidate: Candidate) -> int:
        """Both readings of a candidate, special tokens included."""
        return sum(self._read(*pair)["input_ids"].shape[1] for pair in self._pairs(candidate))

    def _read(self, first: list[str], second: list[str]) -> dict[str, torch.Tensor]:
        read = self.tokenizer(" ".join(first), " ".join(second), truncation=True, return_tensors="pt")
        return {name: tensor.to(device()) for name, tensor in read.items()}

    def _pairs(self, candidate: Candidate) -> list[tuple[list[str], list[str]]]:
        left, text, right = candidate
        return [(left, [*text, *right]), ([*left, *text], right)]


def first_sentence(words: Sequence[str]) -> list[str]:
    """Words up to the first end mark behind ten characters; if all come earlier, up to the last; else all."""
    ends = [i for i, word in enumerate(words) if word in END_MARKS]
    late = [i for i in ends if len(" ".join(words[:i])) >= EARLIEST_END]
    end = late[0] if late else ends[-1] if ends else len(words)
    return list(words[: end + 1])


def repeats(text: str) -> bool:
    """Whether at least five characters without spaces around stand in it four times, one after another."""
    stretches = (text[i : i + REPEATED] for i in range(len(text)))
    return any(
        part == part.strip() and len(part) == REPEATED and text.count(part) >= TIMES for part in stretches
    )


def candidates(texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """The different first sentences of texts, without repetitive ones unless there are no others."""
    cut = [list(words) for words in sorted({tuple(first_sentence(text)) for text in texts})]
    return [words for words in cut if not repeats(" ".join(words))] or cut


def best(
    ranker: Ranker, gaps: Sequence[tuple[list[str], list[str]]], texts: Sequence[Sequence[list[str]]]
) -> list[tuple[list[str], int]]:
    """The best text of each gap (left and right), and the tokens read for it; a single text is not ranked."""
    sets = [
        [Candidate(left, text, right) for text in candidates(own)]
        for (left, right), own in zip(gaps, texts, strict=True)
    ]
    scores = iter(ranker.scores([candidate for own in sets if len(own) > 1 for candidate in own]))
    chosen = []
    for own in sets:
        if len(own) == 1:
            chosen.append((own[0].text, 0))
            continue
        scored = [(next(scores), candidate.text) for candidate in own]
        chosen.append((max(scored, key=lambda pair: pair[0])[1], sum(map(ranker.tokens, own))))
    return chosen
