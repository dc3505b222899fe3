"""Language models: losses against plain torch, tokens, files, further words, and the pretrained form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, GPT2LMHeadModel

from pipeline.corpora.vocabulary import END, START, UNK, Vocabulary
from pipeline.decoding import Reader
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel, LanguageModelSettings, build, extended, fit
from pipeline.records import Text, write_records
from pipeline.training import TrainingSettings

TRAINING = TrainingSettings(30, 4, 1e-2, 0, 0.0, 1.0, 0.0, 0.0, "fp32", 0)
TEXTS = [["The", "Mill", "is", "a", "pub"], [], ["pub"], ["a", "café", "The", "\n", "brasserie"]]
PROMPTS = [["food", ":", "17"], ["17"], [], ["food"], ["a", "food", ":", "17", ":"], ["pub"], ["17", "17"]]


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


def test_fit_learns_its_rows(sizes: LanguageModelSettings, vocabulary: Vocabulary, tmp_path: Path) -> None:
    model = build(sizes, vocabulary, [], seed=0)
    rows = [model.row(text) for text in TEXTS]
    before = np.concatenate(model.token_losses(rows)).mean()
    fit(model, rows, TRAINING, tmp_path, "test", "")
    assert np.concatenate(model.token_losses(rows)).mean() < 0.7 * before
    assert not model.training


# --- files


def test_save_and_load(model: LanguageModel, sizes: LanguageModelSettings, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path, sizes, task="length")
    loaded = LanguageModel.load(path, task="length")
    rows = [model.row(text, ["17"]) for text in TEXTS]
    for before, after in zip(model.token_losses(rows), loaded.token_losses(rows), strict=True):
        np.testing.assert_array_equal(before, after)
    assert loaded.prompt_only == model.prompt_only and not loaded.training
    with pytest.raises(InputError, match="task is 'length', expected 'infilling'"):
        LanguageModel.load(path, task="infilling")


# --- further words for prompts


@pytest.fixture
def extended_model(make_model: Callable[..., LanguageModel], sizes: LanguageModelSettings) -> LanguageModel:
    """The model of the other tests, made to read tags."""
    return extended(make_model(), replace(sizes, dropout=0.3), ["NOUN", "pub", "17", "VERB", "NOUN"], seed=5)


def test_an_extended_model_keeps_words_and_vectors(
    model: LanguageModel, extended_model: LanguageModel
) -> None:
    before, after = model.tokenizer.get_vocab(), extended_model.tokenizer.get_vocab()
    assert {word: after[word] for word in before} == before
    assert {word: i for word, i in after.items() if word not in before} == {"NOUN": 14, "VERB": 15}
    old, new = model.network.state_dict(), extended_model.network.state_dict()
    for name in old:
        torch.testing.assert_close(new[name][: len(old[name])], old[name], atol=0, rtol=0)
    assert new["lm_head.weight"].shape == (16, 16) and extended_model.network.config.vocab_size == 16
    assert extended_model.network.lm_head.weight is extended_model.network.transformer.wte.weight


def test_an_extended_model_writes_texts_as_likely_as_before(
    model: LanguageModel, extended_model: LanguageModel
) -> None:
    prompts = [model.encode_prompt(prompt) for prompt in PROMPTS]
    before, after = Reader(model, prompts), Reader(extended_model, prompts)
    words = torch.randint(4, 11, (len(prompts), 4), generator=torch.Generator().manual_seed(0))
    for ids in (before.first, *words.split(1, 1)):
        torch.testing.assert_close(after.read(ids)[:, :14], before.read(ids), atol=1e-5, rtol=1e-5)


def test_without_new_words_an_extended_model_has_the_same_losses(
    make_model: Callable[..., LanguageModel], model: LanguageModel, sizes: LanguageModelSettings
) -> None:
    same = extended(make_model(), sizes, ["pub", "17"], seed=5)
    rows = [model.row(text, prompt) for text, prompt in zip(TEXTS, PROMPTS, strict=False)]
    for before, after in zip(model.token_losses(rows), same.token_losses(rows), strict=True):
        np.testing.assert_array_equal(before, after)


def test_new_words_can_be_read_and_never_written(
    make_model: Callable[..., LanguageModel], extended_model: LanguageModel, sizes: LanguageModelSettings
) -> None:
    assert extended_model.prompt_only == ["food", ":", "17", "NOUN", "VERB"]
    assert extended_model.encode_prompt(["NOUN", "17", "VERB"]) == [14, 13, 15]
    assert extended_model.encode(["NOUN", "17", "pub"]) == [UNK, UNK, 9]
    reader = Reader(extended_model, [[14], [15]])
    logs = reader.read(reader.first)
    assert logs[:, [14, 15]].isinf().all() and not torch.allclose(logs[0, 4:11], logs[1, 4:11])
    vectors = extended_model.network.transformer.wte.weight[14:]
    for seed, same in ((5, True), (6, False)):
        again = extended(make_model(), sizes, ["NOUN", "VERB"], seed)
        assert torch.equal(again.network.transformer.wte.weight[14:], vectors) == same


def test_an_extended_model_has_the_dropout_of_its_settings(
    extended_model: LanguageModel, sizes: LanguageModelSettings, tmp_path: Path
) -> None:
    path, rows = tmp_path / "model.safetensors", [extended_model.row(["The", "pub"], ["NOUN", "17"])]
    extended_model.save(path, sizes, task="length")
    loaded = LanguageModel.load(path, task="length")
    for model in (extended_model, loaded):
        rates = {part.p for part in model.network.modules() if isinstance(part, torch.nn.Dropout)}
        assert rates == {0.3} and not model.training
        torch.manual_seed(0)
        assert not torch.equal(model.train().losses(rows), model.losses(rows))
        model.eval()
    np.testing.assert_array_equal(loaded.token_losses(rows)[0], extended_model.token_losses(rows)[0])
    assert loaded.tokenizer.get_vocab() == extended_model.tokenizer.get_vocab()
    assert (loaded.prompt_only, loaded.barred) == (extended_model.prompt_only, extended_model.barred)


# --- the commands that train on a corpus as it is


def train_command(
    run_command: Any, module: str, folder: Path, vocabulary: Vocabulary, sizes: LanguageModelSettings,
    told: Sequence[list[str]] = TEXTS,
) -> Any:  # fmt: skip
    texts = [Text(str(i), "train", " ".join(tokens), tokens) for i, tokens in enumerate(told)]
    unseen = Text("valid", "valid", "brasserie", ["brasserie"] * 99)
    inputs = {"corpus": folder / "corpus.jsonl", "vocabulary": folder / "vocabulary.json"}
    write_records(inputs["corpus"], [*texts, unseen])
    vocabulary.save(inputs["vocabulary"])
    spec = {"model": asdict(sizes), "training": asdict(TRAINING)}
    return run_command(module, spec, inputs, {"model": folder / "model.safetensors"})


COMMANDS = {"pipeline.teacher": "teacher", "baselines.language_model": "language_model"}
commands = pytest.mark.parametrize(("module", "name"), COMMANDS.items(), ids=COMMANDS.values())


@commands
def test_a_command_trains_on_the_training_texts(
    run_command: Any, module: str, name: str, tmp_path: Path, vocabulary: Vocabulary,
    sizes: LanguageModelSettings,
) -> None:  # fmt: skip
    done = train_command(run_command, module, tmp_path, vocabulary, sizes)
    assert done.code == 0 and f"{name}: 30/30" in done.stderr
    trained = LanguageModel.load(tmp_path / "model.safetensors", vocabulary=vocabulary.digest())
    assert trained.tokenizer.get_vocab() == {word: i for i, word in enumerate(vocabulary.words)}
    rows = [trained.row(text) for text in TEXTS]  # its last word is UNK, as in training
    untrained = build(sizes, vocabulary, [], TRAINING.seed)
    assert all(row.ids == untrained.row(text).ids for row, text in zip(rows, TEXTS, strict=True))
    before, after = (np.concatenate(m.token_losses(rows)).mean() for m in (untrained, trained))
    assert after < 0.7 * before


@commands
def test_a_command_refuses_positions_that_no_text_fits(
    run_command: Any, module: str, name: str, tmp_path: Path, vocabulary: Vocabulary,
    sizes: LanguageModelSettings,
) -> None:  # fmt: skip
    done = train_command(run_command, module, tmp_path, vocabulary, replace(sizes, positions=3), TEXTS[:1])
    assert done.code == 2 and done.stderr.endswith(
        f"corpus.jsonl: no text fits 3 positions; raise {name}.model.positions\n"
    )
    assert not (tmp_path / "model.safetensors").exists()


# --- pretrained


def test_pretrained_words_survive(pretrained: LanguageModelSettings, vocabulary: Vocabulary) -> None:
    model = build(pretrained, vocabulary, ["AMOD"], seed=0)
    for spelled in ("", "The UNK is a café .", "UNK UNK , JUNK AMOD pub", "<|endoftext|> x"):
        text = spelled.split()
        ids = model.encode(text)
        assert model.end not in ids
        assert model.decode([*ids, model.end, 5]) == text
    assert model.encode(["a", "UNK", "b"])[1] == model.unknown
    given, learned = model.encode(["a"]), model.encode(["The"])
    assert model.row(["The"], ["a"]).ids == [*given, model.end, *learned, model.end]


def test_pretrained_weights_are_kept_and_saved(
    pretrained: LanguageModelSettings, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    model = build(pretrained, vocabulary, [], seed=0)
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


def test_a_pretrained_model_has_no_words_to_extend(
    pretrained: LanguageModelSettings, vocabulary: Vocabulary
) -> None:
    with pytest.raises(InputError, match="sub-word.*no vocabulary of words"):
        extended(build(pretrained, vocabulary, [], seed=0), pretrained, ["NOUN"], seed=0)


def test_a_wrong_source_is_told(
    pretrained: LanguageModelSettings, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="nowhere: not a GPT-2"):
        build(replace(pretrained, source=str(tmp_path / "nowhere")), vocabulary, [], seed=0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=9, **sizes)).save_pretrained(pretrained.source)
    with pytest.raises(InputError, match="it is a bert"):
        build(pretrained, vocabulary, [], seed=0)
