"""The one error a user can cause: bad input, told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

MOST = 600  # letters of each part of a message: what is wrong may be a line of megabytes


class InputError(Exception):
    """Bad input. Commands print it as one line and end with exit code 2.

    Args:
        where: the file (and line, ``corpus.jsonl:12``), option or setting at fault.
        what: what is wrong with it.
        how: what to do about it.
    """

    def __init__(self, where: str | Path, what: str, how: str) -> None:
        told = (" ".join(str(part)[: 2 * MOST].split()) for part in (where, what, how))
        where, what, how = (part if len(part) <= MOST else f"{part[:MOST]}..." for part in told)
        super().__init__(f"{where}: {what}; {how}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known word closest to ``name``, or all of them when none is close."""
    known = sorted(known)
    close = difflib.get_close_matches(name[:MOST], known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
