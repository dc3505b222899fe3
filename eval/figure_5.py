"""Figure 5: the noise of every step under the linear, the cosine and the sqrt schedule.

python -m eval.figure_5 --spec SPEC --input levels=FILE --output svg=FILE pdf=FILE png=FILE caption=FILE

The levels are ``schedule,step,noise`` as CSV. SPEC holds nothing of its own. Where the schedules have as many
steps as the paper's, the values of ``results/paper`` are drawn upon the curves as rings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from eval.csv_tables import read_table
from eval.figures import line, new_figure, save, style
from eval.paper import read_table as read_published
from pipeline.command import Job, command
from pipeline.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER_STEPS = 2000
RING: dict[str, Any] = {
    "markersize": 3.7, "markerfacecolor": "none", "markeredgecolor": "black", "markeredgewidth": 0.5,
}  # fmt: skip
_METHODS = {"linear": "linear", "cosine": "cosine", "sqrt_discretised": "sqrt"}  # the table's and our names


def computed() -> pd.DataFrame:
    """The values of ``results/paper``, computed apart from this code: ``schedule, step, noise``."""
    rows = read_published("fig5_noise_schedule_computed")
    rows = rows[rows["method"].isin(_METHODS)]
    return pd.DataFrame(
        {
            "schedule": rows["method"].map(_METHODS),
            "step": rows["metric"].str.partition("t=")[2].astype(int),
            "noise": rows["value"].astype(float),
        }
    )


def draw(levels: pd.DataFrame, values: pd.DataFrame) -> Figure:
    """A curve for each schedule of ``levels``, and rings at ``values``; both ``schedule, step, noise``."""
    with style():
        figure = new_figure(5.2, 3.2)
        axes = figure.subplots()
        for number, (name, rows) in enumerate(levels.groupby("schedule", sort=False)):
            look = {**line(number), "marker": "", "linewidth": 1.8}
            axes.plot(rows["step"], rows["noise"], label=str(name), **look)
        if len(values):
            places = (values["step"], values["noise"])
            axes.plot(*places, "o", **RING, label="computed apart")
        axes.set(xlabel="diffusion step t", ylabel=r"noise $\sqrt{1-\bar\alpha_t}$", ylim=(-0.02, 1.05))
        axes.legend(loc="lower right")
    return figure


def largest_difference(levels: pd.DataFrame, values: pd.DataFrame) -> float:
    """The largest difference between the curves and the values at the steps of the latter."""
    both = values.merge(levels, on=["schedule", "step"], how="left", validate="one_to_one")
    return float((both["noise_x"] - both["noise_y"]).abs().max(skipna=False))


def caption(levels: pd.DataFrame, values: pd.DataFrame) -> str:
    """What the figure shows, in numbers."""
    steps = levels["step"].max() + 1
    first, tenth = (
        ", ".join(
            f"{name} {rows['noise'].iloc[place]:.3f}" for name, rows in levels.groupby("schedule", sort=False)
        )
        for place in (0, steps // 10)
    )
    parts = [
        "### Figure 5: noise over time",
        f"Standard deviation of the noise at each of {steps} steps. At the first step: {first}; after a "
        f"tenth of the steps: {tenth}. The sqrt schedule starts with much noise and then raises it slowly, "
        "since a little noise does not change which word is nearest: what the paper says of it and draws.",
    ]
    if len(values):
        difference = largest_difference(levels, values)
        parts.append(
            f"Rings: {len(values)} values computed apart from the printed formulas; the curves differ from "
            f"them by at most {difference:.6f}."
        )
    return "\n\n".join(parts) + "\n"


def main(job: Job) -> None:
    """Draw the figure and write its caption."""
    columns = ("schedule", "step", "noise")
    levels = read_table(job.inputs["levels"], columns, columns[1:], "diffusion_lm.noise_levels")
    levels = levels.astype({"step": int})
    values = computed() if levels["step"].max() + 1 == PAPER_STEPS else computed()[:0]
    save(draw(levels, values), job.outputs)
    write_text(job.outputs["caption"], caption(levels, values))


if __name__ == "__main__":
    command(main, inputs=("levels",), outputs=("svg", "pdf", "png", "caption"))
