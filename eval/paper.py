"""The published numbers (``results/paper``), under our names."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

from pipeline.errors import InputError

FOLDER = Path(__file__).resolve().parents[1] / "results" / "paper"
RESULT_TABLES = ("table2_main_control", "table4_composition", "table5_infilling")

METHODS = {
    "Diffusion-LM": "diffusion_lm",
    "FT-sample": "ft_sample",
    "FT-search": "ft_search",
    "FT-PoE": "ft_poe",
    "PPLM": "pplm",
    "FUDGE": "fudge",
    "AR": "ar_infilling",
    "Left-only": "left_only",
    "DELOREAN": "delorean",
    "COLD": "cold",
}


def read_table(name: str, folder: Path = FOLDER) -> pd.DataFrame:
    """One file of ``results/paper`` as printed: all cells text, an empty cell is ''.

    Raises:
        InputError: no such file.
    """
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise InputError(path, "no such file", "restore results/paper from the repository")
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def published(task: str, method: str, metric: str) -> float | None:
    """The value printed in Table 2, 4 or 5 for our task, method and metric; None where there is none."""
    return _results().get((task, method, metric))


@cache
def _results() -> dict[tuple[str, str, str], float]:
    rows = pd.concat(read_table(name) for name in RESULT_TABLES)
    rows = rows[rows["value"] != ""]
    keys = zip(rows["task"], rows["method"].map(METHODS), rows["metric"], strict=True)
    return dict(zip(keys, rows["value"].astype(float), strict=True))
