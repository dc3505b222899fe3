"""Where tensors live: a GPU that no other job of ours uses, or the CPU."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO

import torch

_held: list[IO[bytes]] = []  # open for as long as the process lives: the system gives a dead one's card back


@cache
def device() -> torch.device:
    """The CPU, or a GPU that is this process's alone until it ends; waits while all of them are taken."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    count = torch.cuda.device_count()
    number = claim([str(torch.cuda.get_device_properties(index).uuid) for index in range(count)])
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def claim(cards: Sequence[str], every: float = 1.0) -> int:
    """Lock one of the named cards of this machine against the user's other processes; returns its number.

    Args:
        every: seconds between attempts while all cards are taken.
    """
    files = [(_folder() / f"{card}.lock").open("wb") for card in cards]
    told = False
    while True:
        for number, file in enumerate(files):
            if _locks(file):
                _held.append(file)
                return number
        if not told:
            sys.stderr.write(f"waiting for a GPU: other jobs use all {len(cards)}\n")
            told = True
        time.sleep(every)


def _locks(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _folder() -> Path:
    """Locks of one machine and user: not in results/, which several machines of a cluster share."""
    folder = Path(tempfile.gettempdir()) / f"diffusion-lm-bench-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder
