"""Pickled weights, which may run anything, are refused unread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from transformers import BertConfig, GPT2Config, PretrainedConfig

from baselines.ranking import NextSentenceRanker
from eval.encoder import EncoderSettings, refer
from eval.oracles import parser
from pipeline import checkpoint
from pipeline.corpora.vocabulary import SPECIALS, Vocabulary
from pipeline.errors import InputError
from pipeline.language_model import LanguageModelSettings, build
from tests.faults.damage import pickled


@pytest.fixture
def created(tmp_path: Path) -> Path:
    """The folder that exists once the pickle has been read."""
    return tmp_path / "created"


def test_the_pickle_of_these_tests_does_what_it_must_not(tmp_path: Path, created: Path) -> None:
    (tmp_path / "file").write_bytes(pickled(created))
    subprocess.run([sys.executable, "-m", "pickle", tmp_path / "file"], check=True, capture_output=True)
    assert created.is_dir()


def folder_of(config: PretrainedConfig, folder: Path, created: Path) -> str:
    """A model's folder as older libraries wrote it: its weights are a pickle."""
    config.save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(pickled(created))
    return str(folder)


def test_a_checkpoint_that_is_a_pickle_is_refused(tmp_path: Path, created: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickled(created))
    with pytest.raises(InputError, match="truncated or not safetensors"):
        checkpoint.load(path, "language model")
    assert not created.exists()


def test_a_gpt_2_of_pickled_weights_is_refused_with_the_way_to_convert_it(
    tmp_path: Path, created: Path
) -> None:
    source = folder_of(GPT2Config(n_embd=4, n_layer=1, n_head=1, vocab_size=9), tmp_path / "gpt2", created)
    settings = LanguageModelSettings(source, 4, 1, 1, 8, 0.0)
    with pytest.raises(
        InputError, match="pickled weights .* are not read; if you trust them, convert them once"
    ):
        build(settings, Vocabulary(SPECIALS), [], 0)
    assert not created.exists()


def test_a_bert_of_pickled_weights_is_refused_for_ranking_and_for_bertscore(
    tmp_path: Path, created: Path
) -> None:
    source = folder_of(BertConfig(hidden_size=4, num_attention_heads=1), tmp_path / "bert", created)
    with pytest.raises(InputError, match="pickled weights"):
        NextSentenceRanker(source)
    settings = EncoderSettings(source, 1, "raw", 4, 1, 1, 8, 0.0)
    with pytest.raises(InputError, match="pickled weights"):
        refer(tmp_path / "encoder.safetensors", settings)
    assert not created.exists()


@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_parser_of_pickled_weights_is_read_without_running_it(
    form: str, tmp_path: Path, created: Path
) -> None:
    """benepar's own format is a pickle, of which only tensors and plain values are taken."""
    source = tmp_path / "parser"
    if form == "folder":
        config = BertConfig()
        config.benepar = {"hparams": {}}
        config.save_pretrained(source)
        (source / "benepar_model.bin").write_bytes(pickled(created))
    else:
        source.write_bytes(pickled(created))
    with pytest.raises(InputError, match="is no benepar model") as told:
        parser.refer(tmp_path / "judge.safetensors", str(source))
    assert "\n" not in str(told.value)
    assert not created.exists()
