"""What follows from stored texts and scores, made again: MBR's choice, simple scores, the tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd

from eval import infilling_table, tables
from eval.csv_tables import table_csv
from eval.score import check_coverage, chosen_keys
from eval.score_infilling import key
from eval.select import select_samples, split_words
from eval.stored import stored_cells, stored_index, stored_targets
from eval.success import PAPER, SCORERS, success
from pipeline.command import Job
from pipeline.errors import InputError
from pipeline.files import read_lines
from pipeline.human import HUMAN
from pipeline.records import Sample, Score, Target, read_records
from pipeline.stored import stored_file
from pipeline.tasks import COMPOSITIONS, INFILLING
from pipeline.withheld import TARGETS

KINDS = ("samples", "selected", "scores")
AGAIN = "finish the run and store again"
KEYS = ("task", "method", "target_set", "selection", "metric")
NUMBERS = ("value", "low", "high", "targets", "samples", "seeds")
NEAR = 1.5e-4  # numbers have four decimals, of which another processor may round the last one otherwise
OF_WORDS = ("distinct_1", "distinct_2", "distinct_4", "self_bleu")  # need the texts beside their scores
Read = TypeVar("Read", Sample, Score)
Rows = dict[tuple[str, ...], dict[str, str]]


def cell_problems(folder: Path) -> Iterator[InputError]:
    """Texts, selections and scores that do not belong together, at most one problem of each cell."""
    files = {kind: stored_cells(folder, kind) for kind in KINDS}
    targets = stored_targets(folder)
    for cell in sorted({cell for found in files.values() for cell in found}):
        if lacking := [kind for kind in KINDS if cell not in files[kind]]:
            yield InputError(folder, f"no {lacking[0]} of {cell}, but other files of it", AGAIN)
            continue
        of_task = [t for t in targets.get(cell.split("/")[0], []) if t.reported]
        try:
            _check_cell(folder, cell, of_task)
        except InputError as error:
            yield error


def _check_cell(folder: Path, cell: str, targets: Sequence[Target]) -> None:
    """Raise what is wrong with a cell."""
    where = [stored_file(folder, f"{kind}/{cell}.jsonl") for kind in KINDS]
    samples, selected = (read_records(path, Sample) for path in where[:2])
    if cells := {f"{s.task}/{s.method}/seed{s.seed}" for s in samples} - {cell}:
        raise InputError(where[0], f"holds texts of {min(cells)}", AGAIN)
    check_coverage(samples, targets, where[0])
    chosen = chosen_keys(samples, selected, where[1])
    scores = read_records(where[2], Score)
    if [(key(s), s.selected) for s in scores] != [(key(s), key(s) in chosen) for s in samples]:
        raise InputError(where[2], "not the scores of the stored texts and selection", AGAIN)
    index = stored_index(folder)
    if "withheld" not in index[f"samples/{cell}.jsonl"]:  # hashes have other words than their sentences
        if selected != select_samples(samples, index[f"selected/{cell}.jsonl"]["settings"]["mbr_rule"]):
            raise InputError(where[1], "not what MBR chooses from the stored texts", AGAIN)
        _check_scores(where[2], samples, scores, targets)


def _check_scores(
    where: Path, samples: Sequence[Sample], scores: Sequence[Score], targets: Sequence[Target]
) -> None:
    """Raise the first score that is not its text's, of those that need no model."""
    by_id, task = {target.target_id: target for target in targets}, samples[0].task
    texts = [split_words(sample.text) for sample in samples]
    found = [{"length": float(len(words))} for words in texts]
    if task in SCORERS and task not in PAPER:
        succeeded = success(task, texts, [by_id[sample.target_id] for sample in samples])
        found = [one | other for one, other in zip(found, succeeded, strict=True)]
    for number, (score, metrics) in enumerate(zip(scores, found, strict=True), 1):
        for name, value in metrics.items():
            if (stored := score.metrics.get(name)) is None or abs(stored - value) > NEAR:
                raise InputError(f"{where}:{number}", f"{name} is {stored}, its text gives {value}", AGAIN)


