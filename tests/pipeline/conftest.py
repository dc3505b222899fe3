"""What the tests of language models and of decoding share: tiny models with random weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.corpora.vocabulary import SPECIALS, Vocabulary
from pipeline.language_model import LanguageModel, LanguageModelSettings, build


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary((*SPECIALS, "The", "Mill", "café", "is", "a", "pub", "\n"))


@pytest.fixture
def sizes() -> LanguageModelSettings:
    torch.set_num_threads(1)
    return LanguageModelSettings("train", hidden=16, layers=2, heads=2, positions=24, dropout=0.1)


@pytest.fixture
def make_model(vocabulary: Vocabulary, sizes: LanguageModelSettings) -> Callable[..., LanguageModel]:
    """Makes models whose weights are wide enough apart that some words are much likelier than others."""

    def make(extra: Sequence[str] = ("food", ":", "17", "a", "food"), seed: int = 1) -> LanguageModel:
        made = build(sizes, vocabulary, extra, seed)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.mul_(7 if parameter.dim() == 2 else 1)
        return made

    return make


@pytest.fixture
def model(make_model: Callable[..., LanguageModel]) -> LanguageModel:
    return make_model()


@pytest.fixture
def pretrained(tmp_path: Path, sizes: LanguageModelSettings) -> LanguageModelSettings:
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
    return replace(sizes, source=str(tmp_path))
