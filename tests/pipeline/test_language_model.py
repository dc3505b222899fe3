"""Language models: losses against plain torch, tokens, decoding, files, and the pretrained form."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.corpora.vocabulary import END, PAD, START, UNK, Vocabulary
from pipeline.errors import InputError
from pipeline.language_model import GumbelNoise, LanguageModel, LanguageModelSettings, build, fit
from pipeline.seeding import generator
from pipeline.training import TrainingSettings

VOCABULARY = Vocabulary(("START", "END", "UNK", "PAD", "The", "Mill", "café", "is", "a", "pub", "\n"))
SETTINGS = LanguageModelSettings("train", hidden=16, layers=2, heads=2, positions=24, dropout=0.1)
TRAINING = TrainingSettings(30, 4, 1e-2, 0, 0.0, 1.0, 0.0, 0.0, "fp32", 0)
TEXTS = [["The", "Mill", "is", "a", "pub"], [], ["pub"], ["a", "café", "The", "\n", "brasserie"]]
PROMPTS = [["food", ":", "17"], ["17"], [], ["food"], ["a", "food", ":", "17", ":"], ["pub"], ["17", "17"]]


@pytest.fixture
def model() -> LanguageModel:
    """Random weights, wide enough apart that some words are much likelier than others."""
    torch.set_num_threads(1)
    made = build(SETTINGS, VOCABULARY, ["food", ":", "17", "a", "food"], seed=1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(7 if parameter.dim() == 2 else 1)
    return made


def generators(count: int) -> list[torch.Generator]:
    return [generator("test", i) for i in range(count)]


def prompt_ids(model: LanguageModel) -> list[list[int]]:
    return [model.encode_prompt(prompt) for prompt in PROMPTS]


def next_logits(model: LanguageModel, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.network(torch.tensor([ids])).logits[0, -1]
    logits[[START, PAD, *range(len(VOCABULARY), len(logits))]] = -torch.inf  # a text cannot have these
    return logits


def greedy(model: LanguageModel, prompt: list[int], longest: int) -> list[int]:
    new: list[int] = []
    while len(new) < longest and model.end not in new:
        new.append(int(next_logits(model, [*prompt, model.start, *new]).argmax()))
    return [i for i in new if i != model.end]


# --- tokens


def test_encode_gives_unk_to_unknown_special_and_prompt_only_words(model: LanguageModel) -> None:
    assert model.encode(["café", "cafe\u0301", "\n", "a", ""]) == [6, UNK, 10, 8, UNK]
    assert model.encode(["START", "END", "PAD", "17"]) == [UNK] * 4
    assert model.encode_prompt(["a", "17", "END"]) == [8, model.tokenizer.token_to_id("17"), UNK]
    assert model.encode([]) == []
    assert model.prompt_only == ["food", ":", "17"]


def test_decode_undoes_encode_up_to_end(model: LanguageModel) -> None:
    for text in ([], ["The", "café", "UNK", "\n"]):
        assert model.decode([START, *model.encode(text), END, 5]) == text
        assert model.decode(model.encode(text)) == text


def test_a_row_is_prompt_start_words_end(model: LanguageModel) -> None:
    row = model.row(["pub"], ["17"])
    assert row.ids == [*model.encode_prompt(["17"]), START, 9, END] and row.prompt == 2


# --- losses


def test_token_losses_are_cross_entropies_after_the_prompt(model: LanguageModel) -> None:
    rows = [model.row(text, prompt) for text, prompt in zip(TEXTS, PROMPTS, strict=False)]
    for row, losses in zip(rows, model.token_losses(rows), strict=True):
        with torch.no_grad():
            logs = model.network(torch.tensor([row.ids])).logits[0].double().log_softmax(-1)
        places = range(row.prompt, len(row.ids))
        expected = [-float(logs[place - 1, row.ids[place]]) for place in places]
        assert losses.dtype == np.float64
        np.testing.assert_allclose(losses, expected, atol=1e-5)


def test_token_losses_do_not_depend_on_the_batch(model: LanguageModel) -> None:
    rows = [model.row(text, prompt) for text, prompt in zip(2 * TEXTS, PROMPTS, strict=False)]
    together = model.token_losses(rows)
    for row, losses in zip(rows, together, strict=True):
        np.testing.assert_allclose(model.token_losses([row])[0], losses, atol=1e-5)
        np.testing.assert_allclose(model.token_losses([row] * 3, batch_tokens=1)[1], losses, atol=1e-5)
    assert model.token_losses([]) == []


def test_prompt_and_padding_do_not_count(model: LanguageModel) -> None:
    losses = model.losses([model.row(["pub"], ["17", "food"]), model.row(TEXTS[0], [])])
    assert (losses != 0).tolist() == [[False, False, True, True, False, False], [True] * 6]


def test_too_long_a_row_is_told(model: LanguageModel, tmp_path: Path) -> None:
    longest, longer = model.row(["pub"] * 23), model.row(["pub"] * 24)
    assert len(model.token_losses([longest])[0]) == 24
    with pytest.raises(InputError, match="24 positions.*needs 25"):
        model.token_losses([longest, longer])
    with pytest.raises(InputError, match="24 positions.*needs 25"):
        fit(model, [longer], TRAINING, tmp_path, "test", "")


def test_fit_learns_its_rows(tmp_path: Path) -> None:
    model = build(SETTINGS, VOCABULARY, [], seed=0)
    rows = [model.row(text) for text in TEXTS]
    before = np.concatenate(model.token_losses(rows)).mean()
    fit(model, rows, TRAINING, tmp_path, "test", "")
    assert np.concatenate(model.token_losses(rows)).mean() < 0.7 * before
    assert not model.training


# --- files


def test_save_and_load(model: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path, SETTINGS, task="length")
    loaded = LanguageModel.load(path, task="length")
    rows = [model.row(text, ["17"]) for text in TEXTS]
    for before, after in zip(model.token_losses(rows), loaded.token_losses(rows), strict=True):
        np.testing.assert_array_equal(before, after)
    assert loaded.prompt_only == model.prompt_only and not loaded.training
    with pytest.raises(InputError, match="task is 'length', expected 'infilling'"):
        LanguageModel.load(path, task="infilling")


# --- decoding


def test_sampling_does_not_depend_on_the_batch(model: LanguageModel) -> None:
    prompts = prompt_ids(model)
    together = model.sample(prompts, generators(7), 12, 1.0)
    alone = [model.sample([p], [g], 12, 1.0)[0] for p, g in zip(prompts, generators(7), strict=True)]
    assert together == alone
    assert len({tuple(ids) for ids in together}) > 3
    assert all(len(ids) <= 12 and not {START, END, PAD} & {*ids} for ids in together)


def test_a_row_follows_its_generator_not_its_place(model: LanguageModel) -> None:
    prompts = prompt_ids(model)[1:2] * 3
    first, second, third = model.sample(prompts, [generator(n) for n in ("a", "b", "a")], 12, 1.0)
    assert first == third != second


def test_low_temperature_and_one_beam_are_greedy(model: LanguageModel) -> None:
    prompts = prompt_ids(model)
    expected = [greedy(model, prompt, 12) for prompt in prompts]
    assert model.sample(prompts, generators(7), 12, 1e-6) == expected
    assert model.sample(prompts, generators(7), 12, 0.0) == expected
    assert model.search(prompts, 1, 12) == expected


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampled_words_follow_the_softmax(model: LanguageModel, temperature: float) -> None:
    draws, prompt = 3000, model.encode_prompt(["17"])
    drawn = model.sample([prompt] * draws, generators(draws), 1, temperature)
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


def mean_log_probability(model: LanguageModel, prompt: list[int], new: list[int], longest: int) -> float:
    ended = [*new, END] if len(new) < longest else new
    given = [*prompt, START]
    with torch.no_grad():
        logs = model.network(torch.tensor([[*given, *ended]])).logits[0].log_softmax(-1)
    return float(np.mean([logs[len(given) - 1 + place, i] for place, i in enumerate(ended)]))


def test_search_finds_likelier_texts_than_greedy(model: LanguageModel) -> None:
    prompts = prompt_ids(model)
    for prompt, found in zip(prompts, model.search(prompts, 4, 12), strict=True):
        least = mean_log_probability(model, prompt, greedy(model, prompt, 12), 12)
        assert mean_log_probability(model, prompt, found, 12) >= least - 1e-5
    assert model.search(prompts, 4, 12) == [model.search([prompt], 4, 12)[0] for prompt in prompts]


def test_a_wide_beam_finds_the_best_text(model: LanguageModel) -> None:
    words = [UNK, *range(4, len(VOCABULARY))]
    texts = [[], *([a] for a in words), *([a, b] for a, b in itertools.product(words, words))]
    for prompt in prompt_ids(model)[:3]:
        best = max(texts, key=lambda text: mean_log_probability(model, prompt, text, 2))
        assert model.search([prompt], len(words) + 1, 2) == [best]


def test_decoding_refuses_what_does_not_fit(model: LanguageModel) -> None:
    assert len(model.search([[4] * 3], 1, 21)[0]) <= 21  # 3 + START + 20 words are read
    with pytest.raises(InputError, match="24 positions.*needs 25"):
        model.search([[4] * 3], 1, 22)


# --- pretrained


@pytest.fixture
def pretrained(tmp_path: Path) -> LanguageModelSettings:
    """A folder with a tiny GPT-2, whose own decoding settings must not matter, and its BPE tokenizer."""
    torch.manual_seed(0)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(["The Mill is a cheap pub near the riverside ."] * 3, trainer)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>").save_pretrained(tmp_path)
    end = bpe.token_to_id("<|endoftext|>")
    config = GPT2Config(
        vocab_size=bpe.get_vocab_size(), n_positions=48, n_embd=16, n_layer=1, n_head=2,
        bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    network = GPT2LMHeadModel(config)
    assert network.generation_config is not None
    network.generation_config.repetition_penalty = 3.0
    network.save_pretrained(tmp_path)
    return replace(SETTINGS, source=str(tmp_path))


def test_pretrained_words_survive(pretrained: LanguageModelSettings) -> None:
    model = build(pretrained, VOCABULARY, ["AMOD"], seed=0)
    for spelled in ("", "The UNK is a café .", "UNK UNK , JUNK AMOD pub", "<|endoftext|> x"):
        text = spelled.split()
        ids = model.encode(text)
        assert model.end not in ids
        assert model.decode([*ids, model.end, 5]) == text
    assert model.encode(["a", "UNK", "b"])[1] == model.unknown
    given, learned = model.encode(["a"]), model.encode(["The"])
    assert model.row(["The"], ["a"]).ids == [*given, model.end, *learned, model.end]


def test_pretrained_weights_are_kept_and_saved(pretrained: LanguageModelSettings, tmp_path: Path) -> None:
    model = build(pretrained, VOCABULARY, [], seed=0)
    source = GPT2LMHeadModel.from_pretrained(pretrained.source).eval()
    ids = torch.tensor([model.row(["The", "Mill"]).ids])
    with torch.no_grad():
        expected, logits = source(ids).logits, model.network(ids).logits
    torch.testing.assert_close(logits[..., : expected.shape[-1]], expected)
    assert logits.shape[-1] == expected.shape[-1] + 1  # UNK
    assert model.network.config.resid_pdrop == pretrained.dropout

    path = tmp_path / "saved" / "model.safetensors"
    model.save(path, pretrained)
    loaded, rows = LanguageModel.load(path), [model.row(["The", "UNK", "pub"], ["a"])]
    np.testing.assert_array_equal(loaded.token_losses(rows)[0], model.token_losses(rows)[0])
    assert loaded.encode(["<|endoftext|>"]) == model.encode(["<|endoftext|>"])


def test_pretrained_decoding(pretrained: LanguageModelSettings) -> None:
    model = build(pretrained, VOCABULARY, [], seed=0)
    prompts = [model.encode_prompt(prompt) for prompt in (["The", "Mill"], [], ["pub"])]
    for prompt, found in zip(prompts, model.search(prompts, 1, 3), strict=True):
        new: list[int] = []
        with torch.no_grad():
            while len(new) < 9 and model.end not in new:  # 3 tokens per word
                logits = model.network(torch.tensor([[*prompt, model.end, *new]])).logits
                new.append(int(logits[0, -1].argmax()))
        assert found == [i for i in new if i != model.end]
    together = model.sample(prompts, generators(3), 3, 1.0)
    assert together == [
        model.sample([p], [g], 3, 1.0)[0] for p, g in zip(prompts, generators(3), strict=True)
    ]


def test_a_wrong_source_is_told(pretrained: LanguageModelSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: not a GPT-2"):
        build(replace(SETTINGS, source=str(tmp_path / "nowhere")), VOCABULARY, [], seed=0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=9, **sizes)).save_pretrained(pretrained.source)
    with pytest.raises(InputError, match="it is a bert"):
        build(pretrained, VOCABULARY, [], seed=0)
