"""Decoding: draws, searches, products of experts and steering against whole-sequence logits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from pipeline import decoding
from pipeline.corpora.vocabulary import END, PAD, START, UNK, Vocabulary
from pipeline.decoding import GumbelNoise, Reader, sample, sample_product, search
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel, LanguageModelSettings, build
from pipeline.seeding import generator

PROMPTS = [["food", ":", "17"], ["17"], [], ["food"], ["a", "food", ":", "17", ":"], ["pub"], ["17", "17"]]
OTHER_PROMPTS = [["17"], ["pub"], [":", "food", "17"], [], ["17"], ["a", "Mill"], ["food"]]

MakeModel = Callable[..., LanguageModel]


def generators(count: int) -> list[torch.Generator]:
    return [generator("test", i) for i in range(count)]


def prompt_ids(model: LanguageModel, prompts: Sequence[list[str]] = PROMPTS) -> list[list[int]]:
    return [model.encode_prompt(prompt) for prompt in prompts]


def next_logits(model: LanguageModel, ids: list[int]) -> torch.Tensor:
    """What may come after ``ids``: logits of a whole sequence, without cache or padding."""
    with torch.no_grad():
        logits: torch.Tensor = model.network(torch.tensor([ids])).logits[0, -1]
    special = [START, PAD] if model.word_level else []
    logits[[*special, *map(model.tokenizer.token_to_id, model.prompt_only)]] = -torch.inf
    return logits


def greedy(model: LanguageModel, prompt: list[int], longest: int) -> list[int]:
    new: list[int] = []
    while len(new) < longest and model.end not in new:
        new.append(int(next_logits(model, [*prompt, model.start, *new]).argmax()))
    return [i for i in new if i != model.end]


# --- draws


def test_sampling_does_not_depend_on_the_batch(model: LanguageModel) -> None:
    prompts = prompt_ids(model)
    together = sample(model, prompts, generators(7), 12, 1.0)
    alone = [sample(model, [p], [g], 12, 1.0)[0] for p, g in zip(prompts, generators(7), strict=True)]
    assert together == alone
    assert len({tuple(ids) for ids in together}) > 3
    assert all(len(ids) <= 12 and not {START, END, PAD} & {*ids} for ids in together)


def test_a_row_follows_its_generator_not_its_place(model: LanguageModel) -> None:
    prompts = prompt_ids(model)[1:2] * 3
    first, second, third = sample(model, prompts, [generator(n) for n in ("a", "b", "a")], 12, 1.0)
    assert first == third != second


def test_low_temperature_and_one_beam_are_greedy(model: LanguageModel) -> None:
    prompts = prompt_ids(model)
    expected = [greedy(model, prompt, 12) for prompt in prompts]
    assert sample(model, prompts, generators(7), 12, 1e-6) == expected
    assert sample(model, prompts, generators(7), 12, 0.0) == expected
    assert search(model, prompts, 1, 12) == expected


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampled_words_follow_the_softmax(model: LanguageModel, temperature: float) -> None:
    draws, prompt = 3000, model.encode_prompt(["17"])
    drawn = sample(model, [prompt] * draws, generators(draws), 1, temperature)
    logits = next_logits(model, [*prompt, START])
    counts = np.bincount([ids[0] if ids else END for ids in drawn], minlength=len(logits))
    share = (logits / temperature).softmax(-1).double().numpy()
    assert counts[share == 0].sum() == 0
    possible = share > 0
    expected = share[possible] / share.sum() * draws
    assert expected.min() > 5  # the test's own condition
    assert chisquare(counts[possible], expected).pvalue > 0.01


def test_gumbel_noise_is_finite_and_moves_only_its_row() -> None:
    scores = torch.zeros(2, 1000)
    noisy = GumbelNoise([generator("a"), generator("b")], 2.0)(torch.zeros(2, 1), scores)
    assert noisy.isfinite().all() and not torch.equal(noisy[0], noisy[1])
    alone = GumbelNoise([generator("b")], 1.0)(torch.zeros(1, 1), scores[:1])
    torch.testing.assert_close(noisy[1], 2 * alone[0])
    assert abs(float(noisy.mean()) / 2 - 0.577) < 0.1  # Euler's constant


# --- steering


def test_steering_sees_plain_logits_and_is_drawn_from(model: LanguageModel) -> None:
    """Where it makes all words equally likely, the noise alone decides."""
    prompts, seen = prompt_ids(model), dict[int, torch.Tensor]()

    def flat(rows: Sequence[int]) -> list[decoding.Processor]:
        def process(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            seen.update(zip(rows, scores, strict=True))
            return scores.where(scores.isinf(), 0.0)

        return [process]

    drawn = sample(model, prompts, generators(7), 1, 1.0, flat)
    for row, prompt in enumerate(prompts):
        logits = next_logits(model, [*prompt, START])
        torch.testing.assert_close(seen[row], logits, atol=1e-5, rtol=1e-5)
    flattened = logits.where(logits.isinf(), 0.0).repeat(7, 1)
    expected = GumbelNoise(generators(7), 1.0)(torch.zeros(7, 1), flattened).argmax(-1).tolist()
    assert [ids[0] if ids else END for ids in drawn] == expected
    assert len({*expected}) > 3


def test_steering_knows_rows_by_the_callers_numbers(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although rows of similar prompt length are written together."""
    monkeypatch.setattr(decoding, "BATCH_ROWS", 3)
    prompts, batches = prompt_ids(model), list[list[int]]()

    def force(rows: Sequence[int]) -> list[decoding.Processor]:
        batches.append(list(rows))

        def process(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            wanted = torch.full_like(scores, -torch.inf)
            for place, row in enumerate(rows):
                given = [i for i in ids[place].tolist() if i != PAD]
                assert given[: len(prompts[row]) + 1] == [*prompts[row], START]
                wanted[place, 4 + row] = 0
            return wanted

        return [process]

    assert sample(model, prompts, generators(7), 2, 1.0, force) == [[4 + row] * 2 for row in range(7)]
    lengths = [sorted(len(prompts[i]) for i in rows) for rows in batches]
    assert [len(rows) for rows in batches] == [3, 3, 1] and lengths == sorted(lengths)
    assert sorted(itertools.chain(*batches)) == list(range(7))


# --- search


def mean_log_probability(model: LanguageModel, prompt: list[int], new: list[int], longest: int) -> float:
    ended = [*new, END] if len(new) < longest else new
    given = [*prompt, START]
    with torch.no_grad():
        logs = model.network(torch.tensor([[*given, *ended]])).logits[0].log_softmax(-1)
    return float(np.mean([logs[len(given) - 1 + place, i] for place, i in enumerate(ended)]))


def test_search_finds_likelier_texts_than_greedy(model: LanguageModel) -> None:
    prompts = prompt_ids(model)
    for prompt, found in zip(prompts, search(model, prompts, 4, 12), strict=True):
        least = mean_log_probability(model, prompt, greedy(model, prompt, 12), 12)
        assert mean_log_probability(model, prompt, found, 12) >= least - 1e-5
    assert search(model, prompts, 4, 12) == [search(model, [prompt], 4, 12)[0] for prompt in prompts]


def test_a_wide_beam_finds_the_best_text(model: LanguageModel, vocabulary: Vocabulary) -> None:
    words = [UNK, *range(4, len(vocabulary))]
    texts = [[], *([a] for a in words), *([a, b] for a, b in itertools.product(words, words))]
    for prompt in prompt_ids(model)[:3]:
        best = max(texts, key=lambda text: mean_log_probability(model, prompt, text, 2))
        assert search(model, [prompt], len(words) + 1, 2) == [best]


def test_decoding_refuses_what_does_not_fit(model: LanguageModel) -> None:
    assert len(search(model, [[4] * 3], 1, 21)[0]) <= 21  # 3 + START + 20 words are read
    with pytest.raises(InputError, match="24 positions.*needs 25"):
        search(model, [[4] * 3], 1, 22)
    with pytest.raises(InputError, match="24 positions.*needs 25"):
        sample(model, [[4] * 3], generators(1), 22, 1.0)


# --- reading


def test_a_reader_agrees_with_whole_sequences_behind_any_prompt(model: LanguageModel) -> None:
    prompts = prompt_ids(model)
    reader = Reader(model, prompts)
    words = torch.randint(4, 11, (7, 6), generator=generator("words"))
    found = [reader.read(reader.first), *(reader.read(words[:, [step]]) for step in range(6))]
    for step, logs in enumerate(found):
        for row, prompt in enumerate(prompts):
            logits = next_logits(model, [*prompt, START, *words[row, :step].tolist()])
            torch.testing.assert_close(logs[row], logits.log_softmax(-1), atol=1e-5, rtol=1e-5)


def test_a_reader_takes_several_words_at_once(model: LanguageModel) -> None:
    prompts, words = prompt_ids(model), torch.randint(4, 11, (7, 5), generator=generator("words"))
    one, several = Reader(model, prompts), Reader(model, prompts)
    for reader in (one, several):
        reader.read(reader.first)
    for step in range(5):
        stepwise = one.read(words[:, [step]])
    torch.testing.assert_close(several.read(words), stepwise, atol=1e-5, rtol=1e-5)


def test_a_reader_refuses_what_does_not_fit(model: LanguageModel) -> None:
    reader = Reader(model, [[4] * 22])
    assert reader.read(reader.first).shape == (1, len(model.tokenizer.get_vocab()))
    reader.read(torch.tensor([[5]]))
    with pytest.raises(InputError, match="24 positions.*needs 25"):
        reader.read(torch.tensor([[5]]))


# --- products of experts


def product(
    experts: Sequence[LanguageModel], prompts: Sequence[list[list[str]]], weights: Sequence[float],
    longest: int = 12, temperature: float = 1.0,
) -> list[list[int]]:  # fmt: skip
    """Seven texts, or as many as there are prompts."""
    given = [prompt_ids(model, own) for model, own in zip(experts, prompts, strict=True)]
    return sample_product(experts, given, weights, generators(len(given[0])), longest, temperature)


def test_all_weight_on_one_expert_is_that_expert(model: LanguageModel, make_model: MakeModel) -> None:
    alone = sample(model, prompt_ids(model), generators(7), 12, 1.0)
    experts = [model, make_model(seed=2)]
    assert product(experts, [PROMPTS, OTHER_PROMPTS], (1, 0)) == alone
    assert product(experts[::-1], [OTHER_PROMPTS, PROMPTS], (0, 1)) == alone
    assert product(experts, [PROMPTS, OTHER_PROMPTS], (0.5, 0.5)) != alone


def test_two_halves_of_one_model_are_the_model(model: LanguageModel) -> None:
    alone = sample(model, prompt_ids(model), generators(7), 12, 1.0)
    assert product([model, model], [PROMPTS, PROMPTS], (0.5, 0.5)) == alone
    assert product([model], [PROMPTS], (1,)) == alone


def test_the_order_of_experts_does_not_matter(model: LanguageModel, make_model: MakeModel) -> None:
    other = make_model(seed=2)
    found = product([model, other], [PROMPTS, OTHER_PROMPTS], (0.7, 0.4))
    assert product([other, model], [OTHER_PROMPTS, PROMPTS], (0.4, 0.7)) == found


def test_experts_meet_in_the_words_that_both_can_write(model: LanguageModel, make_model: MakeModel) -> None:
    """One has more words for prompts; the likeliest word of the product is that of plain logits."""
    more = make_model(["food", ":", "17", "NOUN", "VERB"], seed=2)
    weights, words = (0.7, 0.4), len(model.tokenizer.get_vocab()) - len(model.prompt_only)
    for experts, shares in (([model, more], weights), ([more, model], weights[::-1])):
        found = product(experts, [PROMPTS, PROMPTS], shares, temperature=0.0)
        for prompt, ids in zip(PROMPTS, found, strict=True):
            new: list[int] = []
            while len(new) < 12 and END not in new:
                texts = [[*model.encode_prompt(prompt), START, *new] for model in experts]
                logs = [
                    share * next_logits(model, text)[:words].log_softmax(-1)
                    for model, share, text in zip(experts, shares, texts, strict=True)
                ]
                new.append(int((logs[0] + logs[1]).argmax()))
            assert ids == [i for i in new if i != END]
        for some in (shares, (0, 1), (1, 0), (1.5, -0.5)):
            drawn = product(experts, [PROMPTS, PROMPTS], some, temperature=3.0)
            assert {i for ids in drawn for i in ids} <= {*range(words)} - {START, END, PAD}


def test_a_products_text_does_not_depend_on_its_batch(
    model: LanguageModel, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    experts, weights = [model, make_model(seed=2)], (0.6, 0.6)
    together = product(experts, [PROMPTS, OTHER_PROMPTS], weights)
    assert len({tuple(ids) for ids in together}) > 3
    monkeypatch.setattr(decoding, "BATCH_ROWS", 3)
    assert product(experts, [PROMPTS, OTHER_PROMPTS], weights) == together
    monkeypatch.setattr(decoding, "BATCH_ROWS", 1)
    assert product(experts, [PROMPTS, OTHER_PROMPTS], weights) == together


def test_a_product_refuses_what_does_not_fit_at_once(
    model: LanguageModel, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    experts = [model, make_model(seed=2)]
    long, short = [["pub"] * 3], [["pub"]]
    for prompts in ([long, short], [short, long]):
        assert len(product(experts, prompts, (1, 1), longest=21)[0]) <= 21
        monkeypatch.setattr(Reader, "read", pytest.fail)
        with pytest.raises(InputError, match="24 positions.*needs 25"):
            product(experts, prompts, (1, 1), longest=22)
        monkeypatch.undo()


# --- pretrained


def test_pretrained_decoding(pretrained: LanguageModelSettings, vocabulary: Vocabulary) -> None:
    model = build(pretrained, vocabulary, [], seed=0)
    prompts = prompt_ids(model, [["The", "Mill"], [], ["pub"]])
    expected = [greedy(model, prompt, 9) for prompt in prompts]  # 3 tokens per word
    assert search(model, prompts, 1, 3) == expected
    together = sample(model, prompts, generators(3), 3, 1.0)
    assert together == [
        sample(model, [p], [g], 3, 1.0)[0] for p, g in zip(prompts, generators(3), strict=True)
    ]
    assert sample_product([model] * 2, [prompts] * 2, (0.5, 0.5), generators(3), 3, 1.0) == together
