"""The table of infilling as Markdown, in the shape of the paper's Table 5."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from eval.cost import told
from eval.infilling import BERT_SCORE, LOO, METRICS
from eval.layout import INFILLING_METHODS, TARGET_SETS, ordered
from eval.markdown import cell_text, markdown_table, number_text, reason_lines, refused_cells
from eval.paper import published
from eval.tables import NAN
from pipeline.human import HUMAN
from pipeline.tasks import INFILLING

Rows = Mapping[tuple[str, str, str], Any]  # task, method, metric: a row of the table

EVERY = "all"  # the selection of the human row
SELECTIONS = {"mbr": "one text per context, selected by MBR", "first": "the first sample of each context"}

GUARDS = (
    *("lm_score_token", "mean_length", "distinct_1", "distinct_2", "distinct_4", "self_bleu"),
    *("copy_rate", "unk_rate", "doubled_rate"),
)
# The paper names no model. Presumably it is bert-score's own for English: raw for the methods that the
# authors ran (89.0), rescaled for those whose numbers they copied (38.5 to 42.7).
_PAPER_ENCODER = re.compile(r"roberta-large(@\w+)?_L17_no-idf_version=[^-]*(-rescaled)?")
_RAW_ROWS = ("diffusion_lm", "ar_infilling")
_CELLS = (
    "Cells: value [95 % interval over contexts] (published value); higher is better; –: none.\n"
    "s: seconds per sample, with loading the model."
)
_LOO = (
    "human: each reference against the others; other rows: against each choice of all references but one,\n"
    "averaged. Contexts with one reference are left out."
)


def infilling_markdown(table: pd.DataFrame, seconds: Mapping[str, float]) -> str:
    """For each target set and selection the table of the paper, leave-one-out beneath it, and the guards.

    Args:
        table: :func:`result_table` of all target sets, or its CSV read back.
        seconds: per sample, by method, where known.
    """
    parts = []
    for target_set in ordered(table["target_set"], TARGET_SETS):
        for selection, kind in SELECTIONS.items():
            part = table[(table["target_set"] == target_set) & table["selection"].isin((selection, EVERY))]
            rows = {(row.task, row.method, row.metric): row for row in part.itertuples(index=False)}
            parts += [f"### Infilling: {kind} ({target_set} contexts)", _legend(rows)]
            parts += _main_table(rows, seconds)
            parts += ["#### Leaving one reference out", _LOO, _loo_table(rows), "#### Guards", _guards(rows)]
    return "\n\n".join(parts) + "\n"


def _legend(rows: Rows) -> str:
    notes = {metric: str(row.note).split("; ")[0] for (_, _, metric), row in rows.items() if row.samples}
    signed = [f"{metric}: {notes[metric]}." for metric in METRICS if metric in notes]
    printed = {
        method for _, method, metric in rows if metric == BERT_SCORE and published(INFILLING, method, metric)
    }
    encoder = notes.get(BERT_SCORE, "")
    if absent := [m for m in ordered(printed, INFILLING_METHODS) if not paper_scale(m, encoder)]:
        signed.append(
            f"Published BERTScore is left out where it is of another model or scale: {', '.join(absent)}."
        )
    return "\n".join([_CELLS, *signed])


def paper_scale(method: str, encoder: str) -> bool:
    """Whether BERTScore under this signature compares with the one that the paper prints of a method."""
    same = _PAPER_ENCODER.fullmatch(encoder)
    return same is not None and (same[2] is None) == (method in _RAW_ROWS)


def _main_table(rows: Rows, seconds: Mapping[str, float]) -> list[str]:
    refused = refused_cells(rows, [INFILLING])
    body = [
        [
            method,
            *(cell_text(rows.get(cell), cell[:2] in refused) for cell in _cells(method)),
            told(seconds.get(method)),
        ]
        for method in _methods(rows)
        if method != HUMAN
    ]
    return [markdown_table(["method", *METRICS, "s"], body), *reason_lines(refused)]


def _cells(method: str, suffix: str = "") -> list[tuple[str, str, str]]:
    return [(INFILLING, method, metric + suffix) for metric in METRICS]


def _methods(rows: Rows) -> list[str]:
    return ordered((method for _, method, _ in rows), INFILLING_METHODS)


def _loo_table(rows: Rows) -> str:
    methods = [m for m in _methods(rows) if m == HUMAN or any(cell in rows for cell in _cells(m, LOO))]
    body = [
        [method, *(cell_text(rows.get(cell), refused=False) for cell in _cells(method, LOO))]
        for method in methods
    ]
    return markdown_table(["method", *METRICS], body)


def _guards(rows: Rows) -> str:
    measured = [metric for metric in GUARDS if any(found == metric for _, _, found in rows)]
    body = []
    for method in _methods(rows):
        found = {
            metric: rows[cell].value for metric in measured if (cell := (INFILLING, method, metric)) in rows
        }
        if found:
            body.append([method, *(number_text(found.get(metric, NAN), metric) for metric in measured)])
    return markdown_table(["method", *measured], body)
