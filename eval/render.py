"""One description of a report, three forms of it: Markdown, LaTeX and a page of one file.

All text comes from files that anybody may have written, so each form escapes what means something in it.
"""

from __future__ import annotations

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


class Section(NamedTuple):
    """A titled part of a report: paragraphs, then tables."""

    title: str
    paragraphs: Sequence[str]
    tables: Sequence[Table]


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
        for table in section.tables:
            body = [
                [
                    f"**{_plain(cell)}**" if row in table.marked and not i else _plain(cell)
                    for i, cell in cells
                ]
                for row, cells in ((row, enumerate(line)) for row, line in enumerate(table.body))
            ]
            parts += [f"### {_plain(table.title)}", markdown_table(list(map(_plain, table.header)), body)]
            parts += map(_plain, table.notes)
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    return text.translate(_MARKDOWN)


def latex(report: Report) -> str:
    """Every table of the report as a LaTeX table that needs the package ``booktabs``."""
    return "\n".join(_latex_table(table) for section in report.sections for table in section.tables)


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
    return environment.from_string(_PAGE.read_text(encoding="utf-8"))
