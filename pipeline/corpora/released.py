"""The target files of the original release (datasets/control_target), one JSON object per line.

Their sentences stand in START and END and close with the newline word; words, tags and spans are given here
without these three.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import InputError
from pipeline.fetch import fetch_files
from pipeline.files import parse_json, read_lines

URL = "https://raw.githubusercontent.com/XiangLi1999/Diffusion-LM/main/datasets/control_target/"
FILES = {
    "target_pos.json": "9d49508d76cf770e421509bf6d6a063afc71423c0f6359a315175e6d7db96804",
    "target_spans.json": "aa1605b26325ba039aae38a00a89751a39e54769ea0a39508bafe7148a0b762e",
    "target_compose_pos_attr.json": "d132653559381bd047812b4a442e58cb0f7d8dc619b11306a09e7d8be0913d3e",
}
DOWNLOADS = Path("results/downloads")
FRAME = ("START", "END", "\n")


class Released(NamedTuple):
    """A target's sentence, its universal tags, and its span or its field and value."""

    words: list[str]
    tags: list[str]
    span: tuple[int, int, str] | None
    attribute: tuple[str, str] | None


def target_folder(data_dir: str) -> Path:
    """The folder that holds ``control_targets/``: ``data_dir``, or where the files were downloaded.

    Raises:
        InputError: no ``data_dir``, and the files cannot be downloaded or are not the published ones.
    """
    if data_dir:
        return Path(data_dir)
    fetch_files(URL, DOWNLOADS / "control_targets", FILES)
    return DOWNLOADS


def read_syntax_targets(data: Path) -> list[Released]:
    """The 200 sentences of ``target_pos.json`` with the spans of ``target_spans.json``.

    Args:
        data: folder that holds ``control_targets/``.

    Raises:
        InputError: a file is missing, does not parse, or the two do not hold the same sentences.
    """
    path = data / "control_targets/target_spans.json"
    tagged, spans = list(_rows(data, "target_pos")), list(_rows(data, "target_spans"))
    if len(tagged) != len(spans):
        raise InputError(path, f"{len(spans)} lines, {len(tagged)} in target_pos", "fetch both files again")
    found = []
    for (where, row), (place, other) in zip(tagged, spans, strict=True):
        if row.get("words_") != other.get("words_"):
            raise InputError(place, f"not the sentence of {where}", "fetch both files again")
        if not other.get("spans"):
            raise InputError(place, "no span", "fetch the file again")
        first, last, label = other["spans"][0]
        target = _released(where, row)
        last = min(last, len(target.words) - 1)  # 16 of the spans close with the newline word
        found.append(target._replace(span=(first, last, label)))
    return found


def read_composition_targets(data: Path) -> list[Released]:
    """The 200 rows of ``target_compose_pos_attr.json``; as :func:`read_syntax_targets`."""
    found = []
    for where, row in _rows(data, "target_compose_pos_attr"):
        field, colon, value = " ".join(row.get("attr", [])).partition(" : ")
        if not colon:
            raise InputError(where, "no field and value", "fetch the file again")
        found.append(_released(where, row)._replace(attribute=(field, value)))
    return found


def _rows(data: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    path = data / "control_targets" / f"{name}.json"
    if not path.is_file():
        how = "put the released target files there, or set syntax.released_targets to false"
        raise InputError(path, "no such file", how)
    for number, line in enumerate(read_lines(path), 1):
        row = parse_json(line, f"{path}:{number}")
        if not isinstance(row, dict):
            raise InputError(f"{path}:{number}", "not a JSON object", "fetch the file again")
        yield f"{path}:{number}", row


def _released(where: str, row: dict[str, Any]) -> Released:
    words, tags = row.get("words_", []), row.get("pos") or []
    if not words or len(words) != len(tags):
        raise InputError(where, "words and tags do not match", "fetch the file again")
    kept = [(word, tag) for word, tag in zip(words, tags, strict=True) if word not in FRAME]
    return Released([word for word, _ in kept], [tag for _, tag in kept], None, None)
