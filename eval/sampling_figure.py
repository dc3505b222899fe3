"""Draw the sampling ablations from their table, one panel per group.

python -m eval.sampling_figure --spec {} --input table=FILE --output svg=FILE pdf=FILE png=FILE csv=FILE \\
    caption=FILE

Without control a panel shows the lm-score over the settings and the tokens read for a text; with control it
shows success against lm-score, settings in their order joined by a line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eval.csv_tables import read_table, table_csv
from eval.figures import COLOURS, line, new_figure, save, style
from eval.layout import success_metrics
from eval.sampling_verdicts import COLUMNS, enough_steps
from eval.verdicts import verdict_paragraphs
from pipeline.command import Job, command
from pipeline.files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAPTION = (
    "### Sampling ablations",
    "Each panel changes one setting of the run's own Diffusion-LM. Without control: lm-score (lower is "
    "better) over the settings; dotted, on the right: tokens that networks read for a text. With control: "
    "success over lm-score, settings in their order joined by a line; up and to the left is better. Bars "
    "are 95 % intervals over texts, or over targets where there is a control.",
)
WIDE = 8  # times the smallest lm-score: then the axis is logarithmic
ACROSS = 3  # panels in a row
LM = "lm-score (perplexity)"


def draw(table: pd.DataFrame, outputs: dict[str, Path]) -> None:
    """All panels, as many rows of them as are needed."""
    groups = list(table.groupby(["group", "task"], sort=False))
    deep = -(-len(groups) // ACROSS)
    with style():
        figure = new_figure(3.4 * ACROSS, 2.7 * deep)
        panels = figure.subplots(deep, ACROSS, squeeze=False).flatten()
        for axes in panels[len(groups) :]:
            axes.set_visible(False)
        for axes, ((group, task), rows) in zip(panels, groups, strict=False):
            axes.set_title(f"{group}: {task}")
            by_metric = dict(list(rows.groupby("metric", sort=False)))
            success = next((name for name in success_metrics(task) if name in by_metric), None)
            if success is None:
                _over_settings(axes, by_metric["lm_score"])
            else:
                _trade_off(axes, by_metric[success], by_metric["lm_score"])
        save(figure, outputs)


def _over_settings(axes: Axes, scores: pd.DataFrame) -> None:
    """lm-score with intervals; on the right-hand axis the tokens that networks read for a text."""
    x = np.arange(len(scores))
    axes.errorbar(x, scores["value"], _spread(scores), capsize=2, **line(0))
    axes.set_xticks(x, list(scores["variant"]), rotation=30 if len(scores) > 5 else 0)
    axes.set_ylabel(LM)
    cost = axes.twinx()
    cost.plot(x, scores["forward_tokens"], color=COLOURS[6], linestyle=":", linewidth=1)
    cost.set_ylabel("tokens read", color=COLOURS[6], fontsize=7)
    cost.set_yscale("log")
    cost.grid(visible=False)


def _trade_off(axes: Axes, success: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Success over lm-score with both intervals, each point with its setting.

    Settings of several words (``Adagrad 0.1``) are one series for each first word.
    """
    kinds = scores["variant"].str.rpartition(" ")[0]
    for number, kind in enumerate(dict.fromkeys(kinds)):
        own, reached = scores[kinds == kind], success[(kinds == kind).to_numpy()]
        spread = {"xerr": _spread(own), "yerr": _spread(reached)}
        axes.errorbar(own["value"], reached["value"], **spread, capsize=2, elinewidth=0.6, **line(number))
        for x, y, label in zip(own["value"], reached["value"], own["variant"], strict=True):
            axes.annotate(label.split()[-1], (x, y), (3, 3), textcoords="offset points", fontsize=7)
        if kind:
            axes.plot([], [], label=kind, **line(number))
            axes.legend(fontsize=7)
    if scores["value"].max() > WIDE * scores["value"].min():
        axes.set_xscale("log")
    axes.set_xlabel(LM)
    axes.set_ylabel("success (%)")


def _spread(rows: pd.DataFrame) -> Any:
    """Distances of the ends of the intervals from the values, [2, rows]; none where there is no interval."""
    low, high = rows["value"] - rows["low"], rows["high"] - rows["value"]
    return np.nan_to_num(np.array([low, high], dtype=float).clip(min=0))


def main(job: Job) -> None:
    """Draw the figure, its data beside it."""
    numbers = ("value", "low", "high", "forward_tokens")
    table = read_table(job.inputs["table"], COLUMNS, numbers, "eval.sampling_ablations")
    write_text(job.outputs["csv"], table_csv(table))
    draw(table, job.outputs)
    told = verdict_paragraphs([enough_steps(table)])
    write_text(job.outputs["caption"], "\n\n".join([*CAPTION, *told]) + "\n")


if __name__ == "__main__":
    command(main, inputs=("table",), outputs=("svg", "pdf", "png", "csv", "caption"))
