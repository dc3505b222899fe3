"""The report of a run: all tables, figures and examples, and the settings that differ from the paper's.

python -m eval.report --spec SPEC --input tables/NAME=FILE ... figures/NAME=FILE captions/NAME=FILE ... \\
    examples=FILE --output html=FILE markdown=FILE

Tables, captions and examples are the Markdown that their own commands have written, figures are SVG. SPEC
holds the run's ``scale`` and, in ``different``, its settings that are not the paper's, with both values. The
page is one file that runs and loads nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from eval.render import Figure, Listing, Part, Prose, Report, Section, Table, markdown, page
from eval.select import cells
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.files import read_bytes, read_lines, write_text

TABLES = {  # the title of a table, and whether it is folded
    "control": ("Control (the paper's Table 2)", False),
    "composition": ("Composition (Table 4)", False),
    "infilling": ("Infilling (Table 5)", False),
    "mbr_sizes": ("Candidates of MBR", True),
    "ablations": ("Ablations (Figures 4 and 6)", False),
    "likelihood": ("Likelihood (Table 7)", False),
    "sampling_ablations": ("Sampling ablations", True),
    "judges": ("Judges of syntax", True),
    "cost": ("Cost", True),
}
_SETTINGS = "Settings that differ from the paper's"
_INTRO = (
    "Diffusion-LM and its baselines at scale '{scale}'. Numbers in brackets are 95 % intervals, those in "
    "round ones the paper's. Perplexities of a teacher that was trained on the corpus compare within a "
    "table, not with the paper."
)
_PART = re.compile(
    r"^(`{3,})\n(?P<listing>.*?)\n\1$|^(?P<block>\S.*?)(?=\n\s*\n|\s*\Z)", re.DOTALL | re.MULTILINE
)
_BAR = re.compile(r"(?<!\\)\|")


def parts_of(text: str) -> Iterator[Part]:
    """Markdown of our own commands as the parts of a report: headings, paragraphs, tables, listings."""
    for found in _PART.finditer(text):
        if (block := found["block"]) is None:
            yield Listing(found["listing"])
        elif block.startswith("#"):
            marks, _, title = block.partition(" ")
            yield Prose(title, [], level=max(len(marks), 3))
        elif block.startswith("|"):
            header, _, *body = map(_cells, block.splitlines())
            yield Table("", header, body)
        else:
            yield Prose("", [" ".join(block.split())])


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _BAR.split(line.strip())[1:-1]]


def figure_parts(caption: str, path: str, svg: bytes) -> list[Part]:
    """A figure below the title that its caption begins with, and the rest of the caption below it."""
    title, *rest = parts_of(caption)
    name = title.title if isinstance(title, Prose) else path
    return [title, Figure(name, path, svg), *rest]


def settings_section(different: Iterable[Sequence[Any]]) -> Section:
    """Every setting that is not the paper's: key, own value, the paper's."""
    body = [[key, _told(ours), _told(paper)] for key, ours, paper in different]
    table = Table("", ["setting", "here", "paper"], body, prose=True)
    return Section(_SETTINGS, [] if body else ["None."], [table] if body else [], folded=True)


def _told(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def run_report(job: Job) -> Report:
    """All that the job's files hold."""
    tables, figures = cells(job.inputs, "tables"), cells(job.inputs, "figures")
    sections = [
        Section(title, [], list(parts_of(_text(tables[name]))), folded)
        for name, (title, folded) in TABLES.items()
        if name in tables
    ]
    drawn = [part for name, path in sorted(figures.items()) for part in _figure(job, name, path)]
    examples = list(parts_of(_text(job.inputs["examples"])))
    scale, settings = job.spec["scale"], settings_section(job.spec["different"])
    sections += [Section("Figures", [], drawn), Section("Examples", [], examples), settings]
    return Report(f"Diffusion-LM: {scale}", [_INTRO.format(scale=scale)], sections)


def _figure(job: Job, name: str, path: Path) -> list[Part]:
    address = Path(os.path.relpath(path, job.outputs["markdown"].parent)).as_posix()
    if not (svg := read_bytes(path)):
        raise InputError(path, "holds nothing", "make it again")
    return figure_parts(_text(job.inputs[f"captions/{name}"]), address, svg)


def _text(path: Path) -> str:
    if not (lines := read_lines(path)):
        raise InputError(path, "holds nothing", "make it again")
    return "\n".join(lines)


def main(job: Job) -> None:
    """Write both forms of the report."""
    report = run_report(job)
    write_text(job.outputs["html"], page(report))
    write_text(job.outputs["markdown"], markdown(report))


if __name__ == "__main__":
    command(main, inputs=("examples",), outputs=("html", "markdown"), open_ended=True)
