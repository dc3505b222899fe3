"""What a cluster does before it takes a machine back: SIGTERM, some seconds, SIGKILL."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def termination() -> Iterator[Callable[[], int]]:
    """Within the block SIGTERM and Ctrl-C end nothing; the yielded function tells which of them came.

    Yields:
        A function that returns the exit status to end with (143 or 130), 0 while neither has come.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(128 + number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
