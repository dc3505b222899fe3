"""Models of random weights: the code that takes those of the hub takes them, at their real sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import GPT2Config, T5Config

from eval import encoder
from eval.oracles import tagger
from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.language_model import LanguageModelSettings, build
from pipeline.records import Text
from pipeline.rehearsal.hub import ROBERTA, write_gpt2, write_roberta, write_tagger
from pipeline.rehearsal.pieces import unigrams
from pipeline.tasks import UNIVERSAL_TAGS


@pytest.fixture(scope="module")
def texts() -> list[Text]:
    return restaurant_texts(0, {"train": 60})


def test_a_gpt2_can_be_fine_tuned_and_its_matrix_of_words_is_as_large_as_the_real_one(
    texts: list[Text], tmp_path: Path
) -> None:
    write_gpt2(tmp_path, texts, n_layer=1, n_embd=8, n_head=2)
    settings = LanguageModelSettings(str(tmp_path), 768, 12, 12, 128, 0.1)
    model = build(settings, Vocabulary.build([text.tokens for text in texts], 0), [], seed=0)
    assert model.network.get_input_embeddings().num_embeddings == GPT2Config().vocab_size + 1  # and UNK
    for text in texts[:5]:
        ids = model.encode(text.tokens)
        assert model.decode(ids) == text.tokens and len(ids) < 2 * len(text.tokens)
    assert model.decode([30000, 30001]) != model.decode([30002, 30003])


def test_an_encoder_compares_texts_and_has_as_many_pieces_as_the_real_one(
    texts: list[Text], tmp_path: Path
) -> None:
    folder = tmp_path / "roberta-large"
    write_roberta(
        folder, texts, num_hidden_layers=2, hidden_size=16, num_attention_heads=2, intermediate_size=16
    )
    settings = encoder.EncoderSettings(str(folder), 1, "raw", 0, 0, 0, 0, 0.0)
    encoder.refer(tmp_path / "encoder.safetensors", settings)
    judge = encoder.load(tmp_path / "encoder.safetensors")
    assert len(judge.tokenizer) == ROBERTA["vocab_size"]
    same, other = judge([(texts[0].text, texts[0].text), (texts[0].text, texts[1].text)])
    assert same == pytest.approx(100, abs=0.01) and other < same


def test_a_tagger_of_fine_tags_gives_universal_ones(texts: list[Text], tmp_path: Path) -> None:
    write_tagger(tmp_path / "hub", texts)
    tagger.refer(tmp_path / "tagger.safetensors", str(tmp_path / "hub"))
    nlp = tagger.load(tmp_path / "tagger.safetensors")
    found = tagger.tag(nlp, [text.tokens for text in texts])
    assert [len(tags) for tags in found] == [len(text.tokens) for text in texts]
    assert len({tag for tags in found for tag in tags} & set(UNIVERSAL_TAGS)) > 3
    right = [
        tag == other
        for tags, text in zip(found, texts, strict=True)
        for tag, other in zip(tags, text.tags or [], strict=True)
    ]
    assert sum(right) > len(right) / 4
    assert set(nlp.pipe_labels["tagger"]) & {"NN", "NNP", "VBZ"}


def test_a_parser_reads_as_many_pieces_as_the_real_one(texts: list[Text]) -> None:
    """What it does with them is tested beside the parser itself."""
    tokenizer = unigrams([text.text for text in texts], 32000)
    assert T5Config().vocab_size - 200 < tokenizer.get_vocab_size() <= T5Config().vocab_size
    assert tokenizer.encode("pub").tokens[-1] == "</s>"
