"""The U-Net: it has the Transformer's place, size and optimiser, and reads nothing beyond a text's end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.encoder import Encoder
from diffusion_lm.unet import Convolution, UNet
from pipeline.training import IN_A_LAYER

Make = Callable[..., DiffusionLM]


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(0)
    return UNet(hidden=16, layers=4, dropout=0.0).eval()


@pytest.mark.parametrize("length", [1, 3, 4, 9, 24])
def test_any_length_goes_in_and_comes_out(network: UNet, length: int) -> None:
    assert network(torch.randn(2, length, 16)).shape == (2, length, 16)


def test_every_place_reaches_its_neighbourhood(network: UNet) -> None:
    """A change in the middle moves the two ends of 16 places: three resolutions see far."""
    x = torch.randn(1, 16, 16)
    other = x.clone()
    other[0, 8] += 1.0
    moved = (network(x) - network(other)).abs().amax(-1)[0]
    assert (moved > 0).all() and moved[8] == moved.max()


def test_nobody_sees_beyond_the_end(network: UNet) -> None:
    """The same text in a longer row, whatever lies behind it, is the same text."""
    text, mask = torch.randn(1, 7, 16), torch.ones(1, 7, dtype=torch.bool)
    behind = torch.cat([text, 9 * torch.randn(1, 6, 16)], dim=1)
    longer = torch.cat([mask, torch.zeros(1, 6, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(network(behind, longer)[:, :7], network(text, mask), atol=1e-5, rtol=0)


def test_a_convolution_is_that_of_the_library() -> None:
    ours = Convolution(8)
    theirs = torch.nn.Conv1d(8, 8, 3, padding=1)
    theirs.weight.data = ours.weight.data.view(8, 3, 8).transpose(1, 2)
    theirs.bias.data = ours.bias.data  # type: ignore[union-attr]
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(ours(x), theirs(x.transpose(1, 2)).transpose(1, 2))


@pytest.mark.parametrize("layers", [4, 6, 12])
def test_it_has_about_the_weights_of_the_transformer(layers: int) -> None:
    def weights(network: torch.nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    ratio = weights(UNet(64, layers, 0.0)) / weights(Encoder(64, layers, 4, 256, 0.0))
    assert 0.8 < ratio < 1.45


def test_a_model_with_it_trains_its_matrices_by_muon(make_model: Make) -> None:
    model = make_model(network="unet")
    names = [name for name, p in model.named_parameters() if IN_A_LAYER.search(name) and p.dim() == 2]
    assert isinstance(model.denoiser.encoder, UNet) and len(names) == 10  # five stages, two convolutions each
    ids = torch.randint(4, 11, (3, 16))
    prediction = model(torch.randn(3, 16, 4), torch.tensor([0, 5, 19]), model.process)
    assert prediction.x0.shape == (3, 16, 4) and model.embedding(ids).shape == (3, 16, 4)
