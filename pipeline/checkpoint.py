"""Checkpoints: safetensors whose header says what the weights are and what made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pipeline.errors import InputError
from pipeline.files import atomic, parse_json

HEADER = "diffusion-lm-bench"


def save(path: Path, kind: str, settings: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    """Write weights atomically; ``kind`` and ``settings`` go into the header, as one entry of JSON.

    One entry, because safetensors writes several in random order and equal runs must write equal bytes.
    """
    header = {HEADER: json.dumps({"kind": kind, "settings": settings}, ensure_ascii=False, sort_keys=True)}
    with atomic(path) as temporary:
        save_file(
            {name: w.detach().cpu().contiguous() for name, w in weights.items()}, temporary, metadata=header
        )


def load(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Settings and weights of a checkpoint; weights stored in bf16 come back in float32.

    Raises:
        InputError: missing or damaged file, or a checkpoint of another kind.
    """
    if not path.is_file():
        raise InputError(path, "no such checkpoint", f"train the {kind} first")
    metadata, weights = read(path, f"train the {kind} again")
    header = parse_json(metadata.get(HEADER, "{}"), path)
    if not isinstance(header, dict) or header.get("kind") != kind:
        found = (
            header.get("kind", "model without a kind") if isinstance(header, dict) else "header of no kind"
        )
        raise InputError(path, f"holds a {found}", f"a {kind} is needed")
    if not isinstance(header.get("settings"), dict):
        raise InputError(path, "its header holds no settings", f"train the {kind} again")
    if broken := [name for name, weight in weights.items() if not weight.isfinite().all()]:
        raise InputError(path, f"weights '{broken[0]}' are no numbers", f"train the {kind} again")
    floats = {name: w.float() if w.dtype == torch.bfloat16 else w for name, w in weights.items()}
    return Header(path, header["settings"]), floats


class Header(dict[str, Any]):
    """What a checkpoint says of its weights; asking for what it does not say is bad input."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.path = path

    def __missing__(self, key: str) -> NoReturn:
        raise InputError(self.path, f"its header has no '{key}'", "train it again")


def read(path: Path, how: str) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Header and tensors of any safetensors file; ``how`` tells what to do if it is none.

    Raises:
        InputError: damaged, or another format (pickles above all, which are never opened).
    """
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(path, f"truncated or not safetensors ({error})", how) from None


def restore(module: torch.nn.Module, path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Load weights into ``module``.

    Raises:
        InputError: the weights are those of another configuration.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise InputError(path, f"checkpoint of another configuration ({what})", "train it again") from None


def require(path: Path, settings: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Check that a checkpoint's settings have the ``expected`` values.

    Raises:
        InputError: names the first setting that differs, and both values.
    """
    for key, value in expected.items():
        if settings.get(key) != value:
            what = f"checkpoint of another configuration ({key} is {settings.get(key)!r}, expected {value!r})"
            raise InputError(path, what, "train it again, or use the configuration that made it")


def digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's values rounded to bf16, so that a stored half-precision copy agrees."""
    values = tensor.detach().cpu().to(torch.bfloat16).view(torch.int16)
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()
