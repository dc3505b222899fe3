"""The result tables as Markdown, in the shape of the paper's Tables 2 and 4; they read well in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eval.layout import (
    CHEATERS,
    METHOD_ORDER,
    REFUSED,
    RELEASED,
    SELECTIONS,
    TARGET_SETS,
    TASKS,
    headline,
    method_rows,
    ordered,
    paper_pair,
)
from pipeline.tasks import COMPOSITIONS, UNCONDITIONAL

Cells = Mapping[tuple[str, str, str], Any]  # task, method, metric: a row of the table

WIDEST = 6  # most columns of a main table beside the method
# What stands beneath the main table: success by other definitions and against other targets, then the guards.
DEFINITIONS = ("ctrl_released", "ctrl_strict")
SYNTAX_DEFINITIONS = (
    *(f"{part}ctrl{kind}" for part in ("semantic_", "syntax_", "pos_") for kind in ("_released", "_strict")),
    *(f"{part}ctrl_released_targets" for part in ("", "syntax_", "pos_")),
    *("joint_strict", "joint_judge2", "mismatch_rate"),
)
CHECKS = ("joint_success", "fluent_rate", "repetitive_rate", "near_copy_rate", "copy_rate")
GUARDS = (
    *("lm_score_token", "mean_length", "distinct_1", "distinct_2", "distinct_4", "self_bleu"),
    *("unk_rate", "empty_rate", "duplicate_rate", "doubled_rate"),
)
_CELLS = "Cells: value [95 % interval over targets] (published value)."
_LM = "lm: perplexity under the teacher language model, lower is better; –: none."
_CONTROL = f"{_CELLS} ctrl: control success in percent,\nhigher is better; {_LM}"
_COMPOSITION = (
    f"{_CELLS} semantic: texts with the value, in percent;\n"
    "syntax: bracket F1; pos: tags as asked for, in percent; joint: semantic times the other, text by text;\n"
    f"{_LM}"
)
_CHECKS = (
    "joint_success: control satisfied (tags and trees to 90 %), fluent (as likely as the middle 95 % of\n"
    "held-out human texts), not repetitive (over three quarters of the word pairs differ), no near copy\n"
    "(within two word edits of a training or held-out text; human: a training text).\n"
    "duplicate_rate: texts that equal another one of their row."
)
_CHEATERS = (
    "No methods: retrieval hands in training texts, repeat frequent n-grams again and again, source the\n"
    "sentence that a target was made from (or held-out texts that fit), shuffle its words in random order."
)
_JUDGE_2 = "judge 2: the same by a second judge of syntax."
_EXCLUDED = {
    True: "The sentences of the released targets were kept out of training.",
    False: "The sentences of the released targets were not kept out of training.",
}


def result_markdown(table: pd.DataFrame, title: str = "Control", excluded: bool | None = None) -> str:
    """For each target set and selection the main table, with cells ``value [95 % interval] (published)``.

    Beneath it stand the cheaters, the other definitions of success and the guards.

    Args:
        table: result of :func:`eval.tables.result_table`, or its CSV read back.
        title: of the sections.
        excluded: whether the sentences of the released targets were kept out of training, where known.
    """
    parts = []
    for target_set in ordered(table["target_set"], TARGET_SETS):
        for selection, kind in SELECTIONS.items():
            part = table[(table["target_set"] == target_set) & (table["selection"] == selection)]
            cells = {(row.task, row.method, row.metric): row for row in part.itertuples(index=False)}
            if cells:
                parts.append(f"### {title}: {kind} ({target_set} targets)")
                parts.append(_legend(cells, excluded if target_set == RELEASED else None))
                parts += _main_tables(cells) + _beneath(cells)
    return "\n\n".join(parts or [f"### {title}\n\nNo method was run."]) + "\n"


def _legend(cells: Cells, excluded: bool | None) -> str:
    lines = [_COMPOSITION if any(task in COMPOSITIONS for task, _, _ in cells) else _CONTROL]
    if any(metric.endswith("_judge2") for _, _, metric in cells):
        lines.append(_JUDGE_2)
    return "\n".join(lines if excluded is None else [*lines, _EXCLUDED[excluded]])


def _columns(cells: Cells, task: str) -> list[str]:
    """The metrics of the main table that some method has on a task."""
    measured = {metric for name, _, metric in cells if name == task}
    return [metric for metric in headline(task) if metric in measured]


def _blocks(cells: Cells) -> list[list[str]]:
    """The tasks, grouped so that no main table gets too wide; a composition stands alone."""
    blocks: list[list[str]] = []
    width = 0
    for task in ordered((task for task, _, _ in cells), TASKS):
        width += len(_columns(cells, task))
        if not blocks or width > WIDEST or task in COMPOSITIONS:
            blocks.append([])
            width = len(_columns(cells, task))
        blocks[-1].append(task)
    return blocks


def _main_tables(cells: Cells) -> list[str]:
    parts = []
    for tasks in _blocks(cells):
        pairs = [(task, metric) for task in tasks for metric in _columns(cells, task)]
        titles = [headline(task)[metric] for task, metric in pairs]
        if tasks[0] in COMPOSITIONS:
            parts.append(f"#### {tasks[0]}")
        else:
            titles = [f"{task} {title}" for (task, _), title in zip(pairs, titles, strict=True)]
        refused = refused_cells(cells, tasks)
        names = method_rows(method for task, method, _ in cells if task in tasks)
        body = {
            name: [name, *(cell_text(cells.get((t, name, m)), (t, name) in refused) for t, m in pairs)]
            for name in names
        }
        honest, cheats = ([row for n, row in body.items() if (n in CHEATERS) == own] for own in (False, True))
        parts += [markdown_table(["method", *titles], honest), *reason_lines(refused)]
        if cheats:
            parts += [f"#### Cheaters\n\n{_CHEATERS}", markdown_table(["cheater", *titles], cheats)]
            parts += ["\n".join(beaten_line(cells, task) for task in tasks if task != UNCONDITIONAL)]
    return parts


def beaten_line(cells: Cells, task: str) -> str:
    """How many cheaters are at least as good as each method in all of the paper's own numbers."""
    pair = paper_pair(task)
    rows = {
        name: [float(getattr(cells.get((task, name, metric)), "value", np.nan)) for metric in pair]
        for name in method_rows(method for found, method, _ in cells if found == task)
    }
    cheaters = [row for name, row in rows.items() if name in CHEATERS]
    beaten = {
        name: sum(_at_least_as_good(cheater, row) for cheater in cheaters)
        for name, row in rows.items()
        if name not in CHEATERS
    }
    told = ", ".join(f"{name} by {count} of {len(cheaters)}" for name, count in beaten.items() if count)
    return f"By control and lm alone cheaters equal or beat ({task}): {told or 'no method'}."


