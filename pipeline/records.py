"""The records that flow between stages: JSON Lines, one closed schema per kind.

A record file is the whole interface between two stages, so anybody may write one by hand. Reading
checks every line: unknown, missing or wrongly typed keys end with the file, the line and the remedy.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pipeline.errors import InputError, nearest
from pipeline.files import parse_json, read_lines, write_text

# Keys that a schema got after its first files were written are left out while they hold their default, so
# that those files, and everything made from them, stay as they are.
LATER = {"left out by default": True}

TEXT_KEY = ("method", "task", "target_id", "sample_index", "seed")  # no two texts of a file share it


@dataclass(frozen=True)
class Text:
    """One text of a corpus.

    ``fields`` maps field to value (E2E), ``tags`` has one universal tag per token, ``tree`` is a
    bracketed constituency tree, ``sentences`` the five sentences of a story (each a token list), ``spans``
    are the tree's labelled spans, each [first, last, label] (:func:`pipeline.trees.spans`).
    """

    SCHEMA: ClassVar[str] = "text/1"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    id: str
    split: str
    text: str
    tokens: list[str]
    fields: dict[str, str] | None = None
    tags: list[str] | None = None
    tree: str | None = None
    sentences: list[list[str]] | None = None
    spans: list[list[int | str]] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class Target:
    """One thing to ask for: ``control`` holds the task's own keys (see :mod:`pipeline.tasks`).

    ``tuned_on`` marks targets on which settings were chosen (with other seeds than the reported ones).
    ``target_set`` is the set that a table reports them under; ``released`` is the control as the released
    target file has it, where that differs from what is asked for.
    """

    SCHEMA: ClassVar[str] = "target/1"
    KEY: ClassVar[tuple[str, ...]] = ("target_id",)
    target_id: str
    task: str
    control: dict[str, Any]
    references: list[str] | None = None
    source_id: str | None = None
    tuned_on: bool = False
    target_set: str = field(default="all", metadata=LATER)
    released: dict[str, Any] | None = field(default=None, metadata=LATER)

    @property
    def reported(self) -> bool:
        """Whether results are reported on it; the set ``tuning`` is for choosing settings only."""
        return self.target_set != "tuning"


@dataclass(frozen=True)
class Sample:
    """One generated text with what it cost: forward tokens and backward passes of any network."""

    SCHEMA: ClassVar[str] = "sample/1"
    KEY: ClassVar[tuple[str, ...]] = TEXT_KEY
    method: str
    task: str
    target_id: str
    sample_index: int
    seed: int
    text: str
    forward_tokens: int
    backward_passes: int


@dataclass(frozen=True)
class Score:
    """Every metric of one sample; ``selected`` marks the MBR choice of its target."""

    SCHEMA: ClassVar[str] = "score/1"
    KEY: ClassVar[tuple[str, ...]] = TEXT_KEY
    method: str
    task: str
    target_id: str
    sample_index: int
    seed: int
    selected: bool
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Likelihood:
    """-log p of one text under a model in nats: exact, or the terms of a bound that lies above it.

    ``tokens`` are the text's words and END; ``terms`` add up to the whole.
    """

    SCHEMA: ClassVar[str] = "likelihood/1"
    KEY: ClassVar[tuple[str, ...]] = ("text_id",)
    text_id: str
    tokens: int
    terms: dict[str, float]


Record = TypeVar("Record", Text, Target, Sample, Score, Likelihood)
AnyRecord = Text | Target | Sample | Score | Likelihood
Check = Callable[[Any], bool]


def write_records(path: Path, records: Iterable[AnyRecord]) -> None:
    """Write records as JSON Lines, atomically, in the order given."""
    write_text(path, json_lines(records))


def json_lines(records: Iterable[AnyRecord]) -> str:
    """Records as JSON Lines, in the order given."""
    lines = (json.dumps({"schema": r.SCHEMA, **_values(r)}, ensure_ascii=False) + "\n" for r in records)
    return "".join(lines)


def _values(record: AnyRecord) -> dict[str, Any]:
    """A record's keys and values, without later keys that hold their default."""
    later = [f for f in fields(record) if f.metadata == LATER]
    absent = {f.name for f in later if getattr(record, f.name) == f.default}
    return {f.name: getattr(record, f.name) for f in fields(record) if f.name not in absent}


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read and check a JSON Lines file of one kind of record.

    Raises:
        InputError: missing or empty file, malformed line, unknown, missing or wrongly typed key.
    """
    hints = _hints(kind)
    checks = {name: _check(hint) for name, hint in hints.items()}
    records = [_parse(f"{path}:{n}", line, kind, hints, checks) for n, line in enumerate(read_lines(path), 1)]
    if not records:
        raise InputError(path, "no records", f"expected {kind.SCHEMA} lines")
    _check_distinct(path, records)
    return records


def _check_distinct(path: Path, records: Sequence[AnyRecord]) -> None:
    lines: dict[tuple[Any, ...], int] = {}
    for number, record in enumerate(records, 1):
        key = tuple(getattr(record, name) for name in record.KEY)
        if (first := lines.setdefault(key, number)) != number:
            what = f"{', '.join(map(str, key))} stands in line {first} already"
            raise InputError(f"{path}:{number}", what, "keep one of them")


def _parse(
    where: str, line: str, kind: type[Record], hints: Mapping[str, Any], checks: Mapping[str, Check]
) -> Record:
    values = parse_json(line, where)
    if not isinstance(values, dict) or values.pop("schema", None) != kind.SCHEMA:
        raise InputError(where, "wrong kind of record", f"'schema' must be '{kind.SCHEMA}'")
    for key in values:
        if key not in hints:
            raise InputError(where, f"unknown key '{key}'", nearest(key, hints))
    try:
        record = kind(**values)
    except TypeError as error:
        raise InputError(where, str(error).split("() ")[-1], f"a {kind.SCHEMA} record needs it") from None
    for name, check in checks.items():
        if not check(getattr(record, name)):
            raise InputError(where, f"key '{name}' has the wrong type", f"expected {hints[name]}")
    return record


def _hints(kind: type) -> dict[str, Any]:
    """The type of each key of a record."""
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _check(hint: Any) -> Check:
    """What tells whether a value has a type; made once per key, since files have millions of words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        options = [_check(option) for option in arguments]
        return lambda value: any(option(value) for option in options)
    if origin is list:
        every = _check_all(arguments[0])
        return lambda value: isinstance(value, list) and every(value)
    if origin is dict:
        every = _check_all(arguments[1])
        return lambda value: isinstance(value, dict) and every(value.values())
    if hint is Any:
        return lambda value: True
    allowed = _types(hint)
    return lambda value: type(value) in allowed


def _check_all(hint: Any) -> Callable[[Collection[Any]], bool]:
    if typing.get_origin(hint) or hint is Any:
        check = _check(hint)
        return lambda values: all(map(check, values))
    allowed = _types(hint)
    return lambda values: allowed.issuperset(map(type, values))


def _types(hint: type) -> frozenset[type]:
    """The types of JSON's values that stand for a plain type; a number may lack its decimal point."""
    return frozenset({int, float} if hint is float else {hint})