def table_problems(folder: Path) -> Iterator[InputError]:
    """What is wrong with each stored table: other rows, or other numbers, than its scores give."""
    tasks = {cell.split("/")[0] for cell in stored_cells(folder, "scores")}
    compositions = tasks & set(COMPOSITIONS)
    made: dict[str, tuple[Collection[str], Callable[[int], pd.DataFrame]]] = {
        name: (of, partial(_control, folder, of))
        for name, of in (("control", tasks - compositions - {INFILLING}), ("composition", compositions))
    }
    made["infilling"] = tasks & {INFILLING}, partial(_infilling, folder)
    for name, (of, make) in made.items():
        if of:
            yield from _problems(folder, f"tables/{name}.csv", make)


def _control(folder: Path, tasks: Collection[str], seed: int) -> pd.DataFrame:
    """The table of some control tasks."""
    targets = [target for found in stored_targets(folder).values() for target in found]
    records = tables.Records(
        _read(folder, "scores", Score, tasks),
        _read(folder, "samples", Sample, tasks),
        _read(folder, "selected", Sample, tasks),
    )
    return tables.tabulate(records, tables.target_sets(targets), tasks, seed)


def _read(folder: Path, kind: str, record: type[Read], tasks: Collection[str]) -> list[Read]:
    files = [path for cell, path in stored_cells(folder, kind).items() if cell.split("/")[0] in tasks]
    return [found for path in files for found in read_records(path, record)]


def _infilling(folder: Path, seed: int) -> pd.DataFrame:
    targets = [target for target in stored_targets(folder)[INFILLING] if target.reported]
    files = {
        f"{kind}/{cell}": path
        for kind in ("samples", "scores")
        for cell, path in stored_cells(folder, kind).items()
        if cell.startswith(f"{INFILLING}/")
    }
    scored = infilling_table.read_scored(Job({}, files, {}), targets)
    return infilling_table.tabulate(scored, targets, seed)


def _problems(folder: Path, name: str, make: Callable[[int], pd.DataFrame]) -> Iterator[InputError]:
    index, path = stored_index(folder), stored_file(folder, name)
    if name not in index:
        yield InputError(path, "not stored, though scores of its tasks are", "make it and store again")
        return
    try:
        made = _rows(table_csv(make(index[name]["settings"]["seed"])))
    except (KeyError, ValueError) as error:
        what = f"cannot be made from the stored scores ({type(error).__name__}: {error})"
        yield InputError(path, what, "score the texts and store again")
        return
    stored = _rows("\n".join(read_lines(path)))
    if "withheld" in index.get(TARGETS, {}):  # hashes tell nothing about the words of human texts
        made, stored = (_without_words_of_humans(rows) for rows in (made, stored))
    yield from _differences(path, stored, made)


def _rows(text: str) -> Rows:
    return {tuple(row[key] for key in KEYS): row for row in csv.DictReader(io.StringIO(text))}


def _without_words_of_humans(rows: Rows) -> Rows:
    return {key: row for key, row in rows.items() if key[:2] != (INFILLING, HUMAN) or key[-1] not in OF_WORDS}


def _differences(path: Path, stored: Rows, made: Rows) -> Iterator[InputError]:
    how = "make the table from the stored scores and store again"
    for rows, what in (
        (made.keys() - stored.keys(), "lacks"),
        (stored.keys() - made.keys(), "has, without scores,"),
    ):
        if rows:
            yield InputError(path, f"{what} {len(rows)} rows, the first {' '.join(min(rows))}", how)
    wrong = [
        f"{name} of {' '.join(key)} is {row[name] or 'empty'}, not {made[key][name] or 'empty'}"
        for key, row in stored.items()
        if key in made
        for name in NUMBERS
        if not _near(row[name], made[key][name])
    ]
    if wrong:
        yield InputError(path, f"numbers that its scores do not give ({len(wrong)}): {wrong[0]}", how)


def _near(one: str, other: str) -> bool:
    return one == other or (bool(one and other) and abs(float(one) - float(other)) <= NEAR)
