"""The constituency parser: benepar's chart parser (Kitaev and Klein 2018), trained here or pretrained.

The trained form reads characters (a character LSTM under two self-attention layers), so it needs neither
tokenizer nor vocabulary. benepar's package holds the model; the training is ours.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from benepar import char_lstm, decode_chart, nkutil, parse_base
from benepar.integrations.downloader import locate_model
from benepar.parse_chart import ChartParser
from benepar.ptb_unescape import guess_space_after
from nltk import Tree
from torch import Tensor

from eval.oracles.treebanks import ESCAPES, Bracketed
from pipeline import checkpoint
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.training import Batches, TrainingSettings, train

warnings.filterwarnings(
    "ignore", message=".*TreeCRF.*does not define `arg_constraints`.*"
)  # says nothing to us

KIND = "syntax parser"
UNKNOWN = "UNK"
UNFIT = re.compile(r"[()\s]")  # what no word of a tree may hold, such as the newline word
UNSEEN = "\u2581\ufffd"  # printable, but a space to sub-word tokenizers
ENGLISH = {"NP", "VP", "PP", "SBAR"}  # labels that every parser of English has


@dataclass(frozen=True)
class ParserSettings:
    """Shape of a trained parser; every key is described in the configuration schema."""

    hidden: int
    layers: int
    heads: int
    characters: int
    dropout: float
    longest: int
    joined: float
    seed: int


@dataclass
class Example(parse_base.BaseInputExample):  # type: ignore[misc]
    """A sentence as benepar reads it; without a tree it is to be parsed."""

    words: list[str]
    tree: Tree | None = None

    @property
    def space_after(self) -> list[bool]:
        """Which words a space follows, for parsers that read sub-words; guessed, as benepar does."""
        return list(guess_space_after(self.words))

    def leaves(self) -> list[str]:
        """The words as they stand in a bracketed tree."""
        return [UNFIT.sub(lambda part: ESCAPES.get(part[0], "_"), word) for word in self.words]

    def pos(self) -> list[tuple[str, str]]:
        """Escaped words with their tags."""
        return list(self.tree.pos()) if self.tree else [(leaf, UNKNOWN) for leaf in self.leaves()]


def build(settings: ParserSettings, sentences: Sequence[Bracketed]) -> ChartParser:
    """A new parser whose labels, tags and characters are those of the sentences."""
    trees = [Tree.fromstring(sentence.tree) for sentence in sentences]
    tags = [UNKNOWN, *sorted({tag for tree in trees for _, tag in tree.pos()})]
    torch.manual_seed(settings.seed)
    return ChartParser(
        tag_vocab={tag: index for index, tag in enumerate(tags)},
        label_vocab=decode_chart.ChartDecoder.build_vocab(trees),
        char_vocab=char_lstm.RetokenizerForCharLSTM.build_vocab([s.words for s in sentences]),
        hparams=nkutil.HParams(**_hparams(settings)),
    )


def _hparams(settings: ParserSettings) -> dict[str, Any]:
    """benepar's names for our settings."""
    hidden, dropout = settings.hidden, settings.dropout
    d_kv = hidden // settings.heads
    return {
        "use_chars_lstm": True, "use_pretrained": False, "use_encoder": True, "pretrained_model": "",
        "d_model": hidden, "num_layers": settings.layers, "num_heads": settings.heads,
        "d_kv": d_kv, "d_ff": 2 * hidden, "d_label_hidden": hidden, "d_tag_hidden": hidden,
        "d_char_emb": settings.characters, "char_lstm_input_dropout": dropout, "encoder_max_len": 512,
        "morpho_emb_dropout": dropout, "attention_dropout": dropout, "relu_dropout": dropout / 2,
        "residual_dropout": dropout, "predict_tags": True, "tag_loss_scale": 5.0,
        "force_root_constituent": False,  # a text of several sentences has no constituent over all
    }  # fmt: skip


def fit(
    parser: ChartParser, sentences: Sequence[Bracketed], model: ParserSettings, training: TrainingSettings,
    work: Path, name: str, run_id: str,
) -> None:  # fmt: skip
    """Train ``parser`` in place on the sentences of at most ``longest`` words.

    A share ``joined`` of them is followed by another sentence, as texts to be judged often are.
    """
    examples = [Example(s.words, Tree.fromstring(s.tree)) for s in join(sentences, model)]
    encoded = [parser.encode(example) for example in examples]
    batches = Batches(len(examples), training.batch_size, training.seed, [len(e.words) for e in examples])

    def loss(step: int) -> Tensor:
        chosen = batches.at(step)
        batch = parser.pad_encoded([encoded[i] for i in chosen])
        batch["batch_size"] = len(chosen)
        batch["batch_num_tokens"] = sum(len(examples[i].words) for i in chosen)
        value: Tensor = parser.compute_loss(batch)
        return value

    train(parser, loss, training, work, name, run_id)


