"""Where tensors live."""

from __future__ import annotations

import torch


def device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
