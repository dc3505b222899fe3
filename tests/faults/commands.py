"""The project's commands, run in forked children of one process that has imported everything already.

A miniature of every file that the workflow makes comes from its own command lines, as a dry run prints them.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import pkgutil
import re
import runpy
import shlex
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("pipeline", "diffusion_lm", "baselines", "eval")
HEAVY = ("torch", "transformers", "spacy", "benepar", "pandas", "scipy.stats", "sacrebleu", "matplotlib")
SHELL = re.compile(r"^Shell command: \$python -m (.*) 2> >\(.*$", re.MULTILINE)
SECONDS = 120  # that a command may take


class Ended(NamedTuple):
    """How a command ended and what it wrote to standard error."""

    code: int
    told: str


@dataclass(frozen=True)
class Call:
    """A command's module and its words."""

    module: str
    words: tuple[str, ...]


@cache
def preload() -> None:
    """Import what the commands import, so that a child has it at once.

    No garbage is collected from then on: that would copy every page that a child shares with us.
    """
    gc.disable()
    for name in (*HEAVY, *modules()):
        with contextlib.suppress(ImportError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    gc.freeze()


def modules() -> list[str]:
    """Every module of ours."""
    found = []
    for package in PACKAGES:
        folder = str(Path(__file__).resolve().parents[2] / package)
        found += [module.name for module in pkgutil.walk_packages([folder], f"{package}.")]
    return sorted(found)


def run(call: Call, folder: Path, before: Callable[[], None] = preload) -> Ended:
    """Run a command in a folder; one that a signal ends has minus its number as code (14: too slow).

    Args:
        before: what the child does first.
    """
    preload()
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if child == 0:
            before()
            os._exit(_child(call, folder, told.fileno()))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told.seek(0)
        return Ended(code, told.read().decode(errors="replace"))


def _child(call: Call, folder: Path, told: int) -> int:
    signal.alarm(SECONDS)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(told, 2)
    sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(fd, "wb", 0), write_through=True) for fd in (1, 2))
    sys.argv = [call.module, *call.words]
    warnings.simplefilter("ignore")
    try:
        runpy.run_module(call.module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def printed_calls(told: str) -> Iterator[Call]:
    """The commands that a dry run with ``--printshellcmds`` prints, in an order in which they can be run."""
    for line in SHELL.findall(told):
        module, *words = shlex.split(line)
        yield Call(module, tuple(words))


def run_all(calls: Sequence[Call], folder: Path) -> None:
    """Run commands that must succeed."""
    for call in calls:
        ended = run(call, folder)
        assert ended.code == 0, f"{call}\n{ended.told}"
