"""The main result table: tidy rows for machines, and Markdown in the shape of the paper's Table 2.

python -m eval.tables --spec SPEC \\
    --input targets/TASK=FILE samples/CELL=FILE selected/CELL=FILE scores/CELL=FILE ... \\
    --output csv=FILE markdown=FILE

A CELL is ``task/method/seed0``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from eval.paper import published
from eval.score import corpus_guards, frame
from eval.select import cells, require
from eval.statistics import bootstrap_interval, is_degenerate, target_means
from pipeline.command import Job, command
from pipeline.files import write_text
from pipeline.records import Sample, Score, Target, read_records
from pipeline.tasks import UNCONDITIONAL

Kept = TypeVar("Kept", Sample, Score)

ALL_TARGETS, UNTOUCHED = "all", "untouched"  # untouched: those on which no setting was chosen
TASKS = (UNCONDITIONAL, "semantic_content", "parts_of_speech", "syntax_tree", "syntax_spans", "length")
METHODS = ("human", "unguided", "pplm", "fudge", "diffusion_lm", "ft_sample", "ft_search")
SELECTIONS = {"mbr": "one text per target and seed, selected by MBR", "all": "all samples"}
HEADLINE = {"ctrl": "ctrl", "lm_score": "lm"}
COLUMNS = (
    *("task", "method", "target_set", "selection", "metric", "value", "low", "high"),
    *("targets", "samples", "seeds", "paper", "note"),
)
# What stands beneath the main table.
GUARDS = (
    *("ctrl_released", "ctrl_strict", "lm_score_token", "mean_length", "distinct_1", "distinct_2"),
    *("distinct_4", "self_bleu", "copy_rate", "unk_rate", "doubled_rate"),
)
NAN = float("nan")
_SUCCESS = re.compile(r"((semantic|syntax|pos)_)?ctrl(_\w+)?|joint(_\w+)?")
_PER_TEXT = ["lm_nll", "lm_nll_sum", "lm_tokens", "length", "doubled", "unk_rate", "copied"]
_LEGEND = (
    "Cells: value [95 % interval over targets] (published value). ctrl: control success in percent,\n"
    "higher is better; lm: perplexity under the teacher language model, lower is better; –: none."
)


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


def control_table(scores: pd.DataFrame, guards: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Aggregate per-text scores to the tidy result table.

    ``lm_score`` is exp(mean over targets of mean over samples of ``lm_nll``) (eval_control.py:62-108),
    ``lm_score_token`` is exp(all nats / all predicted tokens). All other metrics of single texts are the
    mean over targets of the mean over samples; in percent are every ``ctrl`` metric, ``copy_rate`` (texts
    that are a training text), ``unk_rate`` (words that are UNK) and ``doubled_rate`` (texts in which at least
    one word equals the word before it).

    Args:
        scores: :func:`eval.score.frame` of any number of methods and tasks.
        guards: :func:`eval.score.corpus_guards` of the same samples.
        seed: of the bootstrap.

    Returns:
        The columns :data:`COLUMNS`: ``low`` and ``high`` bound the 95 % interval over targets, ``targets``,
        ``samples`` and ``seeds`` are counts, ``paper`` is the published value. Methods of :data:`METHODS`
        without samples have rows without values, so that nothing missing goes unseen.

    Raises:
        ValueError: a metric is not finite for some of the texts of a method that have it.
    """
    rows: list[tuple[Any, ...]] = []
    for target_set in sorted(scores["target_set"].unique()):
        part = scores[scores["target_set"] == target_set]
        for task in ordered(part["task"], TASKS):
            of_task = part[part["task"] == task].dropna(axis="columns", how="all")
            expected = () if task == UNCONDITIONAL else METHODS
            for method in ordered([*expected, *of_task["method"]], METHODS):
                texts = of_task[of_task["method"] == method]
                if task != UNCONDITIONAL:  # one text of hundreds would say nothing
                    chosen = texts[texts["selected"]]
                    rows += _rows(Cell(task, method, target_set, "mbr"), chosen, guards, seed)
                rows += _rows(Cell(task, method, target_set, "all"), texts, guards, seed)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def ordered(names: Iterable[str], first: Sequence[str]) -> list[str]:
    """The distinct names: those of ``first`` in its order, then the others by alphabet."""
    return sorted(set(names), key=lambda name: (first.index(name) if name in first else len(first), name))


