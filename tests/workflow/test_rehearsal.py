"""The rehearsal of the paper's scale: it differs in nothing but counts and sources, and fills all tables."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bert_score.utils import model2layers

from pipeline.settings import differences, resolve

COUNTS = {
    *("steps", "batch_size", "samples", "targets", "tuning", "human", "last"),
    *("updates", "passes", "iterations", "chains", "texts"),
}
SOURCES = {"scale", "data_dir", "source", "layer"}
Snakemake = Callable[..., Any]


def counts_or_names(key: str) -> bool:
    """Whether a dotted key may differ: how many there are of something, or where it is taken from."""
    return key.startswith("samples.") or key.split(".")[-1] in COUNTS | SOURCES


def test_a_rehearsal_differs_from_the_paper_in_counts_and_sources_only() -> None:
    found = list(differences(resolve("rehearsal"), resolve("paper")))
    assert not {key for key, _, _ in found if not counts_or_names(key)}
    assert all(mine < paper or not paper for key, mine, paper in found if key.split(".")[-1] in COUNTS)


def test_every_source_that_the_paper_downloads_has_a_local_one() -> None:
    """A folder of the same name, which holds what :mod:`pipeline.rehearsal.hub` writes."""
    found = {key: (mine, paper) for key, mine, paper in differences(resolve("rehearsal"), resolve("paper"))}
    sources = {key: pair for key, pair in found.items() if key.endswith(".source")}
    assert {Path(mine).name for mine, _ in sources.values()} == {paper for _, paper in sources.values()}
    encoder = resolve("rehearsal")["story_encoder"]["model"]
    assert encoder["layer"] == model2layers["roberta-large"]  # by which a folder's name is not looked up


@pytest.fixture(scope="module")
def fresh(copy_repository: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repository(tmp_path_factory.mktemp("fresh"))


def test_every_job_of_the_paper_has_its_counterpart(snakemake: Snakemake, fresh: Path) -> None:
    paper, rehearsal = (snakemake(fresh, "-n", "--config", f"scale={s}") for s in ("paper", "rehearsal"))
    assert paper.code == rehearsal.code == 0, rehearsal.told
    assert len(paper.jobs) > 100
    assert rehearsal.jobs == paper.jobs


# --- a whole rehearsal


@pytest.fixture(scope="module")
def rehearsed(
    copy_repository: Callable[[Path], Path], snakemake: Snakemake, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tables of a rehearsal in a fresh copy of the repository."""
    folder = copy_repository(tmp_path_factory.mktemp("rehearsed"))
    command = [sys.executable, "-m", "pipeline.rehearsal.prepare"]
    subprocess.run(command, cwd=folder, check=True, timeout=600)
    done = snakemake(folder, "--cores", "2", "--config", "scale=rehearsal", timeout=7200)
    assert done.code == 0, done.told[-5000:]
    return folder / "results/rehearsal/tables"


def rows(tables: Path, name: str) -> list[dict[str, str]]:
    with (tables / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


METHODS = resolve("paper")["methods"]
CELLS = {(task, name) for name, method in METHODS.items() for task in method["tasks"]}


@pytest.mark.slow
@pytest.mark.rehearsal
@pytest.mark.parametrize("name", ["control", "composition", "infilling"])
def test_every_method_has_a_number_in_every_task_it_runs(rehearsed: Path, name: str) -> None:
    found = rows(rehearsed, name)
    told = {(row["task"], row["method"]) for row in found if row["value"]}
    assert {cell for cell in CELLS if cell[0] in {row["task"] for row in found}} <= told


@pytest.mark.slow
@pytest.mark.rehearsal
def test_every_cell_has_its_cost_and_both_judges_are_measured(rehearsed: Path) -> None:
    assert {(row["task"], row["method"]) for row in rows(rehearsed, "cost")} == CELLS
    measured = {(r["judge"], r["part"], r["trained_on"].split("/")[-1]) for r in rows(rehearsed, "judges")}
    assert measured == {
        *(("judge1", "tagger", "en_core_web_sm"), ("judge1", "parser", "benepar_en3")),
        *(("judge2", "tagger", "ewt"), ("judge2", "parser", "gum_open")),
    }


@pytest.mark.slow
@pytest.mark.rehearsal
def test_the_number_of_candidates_and_what_numbers_depend_on_are_told(rehearsed: Path) -> None:
    assert rows(rehearsed, "mbr_sizes")
    assert set(json.loads((rehearsed / "signatures.json").read_text())) >= {task for task, _ in CELLS}
