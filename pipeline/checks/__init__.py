"""What a run needs, checked before it starts; :mod:`pipeline.doctor` prints the findings."""

from __future__ import annotations

from typing import NamedTuple

OK, WARN, FAIL = "ok", "warn", "FAIL"


class Finding(NamedTuple):
    """One checked thing: ``level`` is OK, WARN (a run works, perhaps not as wanted) or FAIL (it stops).

    ``repair`` is the command that mends it, or says what to do.
    """

    level: str
    what: str
    detail: str
    repair: str = ""
