"""How texts become training rows: the original's two layouts, and ours that keeps END."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from diffusion_lm.layout import Row, block_layout, canvas_layout, framed, pad_layout, row_tensors
from pipeline.corpora.vocabulary import END, PAD, START, UNK

TEXTS = [[4, 5, UNK], [5, 5, 4, 4, 5], [4] * 20, [5, 6]]  # the toy texts of the stored arrays


def test_padded_rows_of_the_original(tensors: Mapping[str, Tensor]) -> None:
    """It cuts a long text without END."""
    rows = pad_layout(TEXTS, 16, as_released=True)
    assert rows.dtype == torch.int64 and torch.equal(rows, tensors["data/pad16"])
    assert END not in rows[2]


def test_long_texts_keep_their_end(tensors: Mapping[str, Tensor]) -> None:
    """All rows but the cut one are the original's; that one keeps as many words as END leaves room for."""
    rows = pad_layout(TEXTS, 16)
    kept = torch.tensor([0, 1, 3])
    assert torch.equal(rows[kept], tensors["data/pad16"][kept])
    assert rows[2].tolist() == [START, *[4] * 14, END]


@pytest.mark.parametrize("as_released", [True, False])
@pytest.mark.parametrize("words", range(13, 18))
def test_rows_around_the_cut(words: int, as_released: bool) -> None:
    """A text of 14 words fits into 16 places exactly; of a longer one its first words are kept."""
    text = list(range(10, 10 + words))
    (row,) = pad_layout([text], 16, as_released).tolist()
    expected = [START, *text, END, PAD, PAD][:16]
    if words > 14 and not as_released:
        expected[-1] = END
    assert row == expected


def test_blocks_of_the_original(tensors: Mapping[str, Tensor]) -> None:
    rows = block_layout(TEXTS, 16)
    assert rows.dtype == torch.int64 and torch.equal(rows, tensors["data/block16"])


@pytest.mark.parametrize("length", [4, 7, 38])
def test_blocks_are_the_joined_texts_without_the_tail(length: int) -> None:
    joined = [word for text in TEXTS for word in (START, *text, END)]
    rows = block_layout(TEXTS, length)
    assert rows.shape == (len(joined) // length, length)
    assert rows.flatten().tolist() == joined[: rows.numel()] and len(joined) - rows.numel() < length


def test_canvases_are_as_long_as_their_texts() -> None:
    assert canvas_layout(TEXTS[:2]).tolist() == [
        [START, 4, 5, UNK, END, PAD, PAD],
        [START, 5, 5, 4, 4, 5, END],
    ]


def test_rows_tell_free_places_from_known_ones_and_from_those_that_do_not_exist() -> None:
    """PAD within a row is a word; behind a shorter row it stands for nothing."""
    rows = [framed([4, PAD, 5]), Row([START, 4, END, 5], [False, False, False, True])]
    ids, free, mask = row_tensors(rows, torch.device("cpu"))
    assert ids.tolist() == [[START, 4, PAD, 5, END], [START, 4, END, 5, PAD]]
    assert free.dtype == torch.bool and free.int().tolist() == [[0, 1, 1, 1, 0], [0, 0, 0, 1, 0]]
    assert mask.int().tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
