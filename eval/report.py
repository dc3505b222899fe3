"""The report of a run: all tables, figures and examples, and the settings that differ from the paper's.

python -m eval.report --spec SPEC --input tables/NAME=FILE ... figures/NAME=FILE captions/NAME=FILE ... \\
    examples=FILE --output html=FILE markdown=FILE

Tables, captions and examples are the Markdown that their own commands have written, figures are SVG. SPEC
holds ``settings``, the resolved settings of the run. The page is one file that runs and loads nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.render import Figure, Listing, Part, Prose, Report, Section, Table, markdown, page
from eval.select import cells
from pipeline.command import Job, command
from pipeline.files import read_bytes, read_lines, write_text
from pipeline.settings import differences, resolve
from pipeline.stored import LOCAL

TABLES = {  # the title of a table, and whether it is folded
    "control": ("Control (the paper's Table 2)", False),
    "composition": ("Composition (Table 4)", False),
    "infilling": ("Infilling (Table 5)", False),
    "mbr_sizes": ("Candidates of MBR", True),
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


def settings_section(settings: Mapping[str, Any]) -> Section:
    """Every setting that is not the paper's, with both values; folders of this machine are left out."""
    body = [
        [key, _told(ours), _told(paper)]
        for key, ours, paper in differences(dict(settings), resolve("paper"))
        if key not in ("scale", *LOCAL)
    ]
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
    settings = job.spec["settings"]
    sections += [Section("Figures", [], drawn), Section("Examples", [], examples), settings_section(settings)]
    return Report(f"Diffusion-LM: {settings['scale']}", [_INTRO.format(scale=settings["scale"])], sections)


def _figure(job: Job, name: str, path: Path) -> list[Part]:
    address = Path(os.path.relpath(path, job.outputs["markdown"].parent)).as_posix()
    return figure_parts(_text(job.inputs[f"captions/{name}"]), address, read_bytes(path))


def _text(path: Path) -> str:
    return "\n".join(read_lines(path))


def main(job: Job) -> None:
    """Write both forms of the report."""
    report = run_report(job)
    write_text(job.outputs["html"], page(report))
    write_text(job.outputs["markdown"], markdown(report))


if __name__ == "__main__":
    command(main, inputs=("examples",), outputs=("html", "markdown"), open_ended=True)
