"""The grids of small trainings (paper Section 7, Figures 4 and 6), as the configuration describes them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from pipeline.errors import InputError
from pipeline.schema import Settings
from pipeline.settings import merged

STORIES = "stories"  # a cell's corpus, where it is not that of the run
SPECIFIC = ("model", "training", "sampling")


def ablation_cells(ablations: Mapping[str, Any]) -> dict[str, Settings]:
    """The whole settings of every cell: what all share, with the cell's own laid over it.

    Raises:
        InputError: two cells are the same, so that one training would be made twice.
    """
    common = {"corpus": "run", **{key: ablations[key] for key in SPECIFIC}}
    own = {name: cell for name, cell in ablations["cells"].items() if cell is not None}
    found = {name: merged(common, cell) for name, cell in own.items()}
    for (one, settings), (other, others) in combinations(found.items(), 2):
        if settings == others:
            where, what = f"ablations.cells.{other}", f"the same as '{one}'"
            raise InputError(where, what, "give it a setting of its own, or leave it out")
    return found


def seeded(cell: Settings, seed: int) -> Settings:
    """A cell's settings with a seed for its weights, its data order and its noise."""
    return merged(cell, {"model": {"seed": seed}, "training": {"seed": seed}})


def varied(method: Settings, task: str, variant: Mapping[str, Any]) -> Settings:
    """A method's settings with those of a variant laid over them; its guidance is that of the task."""
    own = {"sampling": variant["sampling"]} if "sampling" in variant else {}
    guidance = {"guidance": {task: variant["guidance"]}} if "guidance" in variant else {}
    return merged(method, {**own, **guidance})
