"""The logits processor: exact posteriors of a language that can be enumerated, and what it leaves alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.fudge.controls import Asked
from baselines.fudge.discriminator import Discriminator
from baselines.fudge.processor import FudgeProcessor, Part
from pipeline.corpora.vocabulary import END, PAD, START, UNK, Vocabulary
from pipeline.language_model import LanguageModel, LanguageModelSettings, build

LONGEST = 3  # words of a text of the enumerable language
VOCABULARY = Vocabulary.build([["a", "pub"]], more_than=0)
WORDS = (UNK, *VOCABULARY.encode(["a", "pub"]))
CHOICES = (*WORDS, END)
NOBODY = Asked(torch.zeros(64, 1, 0), torch.zeros(64, dtype=torch.long))

Ids = tuple[int, ...]


def texts() -> Iterator[Ids]:
    """Every text: three words, or fewer and END."""
    for words in range(LONGEST + 1):
        yield from (text if words == LONGEST else (*text, END) for text in product(WORDS, repeat=words))


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    """A language model of random, far from uniform weights."""
    made = build(LanguageModelSettings("train", 16, 1, 2, positions=8, dropout=0.0), VOCABULARY, [], seed=0)
    with torch.no_grad():
        made.network.get_input_embeddings().weight.mul_(20)
    return made


@torch.no_grad()
def scores(model: LanguageModel, prefixes: list[Ids]) -> Tensor:
    """Logits [B, V] of the word after prefixes of one length, as decoding hands them to processors."""
    logits: Tensor = model.network(input_ids=torch.tensor(prefixes)).logits[:, -1]
    logits[:, model.barred] = -torch.inf
    return logits


def log_probabilities(model: LanguageModel, steer: FudgeProcessor | None) -> dict[Ids, float]:
    """log P of every text, word by word, with the processor (or none) between model and softmax."""
    found: dict[Ids, float] = {}
    for length in range(1, LONGEST + 1):
        prefixes = [(START, *words) for words in product(WORDS, repeat=length - 1)]
        logits = scores(model, prefixes)
        logits = steer(torch.tensor(prefixes), logits) if steer else logits
        for prefix, row in zip(prefixes, logits.log_softmax(-1).tolist(), strict=True):
            before = found.get(prefix[1:], 0.0)
            found |= {(*prefix[1:], word): before + row[word] for word in CHOICES}
    return {text: found[text] for text in texts()}


class Exact:
    """The true log P(control | first words), where texts meet the control with given probabilities."""

    def __init__(self, prior: dict[Ids, float], meets: dict[Ids, float]) -> None:
        self.mass, self.joint = dict[Ids, float](), dict[Ids, float]()
        for text, log_probability in prior.items():
            for end in range(len(text) + 1):
                prefix, probability = text[:end], math.exp(log_probability)
                self.mass[prefix] = self.mass.get(prefix, 0) + probability
                self.joint[prefix] = self.joint.get(prefix, 0) + probability * meets[text]

    def candidates(self, prefix: Tensor, asked: Asked, ids: Tensor) -> Tensor:
        told = [
            [self.after((*words[1:], choice)) for choice in row]
            for words, row in zip(prefix.tolist(), ids.tolist(), strict=True)
        ]
        return torch.tensor(told)

    def after(self, prefix: Ids) -> float:
        return math.log(self.joint[prefix] / self.mass[prefix]) if prefix in self.mass else -1.0


def control(seed: int) -> dict[Ids, float]:
    random = torch.Generator().manual_seed(seed)
    return {text: float(torch.rand((), generator=random) ** 3) for text in texts()}


def processor(*parts: tuple[object, float], candidates: int = 100, words: int = 6) -> FudgeProcessor:
    return FudgeProcessor([Part(d, strength, NOBODY) for d, strength in parts], candidates, words)


def test_with_exact_probabilities_every_text_gets_its_posterior(model: LanguageModel) -> None:
    prior, meets = log_probabilities(model, None), control(1)
    assert sum(map(math.exp, prior.values())) == pytest.approx(1)
    posterior = log_probabilities(model, processor((Exact(prior, meets), 1.0)))
    evidence = sum(math.exp(prior[text]) * meets[text] for text in prior)
    expected = {text: prior[text] + math.log(meets[text] / evidence) for text in prior}
    assert posterior == pytest.approx(expected, abs=1e-4)
    assert max(abs(posterior[text] - prior[text]) for text in prior) > 1


def test_with_two_controls_the_first_word_is_weighed_by_both(model: LanguageModel) -> None:
    prior = log_probabilities(model, None)
    first, second = Exact(prior, control(1)), Exact(prior, control(2))
    start = torch.tensor([[START]])
    steered = processor((first, 2.0), (second, 0.5))(start, scores(model, [(START,)]))
    for word in CHOICES:
        expected = scores(model, [(START,)])[0, word] + 2 * first.after((word,)) + 0.5 * second.after((word,))
        assert steered[0, word].item() == pytest.approx(float(expected), abs=1e-5)


def test_a_part_of_no_strength_is_not_asked(model: LanguageModel) -> None:
    exact = Exact(log_probabilities(model, None), control(1))
    with_both = log_probabilities(model, processor((exact, 3.0), (None, 0.0)))
    assert with_both == log_probabilities(model, processor((exact, 3.0)))
    assert log_probabilities(model, processor((None, 0.0))) == log_probabilities(model, None)


class Constant:
    """Tells the same of every candidate, and keeps the prefixes it was asked about."""

    def __init__(self) -> None:
        self.prefixes: list[list[int]] = []

    def candidates(self, prefix: Tensor, asked: Asked, ids: Tensor) -> Tensor:
        self.prefixes += prefix.tolist()
        return torch.full(ids.shape, -1.0) * asked.output[:, None]


def test_only_the_best_words_of_the_language_model_are_judged() -> None:
    ids, before = torch.full((4, 3), 5), torch.randn(4, 12)
    asked = Asked(torch.zeros(4, 1, 0), torch.arange(4))
    after = FudgeProcessor([Part(Constant(), 2.0, asked)], 5, words=12)(ids, before)
    kept = before >= before.topk(5).values[:, -1:]
    assert torch.equal(after == -torch.inf, ~kept) and kept.sum() == 20
    expected = before - 2.0 * torch.arange(4)[:, None]
    torch.testing.assert_close(after[kept], expected[kept])


def test_tokens_that_are_no_words_of_the_vocabulary_are_never_written() -> None:
    before = torch.arange(12.0).repeat(2, 1)
    after = FudgeProcessor([], 5, words=9)(torch.full((2, 1), START), before)
    assert after.isfinite()[0].tolist() == [False] * 4 + [True] * 5 + [False] * 3


def test_half_precision_changes_little(world: Any, trained: Callable[[str, int], Path]) -> None:
    model = Discriminator.load(trained("parts_of_speech", 300))
    asked = model.encoding.asked([world.target("parts_of_speech", i) for i in range(40)], torch.device("cpu"))
    ids = torch.tensor([[START, *world.vocabulary.encode(text.tokens[:4])] for text in world.valid[:40]])
    exact, half = (
        FudgeProcessor([Part(model, 1.0, asked)], 100, len(world.vocabulary), precision)(
            ids, torch.zeros(40, len(world.vocabulary))
        )
        for precision in ("fp32", "bf16")
    )
    kept = exact.isfinite()
    assert kept.sum(1).eq(100).all() and exact[kept].min() < -3
    assert 0 < (exact[kept] - half[kept]).abs().mean() < 0.02


def test_rows_that_have_ended_are_left_alone_and_change_nothing() -> None:
    ids = torch.tensor([[START, 5, 6, 7], [START, 5, END, PAD], [START, 7, 7, 7], [START, 8, 8, END]])
    asked, before = Asked(torch.zeros(4, 1, 0), torch.arange(4)), torch.randn(4, 12)
    future = Constant()
    after = FudgeProcessor([Part(future, 2.0, asked)], 5, words=12)(ids, before)
    assert torch.equal(after[[1, 3]], before[[1, 3]])
    assert future.prefixes == ids[[0, 2]].tolist()
    for row in (0, 2):
        part = Part(Constant(), 2.0, asked.at(torch.tensor([row])))
        alone = FudgeProcessor([part], 5, words=12)(ids[[row]], before[[row]])
        assert torch.equal(after[[row]], alone)
