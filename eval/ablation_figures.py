"""Draw Figures 4 and 6 of the paper from the table of the ablation grids.

python -m eval.ablation_figures --spec SPEC --input table=FILE --output svg=FILE pdf=FILE png=FILE csv=FILE \\
    caption=FILE

SPEC says which ``figure``: ``figure_4`` or ``figure_6``, and the ``recipe`` of the trainings. Panels whose
cells were not made are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eval.ablation_verdicts import COLUMNS, ablation_verdicts, panel
from eval.csv_tables import read_table, table_csv
from eval.figures import COLOURS, line, new_figure, point, save, style
from eval.verdicts import verdict_paragraphs
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.human import HUMAN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS: dict[str, dict[str, tuple[str, ...]]] = {  # what each panel of a figure varies
    "figure_4": {"embedding": ("embedding",), "parametrisation": ("predict", "dimension")},
    "figure_6": {
        "embedding": ("embedding",),
        "schedule": ("schedule", "predict", "dimension"),
        "network": ("network",),
    },
}
TITLES = {
    "embedding": "word embeddings",
    "parametrisation": "what the network predicts",
    "schedule": "noise schedule",
    "network": "denoiser",
}
CAPTIONS = {
    "figure_4": "### Figure 4: word embeddings, and what the network predicts",
    "figure_6": "### Figure 6: word embeddings, noise schedule and denoiser",
}
HOW_TO_READ = (
    "lm-score (perplexity under a language model of the same corpus, lower is better) of texts without "
    "control. Bars are 95 % intervals over texts and training seeds, small dots single seeds, hollow marks "
    "cells whose training came to nothing (they support no verdict); dotted: held-out human texts. "
    "distinct-4 and lengths stand in the table of the ablations."
)
RECIPES = {
    "fast": "Losses are the paper's; embeddings are normalised and Muon trains, since the paper's own "
    "optimiser leaves noise at this budget.",
    "paper": "Losses and optimiser are the paper's.",
}
HOLLOW = {"markerfacecolor": "white"}  # an untrained cell


def read_ablations(path: Path) -> pd.DataFrame:
    """The table of the grids; factors are words, ``dimension`` a whole number where there is one."""
    table = read_table(path, COLUMNS, ("value", "low", "high"), "eval.ablations")
    return table.assign(dimension=[int(text) if text else text for text in table["dimension"]])


def figure_data(table: pd.DataFrame, figure: str) -> pd.DataFrame:
    """The lm-scores that a figure shows, each under the name of its ``panel``; the human rows too."""
    scores, found = table[table["metric"] == "lm_score"], []
    human = scores[scores["cell"] == HUMAN]
    for name, varied in PANELS[figure].items():
        for corpus in dict.fromkeys(table["corpus"]):
            rows = panel(scores, corpus, varied)
            if rows[varied[0]].nunique() > 1:
                shown = pd.concat([rows, human[human["corpus"] == corpus]])
                found.append(shown.assign(panel=f"{name}, {corpus}"))
    if not found:
        raise InputError(figure, "no panel has two values to compare", "add cells to ablations.cells")
    data = pd.concat(found)
    return data[["panel", *(name for name in data if name != "panel")]]


def draw(data: pd.DataFrame, figure: str, outputs: dict[str, Path]) -> None:
    """A row of panels, lm-score on a logarithmic axis."""
    panels = list(data.groupby("panel", sort=False))
    with style():
        canvas = new_figure(0.6 + 2.7 * len(panels), 3.2)
        for axes, (title, rows) in zip(
            canvas.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            kind, corpus = title.split(", ")
            _lines(axes, rows, PANELS[figure][kind])
            axes.set_title(f"{TITLES[kind]}\n({'stories' if corpus == 'stories' else 'corpus of the run'})")
            axes.set_yscale("log")
            axes.set_ylabel("lm-score (perplexity)")
            if rows["note"].str.startswith("untrained").any():
                axes.plot([], [], "o", color="black", **HOLLOW, label="untrained")
            for human in rows[rows["cell"] == HUMAN]["value"]:
                axes.axhline(human, color=COLOURS[6], linestyle=":", linewidth=1, label="human")
            axes.legend(fontsize=7)
        save(canvas, outputs)


def _lines(axes: Axes, rows: pd.DataFrame, varied: tuple[str, ...]) -> None:
    """One series per value of all factors but the last, which is the horizontal axis."""
    rows = rows[rows["cell"] != HUMAN]
    places = {value: place for place, value in enumerate(_sorted(rows[varied[-1]]))}
    series = list(rows.groupby(list(varied[:-1]), sort=False)) if varied[1:] else [((), rows)]
    for number, (name, own) in enumerate(series):
        look = line(number) if varied[1:] else {**point(number), "linestyle": ""}
        shift = (number - (len(series) - 1) / 2) * 0.5 / max(len(series), 4)
        _series(axes, own, varied[-1], places, shift, look, " ".join(name))
    axes.set_xticks(list(places.values()), [str(value) for value in places])
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_xlabel("embedding dimension" if varied[-1] == "dimension" else varied[-1])


def _series(
    axes: Axes, rows: pd.DataFrame, factor: str, places: dict[Any, int], shift: float,
    look: dict[str, Any], label: str,
) -> None:  # fmt: skip
    """Values with their intervals; small dots are single training seeds, hollow marks untrained cells."""
    whole, seeds = rows[rows["seed"] == ""], rows[rows["seed"] != ""]
    whole = whole.sort_values(factor, key=lambda column: column.map(places))
    x = np.array([places[value] + shift for value in whole[factor]])
    axes.plot(x, whole["value"], **{**look, "marker": ""})
    for place, row in zip(x, whole.itertuples(index=False), strict=True):
        spread = None if np.isnan(row.low) else [[row.value - row.low], [row.high - row.value]]
        untrained = row.note.startswith("untrained")
        axes.errorbar([place], [row.value], spread, capsize=2, **{**look, **(HOLLOW if untrained else {})})
    dots = [places[value] + shift + 0.06 for value in seeds[factor]]
    axes.plot(dots, seeds["value"], color=look["color"], linestyle="", marker=".", markersize=3)
    if label:
        axes.plot([], [], label=label, **look)


def _sorted(values: pd.Series) -> list[Any]:
    """Numbers in their order, words in that of the table."""
    found = list(dict.fromkeys(values))
    return sorted(found) if all(isinstance(value, int) for value in found) else found


def caption(table: pd.DataFrame, figure: str, recipe: str) -> str:
    """What the figure shows, and how the paper's statements stand."""
    verdicts = ablation_verdicts(table)
    told = [verdict for name in PANELS[figure] for verdict in verdicts.get(name, ())]
    parts = [CAPTIONS[figure], HOW_TO_READ, RECIPES[recipe], "What the paper says, held against these cells:"]
    return "\n\n".join([*parts, *verdict_paragraphs(told)]) + "\n"


def main(job: Job) -> None:
    """Draw one figure, its data beside it."""
    figure = job.spec["figure"]
    if figure not in PANELS:
        raise InputError("figure", f"no such figure as '{figure}'", f"choose {' or '.join(PANELS)}")
    table = read_ablations(job.inputs["table"])
    data = figure_data(table, figure)
    write_text(job.outputs["csv"], table_csv(data))
    draw(data, figure, job.outputs)
    write_text(job.outputs["caption"], caption(table, figure, job.spec["recipe"]))


if __name__ == "__main__":
    command(main, inputs=("table",), outputs=("svg", "pdf", "png", "csv", "caption"))
