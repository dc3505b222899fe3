"""How texts become rows of words: START + words + END, padded, cut into blocks, or as long as they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.corpora.vocabulary import END, PAD, START
from pipeline.errors import InputError
from pipeline.language_model import padded


def canvas_layout(texts: Sequence[Sequence[int]]) -> Tensor:
    """Rows as long as the longest text of the batch, [B, L]; PAD marks places that do not exist."""
    return padded([[START, *ids, END] for ids in texts], PAD)


class Row(NamedTuple):
    """Word ids of a training row, START and END included; those marked ``free`` are to be learned."""

    ids: list[int]
    free: list[bool]


def framed(ids: Sequence[int]) -> Row:
    """A text on its canvas: START and END are known."""
    return Row([START, *ids, END], [False, *[True] * len(ids), False])


def row_tensors(rows: Sequence[Row], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, free places and mask (False beyond a row's end) of rows of any lengths, each [B, L]."""
    ids, free = padded([row.ids for row in rows], PAD), padded([list(row.free) for row in rows], False)
    return ids.to(device), free.to(device), text_mask([row.ids for row in rows]).to(device)


def text_mask(rows: Sequence[Sequence[int]]) -> Tensor:
    """True at the places of each row, False beyond its end, [B, L]."""
    lengths = torch.tensor([len(row) for row in rows])
    return torch.arange(int(lengths.max())) < lengths[:, None]


def pad_layout(texts: Sequence[Sequence[int]], length: int, as_released: bool = False) -> Tensor:
    """Rows of fixed length, [N, length]; PAD is a word that the model learns to write.

    Longer texts keep their first words and END; ``as_released`` cuts them without END.
    """
    most = length if as_released else length - 2
    rows = [[START, *ids[:most], END][:length] for ids in texts]
    return torch.tensor([row + [PAD] * (length - len(row)) for row in rows])


def block_layout(texts: Sequence[Sequence[int]], length: int) -> Tensor:
    """All texts joined and cut into rows, [N, length]; the tail that does not fill a row is dropped.

    Raises:
        InputError: not one row is filled.
    """
    joined = list(chain.from_iterable([START, *ids, END] for ids in texts))
    rows = len(joined) // length
    if not rows:
        raise InputError(
            "model.layout", f"all texts together do not fill a block of {length}", "lower positions"
        )
    return torch.tensor(joined[: rows * length]).view(rows, length)
