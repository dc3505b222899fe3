"""Tidy tables as CSV, and back."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.errors import InputError
from pipeline.files import read_lines


def table_csv(table: pd.DataFrame) -> str:
    """The tidy table as CSV: four decimals, absent numbers as empty cells."""
    return str(table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def read_table(
    path: Path, columns: Sequence[str], numbers: Sequence[str] | None, made_by: str
) -> pd.DataFrame:
    """A table in which all but the ``numbers`` are words, as they stand; an absent number is NaN.

    Args:
        columns: those that it must have. numbers: None: all others. made_by: the command that makes it.

    Raises:
        InputError: another file, or a number that is none.
    """
    lines = read_lines(path)
    if len(lines) < 2 or not {*columns, *(numbers or ())} <= set(lines[0].split(",")):
        raise InputError(path, f"not the table of {made_by}", f"make it with python -m {made_by}")
    try:
        table = pd.read_csv(io.StringIO("\n".join(lines)), dtype=str, keep_default_na=False, index_col=False)
        numbers = [name for name in table if name not in columns] if numbers is None else numbers
        return table.assign(**{name: [float(text or math.nan) for text in table[name]] for name in numbers})
    except (ValueError, TypeError) as error:
        what = str(error).splitlines()[0] if str(error) else "no table"
        raise InputError(path, what, f"make it again with python -m {made_by}") from None
