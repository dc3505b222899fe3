"""What a run would cost: estimates by benchmarks, limits without, and benchmarks on every rule."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.plan import Hours, Planned, total, totals

ROOT = Path(__file__).resolve().parents[2]
RULE = re.compile(r"^( *)rule ?(\w*):\n((?:\1 +.*\n|\n)+)", re.MULTILINE)


def job(
    rule: str = "generate", seconds: float | None = None, folder: Path = Path("none"), **other: Any
) -> Planned:
    """A job that is to be run; with ``seconds`` its benchmark lies in the folder."""
    wildcards = {"task": "length", "method": "fudge", "seed": "0"} | other.pop("wildcards", {})
    path = folder / f"{rule}_{'_'.join(wildcards.values())}.jsonl"
    if seconds is not None:
        path.write_text(json.dumps({"s": seconds, "max_rss": 1.0}) + "\n", encoding="utf-8")
    settings: dict[str, Any] = {"threads": 1, "gpus": 0, "limit": 3600, "needed": True} | other
    return Planned(rule, wildcards, [], None, path, **settings)


def test_a_job_without_a_benchmark_costs_what_others_of_its_rule_and_method_do(tmp_path: Path) -> None:
    jobs = [
        job(seconds=600, folder=tmp_path, needed=False),
        job(seconds=1200, folder=tmp_path, needed=False, wildcards={"task": "syntax_tree"}),
        job(wildcards={"seed": "1"}),
        job(wildcards={"method": "pplm"}),  # nobody knows
    ]
    found = total(jobs)
    assert (found.jobs, found.known) == (2, 1)
    assert found.estimate == (pytest.approx(900 / 3600), 0)
    assert found.others == (1, 0) and found.most == (2, 0)


def test_a_job_that_has_run_before_costs_what_it_did_then(tmp_path: Path) -> None:
    jobs = [
        job(seconds=600, folder=tmp_path),
        job(seconds=3000, folder=tmp_path, needed=False, wildcards={"task": "syntax_tree"}),
    ]
    assert total(jobs).estimate.cores == pytest.approx(600 / 3600)


def test_cores_and_gpus_are_counted_by_the_hour(tmp_path: Path) -> None:
    found = total([job(seconds=1800, folder=tmp_path, threads=4, gpus=2, limit=7200)])
    assert found.estimate == (2, 1) and found.most == (8, 4) and found.others == (0, 0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"s": "NA"}', '{"h": 1}'])
def test_a_benchmark_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    planned = job(folder=tmp_path)
    assert planned.benchmark
    planned.benchmark.write_text(text, encoding="utf-8")
    assert planned.seconds is None and total([planned]).known == 0


def test_a_total_is_one_line(tmp_path: Path) -> None:
    assert totals(total([job(needed=False)])) == "Nothing is left to do."
    assert totals(total([job(), job()])) == (
        "To do: 2 jobs; at most 2 core-hours and 0 GPU-hours by the limits of all."
    )
    known = job(seconds=1800, folder=tmp_path, gpus=1)
    other = job("teacher", limit=360_000)
    assert totals(total([known, other])) == (
        "To do: 2 jobs; about 0.5 core-hours and 0.5 GPU-hours by benchmarks of earlier jobs; "
        "1 without a benchmark, at most 100 core-hours and 0 GPU-hours; "
        "at most 101 core-hours and 1 GPU-hours by the limits of all."
    )


def test_hours_are_told_without_exponents() -> None:
    assert str(Hours(12345.6, 0.0123)) == "12346 core-hours and 0.012 GPU-hours"


def test_every_rule_has_a_benchmark() -> None:
    """And a limit, without which no total could be given; local rules may go without.

    Names of several files, which run nothing, need neither.
    """
    rules = {}
    for path in sorted((ROOT / "pipeline/rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        found = [(match[2] or "for each task", match[3]) for match in RULE.finditer(text)]
        assert len(found) == len(re.findall(r"^ *rule\b.*:$", text, re.MULTILINE)), path.name
        rules |= {f"{path.stem}: {name}": body for name, body in found if " shell:\n" in body}
    assert len(rules) > 30
    assert not {name for name, body in rules.items() if " benchmark:\n" not in body}
    assert not {
        name for name, body in rules.items() if " runtime=" not in body and " localrule: True" not in body
    }
