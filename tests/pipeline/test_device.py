"""One card, one job: GPUs are locked against the user's other processes, and given back by a death."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline import device as module

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pipeline.device import claim
number = claim(sys.argv[2].split(","), every=0.02)
print("from", number, time.monotonic(), flush=True)
time.sleep(float(sys.argv[1]))
print("to", number, time.monotonic(), flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a process that holds one of the named cards for some seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}

    def begin(seconds: float, cards: str = "first,second") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(seconds), cards],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    return begin


def times(told: str) -> tuple[int, float, float]:
    """Card, begin and end."""
    (_, card, begin), (_, _, end) = (line.split() for line in told.splitlines())
    return int(card), float(begin), float(end)


def test_no_two_jobs_share_a_card(start: Start) -> None:
    """Five jobs at once on two cards: both are used, and what is on one card does not overlap."""
    jobs = [job.communicate(timeout=60) for job in [start(0.2) for _ in range(5)]]
    used = sorted(times(out) for out, _ in jobs)
    assert {card for card, *_ in used} == {0, 1}
    for (card, _, end), (following, begin, _) in pairwise(used):
        assert card != following or end <= begin
    assert sum("waiting for a GPU: other jobs use all 2" in errors for _, errors in jobs) >= 1


def test_a_killed_job_gives_its_card_back(start: Start) -> None:
    with start(600, "only") as killed:
        assert killed.stdout is not None and killed.stdout.readline()
        with start(0, "only") as waiting:
            assert waiting.stderr is not None and "waiting" in waiting.stderr.readline()
            killed.kill()
            out, _ = waiting.communicate(timeout=60)
    assert times(out)[0] == 0


def test_a_machine_with_cards_is_asked_for_one_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: Start
) -> None:
    """The first card is another job's, so the second is taken, and made the process's own."""
    chosen: list[int] = []
    names = ("first", "second")
    answers: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": lambda index: SimpleNamespace(uuid=names[index]),
        "set_device": chosen.append,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    with start(600, "first") as other:
        assert other.stdout is not None and other.stdout.readline()
        module.device.cache_clear()
        try:
            assert module.device() == module.device() == torch.device("cuda", 1)
        finally:
            module.device.cache_clear()
            module._held.clear()
            other.kill()
    assert chosen == [1]


def test_without_a_card_the_cpu_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    module.device.cache_clear()
    assert module.device() == torch.device("cpu")
    module.device.cache_clear()
