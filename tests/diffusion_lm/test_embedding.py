"""The word table: clamping and rounding as in the original, the normalised form, seeds and shapes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from diffusion_lm.embedding import Embedding, nearness

Tensors = Mapping[str, Tensor]


@pytest.fixture
def released(tensors: Tensors) -> Embedding:
    """An embedding that holds the original's table and bias."""
    embedding = Embedding(11, 4, "learned", False, 0)
    embedding.load_state_dict({"weight": tensors["clamp/embedding"], "bias": tensors["clamp/head_bias"]})
    return embedding


def test_clamping_of_the_original(released: Embedding, tensors: Tensors) -> None:
    """Each point goes to the table row nearest in L2 distance."""
    words = nearness(tensors["clamp/x"], released.table).argmax(-1)
    assert torch.equal(words, tensors["clamp/token"])
    assert torch.equal(released(words), tensors["clamp/out"])


def test_rounding_head_of_the_original(released: Embedding, tensors: Tensors) -> None:
    """The head reads other words than clamping does: dot products favour long rows."""
    assert torch.equal(released.logits(tensors["clamp/x"]).argmax(-1), tensors["clamp/head_argmax_of_x"])
    heard = released.logits(tensors["clamp/out"]).argmax(-1)
    assert torch.equal(heard, tensors["clamp/head_argmax_of_out"])
    assert int((heard != tensors["clamp/token"]).sum()) == 3


def test_nearness_is_a_distance(released: Embedding, tensors: Tensors) -> None:
    """|x|^2 - 2 nearness is the squared distance; the original's other head gives minus the distance."""
    x = tensors["clamp/x"]
    squares = x.square().sum(-1, keepdim=True) - 2 * nearness(x, released.table)
    torch.testing.assert_close(-squares.sqrt(), tensors["clamp/logits_mode2_of_x"], atol=1e-4, rtol=0)


def test_normalised_rows_have_mean_0_and_variance_1() -> None:
    embedding = Embedding(9, 16, "learned", True, 0)
    torch.testing.assert_close(embedding.table.mean(1), torch.zeros(9), atol=1e-6, rtol=0)
    torch.testing.assert_close(embedding.table.var(1, unbiased=False), torch.ones(9), atol=1e-4, rtol=0)


def test_a_normalised_table_can_neither_collapse_nor_grow() -> None:
    """Shrinking, stretching or shifting the weights leaves the vectors where they are."""
    embedding = Embedding(9, 16, "learned", True, 0)
    table = embedding.table.detach()
    for scale, shift in ((0.2, 0.0), (30.0, 0.0), (1.0, 5.0)):
        moved = Embedding(9, 16, "learned", True, 0)
        moved.load_state_dict({"weight": embedding.weight * scale + shift, "bias": embedding.bias})
        torch.testing.assert_close(moved.table, table, atol=2e-3, rtol=0)


def test_lookup_head_and_nearness_share_the_normalised_table() -> None:
    embedding = Embedding(9, 16, "learned", True, 0)
    ids = torch.arange(9)[None]
    assert torch.equal(embedding(ids)[0], embedding.table)
    assert torch.equal(nearness(embedding(ids), embedding.table).argmax(-1), ids)
    torch.testing.assert_close(embedding.logits(embedding(ids))[0], embedding.table @ embedding.table.T)


def test_a_random_table_is_not_trained() -> None:
    learned, fixed = (Embedding(9, 4, kind, False, 0) for kind in ("learned", "random"))
    for embedding in (learned, fixed):
        embedding.logits(embedding(torch.tensor([[1, 2]]))).sum().backward()
    assert learned.weight.grad is not None
    assert fixed.weight.grad is None and fixed.bias.grad is not None


def test_the_first_draw_belongs_to_the_seed_alone() -> None:
    """Neither the global generator nor an earlier model moves it, and it moves no generator."""
    torch.manual_seed(1)
    first, follows = Embedding(9, 4, "learned", False, 5).weight, torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), follows)
    assert torch.equal(Embedding(9, 4, "learned", False, 5).weight, first)
    assert not torch.equal(Embedding(9, 4, "learned", False, 6).weight, first)


@pytest.mark.parametrize("shape", [(), (6,), (2, 6), (3, 2, 6)])
def test_any_batch_dimensions(released: Embedding, shape: tuple[int, ...]) -> None:
    """[..., d] -> [..., V], row by row the same values."""
    x = torch.randn(*shape, 4, generator=torch.Generator().manual_seed(1))
    for found, flat in (
        (released.logits(x), released.logits(x.reshape(-1, 4))),
        (nearness(x, released.table), nearness(x.reshape(-1, 4), released.table)),
    ):
        assert found.shape == (*shape, 11)
        torch.testing.assert_close(found.reshape(-1, 11), flat)
