"""The released target files: sentences without their frame, with their tags, spans, fields and values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpora.released import FRAME, Released, read_composition_targets, read_syntax_targets
from pipeline.errors import InputError
from pipeline.tasks import UNIVERSAL_TAGS

PUB = {
    "words_": ["START", "The", "pub", "is", "\n", "END"],
    "pos": ["START", "DET", "NOUN", "AUX", "PROPN", "END"],
}
INN = {"words_": ["START", "An", "inn", "END"], "pos": ["START", "DET", "NOUN", "END"]}
SPANS = [
    {"words_": PUB["words_"], "spans": [[0, 1, "NP"]]},
    {"words_": INN["words_"], "spans": [[1, 1, "N"], [0, 1, "X"]]},
]
COMPOSED = [
    PUB | {"attr": ["price", "range", ":", "£", "20", "-", "25"]},
    INN | {"attr": ["food", ":", "Thai"]},
]
FILES: dict[str, list[Any]] = {
    "target_pos": [PUB, INN],
    "target_spans": SPANS,
    "target_compose_pos_attr": COMPOSED,
}
Files = Callable[..., Path]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Write the three files, some of them changed: rows, or the text of a file, or None for no file."""

    def write(**changes: list[Any] | str | None) -> Path:
        (tmp_path / "control_targets").mkdir()
        for name, rows in (FILES | changes).items():
            content = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows or [])
            if rows is not None:
                (tmp_path / "control_targets" / f"{name}.json").write_text(content)
        return tmp_path

    return write


def test_sentences_lose_their_frame_with_its_tags(files: Files) -> None:
    assert read_syntax_targets(files()) == [
        Released(["The", "pub", "is"], ["DET", "NOUN", "AUX"], (0, 1, "NP"), None),
        Released(["An", "inn"], ["DET", "NOUN"], (1, 1, "N"), None),
    ]


def test_compositions_ask_for_a_field_and_a_value(files: Files) -> None:
    found = read_composition_targets(files(target_pos=None, target_spans=None))
    assert found == [
        Released(["The", "pub", "is"], ["DET", "NOUN", "AUX"], None, ("price range", "£ 20 - 25")),
        Released(["An", "inn"], ["DET", "NOUN"], None, ("food", "Thai")),
    ]


@pytest.mark.parametrize(("last", "expected"), [(3, 2), (2, 2), (1, 1)])
def test_a_span_that_closes_with_the_newline_loses_it(files: Files, last: int, expected: int) -> None:
    spans = [{"words_": PUB["words_"], "spans": [[1, last, "VP"]]}, SPANS[1]]
    assert read_syntax_targets(files(target_spans=spans))[0].span == (1, expected, "VP")


LINES = json.dumps(PUB) + "\n"
WRONG: dict[str, tuple[str, list[Any] | str | None, str]] = {
    "missing tags": ("target_pos", None, "target_pos.json: no such file"),
    "missing spans": ("target_spans", None, "target_spans.json: no such file"),
    "cut line": ("target_pos", LINES + '{"words_": [', "target_pos.json:2: not JSON"),
    "another thing": ("target_pos", LINES + "[]\n", "target_pos.json:2: not a JSON object"),
    "fewer spans": ("target_spans", SPANS[:1], "target_spans.json: 1 lines, 2 in target_pos"),
    "fewer tags": ("target_pos", [PUB], "target_spans.json: 2 lines, 1 in target_pos"),
    "other sentences": ("target_spans", SPANS[::-1], "target_spans.json:1: not the sentence of "),
    "no span": ("target_spans", [SPANS[0], {"words_": INN["words_"]}], "target_spans.json:2: no span"),
    "a tag too few": (
        "target_pos",
        [PUB, INN | {"pos": ["START", "DET", "END"]}],
        "target_pos.json:2: words and tags do not match",
    ),
    "no words": ("target_pos", [PUB, {"pos": []}], "target_spans.json:2: not the sentence of "),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), WRONG.values(), ids=WRONG)
def test_damaged_files_are_told(files: Files, name: str, content: Any, message: str) -> None:
    data = files(**{name: content})
    with pytest.raises(InputError) as error:
        read_syntax_targets(data)
    assert str(error.value).startswith(f"{data / 'control_targets' / message}")


@pytest.mark.parametrize("row", [INN, INN | {"attr": ["food", "Thai"]}])
def test_a_composition_without_field_and_value(files: Files, row: dict[str, Any]) -> None:
    data = files(target_compose_pos_attr=[COMPOSED[0], row])
    with pytest.raises(InputError, match="target_compose_pos_attr.json:2: no field and value"):
        read_composition_targets(data)


@pytest.mark.real_data
def test_the_published_files(real_data: Path) -> None:
    found, composed = read_syntax_targets(real_data), read_composition_targets(real_data)
    assert (len(found), len(composed)) == (200, 200)
    for target in [*found, *composed]:
        assert target.words and len(target.words) == len(target.tags)
        assert not set(FRAME) & {*target.words, *target.tags}
        assert set(target.tags) <= set(UNIVERSAL_TAGS)
    for target in found:
        assert target.span and 0 <= target.span[0] <= target.span[1] < len(target.words)
    assert sum(target.span[1] == len(target.words) - 1 for target in found if target.span) >= 16
    assert found[0].words[:2] == ["Only", "feet"] and found[0].span == (3, 5, "PP")
    assert composed[0].attribute == ("food", "English")
    assert all(target.attribute and all(target.attribute) for target in composed)
