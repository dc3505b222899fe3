"""Runs of Snakemake in which processes are killed at random, and what their logs say."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.files import parse_json
from pipeline.records import Sample, Score, Target, Text, read_records

COMMAND = re.compile(r"-m ((?:pipeline|diffusion_lm|baselines|eval)\.[\w.]+)")
JOB = re.compile(r"^(?:local)?rule .*\n(?:    .*\n)*", re.MULTILINE)
FINISHED = re.compile(r"^Finished jobid: (\d+)", re.MULTILINE)
KINDS = {"samples": Sample, "selected": Sample, "scores": Score, "targets": Target}
MOST_SECONDS = 60  # before a kill: trainings are hit too
ENDS = {".pdf": b"%%EOF", ".png": b"IEND\xaeB`\x82", ".html": b"</html>"}  # of files that are no lines
NOT_DECLARED = ("logs", "benchmarks")


class Process(NamedTuple):
    """A running process of this machine; of a command ``words`` is its module."""

    number: int
    parent: int
    words: str


def processes() -> list[Process]:
    """Every process that can be seen."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal():
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                found.append(Process(int(folder.name), parent, words))
        except OSError:  # it has ended meanwhile
            continue
    return found


def jobs_of(snakemake: int) -> list[Process]:
    """The commands that a Snakemake process runs now."""
    running = processes()
    below = {snakemake}
    for _ in range(3):  # Snakemake, a shell, the command
        below |= {process.number for process in running if process.parent in below}
    commands = ((process, COMMAND.search(process.words)) for process in running if process.number in below)
    return [process._replace(words=found[1]) for process, found in commands if found]


class Killer:
    """Runs the same command again and again, and kills a process of each run, until one is left alone.

    Args:
        command: what to run. folder: where. seed: of what is killed, and when.
        every: each so-manieth kill hits Snakemake itself.
        most_jobs: a kill comes after so many jobs of a run have finished, or fewer.
    """

    def __init__(self, command: Sequence[str], folder: Path, seed: int, every: int, most_jobs: int) -> None:
        self.command, self.folder, self.random = list(command), folder, random.Random(seed)
        self.every, self.most_jobs = every, most_jobs
        self.logs: list[str] = []
        self.killed: list[str] = []

    def run(self, kills: int, check: Callable[[], None]) -> int:
        """Kill at most ``kills`` times; ``check`` is called after each. Returns the last run's exit code."""
        while True:
            log = self.folder / f"run{len(self.logs)}.log"
            with log.open("w") as told:
                process = subprocess.Popen(
                    self.command, cwd=self.folder, stdout=told, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )  # fmt: skip
                disturbed = len(self.killed) < kills and self._kill(process, log)
                if disturbed:
                    check()
                code = process.wait()
            self.logs.append(log.read_text(errors="replace"))
            if not disturbed:
                return code

    def _kill(self, process: subprocess.Popen[bytes], log: Path) -> bool:
        """Wait for some finished jobs or a minute, and a moment more; then kill, unless the run has ended."""
        wanted, delay = self.random.randint(0, self.most_jobs), self.random.uniform(0, 1)
        last = time.monotonic() + MOST_SECONDS
        while process.poll() is None:
            finished = len(FINISHED.findall(log.read_text(errors="replace")))
            if finished >= wanted or time.monotonic() > last:
                time.sleep(delay)
                if chosen := self._choose(process.pid):
                    os.kill(chosen.number, signal.SIGKILL)
                    self.killed.append(chosen.words)
                    return True
            time.sleep(0.1)
        return False

    def _choose(self, snakemake: int) -> Process | None:
        """Snakemake itself, or one of its jobs; nothing if none is running."""
        running = jobs_of(snakemake)
        if running and (len(self.killed) + 1) % self.every == 0:
            return Process(snakemake, 0, "snakemake")
        return self.random.choice(running) if running else None


def finished_jobs(log: str) -> Iterator[str]:
    """The jobs that a run has finished, each told by its outputs."""
    outputs = {}
    for block in JOB.findall(log):
        told = dict(line.strip().split(": ", 1) for line in block.splitlines()[1:] if ": " in line)
        outputs[told.get("jobid", "")] = told.get("output", "all")
    for number in FINISHED.findall(log):
        yield outputs[number]


def finished_twice(logs: Sequence[str]) -> list[str]:
    """Outputs that more than one run has finished."""
    counts = Counter(job for log in logs for job in finished_jobs(log) if job != "all")
    return [job for job, count in counts.items() if count > 1]


class Wholeness:
    """Checks that every declared output that is there is whole; what was read before is skipped."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.seen: dict[Path, int] = {}

    def __call__(self) -> None:
        """Read what is new."""
        for path in sorted(self.results.rglob("*")):
            name = path.relative_to(self.results)
            declared = not path.name.startswith(".") and not any(p.endswith(".work") for p in name.parts)
            if not path.is_file() or not declared or name.parts[0] in NOT_DECLARED:
                continue
            if self.seen.get(path) != path.stat().st_mtime_ns:
                self.seen[path] = path.stat().st_mtime_ns
                read_whole(path, name.parts[0])


def read_whole(path: Path, kind: str) -> None:
    """Read a result; an incomplete one raises."""
    if path.suffix == ".jsonl":
        read_records(path, KINDS.get(kind, Text))
    elif path.suffix == ".json":
        parse_json(path.read_text(encoding="utf-8"), path)
    elif path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "np") as file:
            assert file.metadata(), path
    elif path.suffix in ENDS:
        assert path.read_bytes().rstrip().endswith(ENDS[path.suffix]), path
    else:
        assert path.read_text(encoding="utf-8").endswith("\n"), path


def snakemake_command(*words: str) -> list[str]:
    """Snakemake under the interpreter of the tests."""
    return [sys.executable, "-m", "snakemake", *words]


def same_tables(first: Path, second: Path) -> list[str]:
    """The names of the tables that differ; those of cost hold times."""
    names = sorted(path.name for path in first.glob("*.csv") if path.stem not in ("cost", "training"))
    assert names, f"{first} holds no tables"
    differing = [name for name in names if (first / name).read_bytes() != (second / name).read_bytes()]
    signed = [json.loads((folder / "signatures.json").read_text()) for folder in (first, second)]
    return differing + ["signatures.json"] * (signed[0] != signed[1])
