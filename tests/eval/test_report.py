"""The report of a run: our own Markdown read back, and a page of one file."""

from __future__ import annotations

from pathlib import Path

from eval.render import Figure, Listing, Prose, Table, page
from eval.report import figure_parts, parts_of, run_report, settings_section
from pipeline.command import Job
from pipeline.settings import resolve, unlike_paper

NASTY = "<script>alert(1)</script>"
MARKDOWN = f"""### A table

A legend
of two lines.

| method | ctrl        |
| ------ | ----------- |
| ours   | 5 [1, 9]    |
| theirs |             |

#### Beneath

````
asked for  ```
mine       {NASTY}

# no heading | no table
````
"""


def test_markdown_of_our_commands_is_read_back() -> None:
    assert list(parts_of(MARKDOWN)) == [
        Prose("A table", []),
        Prose("", ["A legend of two lines."]),
        Table("", ["method", "ctrl"], [["ours", "5 [1, 9]"], ["theirs", ""]]),
        Prose("Beneath", [], level=4),
        Listing(f"asked for  ```\nmine       {NASTY}\n\n# no heading | no table"),
    ]


def test_a_figure_stands_between_its_title_and_the_rest_of_its_caption() -> None:
    parts = figure_parts("### Figure 5\n\nA curve.\n", "figures/figure_5.svg", b"<svg/>")
    assert parts == [
        Prose("Figure 5", []),
        Figure("Figure 5", "figures/figure_5.svg", b"<svg/>"),
        Prose("", ["A curve."]),
    ]


def test_settings_that_differ_are_told_and_folders_are_not() -> None:
    section = settings_section(unlike_paper({**resolve("demo"), "data_dir": "a/folder"}))
    (table,) = section.parts
    assert isinstance(table, Table)
    told = {row[0]: row[1:] for row in table.body}
    assert told["diffusion.training.steps"][0] == "4000" and "data_dir" not in told and "scale" not in told
    assert settings_section(unlike_paper(resolve("paper"))).parts == []


def test_a_page_shows_everything_and_loads_nothing(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("control.md", "examples.md", "figure_3.md", "figure_3.svg")}
    for path in files.values():
        path.write_text(MARKDOWN)
    inputs = {
        "tables/control": files["control.md"],
        "examples": files["examples.md"],
        "figures/figure_3": files["figure_3.svg"],
        "captions/figure_3": files["figure_3.md"],
    }
    outputs = {"html": tmp_path / "out" / "report.html", "markdown": tmp_path / "out" / "report.md"}
    report = run_report(Job({"scale": "demo", "different": [["seed", 1, 0]]}, inputs, outputs))
    html = page(report)
    assert html.count("&lt;script&gt;") == 3 and NASTY not in html
    assert html.count('src="data:image/svg+xml;base64,') == html.count("src=") == 1
    assert [section.title for section in report.sections][-3:] == [
        "Figures",
        "Examples",
        "Settings that differ from the paper's",
    ]
    assert any(
        isinstance(part, Figure) and part.path == "../figure_3.svg" for part in report.sections[-3].parts
    )
