"""Processes of a run are killed at random; the same command goes on, and ends with the same results."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.conftest import Miniature
from tests.faults.killing import Killer, Wholeness, finished_twice, same_tables, snakemake_command
from tests.workflow.test_dag import MINIATURE

FILES = ("samples/length/human/seed0.jsonl", "samples/infilling/human/seed0.jsonl")


def killed_run(folder: Path, words: tuple[str, ...], kills: int, most_jobs: int, every: int = 5) -> Killer:
    """A run of the same command again and again until nothing was killed in it."""
    killer = Killer(snakemake_command(*words), folder, seed=7, every=every, most_jobs=most_jobs)
    code = killer.run(kills, Wholeness(folder / "results/demo"))
    assert code == 0, killer.logs[-1][-3000:]
    print(f"killed {', '.join(killer.killed)} in {len(killer.logs)} runs")
    assert not finished_twice(killer.logs)
    return killer


@pytest.fixture
def copied(copy_repository: Callable[[Path], Path], tmp_path: Path) -> Path:
    folder = copy_repository(tmp_path / "copy")
    (folder / "mini.yaml").write_text(yaml.safe_dump(MINIATURE))
    return folder


MINI = ("--cores", "2", "--configfile", "mini.yaml")


def test_a_few_jobs_survive_kills_of_themselves_and_of_snakemake(copied: Path, few: Miniature) -> None:
    words = (*MINI, "--", *(f"results/demo/{file}" for file in FILES))
    killer = killed_run(copied, words, kills=3, most_jobs=0, every=2)
    assert "snakemake" in killer.killed
    for file in FILES:
        assert (copied / "results/demo" / file).read_bytes() == (few.results / file).read_bytes()


@pytest.mark.faults
def test_the_miniature_survives_ten_kills(copied: Path, miniature: Miniature) -> None:
    killer = killed_run(copied, MINI, kills=10, most_jobs=8)
    assert len(killer.killed) == 10
    assert same_tables(copied / "results/demo/tables", miniature.results / "tables") == []


@pytest.mark.faults
@pytest.mark.demo
def test_the_demo_survives_twenty_kills(copied: Path, undisturbed_tables: Path) -> None:
    killer = killed_run(copied, ("--cores", "2"), kills=20, most_jobs=6)
    assert len(killer.killed) == 20
    assert same_tables(copied / "results/demo/tables", undisturbed_tables) == []


def test_an_output_that_nobody_has_recorded_is_made_again(
    snakemake: Callable[..., Any], copied: Path
) -> None:
    """Killed between a job's end and its record, Snakemake finds the output and its own mark of a start."""
    output, words = "results/demo/refusals.json", (*MINI, "--", "results/demo/refusals.json")
    assert snakemake(copied, *words).code == 0
    mark = copied / ".snakemake/incomplete" / base64.urlsafe_b64encode(output.encode()).decode()
    mark.touch()
    assert "refusals.json" in snakemake(copied, "-n", *words).jobs
    assert snakemake(copied, *words).code == 0 and not mark.exists()
    assert not snakemake(copied, "-n", *words).jobs


def test_a_stale_lock_of_snakemake_stops_no_run(snakemake: Callable[..., Any], copied: Path) -> None:
    """Snakemake's lock files are stale where no process holds our lock."""
    locks = copied / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/demo/refusals.json\n")
    (copied / ".snakemake/running").touch()
    assert snakemake(copied, *MINI, "--", "results/demo/refusals.json").code == 0
