"""What a scale needs and lacks on this machine, before a run finds out.

python -m pipeline.doctor --scale paper [--set key.path=value ...] [--slurm]

One line for each thing: ok, warn (a run works, perhaps not as wanted) or FAIL (it stops), and beneath it the
command that repairs it. Nothing is downloaded or written. Exit code 0: all well; 1: warnings; 2: something
is missing, or bad input.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.checks import FAIL, OK, WARN, Finding
from pipeline.checks.cluster import answers, cluster
from pipeline.checks.data import data
from pipeline.checks.machine import machine
from pipeline.checks.models import models
from pipeline.checks.packages import packages
from pipeline.errors import InputError
from pipeline.settings import overridden

LEVELS = (OK, WARN, FAIL)


def findings(settings: dict[str, Any], slurm: bool) -> Iterator[Finding]:
    """Everything that is checked, in the order of repair.

    Args:
        settings: resolved. slurm: the run is to use SLURM, whether it is found or not.
    """
    up = answers()
    yield from packages()
    yield from machine(settings, slurm or up)
    if slurm or shutil.which("sbatch"):
        yield from cluster(slurm, up)
    yield from data(settings)
    yield from models(settings)


def told(found: Iterable[Finding]) -> Iterator[str]:
    """The findings as aligned lines; what is well needs no repair."""
    found = list(found)
    width = max(len(finding.what) for finding in found)
    for level, what, detail, repair in found:
        yield f"{level:<4}  {what:<{width}}  {detail}"
        if repair and level != OK:
            yield f"{'':<{width + 8}}-> {repair}"


def main(words: Sequence[str]) -> int:
    """Print the findings; returns the exit code."""
    from pipeline.command import Parser

    parser = Parser(prog="pipeline.doctor", description=__doc__)
    parser.add_argument("--scale", default="demo", help="name of the scale, e.g. paper")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="override a setting")
    parser.add_argument("--slurm", action="store_true", help="the run is to use SLURM")
    options = parser.parse_args(words)
    if not Path("Snakefile").is_file():
        raise InputError(Path.cwd(), "no Snakefile", "run this in the repository's root folder")
    found = list(findings(overridden(options.scale, options.set), options.slurm))
    print(*told(found), sep="\n")
    counts = {level: sum(finding.level == level for finding in found) for level in LEVELS}
    print(f"\n{options.scale}: {', '.join(f'{count} {level}' for level, count in counts.items())}")
    return max(LEVELS.index(finding.level) for finding in found)


if __name__ == "__main__":
    from pipeline.command import exit_codes

    with exit_codes():
        sys.exit(main(sys.argv[1:]))
