"""What lies in a stored folder (:mod:`pipeline.stored`), by kind: for checks, and to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.records import Target, read_records
from pipeline.stored import INDEX, index, stored_file


def stored_index(folder: Path) -> dict[str, dict[str, Any]]:
    """What a stored folder says about its files, by their names in ``results/<scale>``.

    Raises:
        InputError: it is no stored folder.
    """
    found = index(folder)
    if not found:
        how = "give a folder of results/stored, or make one: snakemake store --cores 1"
        raise InputError(folder, f"no {INDEX}, so nothing is stored in it", how)
    return found


def stored_cells(folder: Path, kind: str) -> dict[str, Path]:
    """The stored files of a kind (``samples``, ``selected``, ``scores``), by cell: ``task/method/seed0``."""
    return _named(folder, f"{kind}/", ".jsonl")


def stored_targets(folder: Path) -> dict[str, list[Target]]:
    """All stored targets, by task; infilling may have hashes for sentences (:mod:`pipeline.withheld`)."""
    files = _named(folder, "targets/", ".jsonl")
    return {task: read_records(path, Target) for task, path in files.items()}


def stored_models(folder: Path) -> dict[str, Path]:
    """The files that score texts, by name: ``teacher``, ``judge1_tagger``, ..."""
    models = _named(folder, "models/", ".safetensors")
    return {name: path for name, path in models.items() if path.parent.name == "judges"}


def _named(folder: Path, start: str, end: str) -> dict[str, Path]:
    names = [name for name in stored_index(folder) if name.startswith(start) and name.endswith(end)]
    return {name.removeprefix(start).removesuffix(end): stored_file(folder, name) for name in names}