def join(sentences: Sequence[Bracketed], settings: ParserSettings) -> list[Bracketed]:
    """The sentences that are short enough, and a share of ``joined`` more that are two of them in a row."""
    kept = [sentence for sentence in sentences if len(sentence.words) <= settings.longest]
    rng = random.Random(f"joined {settings.seed}")
    pairs = [(rng.choice(kept), rng.choice(kept)) for _ in range(int(settings.joined * len(kept)))]
    return kept + [
        Bracketed(first.words + second.words, f"{first.tree[:-1]} {second.tree.removeprefix('(TOP ')}")
        for first, second in pairs
        if len(first.words) + len(second.words) <= settings.longest
    ]


def save(path: Path, parser: ChartParser, settings: ParserSettings, trained_on: str) -> None:
    """Write a trained parser: weights, and in the header what rebuilds it."""
    names = ("tag_vocab", "label_vocab", "char_vocab", "hparams")
    config = {name: parser.config[name] for name in names}
    header = {"settings": asdict(settings), "trained_on": trained_on, "config": config}
    # In half precision, so that a stored copy is this very judge and not one that differs now and then.
    weights = {name: weight.to(torch.bfloat16) for name, weight in parser.state_dict().items()}
    checkpoint.save(path, KIND, header, weights)


def refer(path: Path, source: str) -> None:
    """Write a file that stands for a public or local benepar model; it is read from there.

    Raises:
        InputError: there is no such model, or it is no parser of English.
    """
    weights = _pretrained(path, source).state_dict()
    content = hashlib.sha256(
        "".join(checkpoint.digest(weights[name].float()) for name in sorted(weights)).encode()
    )
    checkpoint.save(path, KIND, {"source": source, "content": content.hexdigest()}, {})


def load(path: Path) -> ChartParser:
    """Read a parser that :func:`save` or :func:`refer` wrote.

    Raises:
        InputError: no such file, no parser, or its pretrained model is missing.
    """
    settings, weights = checkpoint.load(path, KIND)
    if "source" in settings:
        return _pretrained(path, settings["source"])
    config = settings["config"]
    parser = ChartParser(**{**config, "hparams": nkutil.HParams(**config["hparams"])})
    checkpoint.restore(parser, path, weights)
    return parser.eval()


def _pretrained(path: Path, source: str) -> ChartParser:
    """A benepar model from its folder, its file, or benepar's own download folder; never unpickled.

    It reads on the GPU if there is one; a parser trained here stays on the CPU, so that any machine repeats
    what it has read.
    """
    try:
        place = locate_model(source)
    except LookupError:
        what, how = f"no parser '{source}'", f"run python -c \"import benepar; benepar.download('{source}')\""
        raise InputError(path, what, how) from None
    try:
        parser = ChartParser.from_trained(place)
    except Exception as error:  # whatever reading a file that is no model raises
        what = f"'{source}' is no benepar model ({type(error).__name__}: {error}".splitlines()[0] + ")"
        raise InputError(path, what, "give the file or folder of one") from None
    if not {part for label in parser.label_vocab for part in label.split("::")} >= ENGLISH:
        raise InputError(path, f"'{source}' is no parser of English", "give one with Penn Treebank labels")
    if parser.pretrained_model is not None and parser.retokenizer.is_t5:
        parser.retokenizer.tokenizer.model_max_length = sys.maxsize  # T5's positions are relative
    return parser.to(device()).eval()


def parse(parser: ChartParser, sentences: Iterable[Sequence[str]], tokens: int = 4000) -> list[str]:
    """The trees of sentences of at least one word each, in one line; ``tokens`` bounds a batch."""
    reads_subwords = parser.pretrained_model is not None
    examples = [Example(visible(words) if reads_subwords else list(words)) for words in sentences]
    trees = parser.parse(examples, subbatch_max_tokens=tokens)
    return [tree.pformat(margin=sys.maxsize) for tree in trees]


def visible(words: Iterable[str]) -> list[str]:
    """Words of which each has a sub-word: what tokenizers drop is left out, and "_" stands for nothing."""
    kept = ("".join(c for c in word if c.isprintable() and c not in UNSEEN) for word in words)
    return [word or "_" for word in kept]
