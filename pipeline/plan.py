"""What a run would do, from Snakemake's own graph, and what it would cost, from benchmarks and limits.

The totals stand at the end of every dry run; :mod:`pipeline.status` shows where each job is.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

ALIKE_BUT_FOR = ("task", "seed")  # jobs of a rule that differ in these alone cost about the same


@dataclass(frozen=True)
class Planned:
    """A job of the graph.

    ``limit`` are the seconds it may take, ``needed``: it would run now; ``cluster_job``: what a cluster calls
    it, if it was handed to one and has not ended.
    """

    rule: str
    wildcards: dict[str, str]
    outputs: list[Path]
    log: Path | None
    benchmark: Path | None
    threads: int
    gpus: int
    limit: int
    needed: bool
    cluster_job: str | None = None

    @property
    def kind(self) -> tuple[str, ...]:
        """What jobs of about the same cost share, e.g. rule and method."""
        named = sorted((key, value) for key, value in self.wildcards.items() if key not in ALIKE_BUT_FOR)
        return (self.rule, *(value for _, value in named))

    @cached_property
    def seconds(self) -> float | None:
        """What its last run took; None: it has none, or nobody knows."""
        try:
            lines = self.benchmark.read_text(encoding="utf-8").split("\n") if self.benchmark else []
            return float(json.loads(lines[0])["s"])
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            return None


class Hours(NamedTuple):
    """Of cores and of GPUs."""

    cores: float
    gpus: float

    def __str__(self) -> str:
        cores, gpus = (f"{hours:.0f}" if hours >= 100 else f"{hours:.2g}" for hours in self)
        return f"{cores} core-hours and {gpus} GPU-hours"


class Total(NamedTuple):
    """What jobs cost: the ``known`` ones by benchmarks, the others and all of them by their limits."""

    jobs: int
    known: int
    estimate: Hours
    others: Hours
    most: Hours


def planned(dag: Any) -> list[Planned]:
    """Every job of Snakemake's graph that does something."""
    return [_planned(dag, job) for job in dag.jobs if not job.is_norun]


def _planned(dag: Any, job: Any) -> Planned:
    told = dag.workflow.persistence.external_jobids(job)
    return Planned(
        rule=job.rule.name,
        wildcards=dict(job.wildcards_dict),
        outputs=[Path(str(path)) for path in job.output],
        log=Path(str(job.log[0])) if job.log else None,
        benchmark=Path(str(job.benchmark)) if job.benchmark else None,
        threads=job.threads,
        gpus=int(job.resources.get("gpu", 0)),
        limit=60 * int(job.resources.get("runtime", 0)),
        needed=bool(dag.needrun(job)),
        cluster_job=told[0] if told else None,
    )


def total(jobs: Sequence[Planned]) -> Total:
    """What those of the jobs that would run cost together; a running job counts as a whole.

    A job's estimate is the time of its last run, or the mean of those of its kind.
    """
    of_kind: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for job in jobs:
        if job.seconds is not None:
            of_kind[job.kind].append(job.seconds)
    needed = [job for job in jobs if job.needed]
    known = [
        (job, mean(of_kind[job.kind]) if job.seconds is None else job.seconds)
        for job in needed
        if job.kind in of_kind
    ]
    others = [(job, job.limit) for job in needed if job.kind not in of_kind]
    most = [(job, job.limit) for job in needed]
    return Total(len(needed), len(known), _hours(known), _hours(others), _hours(most))


def _hours(jobs: Sequence[tuple[Planned, float]]) -> Hours:
    return Hours(
        sum(seconds * job.threads for job, seconds in jobs) / 3600,
        sum(seconds * job.gpus for job, seconds in jobs) / 3600,
    )


def totals(found: Total) -> str:
    """A total in one line."""
    if not found.jobs:
        return "Nothing is left to do."
    others = f"{found.jobs - found.known} without a benchmark, at most {found.others}"
    parts = [
        *([f"about {found.estimate} by benchmarks of earlier jobs"] if found.known else []),
        *([others] if 0 < found.known < found.jobs else []),
        f"at most {found.most} by the limits of all",
    ]
    return f"To do: {found.jobs} jobs; {'; '.join(parts)}."


def print_totals(workflow: Any) -> None:
    """Print the totals of a workflow whose graph could be made."""
    if workflow.scheduler is not None:
        print(totals(total(planned(workflow.dag))), flush=True)
