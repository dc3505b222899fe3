"""One description of a report, three forms of it: Markdown, LaTeX and a page of one file.

All text comes from files that anybody may have written, so each form escapes what means something in it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eval.markdown import markdown_table

if TYPE_CHECKING:
    from jinja2 import Template

_PAGE = Path(__file__).parent / "page" / "report.html.j2"
_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--"}
    | {"<": r"\textless{}", ">": r"\textgreater{}"}
)
_MARKDOWN = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;", "\n": " "})


class Table(NamedTuple):
    """A titled table; ``marked`` are the rows to look at, ``notes`` the lines beneath it.

    The first column names the row, and a table of ``prose`` holds sentences instead of numbers.
    """

    title: str
    header: Sequence[str]
    body: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    marked: frozenset[int] = frozenset()
    prose: bool = False


class Figure(NamedTuple):
    """A picture: its file as Markdown names it, and the SVG itself, which stands in the page."""

    title: str
    path: str
    svg: bytes

    @property
    def address(self) -> str:
        """The picture as an address that loads nothing; as an image it can neither run nor style anything."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


class Prose(NamedTuple):
    """Paragraphs, under a title of level 3 or 4 if they have one."""

    title: str
    paragraphs: Sequence[str]
    level: int = 3


class Listing(NamedTuple):
    """Text whose spaces and lines count."""

    text: str


Part = Table | Figure | Prose | Listing


class Section(NamedTuple):
    """A titled part of a report: paragraphs, then tables and whatever else. ``folded``: closed at first."""

    title: str
    paragraphs: Sequence[str]
    parts: Sequence[Part]
    folded: bool = False


class Report(NamedTuple):
    """A whole report."""

    title: str
    paragraphs: Sequence[str]
    sections: Sequence[Section]


def markdown(report: Report) -> str:
    """The report as Markdown; tables read well in a terminal."""
    parts = [f"# {_plain(report.title)}", *map(_plain, report.paragraphs)]
    for section in report.sections:
        parts += [f"## {_plain(section.title)}", *map(_plain, section.paragraphs)]
        for part in section.parts:
            parts += _markdown_part(part)
    return "\n\n".join(parts) + "\n"


def _markdown_part(part: Part) -> list[str]:
    if isinstance(part, Table):
        return [*_heading(part.title), _markdown_table(part), *map(_plain, part.notes)]
    if isinstance(part, Figure):
        return [f"![{_plain(part.title)}]({part.path})"]
    if isinstance(part, Prose):
        return [*_heading(part.title, part.level), *map(_plain, part.paragraphs)]
    return [fenced(part.text)]


def _heading(title: str, level: int = 3) -> list[str]:
    return [f"{'#' * level} {_plain(title)}"] if title else []


def _markdown_table(table: Table) -> str:
    body = [
        [f"**{_plain(cell)}**" if row in table.marked and not i else _plain(cell) for i, cell in cells]
        for row, cells in ((row, enumerate(line)) for row, line in enumerate(table.body))
    ]
    return markdown_table(list(map(_plain, table.header)), body)


def fenced(text: str) -> str:
    """A block of Markdown in which nothing means anything; its fence is longer than any within it."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}\n{text}\n{fence}"


def _plain(text: str) -> str:
    return text.translate(_MARKDOWN)


def latex(report: Report) -> str:
    """Every table of the report as a LaTeX table that needs the package ``booktabs``."""
    parts = (part for section in report.sections for part in section.parts)
    return "\n".join(_latex_table(part) for part in parts if isinstance(part, Table))


def _latex_table(table: Table) -> str:
    columns = "l" + ("p{0.3\\textwidth}" if table.prose else "r") * (len(table.header) - 1)
    lines = [_latex_row(line, bold=row in table.marked) for row, line in enumerate(table.body)]
    caption = " ".join([f"{table.title}.", *table.notes]).translate(_LATEX)
    return "\n".join(
        [
            *(r"\begin{table}", r"\centering\small", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"),
            *(_latex_row(table.header), r"\midrule", *lines, r"\bottomrule"),
            *(r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}", ""),
        ]
    )


def _latex_row(cells: Sequence[str], bold: bool = False) -> str:
    escaped = [cell.translate(_LATEX) for cell in cells]
    return " & ".join(rf"\textbf{{{cell}}}" if bold else cell for cell in escaped) + r" \\"


def page(report: Report) -> str:
    """The report as one HTML file without scripts and without anything to load."""
    return _template().render(report=report)


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["kind"] = lambda part: type(part).__name__
    return environment.from_string(_PAGE.read_text(encoding="utf-8"))
