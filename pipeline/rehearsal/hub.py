"""Models of random weights in place of those that the paper's scale downloads.

They have the real ones' sizes and file formats; their tokenizers have as many pieces
(:mod:`pipeline.rehearsal.pieces`), so every matrix has its real shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline.corpora.grammar import LEAF
from pipeline.corpora.grammar_rules import UNIVERSAL
from pipeline.files import atomic
from pipeline.records import Text
from pipeline.rehearsal.pieces import byte_pairs, unigrams

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HPARAMS: dict[str, Any] = {  # benepar's defaults for a pretrained encoder
    "use_chars_lstm": False, "use_pretrained": True, "use_encoder": True, "pretrained_model": "t5-small",
    "d_model": 1024, "num_layers": 2, "num_heads": 8, "d_kv": 64, "d_ff": 2048, "d_label_hidden": 256,
    "d_tag_hidden": 256, "d_char_emb": 64, "encoder_max_len": 512, "morpho_emb_dropout": 0.2,
    "attention_dropout": 0.2, "relu_dropout": 0.1, "residual_dropout": 0.2, "char_lstm_input_dropout": 0.2,
    "predict_tags": True, "tag_loss_scale": 5.0, "force_root_constituent": True,
}  # fmt: skip
ROBERTA = {
    "vocab_size": 50265, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 4096, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
}  # fmt: skip
UPDATES = 10  # of the tagger: with none, it gives all words the same tag
LISTENER = {  # the tagger reads the vectors of a component that others read too
    "model": {
        "@architectures": "spacy.Tagger.v2",
        "tok2vec": {"@architectures": "spacy.Tok2VecListener.v1", "width": 96},
    }
}


def write_hub(folder: Path, texts: Sequence[Text]) -> None:
    """Write all of them into ``folder``, by their hub names; ``texts`` have tags and trees.

    The functions below write one each; ``sizes`` take the place of the real ones.
    """
    write_gpt2(folder / "gpt2", texts)
    write_roberta(folder / "roberta-large", texts)
    write_parser(folder / "benepar_en3", texts)
    write_tagger(folder / "en_core_web_sm", texts)


def write_gpt2(folder: Path, texts: Sequence[Text], **sizes: int) -> None:
    """GPT-2 small."""
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

    config = GPT2Config(**sizes)
    tokenizer = byte_pairs([text.text for text in texts], config.vocab_size, last=["<|endoftext|>"])
    GPT2TokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    _save(GPT2LMHeadModel(config), folder)


def write_roberta(folder: Path, texts: Sequence[Text], **sizes: int) -> None:
    """RoBERTa large, as a masked language model without a pooler."""
    from transformers import RobertaConfig, RobertaForMaskedLM, RobertaTokenizerFast

    config = RobertaConfig(**(ROBERTA | sizes))
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = byte_pairs([text.text for text in texts], config.vocab_size, first=specials, last=["<mask>"])
    RobertaTokenizerFast(tokenizer_object=tokenizer, model_max_length=512).save_pretrained(folder)
    torch.manual_seed(0)
    _save(RobertaForMaskedLM(config), folder)


def _save(network: PreTrainedModel, folder: Path) -> None:
    """In half precision, which is read as single: half the time and space."""
    nn.Module.to(network, torch.bfloat16)
    network.save_pretrained(folder)


def write_parser(folder: Path, texts: Sequence[Text], **sizes: int) -> None:
    """benepar_en3, which reads T5 small: configuration, tokenizer and weights, as benepar exports them."""
    from benepar import decode_chart, nkutil
    from benepar.parse_chart import ChartParser
    from nltk import Tree
    from transformers import T5Config, T5TokenizerFast

    config = T5Config(decoder_start_token_id=0, **sizes)
    pieces = unigrams([text.text for text in texts], 32000)
    tokenizer = T5TokenizerFast(tokenizer_object=pieces, model_max_length=512)
    for part in (config, tokenizer):
        part.save_pretrained(folder)
    trees = [Tree.fromstring(text.tree) for text in texts]
    tags = ["UNK", *sorted({tag for tree in trees for _, tag in tree.pos()})]
    torch.manual_seed(0)
    parser = ChartParser(
        tag_vocab={tag: index for index, tag in enumerate(tags)},
        label_vocab=decode_chart.ChartDecoder.build_vocab(trees),
        char_vocab=None,
        hparams=nkutil.HParams(**HPARAMS),
        pretrained_model_path=str(folder),
    )
    config.benepar = parser.config
    config.save_pretrained(folder)
    weights = {name: weight.to(torch.bfloat16) for name, weight in parser.state_dict().items()}
    with atomic(folder / "benepar_model.bin") as temporary:
        torch.save(weights, temporary)


def write_tagger(folder: Path, texts: Sequence[Text]) -> None:
    """en_core_web_sm: a tagger of Penn Treebank tags beside others, and rules that make them universal."""
    import spacy
    from spacy.tokens import Doc
    from spacy.training import Example
    from thinc.api import fix_random_seed

    fix_random_seed(0)
    nlp = spacy.blank("en")
    for name in ("tok2vec", "tagger"):
        nlp.add_pipe(name, config=LISTENER if name == "tagger" else {})
    rules: Any = nlp.add_pipe("attribute_ruler")
    examples = []
    for text in texts:
        tags = [tag for tag, _ in LEAF.findall(text.tree or "")]
        blank, tagged = Doc(nlp.vocab, text.tokens), Doc(nlp.vocab, text.tokens, tags=tags)
        examples.append(Example(blank, tagged))
    nlp.initialize(lambda: examples)  # which forgets all rules
    for tag, universal in UNIVERSAL.items():
        rules.add([[{"TAG": tag}]], {"POS": universal})
    for _ in range(UPDATES):
        nlp.update(examples)
    nlp.to_disk(folder)
