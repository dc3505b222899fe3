"""The grids in the workflow: a miniature of one, and what a change makes it train."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Snakemake = Callable[..., Any]

FEW = {"steps": 3, "warmup": 0}
SIZES = {"hidden": 16, "layers": 1, "heads": 2}
KEPT = ("baseline", "random", "eps_16")
SCHEMA = yaml.safe_load(Path("pipeline/config/schema.yaml").read_text(encoding="utf-8"))
CELLS = SCHEMA["properties"]["ablations"]["properties"]["cells"]["default"]
GROUPS = SCHEMA["properties"]["sampling_ablations"]["properties"]["groups"]["default"]
GRID: dict[str, Any] = {
    "corpus": {"sizes": {"train": 200, "human": 20, "valid": 5, "test": 5}},
    "teacher": {"model": SIZES, "training": FEW},
    "language_model": {"model": SIZES, "training": FEW},
    "likelihood": {
        "model": {**SIZES, "intermediate": 32, "time_channels": 8, "diffusion_steps": 20},
        "training": FEW,
        "texts": 3,
        "steps": 4,
    },
    "diffusion": {
        "model": {**SIZES, "intermediate": 32, "time_channels": 8, "diffusion_steps": 20},
        "training": FEW,
    },
    "sampling_ablations": {
        "mbr_tasks": [],
        "groups": {
            **dict.fromkeys(name for name in GROUPS if name != "steps"),
            "steps": {
                "samples": 4,
                "variants": {
                    **dict.fromkeys(GROUPS["steps"]["variants"]),
                    "1": {"sampling": {"steps": 1}},
                    "2": {"sampling": {"steps": 2}},
                },
            },
        },
    },
    "ablations": {
        "seeds": [0],
        "texts": 8,
        "model": {**SIZES, "intermediate": 32, "time_channels": 8, "diffusion_steps": 20},
        "training": FEW,
        "sampling": {"steps": 2},
        "cells": {name: None for name in CELLS if name not in KEPT},
    },
}
MINI = ("--configfile", "mini.yaml")


def trained(done: Any) -> set[str]:
    """The cells that a dry run would train."""
    assert done.code == 0, done.told
    return {name.removeprefix("ablations/") for name, rule in done.jobs.items() if rule == "ablation"}


def of(*cells: str) -> set[str]:
    return {f"{cell}/seed0.safetensors" for cell in cells}


@pytest.fixture(scope="module")
def finished(
    copy_repository: Callable[[Path], Path], snakemake: Snakemake, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = copy_repository(tmp_path_factory.mktemp("grid"))
    (folder / "mini.yaml").write_text(yaml.safe_dump(GRID))
    done = snakemake(folder, "--cores", "2", *MINI, "--", "ablations", "table_7")
    assert done.code == 0, done.told[-5000:]
    return folder


def test_the_demo_s_grids_are_forty_trainings_at_most_and_no_part_of_a_plain_run(
    copy_repository: Callable[[Path], Path], snakemake: Snakemake, tmp_path: Path
) -> None:
    folder = copy_repository(tmp_path)
    done = snakemake(folder, "-n", "ablations", "sampling_ablations", "table_7")
    found = trained(done)
    assert len(found) == 2 * len(CELLS) <= 40
    assert {"models/story_teacher.safetensors", "tables/ablations.csv"} <= set(done.jobs)
    assert not trained(snakemake(folder, "-n"))


def test_a_grid_ends_in_a_table_and_in_the_figures(finished: Path) -> None:
    results = finished / "results/demo"
    table = (results / "tables/ablations.md").read_text(encoding="utf-8")
    assert all(f"\n| {cell} " in table for cell in (*KEPT, "human"))
    assert "Learned embeddings beat random ones (run):" in table
    for figure in ("figure_4", "figure_6"):
        assert all(
            (results / f"figures/{figure}.{kind}").is_file() for kind in ("svg", "pdf", "png", "csv", "md")
        )


def test_table_7_has_a_row_for_each_model(finished: Path) -> None:
    table = (finished / "results/demo/tables/likelihood.md").read_text(encoding="utf-8")
    assert table.count("| <= ") == 2 and "\n| language model, exact " in table


def changed(snakemake: Snakemake, folder: Path, ablations: dict[str, Any]) -> Any:
    (folder / "other.yaml").write_text(yaml.safe_dump({"ablations": ablations}))
    return snakemake(folder, "-n", *MINI, "other.yaml", "--", "ablations")


@pytest.mark.parametrize(
    ("ablations", "cells"),
    [
        ({}, of()),
        ({"cells": {"wide": {"model": {"dimension": 32}}}}, of("wide")),
        ({"cells": {"eps_16": {"training": {"steps": 4}}}}, of("eps_16")),
        ({"seeds": [0, 1]}, {f"{cell}/seed1.safetensors" for cell in KEPT}),
        ({"sampling": {"steps": 3}}, of(*KEPT)),
    ],
)
def test_a_change_trains_its_own_cells_alone(
    snakemake: Snakemake, finished: Path, ablations: dict[str, Any], cells: set[str]
) -> None:
    done = changed(snakemake, finished, ablations)
    assert trained(done) == cells
    others = {name for name in done.jobs if not name.startswith("ablations/")} - {"ablations"}
    assert others == (
        {"tables/ablations.csv", "figures/figure_4.svg", "figures/figure_6.svg"} if cells else set()
    )


def test_a_cell_of_the_language_model_s_vectors_waits_for_it(snakemake: Snakemake, finished: Path) -> None:
    settings = {"cells": {"taken": {"model": {"embedding": "language_model"}}}}
    done = changed(snakemake, finished, settings)
    assert trained(done) == of("taken")
    assert re.search(r"input: .*language_model\.safetensors.*\n    output: .*taken/seed0", done.told)


def test_two_cells_that_are_the_same_end_the_run_with_one_line(snakemake: Snakemake, finished: Path) -> None:
    done = changed(snakemake, finished, {"cells": {"again": {"model": {"dimension": 16}}}})
    assert done.code == 2 and done.told.startswith("error: ablations.cells.again: the same as 'baseline'")
