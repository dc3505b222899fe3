"""Checkpoints: safetensors whose header says what the weights are and what made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pipeline.errors import InputError
from pipeline.files import atomic

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
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(path, f"truncated or not safetensors ({error})", f"train the {kind} again") from None
    if header.get("kind") != kind:
        raise InputError(path, f"holds a {header.get('kind', 'model without a kind')}", f"a {kind} is needed")
    floats = {name: w.float() if w.dtype == torch.bfloat16 else w for name, w in weights.items()}
    return header["settings"], floats


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
