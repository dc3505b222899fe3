"""Tokenizers of a real one's size: some pieces are trained on a few texts, the others stand in no text."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from itertools import product
from string import ascii_lowercase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAINED = 1000  # pieces


def byte_pairs(
    texts: Sequence[str], size: int, first: Sequence[str] = (), last: Sequence[str] = ()
) -> Tokenizer:
    """A byte-level tokenizer of ``size`` pieces, the special ones among them at the front or at the end."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = level
    trainer = trainers.BpeTrainer(vocab_size=TRAINED, initial_alphabet=level.alphabet(), show_progress=False)
    trained.train_from_iterator(texts, trainer)
    model = json.loads(trained.to_str())["model"]
    pieces = [*first, *sorted(model["vocab"], key=model["vocab"].__getitem__)]
    pieces += filler("Ġ", size - len(pieces) - len(last), set(pieces))
    vocabulary = {piece: i for i, piece in enumerate([*pieces, *last])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(pair) for pair in model["merges"]]))
    tokenizer.pre_tokenizer, tokenizer.decoder = level, decoders.ByteLevel()
    return tokenizer


def filler(space: str, count: int, taken: Collection[str]) -> list[str]:
    """So many words of four letters behind ``space`` that are not taken."""
    words = (space + "".join(letters) for letters in product(ascii_lowercase, repeat=4))
    free = (word for word in words if word not in taken)
    return [next(free) for _ in range(count)]


def unigrams(texts: Sequence[str], size: int) -> Tokenizer:
    """A tokenizer in T5's manner with ``size`` pieces and T5's special ones."""
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    specials = ["<pad>", "</s>", "<unk>"]
    normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    trained = Tokenizer(models.Unigram())
    trained.normalizer, trained.pre_tokenizer = normalizer, pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=TRAINED, special_tokens=specials, unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    pieces = [(piece, score) for piece, score in json.loads(trained.to_str())["model"]["vocab"]]
    fill = filler("▁", size - len(pieces), {piece for piece, _ in pieces})
    tokenizer = Tokenizer(models.Unigram([*pieces, *((word, -1e3) for word in fill)], 2))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", specials.index("</s>"))]
    )
    return tokenizer
