"""What a comparison shows: results, differences, guards and texts, as one report (:mod:`eval.render`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from eval.differences import LOWER_IS_BETTER, better
from eval.infilling import METRICS
from eval.layout import ALL_METHODS, SELECTIONS, TARGET_SETS, TASKS, headline, ordered
from eval.markdown import GUARDS, cell_text, number_text
from eval.render import Report, Section, Table
from pipeline.records import Sample, Score, Target
from pipeline.tasks import INFILLING

EXAMPLES = 3  # targets whose texts are shown: the first in order, not the best
KINDS = {**SELECTIONS, "first": "the first sample of each target"}
_DIFFERENCES = (
    "Ours minus theirs with the 95 % interval, paired by target. p Holm: corrected for all comparisons of "
    "the table. Detectable: the smallest difference found with 80 % power at 5 %."
)
_LOWER = f"Lower is better for {', '.join(LOWER_IS_BETTER)}; a verdict needs p Holm of 0.05 or less."
_CELLS = "Cells: value [95 % interval over targets] (published value)."


class Example(NamedTuple):
    """A text of the method with what it was asked for and the score of it."""

    target: Target
    sample: Sample
    score: Score


def comparison_report(
    method: str,
    stored: str,
    table: pd.DataFrame,
    differences: pd.DataFrame,
    examples: Sequence[Example],
    facts: Mapping[str, str],
    marks: Mapping[str, Sequence[str]],
) -> Report:
    """The report on a method.

    Args:
        stored: what it was compared with.
        table: tidy rows (:data:`eval.tables.COLUMNS`) of the stored methods and of this one.
        differences: :func:`eval.differences.differences` of every task and target set.
        examples: texts to show, by task.
        facts: what was compared: name and value.
        marks: by task the keys of signatures that differ and were allowed to.
    """
    intro = [f"{method} against {stored}.", *_allowed(marks)]
    sections = [
        Section("Results", [_CELLS], list(_results(table, method, marks))),
        Section("Differences", [_DIFFERENCES, _LOWER], list(_difference_tables(differences))),
        Section("Guards", ["What shows texts going wrong while their main scores look good."],
                list(_guards(table, method))),
        Section("Texts", [f"The first {EXAMPLES} targets of each task, in order."], list(_texts(examples))),
        Section("What was compared", [], [_facts(facts)]),
    ]  # fmt: skip
    return Report(f"Comparison of {method}", intro, sections)


def _allowed(marks: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"{task}: {', '.join(keys)} differs from the stored results and was allowed to; such rows have a *."
        for task, keys in marks.items()
        if keys
    ]


def _parts(table: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Task, target set and selection, each with its rows, in the order of the tables."""
    for task in ordered(table["task"], (*TASKS, INFILLING)):
        of_task = table[table["task"] == task]
        for target_set in ordered(of_task["target_set"], TARGET_SETS):
            for selection in ordered(of_task["selection"], ("mbr", "all", "first")):
                rows = of_task[(of_task["target_set"] == target_set) & (of_task["selection"] == selection)]
                if len(rows):
                    yield task, target_set, selection, rows


def _columns(task: str) -> dict[str, str]:
    if task == INFILLING:
        return {name: name for name in METRICS}
    return {"joint_success": "joint success", **headline(task)}


def _results(table: pd.DataFrame, method: str, marks: Mapping[str, Sequence[str]]) -> Iterator[Table]:
    for task, target_set, selection, rows in _parts(table):
        measured = rows.dropna(subset="value")
        found = {(row.method, row.metric): row for row in measured.itertuples(index=False)}
        columns = {metric: title for metric, title in _columns(task).items() if (method, metric) in found}
        if not columns:
            continue
        methods = [m for m in _methods(rows) if any((m, metric) in found for metric in columns)]
        body = [
            [
                m + "*" * bool(m == method and marks.get(task)),
                *(cell_text(found.get((m, metric)), refused=False) for metric in columns),
            ]
            for m in methods
        ]
        yield Table(
            f"{task}, {target_set} targets: {KINDS[selection]}",
            ["method", *columns.values()],
            body,
            marked=frozenset({methods.index(method)}),
        )


def _methods(rows: pd.DataFrame) -> list[str]:
    return ordered(rows["method"], ALL_METHODS)


def _difference_tables(differences: pd.DataFrame) -> Iterator[Table]:
    for (task, target_set, selection), rows in differences.groupby(
        ["task", "target_set", "selection"], sort=False
    ):
        body = [
            [row.other, row.metric, _signed(row), f"{row.p:.2g}", f"{row.p_holm:.2g}",
             "–" if np.isnan(row.detectable) else f"{row.detectable:.2f}", better(row)]
            for row in rows.itertuples()
        ]  # fmt: skip
        yield Table(
            f"{task}, {target_set} targets: {KINDS[str(selection)]}",
            ["other method", "metric", "difference", "p", "p Holm", "detectable", "verdict"],
            body,
            notes=list(_tests(rows)),
        )


def _tests(rows: pd.DataFrame) -> Iterator[str]:
    """How the differences were tested: a line for each way, with the metrics and methods it was used for."""
    for (test, note, targets), part in rows.groupby(["test", "note", "targets"], sort=False):
        metrics, others = (", ".join(dict.fromkeys(part[name])) for name in ("metric", "other"))
        yield "; ".join(filter(None, (f"{metrics} ({others})", str(test), f"{targets} targets", str(note))))


def _signed(row: Any) -> str:
    interval = "" if np.isnan(row.low) else f" [{row.low:+.2f}, {row.high:+.2f}]"
    return f"{row.difference:+.2f}{interval}"


def _guards(table: pd.DataFrame, method: str) -> Iterator[Table]:
    for task, target_set, selection, rows in _parts(table):
        if selection != "all" and task != INFILLING:
            continue
        found = {(row.method, row.metric): row.value for row in rows.itertuples(index=False)}
        metrics = [metric for metric in GUARDS if (method, metric) in found]
        methods = [m for m in _methods(rows) if any((m, metric) in found for metric in metrics)]
        body = [[m, *(number_text(found.get((m, x), np.nan), x) for x in metrics)] for m in methods]
        if metrics:
            title = f"{task}, {target_set} targets: {KINDS[selection]}"
            yield Table(title, ["method", *metrics], body, marked=frozenset({methods.index(method)}))


def _texts(examples: Sequence[Example]) -> Iterator[Table]:
    for task, of_task in groupby(examples, key=lambda example: example.sample.task):
        body = [
            [example.target.target_id, _asked(example.target), example.sample.text, _success(example.score)]
            for example in of_task
        ]
        yield Table(task, ["target", "asked for", "text", "success"], body, prose=True)


def _asked(target: Target) -> str:
    return "; ".join(f"{k}: {v if isinstance(v, str) else json.dumps(v)}" for k, v in target.control.items())


def _success(score: Score) -> str:
    names = [name for name in (*headline(score.task), "joint_success") if name in score.metrics]
    return ", ".join(f"{name} {score.metrics[name]:.0f}" for name in names) or "–"


def _facts(facts: Mapping[str, str]) -> Table:
    return Table("Signature", ["key", "value"], [[key, value] for key, value in facts.items()], prose=True)
