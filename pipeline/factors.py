"""What the ablation grids vary, and what a table says about one of their cells."""

from __future__ import annotations

from typing import Any

from pipeline.schema import Settings

FACTORS = ("network", "embedding", "predict", "dimension", "schedule")


def factors(cell: Settings) -> dict[str, Any]:
    """What a table says about a cell: its corpus and the value of each factor."""
    model = {"network": "transformer", **cell["model"]}
    return {"corpus": cell["corpus"], **{name: model[name] for name in FACTORS}}
