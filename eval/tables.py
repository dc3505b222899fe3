"""The result tables: tidy rows for machines, and Markdown (:mod:`eval.markdown`).

python -m eval.tables --spec SPEC \\
    --input targets/TASK=FILE samples/CELL=FILE selected/CELL=FILE scores/CELL=FILE ... [refusals=FILE] \\
    --output csv=FILE markdown=FILE [composition_csv=FILE composition_markdown=FILE]

A CELL is ``task/method/seed0``. The compositions have tables of their own. The optional setting
``exclude_targets`` says whether the sentences of the released targets were kept out of training;
``refusals`` says which methods cannot do which tasks (:mod:`pipeline.refusals`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from eval.csv_tables import table_csv
from eval.layout import (
    ALL_TARGETS,
    REFUSED,
    TASKS,
    UNTOUCHED,
    headline,
    method_rows,
    methods,
    ordered,
)
from eval.markdown import result_markdown
from eval.paper import published
from eval.score import corpus_guards, frame
from eval.select import cells, require
from eval.statistics import mean_interval, target_means
from eval.success import RELEASED_TARGETS, SECOND_JUDGE
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.records import Sample, Score, Target, read_records
from pipeline.refusals import read_refusals
from pipeline.tasks import COMPOSITIONS, UNCONDITIONAL

Kept = TypeVar("Kept", Sample, Score)
Read = TypeVar("Read", Sample, Score, Target)

COLUMNS = (
    *("task", "method", "target_set", "selection", "metric", "value", "low", "high"),
    *("targets", "samples", "seeds", "paper", "note"),
)
NAN = float("nan")
NOT_RUN = "not run"
_SUCCESS = re.compile(r"((semantic|syntax|pos)_)?ctrl(_\w+)?|joint(_strict|_judge2)?")
_PER_TEXT = [
    *("lm_nll", "lm_nll_sum", "lm_tokens", "length", "doubled", "unk_rate"),
    *("copied", "near_copy", "fluent", "repetitive", "joint_success"),
]
_MISMATCH = "length_mismatch"  # of some tasks only


class Records(NamedTuple):
    """What the tables are made from: every text, the selected ones, and their scores."""

    scores: list[Score]
    samples: list[Sample]
    selected: list[Sample]


class Cell(NamedTuple):
    """What a group of rows is about."""

    task: str
    method: str
    target_set: str
    selection: str


class Estimate(NamedTuple):
    """One number with its interval; NaN is absent, and ``note`` says why."""

    value: float
    low: float = NAN
    high: float = NAN
    note: str = ""


def result_table(scores: pd.DataFrame, guards: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Aggregate per-text scores to the tidy result table.

    ``lm_score`` is exp(mean over targets of mean over samples of ``lm_nll``) (eval_control.py:62-108),
    ``lm_score_token`` is exp(all nats / all predicted tokens). All other metrics of single texts are the
    mean over targets of the mean over samples; in percent are every ``ctrl`` metric, ``joint_success``,
    ``fluent_rate``, ``repetitive_rate``, ``near_copy_rate`` and ``copy_rate``
    (:func:`eval.score.beside_people`), ``unk_rate`` (words that are UNK), ``empty_rate`` (texts without a
    word), ``doubled_rate`` (texts in which at least one word equals the word before it) and ``mismatch_rate``
    (texts of another number of words than wanted, where a task asks for one).

    A ``_released_targets`` metric is over all targets of a set in which some differ from the released ones;
    for the others it is the metric itself, since the same is asked for.

    Args:
        scores: :func:`eval.score.frame` of any number of methods and tasks.
        guards: :func:`eval.score.corpus_guards` of the same samples.
        seed: of the bootstrap.

    Returns:
        The columns :data:`COLUMNS`: ``low`` and ``high`` bound the 95 % interval over targets, ``targets``,
        ``samples`` and ``seeds`` are counts, ``paper`` is the published value. Those of
        :func:`eval.layout.methods` without samples have rows without values, so that nothing missing goes
        unseen.

    Raises:
        ValueError: a metric is not finite for some of the texts of a method that have it.
    """
    rows: list[tuple[Any, ...]] = []
    for target_set in sorted(scores["target_set"].unique()):
        part = scores[scores["target_set"] == target_set]
        for task in ordered(part["task"], TASKS):
            of_task = part[part["task"] == task].dropna(axis="columns", how="all")
            for method in method_rows([*methods(task), *of_task["method"]]):
                texts = of_task[of_task["method"] == method]
                if task != UNCONDITIONAL:  # one text of hundreds would say nothing
                    chosen = texts[texts["selected"]]
                    rows += _rows(Cell(task, method, target_set, "mbr"), chosen, guards, seed)
                rows += _rows(Cell(task, method, target_set, "all"), texts, guards, seed)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def explain(table: pd.DataFrame, refusals: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """The table with the reason, by method and task, where a method was not run as it cannot do the task."""
    reasons = [refusals.get(r.method, {}).get(r.task) for r in table.itertuples(index=False)]
    notes = [
        REFUSED + reason if reason is not None and note == NOT_RUN else note
        for note, reason in zip(table["note"], reasons, strict=True)
    ]
    return table.assign(note=notes)


def _rows(cell: Cell, texts: pd.DataFrame, guards: pd.DataFrame, seed: int) -> list[tuple[Any, ...]]:
    """All rows of one method on one task."""
    if texts.empty:
        expected = [metric for metric in headline(cell.task) if not metric.endswith(SECOND_JUDGE)]
        estimates = {metric: Estimate(NAN, note=NOT_RUN) for metric in expected}
    else:
        estimates = _text_estimates(cell, texts, seed) | _set_estimates(cell, texts, guards)
    counts = (texts["target_id"].nunique(), len(texts), texts["seed"].nunique())
    rows = []
    for metric, (value, low, high, note) in estimates.items():
        paper = published(cell.task, cell.method, metric)
        rows.append((*cell, metric, value, low, high, *counts, NAN if paper is None else paper, note))
    return rows


def _text_estimates(cell: Cell, texts: pd.DataFrame, seed: int) -> dict[str, Estimate]:
    """Metrics that single texts have, with intervals over targets."""
    success = [name for name in sorted(texts.columns) if _SUCCESS.fullmatch(name)]
    missing = [name for name in success if texts[name].isna().all()]  # another method of the task has it
    success = [name for name in success if name not in missing]
    texts = _with_released_targets(texts, success)
    mismatch = [_MISMATCH] if _MISMATCH in texts else []
    for name in (*success, *_PER_TEXT, *mismatch):
        if broken := int((~np.isfinite(texts[name].to_numpy(dtype=float))).sum()):
            raise ValueError(f"{' '.join(cell)}: {name} of {broken} of {len(texts)} texts is not finite")
    percent = {name: texts[name] for name in success} | {
        "joint_success": texts["joint_success"],
        "fluent_rate": 100 * texts["fluent"],
        "repetitive_rate": 100 * texts["repetitive"],
        "near_copy_rate": 100 * texts["near_copy"],
        "copy_rate": 100 * texts["copied"],
        "unk_rate": texts["unk_rate"],
        "empty_rate": 100.0 * (texts["length"] == 0),
        "doubled_rate": 100 * (texts["doubled"] > 0),
    }
    if mismatch:
        percent["mismatch_rate"] = 100 * texts[_MISMATCH]
    groups = texts["target_id"].to_numpy()
    estimates = {name: estimate(values, groups, seed, largest=100.0) for name, values in percent.items()}
    estimates["mean_length"] = estimate(texts["length"], groups, seed)
    nats = estimate(texts["lm_nll"], groups, seed, transform=np.exp)
    estimates["lm_score"] = nats._replace(value=float(np.exp(nats.value)))
    return estimates | {name: Estimate(NAN, note="not measured") for name in missing}


def _with_released_targets(texts: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """What a target asks for is what the released one does, unless it says otherwise."""
    derived = [name for name in metrics if name.endswith(RELEASED_TARGETS)]
    filled = {name: texts[name].fillna(texts[name.removesuffix(RELEASED_TARGETS)]) for name in derived}
    return texts.assign(**filled)


def estimate(column: pd.Series, groups: np.ndarray, seed: int, **options: Any) -> Estimate:
    """Mean over targets, and its interval with the options of :func:`eval.statistics.mean_interval`."""
    values = column.to_numpy(dtype=float)
    interval = mean_interval(values, groups, seed, **options)
    return Estimate(float(target_means(values, groups).mean()), *interval)


def _set_estimates(cell: Cell, texts: pd.DataFrame, guards: pd.DataFrame) -> dict[str, Estimate]:
    """Numbers of the whole set of texts, which have no interval over targets."""
    found = guards[(guards[list(Cell._fields)] == list(cell)).all(axis=1)]
    values = {"lm_score_token": float(np.exp(texts["lm_nll_sum"].sum() / texts["lm_tokens"].sum()))}
    values |= dict(zip(found["metric"], found["value"], strict=True))
    if broken := [name for name, value in values.items() if not np.isfinite(value)]:
        raise ValueError(f"{' '.join(cell)}: {broken[0]} is not finite")
    return {name: Estimate(value, note="no interval: of the whole set") for name, value in values.items()}


def target_sets(targets: Sequence[Target]) -> dict[tuple[str, str], list[str]]:
    """The sets of rows in which each target counts, by task and target.

    Targets of the set ``all`` on which no setting was chosen also count in ``untouched``, if some were
    chosen on; a target for choosing settings only counts nowhere.
    """
    some_tuned = any(target.tuned_on for target in targets if target.target_set == ALL_TARGETS)

    def sets(target: Target) -> list[str]:
        untouched = some_tuned and target.target_set == ALL_TARGETS and not target.tuned_on
        return [target.target_set, UNTOUCHED] if untouched else [target.target_set] * target.reported

    return {(target.task, target.target_id): sets(target) for target in targets}


def tabulate(
    records: Records, sets: Mapping[tuple[str, str], Sequence[str]], tasks: Collection[str], seed: int
) -> pd.DataFrame:
    """The table of some tasks (:func:`result_table`), over every target set that a text has."""
    frames, guards = [], []

    def kept(found: Sequence[Kept], target_set: str) -> list[Kept]:
        return [r for r in found if r.task in tasks and target_set in sets.get((r.task, r.target_id), ())]

    for target_set in sorted({name for names in sets.values() for name in names}):
        if scores := kept(records.scores, target_set):
            frames.append(frame(scores, target_set))
            chosen = kept(records.selected, target_set)
            guards.append(corpus_guards(kept(records.samples, target_set), chosen, target_set))
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    return result_table(pd.concat(frames), pd.concat(guards), seed)


def _read(job: Job, kind: str, record: type[Read]) -> list[Read]:
    return [found for path in cells(job.inputs, kind).values() for found in read_records(path, record)]


def main(job: Job) -> None:
    """Write the tables: over all targets, those that no setting was chosen on, and every other set."""
    for kind in ("selected", "scores"):
        require("--input", job.inputs, kind, cells(job.inputs, "samples"))
    refusals = read_refusals(job.inputs["refusals"]) if "refusals" in job.inputs else {}
    sets = target_sets(_read(job, "targets", Target))
    records = Records(
        _read(job, "scores", Score), _read(job, "samples", Sample), _read(job, "selected", Sample)
    )
    for score in records.scores:
        if (score.task, score.target_id) not in sets:
            what = f"no target '{score.target_id}' of {score.task}, which {score.method} has texts of"
            raise InputError("--input", what, f"add targets/{score.task}=FILE")
    tasks = {score.task for score in records.scores}
    parts = {"": ("Control", tasks - set(COMPOSITIONS)), "composition_": ("Composition", set(COMPOSITIONS))}
    for prefix, (title, wanted) in parts.items():
        csv, markdown = (job.outputs.get(f"{prefix}{kind}") for kind in ("csv", "markdown"))
        if csv or markdown:
            table = explain(tabulate(records, sets, wanted, job.spec["seed"]), refusals)
            if csv:
                write_text(csv, table_csv(table))
            if markdown:  # the sentences of released compositions are validation texts, never trained on
                excluded = None if prefix else job.spec.get("exclude_targets")
                write_text(markdown, result_markdown(table, title, excluded))


if __name__ == "__main__":
    command(main, outputs=("csv", "markdown"), open_ended=True)
