"""The learned embeddings as a table."""

from __future__ import annotations

import csv
from collections.abc import Callable
from io import StringIO

import torch

from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.word_vectors import vector_table


def test_every_word_keeps_its_vector_whatever_the_word_holds(make_model: Callable[..., DiffusionLM]) -> None:
    words = ["plain", 'a "quote", and more', "\n", "NA"]
    vectors = make_model().embedding.table.detach()[4 : 4 + len(words)]
    header, *rows = csv.reader(StringIO(vector_table(words, vectors), newline=""))
    assert header == ["word", "x0", "x1", "x2", "x3"]
    assert [row[0] for row in rows] == words
    found = torch.tensor([[float(x) for x in row[1:]] for row in rows])
    torch.testing.assert_close(found, vectors, rtol=1e-5, atol=1e-6)
