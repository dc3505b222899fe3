"""The data of Figure 5."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from diffusion_lm.noise_levels import level_table

FIGURE = Path(__file__).parents[2] / "results" / "paper" / "fig5_noise_schedule_computed.csv"
METHODS = {"linear": "linear", "cosine": "cosine", "sqrt_discretised": "sqrt"}


def test_the_table_holds_the_values_computed_apart() -> None:
    rows = csv.DictReader(level_table(["linear", "cosine", "sqrt"], 2000).splitlines())
    levels = {(row["schedule"], int(row["step"])): float(row["noise"]) for row in rows}
    assert len(levels) == 6000
    with FIGURE.open(encoding="utf-8", newline="") as file:
        known = [row for row in csv.DictReader(file) if row["method"] in METHODS]
    assert len(known) > 100
    for row in known:
        step = int(row["metric"].partition("t=")[2])
        assert levels[METHODS[row["method"]], step] == pytest.approx(float(row["value"]), abs=1.5e-6)
