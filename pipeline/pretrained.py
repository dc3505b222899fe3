"""Pretrained models of others: what is asked of their files before anything reads them."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import InputError


def require_safetensors(source: str) -> None:
    """Check that a local folder's weights are safetensors: a pickle may run any program when it is read.

    Args:
        source: hub name or local folder; of a hub name nothing is known yet.

    Raises:
        InputError: the folder holds none.
    """
    folder = Path(source)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        what = "holds no safetensors, and pickled weights (.bin) are not read"
        how = (
            "if you trust them, convert them once with transformers: "
            "AutoModelForPreTraining.from_pretrained(folder).save_pretrained(folder)"
        )
        raise InputError(source, what, how)
