"""What a run of Snakemake does at its start and its end: its lock, a place to write, and what went wrong.

Snakemake's own lock is a file, which outlives a run that is killed and then stops the next one. Ours is held
by the process and goes with it: while nobody holds it, Snakemake's lock is stale.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pipeline.files import write_text

LOCKS = Path(".snakemake/locks")
OURS = Path(".snakemake/running")
LITTLE = 10_000_000  # bytes; with less, a disk counts as full
STARTED = time.time()
held: list[IO[str]] = []  # until the process ends


def hold_lock() -> None:
    """Tell that this process runs the workflow here; others may too, for other outputs."""
    held.append(OURS.open("a"))
    with suppress(OSError):  # of a file system without locks
        fcntl.flock(held[-1], fcntl.LOCK_SH)


def is_running() -> bool:
    """Whether a run is going on in this folder, as far as the file system can tell."""
    if not OURS.is_file():
        return False
    with OURS.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def clear_stale_lock() -> None:
    """Remove what a killed run has left of Snakemake's lock."""
    if LOCKS.is_dir() and OURS.is_file() and not is_running():
        shutil.rmtree(LOCKS, ignore_errors=True)


def rerun_incomplete(workflow: Any) -> None:
    """Have Snakemake do as with ``--rerun-incomplete``: what a killed run was making is made again.

    Outputs are written whole or not at all, so there is nothing to ask. The settings reach the workflow only
    after its files have been read, so they are changed when the planning begins.
    """
    prepare = workflow._prepare_dag

    def prepare_dag(*args: Any, **named: Any) -> None:
        workflow.dag_settings.force_incomplete = True
        prepare(*args, **named)

    workflow._prepare_dag = prepare_dag


def require_writable(folder: Path) -> None:
    """Check that results can be written, before any job is started.

    Raises:
        OSError: they cannot.
    """
    probe = folder / ".writable"
    write_text(probe, "yes\n")
    probe.unlink()


def errors(results: Path) -> Iterator[str]:
    """The lines in which the jobs of this run have told what ended them; a full disk has kept none."""
    for log in sorted(results.glob("logs/**/*.log")):
        if log.stat().st_mtime >= STARTED:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            yield from (f"{line} (see {log})" for line in lines if line.startswith("error: "))
    if shutil.disk_usage(results).free < LITTLE:
        yield f"error: {results}: no space left; free some space and run the same command again"
