"""What jobs asked a SLURM cluster for and what they used, by rule, from the executor's efficiency reports."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pipeline.errors import InputError

RULE = re.compile(r"rule_(.*?)(?:_wildcards_.*)?")  # what the executor writes into a job's comment
NEEDED = ("Elapsed_sec", "TotalCPU_sec", "NCPUS", "MaxRSS_MB", "RequestedMem_MB")


class Efficiency(NamedTuple):
    """The jobs of a rule: ``hours`` of all together, memory of the one that used the largest share."""

    rule: str
    jobs: int
    hours: float
    cores_asked: float
    cores_used: float
    memory_asked_mb: float
    memory_used_mb: float


def efficiencies(reports: Iterable[Path]) -> list[Efficiency]:
    """One row per rule, those that took longest first.

    Where the cluster keeps no comments, nobody knows the rules: all jobs share one row.

    Raises:
        InputError: a file is no efficiency report.
    """
    tables = [_read(path) for path in reports]
    if not tables:
        return []
    jobs = pd.concat(tables, ignore_index=True)
    found = [_row(str(rule), of_rule) for rule, of_rule in jobs.groupby("rule")]
    return sorted(found, key=lambda row: (-row.hours, row.rule))


def _read(path: Path) -> pd.DataFrame:
    again = "delete the file, or let snakemake write it again (--slurm-efficiency-report)"
    try:
        table = pd.read_csv(path)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(path, f"not CSV ({str(error).strip().splitlines()[0]})", again) from None
    if missing := [name for name in NEEDED if name not in table]:
        raise InputError(path, f"no column {missing[0]}", again)
    comments = table["RuleName"].fillna("") if "RuleName" in table else [""] * len(table)
    return table.assign(rule=[_rule(str(comment)) for comment in comments])


def _rule(comment: str) -> str:
    match = RULE.fullmatch(comment)
    return match[1] if match else "all"


def _row(rule: str, jobs: pd.DataFrame) -> Efficiency:
    """Cores are means over the time of all jobs."""
    seconds = jobs["Elapsed_sec"].sum()
    share = (jobs["MaxRSS_MB"] / jobs["RequestedMem_MB"]).where(jobs["RequestedMem_MB"] > 0, 0).fillna(0)
    largest = jobs.loc[share.idxmax()]
    return Efficiency(
        rule=rule,
        jobs=len(jobs),
        hours=seconds / 3600,
        cores_asked=(jobs["NCPUS"] * jobs["Elapsed_sec"]).sum() / max(seconds, 1),
        cores_used=jobs["TotalCPU_sec"].sum() / max(seconds, 1),
        memory_asked_mb=float(largest["RequestedMem_MB"]),
        memory_used_mb=float(largest["MaxRSS_MB"]),
    )