def table_csv(table: pd.DataFrame) -> str:
    """The tidy table as CSV: four decimals, absent numbers as empty cells."""
    return str(table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def _rows(cell: Cell, texts: pd.DataFrame, guards: pd.DataFrame, seed: int) -> list[tuple[Any, ...]]:
    """All rows of one method on one task."""
    if texts.empty:
        estimates = {metric: Estimate(NAN, note="not run") for metric in HEADLINE}
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
    for name in (*success, *_PER_TEXT):
        if broken := int((~np.isfinite(texts[name].to_numpy(dtype=float))).sum()):
            raise ValueError(f"{' '.join(cell)}: {name} of {broken} of {len(texts)} texts is not finite")
    percent = {name: texts[name] for name in success} | {
        "copy_rate": 100 * texts["copied"],
        "unk_rate": texts["unk_rate"],
        "doubled_rate": 100 * (texts["doubled"] > 0),
    }
    groups = texts["target_id"].to_numpy()
    estimates = {name: _estimate(values, groups, seed, largest=100.0) for name, values in percent.items()}
    estimates["mean_length"] = _estimate(texts["length"], groups, seed)
    nats = _estimate(texts["lm_nll"], groups, seed, transform=np.exp)
    estimates["lm_score"] = nats._replace(value=float(np.exp(nats.value)))
    return estimates | {name: Estimate(NAN, note="not measured") for name in missing}


def _estimate(column: pd.Series, groups: np.ndarray, seed: int, **options: Any) -> Estimate:
    """Mean over targets, and its interval with the options of :func:`bootstrap_interval`."""
    values = column.to_numpy(dtype=float)
    means = target_means(values, groups)
    low, high = bootstrap_interval(values, groups, seed, **options)
    note = ""
    if is_degenerate(means):
        note = ("no" if np.isnan(low) else "Wilson") + " interval: all targets equal"
    return Estimate(float(means.mean()), low, high, note)


def _set_estimates(cell: Cell, texts: pd.DataFrame, guards: pd.DataFrame) -> dict[str, Estimate]:
    """Numbers of the whole set of texts, which have no interval over targets."""
    found = guards[(guards[list(Cell._fields)] == list(cell)).all(axis=1)]
    values = {"lm_score_token": float(np.exp(texts["lm_nll_sum"].sum() / texts["lm_tokens"].sum()))}
    values |= dict(zip(found["metric"], found["value"], strict=True))
    if broken := [name for name, value in values.items() if not np.isfinite(value)]:
        raise ValueError(f"{' '.join(cell)}: {broken[0]} is not finite")
    return {name: Estimate(value, note="no interval: of the whole set") for name, value in values.items()}


def control_markdown(table: pd.DataFrame) -> str:
    """The table as Markdown, padded so that it also reads well in a terminal.

    For each target set and selection one table in the shape of the paper's Table 2, with cells
    ``value [95 % interval] (published value)``, and beneath it the guards.

    Args:
        table: result of :func:`control_table`, or its CSV read back.
    """
    parts = []
    for target_set in sorted(table["target_set"].unique()):
        for selection, title in SELECTIONS.items():
            part = table[(table["target_set"] == target_set) & (table["selection"] == selection)]
            cells = {(row.task, row.method, row.metric): row for row in part.itertuples(index=False)}
            parts += [f"### Control: {title} ({target_set} targets)", _LEGEND]
            parts += [_headline(cells), _guards(cells)]
    return "\n\n".join(parts) + "\n"


def _headline(cells: Mapping[tuple[str, str, str], Any]) -> str:
    measured = {(task, metric) for task, _, metric in cells}
    tasks = ordered((task for task, _ in measured), TASKS)
    pairs = [(task, metric) for task in tasks for metric in HEADLINE if (task, metric) in measured]
    body = [
        [method, *(_number_with_interval(cells.get((task, method, metric))) for task, metric in pairs)]
        for method in ordered((key[1] for key in cells), METHODS)
    ]
    return markdown_table(["method", *(f"{task} {HEADLINE[metric]}" for task, metric in pairs)], body)


def _guards(cells: Mapping[tuple[str, str, str], Any]) -> str:
    measured = {(task, method) for task, method, metric in cells if metric in GUARDS}
    body = []
    for task in ordered((key[0] for key in measured), TASKS):
        for method in ordered((key[1] for key in measured if key[0] == task), METHODS):
            values = [getattr(cells.get((task, method, metric)), "value", NAN) for metric in GUARDS]
            body.append([task, method, *map(_number, values, GUARDS)])
    return markdown_table(["task", "method", *GUARDS], body)


def _number_with_interval(row: Any | None) -> str:
    """``83.5 [79.1, 87.2] (81.2)``, without what is absent."""
    if row is None:
        return "–"
    value, low, high, paper = (_number(x, row.metric) for x in (row.value, row.low, row.high, row.paper))
    interval = "" if np.isnan(row.low) else f" [{low}, {high}]"
    return value + interval + ("" if np.isnan(row.paper) else f" ({paper})")


def _number(value: float, metric: str) -> str:
    decimals = 3 if metric.startswith("distinct") else 2 if metric.startswith("lm_") else 1
    return "–" if np.isnan(value) else f"{value:.{decimals}f}"


def markdown_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns.

    Raises:
        ValueError: a row of another length than the header.
    """
    rows = [header, *body]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("| " + " | ".join(row) + " |" for row in padded)


def main(job: Job) -> None:
    """Write the table and its Markdown, over all targets and over those that no setting was chosen on."""
    for kind in ("selected", "scores"):
        require("--input", job.inputs, kind, cells(job.inputs, "samples"))
    targets = [t for path in cells(job.inputs, "targets").values() for t in read_records(path, Target)]
    scores = [r for path in cells(job.inputs, "scores").values() for r in read_records(path, Score)]
    samples = [r for path in cells(job.inputs, "samples").values() for r in read_records(path, Sample)]
    selected = [r for path in cells(job.inputs, "selected").values() for r in read_records(path, Sample)]
    untouched = {(t.task, t.target_id) for t in targets if not t.tuned_on}

    def kept(records: Sequence[Kept]) -> list[Kept]:
        return [record for record in records if (record.task, record.target_id) in untouched]

    frames, guards = [frame(scores, ALL_TARGETS)], [corpus_guards(samples, selected, ALL_TARGETS)]
    if kept(scores):
        frames.append(frame(kept(scores), UNTOUCHED))
        guards.append(corpus_guards(kept(samples), kept(selected), UNTOUCHED))
    table = control_table(pd.concat(frames), pd.concat(guards), job.spec["seed"])
    write_text(job.outputs["csv"], table_csv(table))
    write_text(job.outputs["markdown"], control_markdown(table))


if __name__ == "__main__":
    command(main, outputs=("csv", "markdown"), open_ended=True)
