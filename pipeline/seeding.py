"""Named randomness: every draw belongs to a key, so batch size, order and sharding change nothing."""

from __future__ import annotations

import hashlib

import torch


def seed_of(*key: str | int) -> int:
    """A 63-bit seed from the named axes of a draw, e.g. ``("fudge", "length", 0, "length-12", 3)``."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*key: str | int) -> torch.Generator:
    """A CPU generator of its own for this key."""
    return torch.Generator().manual_seed(seed_of(*key))
