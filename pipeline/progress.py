"""One dense progress line for long commands, on standard error."""

from __future__ import annotations

import sys
import time


class Progress:
    """Tell step, values, rate and time left, at most every ``every`` seconds and at the end.

    Args:
        name: what is going on, e.g. ``diffusion_lm``.
        total: number of steps.
        start: steps already done when resumed.
        every: seconds between lines.
    """

    def __init__(self, name: str, total: int, start: int = 0, every: float = 10.0) -> None:
        self.name, self.total, self.start, self.every = name, total, start, every
        self.began = self.told = time.monotonic()

    def update(self, step: int, **values: float) -> None:
        """Report that ``step`` steps are done."""
        now = time.monotonic()
        if now - self.told < self.every and step < self.total:
            return
        self.told = now
        speed = (step - self.start) / max(now - self.began, 1e-9)
        left = (self.total - step) / speed if speed else 0.0
        told = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
        line = f"{self.name}: {step}/{self.total}  {told}  {speed:.1f}/s  {_clock(left)} left"
        sys.stderr.write(f"{line}\n")  # one write, so that no other job's line gets into it
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
