"""What all figures share: a style that reads in grey, and files that are the same bytes whenever made again.

    with style():
        figure = new_figure(6, 3)
        axes = figure.subplots()
        axes.plot(x, y, label="sqrt", **line(0))
        axes.bar(x, y, label="learned", **bar(1))
    save(figure, job.outputs)  # svg, pdf and png; further outputs, like the data as CSV, are the caller's

Figures are made without pyplot, so nothing is global and no display is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("svg", "pdf", "png")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")  # Okabe and Ito's
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
LINES = ("-", "--", ":", "-.")
HATCHES = ("", "//", "xx", "..", "\\\\", "++", "oo")
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "lines.markersize": 4.5,
    "legend.frameon": False,
}
_SAVED: dict[Any, Any] = {"svg.hashsalt": "diffusion-lm", "svg.fonttype": "path", "savefig.dpi": 150}
_NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


@contextmanager
def style() -> Iterator[None]:
    """The look of the figures whose axes are made in the block."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` times ``height`` inches whose parts make room for one another."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def line(number: int) -> dict[str, Any]:
    """How the series of a number is drawn as a line: colour, marker and dashes all tell it apart."""
    return {**point(number), "linestyle": LINES[number % len(LINES)]}


def point(number: int) -> dict[str, Any]:
    """How the series of a number is drawn as points."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def bar(number: int) -> dict[str, Any]:
    """How the series of a number is drawn as bars: colour and hatch."""
    colour, hatch = COLOURS[number % len(COLOURS)], HATCHES[number % len(HATCHES)]
    return {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}


def save(figure: Figure, outputs: Mapping[str, Path]) -> None:
    """Write a figure to the files of ``outputs`` whose names are in :data:`KINDS`.

    The same figure gives the same bytes: no dates, ids from content, text in SVG as outlines.
    """
    import matplotlib

    for kind in [kind for kind in KINDS if kind in outputs]:
        with matplotlib.rc_context(_SAVED), atomic(outputs[kind]) as temporary:
            figure.savefig(temporary, format=kind, metadata=_NO_DATE[kind])
