"""Checkpoints: what is written comes back, and whatever is wrong with one is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline import checkpoint
from pipeline.errors import InputError

SETTINGS = {"hidden": 4, "words": ["£", "pub"], "nested": {"rate": 0.1, "none": None}}
KIND = "toy model"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint of a small layer."""
    file = tmp_path / "models" / "toy.safetensors"
    checkpoint.save(file, KIND, SETTINGS, nn.Linear(4, 2).state_dict())
    return file


def refusal(path: Path, kind: str = KIND) -> str:
    """The line with which a checkpoint is refused."""
    with pytest.raises(InputError) as error:
        checkpoint.load(path, kind)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


def test_settings_and_weights_come_back(tmp_path: Path) -> None:
    """Non-contiguous, empty and integer tensors, too; gradients are left behind."""
    weights = {
        "matrix": torch.randn(3, 5).T.requires_grad_(),
        "none": torch.zeros(0, 4),
        "numbers": torch.tensor([1, -2]),
        "double": torch.randn(2, dtype=torch.float64),
    }
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, KIND, SETTINGS, weights)
    settings, loaded = checkpoint.load(path, KIND)
    assert settings == SETTINGS
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert all(loaded[name].dtype == weights[name].dtype for name in weights)
    assert not any(weight.requires_grad for weight in loaded.values())


def test_the_same_model_is_the_same_file(path: Path, tmp_path: Path) -> None:
    """The order in which settings and weights are given leaves no trace."""
    settings, weights = checkpoint.load(path, KIND)
    again = tmp_path / "again.safetensors"
    checkpoint.save(again, KIND, dict(reversed(settings.items())), dict(reversed(weights.items())))
    assert again.read_bytes() == path.read_bytes()


def test_half_precision_comes_back_as_float32(tmp_path: Path) -> None:
    path, weight = tmp_path / "half.safetensors", torch.randn(50)
    checkpoint.save(path, KIND, {}, {"w": weight.bfloat16(), "n": torch.tensor([3])})
    _, loaded = checkpoint.load(path, KIND)
    assert loaded["w"].dtype == torch.float32 and loaded["n"].dtype == torch.int64
    torch.testing.assert_close(loaded["w"], weight, rtol=2**-8, atol=0)
    assert path.stat().st_size < 50 * 2 + 500


def test_nothing_is_left_of_a_write_that_fails(path: Path) -> None:
    """The old file stays as it was."""
    before = path.read_bytes()
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):
        checkpoint.save(path, KIND, SETTINGS, {"a": shared, "b": shared})
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.safetensors") == "no such checkpoint; train the toy model first"
    assert refusal(tmp_path) == "no such checkpoint; train the toy model first"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert refusal(path).startswith("truncated or not safetensors")


def test_another_format(path: Path) -> None:
    """In particular nothing is unpickled."""
    torch.save({"w": torch.zeros(1)}, path)
    assert refusal(path).startswith("truncated or not safetensors")


def test_another_kind(path: Path) -> None:
    assert refusal(path, "judge") == "holds a toy model; a judge is needed"


def test_weights_from_elsewhere(path: Path) -> None:
    """A safetensors file without our header has no kind."""
    save_file({"w": torch.zeros(1)}, path)
    assert refusal(path) == "holds a model without a kind; a toy model is needed"


@pytest.mark.parametrize("module", [nn.Linear(4, 3), nn.Linear(4, 2, bias=False), nn.Bilinear(2, 2, 2)])
def test_weights_of_another_configuration(path: Path, module: nn.Module) -> None:
    """Other shapes, weights too many or too few: one line, whatever torch has to say."""
    _, weights = checkpoint.load(path, KIND)
    with pytest.raises(InputError, match="checkpoint of another configuration") as error:
        checkpoint.restore(module, path, weights)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_weights_are_restored(path: Path) -> None:
    _, weights = checkpoint.load(path, KIND)
    layer = nn.Linear(4, 2)
    checkpoint.restore(layer, path, weights)
    assert torch.equal(layer.weight, weights["weight"]) and torch.equal(layer.bias, weights["bias"])


def test_required_settings(path: Path) -> None:
    """The first that differs is named, with both values; settings that nobody asks for do not matter."""
    checkpoint.require(path, SETTINGS, {"hidden": 4})
    with pytest.raises(InputError, match=r"hidden is 4, expected 8\); ") as error:
        checkpoint.require(path, SETTINGS, {"words": ["£", "pub"], "hidden": 8})
    assert str(error.value).startswith(f"{path}: ")
    with pytest.raises(InputError, match="layers is None, expected 2"):
        checkpoint.require(path, SETTINGS, {"layers": 2})


def test_a_digest_survives_half_precision() -> None:
    """A table and its stored bf16 copy agree; a table that differs visibly does not."""
    table = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert checkpoint.digest(table) == checkpoint.digest(table.bfloat16().float())
    assert checkpoint.digest(table) == checkpoint.digest(nn.Parameter(table.clone()))
    other = table.clone()
    other[3, 1] *= 1.1
    assert checkpoint.digest(table) != checkpoint.digest(other)
