"""Records: what is written comes back, and a faulty line ends with file, line and remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.records import Sample, Score, Target, Text, read_records, write_records

SAMPLE = Sample("pplm", "length", "length-7", 0, 3, "The Mill is a pub .", 640, 0)
SCORE = Score("pplm", "length", "length-7", 0, 3, True, {"ctrl": 1.0, "words": 7})
TEXT = Text("e2e-1", "train", "A pub .\n", ["A", "pub", ".", "\n"])
STORY = replace(
    TEXT,
    id="e2e-2",
    fields={"food": "Thai"},
    tags=["DET", "NOUN"],
    tree="(S (NP A))",
    sentences=[["A", "pub"], []],
)
TARGET = Target("t", "length", {"length": 7})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.jsonl"


def line(record: Text | Target | Sample | Score, **changes: Any) -> str:
    """A record as it stands in a file, with some keys changed; ``...`` takes a key out."""
    values = {"schema": record.SCHEMA, **asdict(record), **changes}
    return json.dumps({key: value for key, value in values.items() if value is not ...})


def refusal(path: Path, content: str, kind: Any = Sample) -> str:
    """What is said of a file, without the file's name."""
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_records(path, kind)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message.removeprefix(str(path))


@pytest.mark.parametrize(
    "records", [[TEXT, STORY], [SAMPLE], [SCORE, replace(SCORE, seed=4, metrics={})], [TARGET]]
)
def test_records_come_back(records: list[Text | Target | Sample | Score], path: Path) -> None:
    kind: Any = type(records[0])
    write_records(path, records)
    assert read_records(path, kind) == records


@pytest.mark.parametrize("text", ["", " ", "£ 20 – 25", "two\nlines", "\u2028 \x85 \r\n \t", '"{\\', "\x00"])
def test_any_text_stays_on_its_line(text: str, path: Path) -> None:
    """A text of a model is any string: line ends of all sorts, quotes, nothing at all."""
    records = [replace(SAMPLE, text=text), replace(SAMPLE, seed=4)]
    write_records(path, records)
    assert path.read_bytes().count(b"\n") == 2
    assert read_records(path, Sample) == records


def test_the_same_records_are_the_same_bytes(path: Path) -> None:
    write_records(path, [STORY, TEXT])
    before = path.read_bytes()
    write_records(path, read_records(path, Text))
    assert path.read_bytes() == before


def test_nothing_is_left_of_a_write_that_fails(path: Path) -> None:
    """A generator that fails midway leaves the old file as it was."""
    write_records(path, [SAMPLE])
    before = path.read_bytes()

    def samples() -> Iterator[Sample]:
        yield SAMPLE
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_records(path, samples())
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_lines_written_by_hand(path: Path) -> None:
    """Keys in any order, optional keys left out, whole numbers for metrics, Windows line ends."""
    hand = json.dumps({"text": "A pub .", "split": "test", "id": "1", "tokens": ["A"], "schema": "text/1"})
    path.write_bytes(f"{hand}\r\n{hand.replace('1', '2', 1)}".encode())
    assert read_records(path, Text) == [Text(number, "test", "A pub .", ["A"]) for number in "12"]
    path.write_text(line(SCORE, metrics={"ctrl": 1}))
    assert read_records(path, Score) == [replace(SCORE, metrics={"ctrl": 1})]


def test_a_malformed_line_is_told_by_its_number(path: Path) -> None:
    content = f"{line(SAMPLE)}\n{line(SAMPLE)}\n{line(SAMPLE)[:-5]}\n{line(SAMPLE)}\n"
    assert refusal(path, content).startswith(":3: not JSON (")
    assert refusal(path, f"{line(SAMPLE)}\n\n").startswith(":2: not JSON (")


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (SAMPLE, "pplm, length, length-7, 0, 3"),
        (TEXT, "e2e-1"),
        (TARGET, "t"),
        (SCORE, "pplm, length, length-7, 0, 3"),
    ],
)
def test_a_record_that_stands_there_twice_is_told(record: Any, told: str, path: Path) -> None:
    """Even with other content: nobody could say which of them counts."""
    message = refusal(path, f"{line(record)}\n{line(record)}\n", type(record))
    assert message == f":2: {told} stands in line 1 already; keep one of them"


def test_an_unknown_key_names_the_nearest(path: Path) -> None:
    message = refusal(path, f"{line(SAMPLE)}\n{line(SAMPLE, target=1)}\n")
    assert message == ":2: unknown key 'target'; did you mean 'target_id'?"
    message = refusal(path, line(SAMPLE, qqq=1))
    assert message.startswith(":1: unknown key 'qqq'; known: ") and "backward_passes" in message


@pytest.mark.parametrize("key", ["method", "text", "backward_passes"])
def test_a_missing_key_is_named(key: str, path: Path) -> None:
    message = refusal(path, line(SAMPLE, **{key: ...}))
    assert message.startswith(":1: missing 1 required") and f"'{key}'" in message


