"""Reports in their three forms: nothing in a cell may act as markup."""

from __future__ import annotations

from html.parser import HTMLParser

from eval.render import Report, Section, Table, latex, markdown, page

NASTY = "<script>alert('|')</script> 50 % of $x_1 & \\more {y} ~ ^"
REPORT = Report(
    NASTY,
    [NASTY],
    [
        Section("First", [NASTY], [Table("Numbers", ["method", "ctrl"], [[NASTY, "1.0"], ["ours", "2.0"]],
                                         notes=[NASTY], marked=frozenset({1}))]),
        Section("Second", [], [Table("Texts", ["method", "text"], [["ours", NASTY]], prose=True)]),
    ],
)  # fmt: skip


class Reader(HTMLParser):
    """Collects the tags and the visible text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


def test_a_script_in_a_text_is_shown_as_text() -> None:
    reader = read(page(REPORT))
    assert "script" not in reader.tags
    assert reader.texts.count(NASTY) == 7  # head, title, three paragraphs and notes, two cells


def test_a_page_loads_nothing() -> None:
    reader = read(page(REPORT))
    assert not {"link", "img", "iframe", "object"} & set(reader.tags)
    assert all(
        (value or "").startswith("#part-") for name, value in reader.attributes if name in ("href", "src")
    )


def test_sections_can_be_reached_from_the_top() -> None:
    reader = read(page(REPORT))
    links = {value for name, value in reader.attributes if name == "href"}
    assert (
        links == {f"#{value}" for name, value in reader.attributes if name == "id"} == {"#part-1", "#part-2"}
    )


def test_marked_rows_are_marked_in_every_form() -> None:
    assert page(REPORT).count('<tr class="marked">') == 1
    assert "| **ours**" in markdown(REPORT)
    assert r"\textbf{ours} & \textbf{2.0} \\" in latex(REPORT)


def test_markdown_keeps_its_columns_and_has_no_markup_of_others() -> None:
    text = markdown(REPORT)
    assert "<" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.replace("\\|", "").count("|") for line in rows] == [3] * 7


def test_latex_has_no_character_that_means_something() -> None:
    text = latex(REPORT)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    line = next(line for line in text.splitlines() if "script" in line and "caption" not in line)
    assert line.startswith(r"\textless{}script\textgreater{}")
    assert (
        r"50 \% of \$x\_1 \& \textbackslash{}more \{y\} \textasciitilde{} \textasciicircum{} & 1.0 \\" in line
    )
