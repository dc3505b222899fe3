"""The demo as a newcomer runs it: `snakemake --cores 2` in a fresh checkout, and a table that makes sense."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.demo

GUIDED = ("semantic_content", "length")


class Demo(NamedTuple):
    """The folder of the results, what Snakemake said, and the table: value by (task, method, metric)."""

    results: Path
    told: str
    values: dict[tuple[str, str, str], float]


@pytest.fixture(scope="module")
def demo(
    copy_repository: Callable[[Path], Path],
    snakemake: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Demo:
    folder = copy_repository(tmp_path_factory.mktemp("demo"))
    done = snakemake(folder, "--cores", "2", timeout=3600)
    assert done.code == 0, done.told[-5000:]
    results = folder / "results/demo"
    with (results / "tables/control.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            row for row in csv.DictReader(file) if (row["target_set"], row["selection"]) == ("all", "all")
        ]
    values = {(r["task"], r["method"], r["metric"]): float(r["value"]) for r in rows if r["value"]}
    return Demo(results, done.told, values)


def test_guidance_controls_what_it_should(demo: Demo) -> None:
    # 87.7 where it was measured; other processors train slightly other models.
    assert demo.values["semantic_content", "diffusion_lm", "ctrl"] >= 80
    assert demo.values["length", "diffusion_lm", "ctrl"] >= 90


@pytest.mark.parametrize("task", GUIDED)
def test_the_unguided_model_meets_a_control_by_chance_only(demo: Demo, task: str) -> None:
    assert demo.values[task, "unguided", "ctrl"] < 45


@pytest.mark.parametrize("task", GUIDED)
def test_control_is_not_paid_with_fluency(demo: Demo, task: str) -> None:
    unguided = demo.values["unconditional", "unguided", "lm_score"]
    assert demo.values[task, "diffusion_lm", "lm_score"] <= 2 * unguided


def test_people_do_what_their_annotation_says(demo: Demo) -> None:
    """The judges are in order."""
    assert demo.values["semantic_content", "human", "ctrl"] == demo.values["length", "human", "ctrl"] == 100


def test_the_table_is_there_to_be_read(demo: Demo) -> None:
    markdown = (demo.results / "tables/control.md").read_text(encoding="utf-8")
    assert "| diffusion_lm |" in markdown
    assert "| diffusion_lm |" in demo.told
    assert "The full reproduction: snakemake --cores all --config scale=paper" in demo.told