def _at_least_as_good(cheater: Sequence[float], method: Sequence[float]) -> bool:
    """Whether no number of the first is worse; the last one, lm-score, is better when lower."""
    higher = all(ours >= theirs for ours, theirs in zip(cheater[:-1], method[:-1], strict=True))
    return higher and cheater[-1] <= method[-1]


def refused_cells(cells: Cells, tasks: Sequence[str]) -> dict[tuple[str, str], str]:
    """Why a method cannot do a task, by task and method."""
    notes = {(task, method): str(row.note) for (task, method, _), row in cells.items() if task in tasks}
    return {key: note.removeprefix(REFUSED) for key, note in notes.items() if note.startswith(REFUSED)}


def reason_lines(refused: Mapping[tuple[str, str], str]) -> list[str]:
    """One line per reason: the methods that give it, and the tasks for which they do."""
    lines = []
    for reason in dict.fromkeys(refused.values()):
        of_reason = [key for key, given in refused.items() if given == reason]
        tasks = ordered((task for task, _ in of_reason), TASKS)
        names = ordered((method for _, method in of_reason), METHOD_ORDER)
        lines.append(f"n/a: {', '.join(names)} ({', '.join(tasks)}): {reason}.")
    return lines


def _beneath(cells: Cells) -> list[str]:
    wide = {metric for _, _, metric in cells}.intersection(SYNTAX_DEFINITIONS)
    parts = []
    for tasks in _blocks(cells) if wide else [[task for task, _, _ in cells]]:
        block = {key: row for key, row in cells.items() if key[0] in tasks}
        found = {metric for _, _, metric in block}
        if shown := [metric for metric in (*DEFINITIONS, *SYNTAX_DEFINITIONS) if metric in found]:
            parts.append(_guards(block, shown))
    return [*parts, _CHECKS, _guards(cells, CHECKS), _guards(cells, GUARDS)]


def _guards(cells: Cells, metrics: Iterable[str]) -> str:
    metrics = list(metrics)
    measured = {(task, method) for task, method, metric in cells if metric in metrics}
    body = []
    for task in ordered((task for task, _ in measured), TASKS):
        for method in method_rows(method for name, method in measured if name == task):
            values = [getattr(cells.get((task, method, metric)), "value", np.nan) for metric in metrics]
            body.append([task, method, *map(number_text, values, metrics)])
    return markdown_table(["task", "method", *metrics], body)


def cell_text(row: Any | None, refused: bool) -> str:
    """``83.5 [79.1, 87.2] (81.2)``, without what is absent; ``n/a`` for what a method cannot do."""
    if row is None:
        return "n/a" if refused else "–"
    paper = "" if np.isnan(row.paper) else f" ({number_text(row.paper, row.metric)})"
    return ("n/a" if refused else interval_text(row)) + paper


def interval_text(row: Any) -> str:
    """``83.5 [79.1, 87.2]``, or the value alone where there is no interval."""
    value, low, high = (number_text(x, row.metric) for x in (row.value, row.low, row.high))
    return value if np.isnan(row.low) else f"{value} [{low}, {high}]"


def number_text(value: float, metric: str) -> str:
    """A value with the decimals of its metric; – for what is absent."""
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
