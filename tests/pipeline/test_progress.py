"""The progress line: when it is told, and in one piece."""

from __future__ import annotations

import re
import sys

import pytest

from pipeline.progress import Progress


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written to standard error, piece by piece."""
    pieces: list[str] = []
    monkeypatch.setattr(sys.stderr, "write", pieces.append)
    return pieces


def test_a_line_is_written_at_once(written: list[str]) -> None:
    """Line and newline apart would let another job's line in between."""
    Progress("toy", total=4, every=0).update(2, loss=0.123456)
    (line,) = written
    assert re.fullmatch(r"toy: 2/4  loss 0\.1235  [\d.]+/s  \d+:\d\d left\n", line)


def test_between_two_lines_time_must_pass_but_the_end_is_always_told(written: list[str]) -> None:
    progress = Progress("toy", total=3, every=3600)
    for step in (1, 2, 3):
        progress.update(step)
    assert [line.split()[1] for line in written] == ["3/3"]