@pytest.mark.parametrize("schema", [..., "sample/2", "score/1", None, 1])
def test_another_kind_of_record(schema: object, path: Path) -> None:
    """In particular a newer version of the schema is not read as this one."""
    message = refusal(path, line(SAMPLE, schema=schema))
    assert message == ":1: wrong kind of record; 'schema' must be 'sample/1'"


@pytest.mark.parametrize("content", ["[]", "null", '"sample/1"', "3"])
def test_a_line_that_is_no_record(content: str, path: Path) -> None:
    assert refusal(path, content) == ":1: wrong kind of record; 'schema' must be 'sample/1'"


@pytest.mark.parametrize(
    ("record", "key", "value"),
    [
        (SAMPLE, "seed", "3"),
        (SAMPLE, "seed", 3.0),
        (SAMPLE, "seed", True),  # true is no number
        (SAMPLE, "text", None),
        (SCORE, "selected", 1),
        (SCORE, "metrics", {"ctrl": "high"}),
        (SCORE, "metrics", {"ctrl": True}),
        (SCORE, "metrics", [1.0]),
        (TEXT, "tokens", "A pub ."),
        (TEXT, "tokens", ["A", 1]),
        (TEXT, "fields", {"food": None}),
        (TEXT, "sentences", ["A pub ."]),
        (TARGET, "control", None),
        (TARGET, "tuned_on", None),
    ],
)
def test_a_wrong_type_is_told(
    record: Text | Target | Sample | Score, key: str, value: object, path: Path
) -> None:
    message = refusal(path, f"{line(record)}\n{line(record, **{key: value})}\n", type(record))
    assert message.startswith(f":2: key '{key}' has the wrong type; expected ")


@pytest.mark.parametrize("key", ["fields", "tags", "tree", "sentences"])
def test_what_is_optional_may_be_null(key: str, path: Path) -> None:
    path.write_text(line(STORY, **{key: None}))
    assert read_records(path, Text) == [Text(**{**asdict(STORY), key: None})]


def test_an_empty_file(path: Path) -> None:
    assert refusal(path, "") == ": no records; expected sample/1 lines"


def test_a_missing_file(path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_records(path, Sample)


def test_a_file_that_is_not_utf8(path: Path) -> None:
    path.write_bytes(f"{line(SAMPLE)}\n".encode() + '{"text": "café"}'.encode("latin-1"))
    with pytest.raises(InputError, match=r"records\.jsonl:2: not UTF-8"):
        read_records(path, Sample)


# --- keys that schemas got later

OLD_TEXT = (
    '{"schema": "text/1", "id": "e2e-1", "split": "train", "text": "A pub .", "tokens": ["A", "pub", "."], '
)
OLD_TEXT += '"fields": {"food": "£ Thai"}, "tags": null, "tree": null, "sentences": null}\n'
OLD_TARGET = '{"schema": "target/1", "target_id": "t", "task": "length", "control": {"length": 7}, '
OLD_TARGET += '"references": null, "source_id": null, "tuned_on": true}\n'


@pytest.mark.parametrize(("content", "kind"), [(OLD_TEXT, Text), (OLD_TARGET, Target)])
def test_files_from_before_a_key_was_added_come_back_byte_by_byte(
    content: str, kind: Any, path: Path
) -> None:
    """Everything made from them is stored under a hash of these bytes."""
    path.write_bytes(content.encode())
    write_records(path, read_records(path, kind))
    assert path.read_bytes() == content.encode()


def test_later_keys_appear_once_they_are_set(path: Path) -> None:
    def keys(record: Text | Target) -> set[str]:
        write_records(path, [record])
        assert read_records(path, type(record)) == [record]
        return set(json.loads(path.read_text()))

    before = keys(TEXT)
    assert keys(replace(TEXT, spans=[])) == keys(replace(TEXT, spans=[[0, 2, "NP"]])) == before | {"spans"}
    before = keys(TARGET)
    assert keys(replace(TARGET, target_set="tuning")) == before | {"target_set"}
    assert keys(replace(TARGET, released={"tags": ["DET"]})) == before | {"released"}


@pytest.mark.parametrize("spans", [[0, 2, "NP"], [[0, 2.5, "NP"]], [[0, None, "NP"]], [["NP", True]], "NP"])
def test_spans_of_a_wrong_type(spans: object, path: Path) -> None:
    message = refusal(path, line(TEXT, spans=spans), Text)
    assert message.startswith(":1: key 'spans' has the wrong type; expected ")


def test_all_targets_but_the_tuning_set_are_reported() -> None:
    """Among them those of the old sets on which settings were chosen with other seeds."""
    sets = ("all", "heldout", "released", "tuning")
    assert [replace(TARGET, target_set=name).reported for name in sets] == [True, True, True, False]
    assert replace(TARGET, tuned_on=True).reported
