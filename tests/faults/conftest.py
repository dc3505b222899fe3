"""What the fault tests share: a folder in which the workflow's own commands have made a miniature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.faults.commands import Call, printed_calls, run_all
from tests.workflow.conftest import copy_repository, snakemake, undisturbed_tables  # noqa: F401  (fixtures)
from tests.workflow.test_ablations import GRID
from tests.workflow.test_dag import MINIATURE

FEW = (  # what a quick test needs: seconds instead of minutes
    *("samples/length/ft_sample/seed0.jsonl", "samples/length/human/seed0.jsonl"),
    *("samples/infilling/human/seed0.jsonl", "models/teacher.safetensors"),
    *("models/judge1_tagger.safetensors", "refusals.json"),
)
ON_DEMAND = (
    *("tables/ablations.md", "figures/figure_4.svg", "tables/likelihood.md"),
    *("tables/sampling_ablations.md", "figures/sampling_ablations.svg"),
)
Make = Callable[..., "Miniature"]


class Miniature(NamedTuple):
    """A folder, and the command lines that made the files in it."""

    folder: Path
    calls: list[Call]

    @property
    def results(self) -> Path:
        return self.folder / "results/demo"


@pytest.fixture(scope="session")
def make_miniature(
    copy_repository: Callable[[Path], Path],  # noqa: F811
    snakemake: Callable[..., Any],  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Make:
    """Makes files of the miniature in a new folder, each by the command that a dry run prints for it."""

    def make(*files: str, settings: dict[str, Any] = MINIATURE) -> Miniature:
        folder = copy_repository(tmp_path_factory.mktemp("miniature"))
        (folder / "mini.yaml").write_text(yaml.safe_dump(settings))
        targets = [f"results/demo/{file}" for file in files]
        done = snakemake(folder, "-n", "-p", "--configfile", "mini.yaml", "--", *targets)
        assert done.code == 0, done.told
        calls = list(printed_calls(done.told))
        assert calls, done.told
        run_all(calls, folder)
        return Miniature(folder, calls)

    return make


@pytest.fixture(scope="session")
def few(make_miniature: Make) -> Miniature:
    """The files of a quick test."""
    return make_miniature(*FEW)


@pytest.fixture(scope="session")
def on_demand(make_miniature: Make) -> Miniature:
    """The files of grids, bounds and sampling ablations, which the default target does not need."""
    return make_miniature(*ON_DEMAND, settings=GRID)


@pytest.fixture(scope="session")
def miniature(make_miniature: Make) -> Miniature:
    """Every file of the miniature."""
    return make_miniature()
