"""The table of batch sizes: its form, its arithmetic, and that it never compares different texts."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baselines.pplm import batching
from baselines.pplm.batching import COLUMNS, as_markdown, requests, table
from baselines.pplm.method import PPLM
from pipeline.command import Job
from pipeline.errors import InputError
from pipeline.records import Target, write_records

Make = Callable[..., PPLM]


@pytest.fixture
def job(world: Any, pplm: Make, tmp_path: Path) -> Job:
    targets = tmp_path / "targets.jsonl"
    write_records(targets, world.targets()[:3])
    made = pplm(updates=1)
    inputs = {"targets": targets, "vocabulary": world.inputs["vocabulary"], **made.models}
    spec = {"sizes": [1, 2, 8], "texts": 5, "method": made.settings, "name": "pplm", "seed": 0}
    return Job(spec, inputs, {"csv": tmp_path / "t.csv", "markdown": tmp_path / "t.md"})


def test_requests_go_round_the_targets() -> None:
    targets = [Target(name, "semantic_content", {}) for name in "ab"]
    assert [(r.target.target_id, r.index) for r in requests(targets, 5)] == [
        ("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2),
    ]  # fmt: skip


def found(seconds: float, *texts: str) -> tuple[list[list[str]], float]:
    return [text.split() for text in texts], seconds


FOUND = [found(6.0, "a pub", "a bar"), found(0.75, "a pub", "a place")]


def test_every_size_is_compared_with_single_texts() -> None:
    assert table([1, 16], FOUND) == [
        ["1", "2", "6.000", "1.0", "100.0"],
        ["16", "2", "0.750", "8.0", "50.0"],
    ]


def test_markdown_columns_are_aligned() -> None:
    lines = as_markdown(table([1, 16], FOUND)).splitlines()
    assert lines[0] == "| batch size | texts | seconds per sample | times faster | percent same |"
    assert lines[3] == "|         16 |     2 |              0.750 |          8.0 |         50.0 |"
    assert len({len(line) for line in lines}) == 1


def test_the_command_times_every_size(job: Job, run_command: Any) -> None:
    ran = run_command("baselines.pplm.batching", job.spec, job.inputs, job.outputs)
    assert ran.code == 0, ran.stderr
    rows = list(csv.DictReader(job.outputs["csv"].read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["batch_size"], row["texts"]) for row in rows] == [("1", "5"), ("2", "5"), ("8", "5")]
    assert all(float(row["seconds_per_sample"]) > 0 for row in rows) and rows[0]["times_faster"] == "1.0"
    assert {row["percent_same"] for row in rows} == {"100.0"}
    assert job.outputs["markdown"].read_text().count("\n") == 5


def test_other_texts_at_another_size_are_an_error(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(batching, "measure", lambda *_: ([[str(next(numbers))]], 1.0))
    with pytest.raises(RuntimeError, match="of the texts of batches of 1, batches of 2 give only 0%"):
        batching.main(job)
    assert not job.outputs["csv"].exists()


def test_the_first_size_must_be_one(job: Job) -> None:
    job.spec["sizes"] = [2, 4]
    with pytest.raises(InputError, match="begin with 1"):
        batching.main(job)
