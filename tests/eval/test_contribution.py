"""Contributed files: what is read from them, and the one line that refuses a bad one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.contribution import read_contribution
from pipeline.errors import InputError
from pipeline.records import Sample, Target, write_records

LENGTHS = [Target(f"length-{n}", "length", {"length": n}, tuned_on=n == 3) for n in range(1, 6)]
FIELDS = [Target(f"food={food}", "semantic_content", {}) for food in ("Thai", "Fish")]
SYNTAX = {
    task: [
        Target(f"{kind}-{n}", task, {}, target_set=kind)
        for kind in ("released", "heldout", "tuning")
        for n in range(3)
    ]
    for task in ("syntax_tree", "syntax_spans")
}
TARGETS = {"length": LENGTHS, "semantic_content": FIELDS, **SYNTAX}
Line = dict[str, Any]


def lines(targets: list[Target], texts: int = 2, **more: Any) -> list[Line]:
    return [
        {"target_id": target.target_id, "text": f"text {n} of {target.target_id}", **more}
        for n in range(texts)
        for target in targets
    ]


WHOLE = lines(LENGTHS)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Sample]]:
    """Reads lines, which may be written in any way, as a contributed file."""

    def run(content: list[Line] | bytes, **options: Any) -> list[Sample]:
        path = tmp_path / "mine.jsonl"
        if not isinstance(content, bytes):
            content = "".join(json.dumps(line) + "\n" for line in content).encode()
        path.write_bytes(content)
        return read_contribution(path, TARGETS, **options)

    return run


Read = Callable[..., list[Sample]]


# --- what is read


def test_texts_are_numbered_by_target_in_the_order_of_the_file(read: Read) -> None:
    samples = read(WHOLE, method="ours")
    assert [(s.target_id, s.sample_index, s.text) for s in samples] == [
        (target.target_id, n, f"text {n} of {target.target_id}") for n in range(2) for target in LENGTHS
    ]
    assert {(s.method, s.task, s.seed, s.forward_tokens, s.backward_passes) for s in samples} == {
        ("ours", "length", 0, 0, 0)
    }


def test_each_seed_has_numbers_of_its_own(read: Read) -> None:
    samples = read(lines(FIELDS, seed=3) + lines(FIELDS, seed=1))
    assert [(s.seed, s.sample_index) for s in samples] == [(n, i) for n in (3, 1) for i in (0, 0, 1, 1)]


def test_tasks_are_found_by_the_targets(read: Read) -> None:
    samples = read(lines(FIELDS, texts=1) + WHOLE)
    assert [s.task for s in samples] == ["semantic_content"] * 2 + ["length"] * 10


@pytest.mark.parametrize("given", ["line", "file"])
def test_a_target_of_several_tasks_is_of_the_one_that_is_named(read: Read, given: str) -> None:
    of_line, of_file = ({"task": "syntax_spans"}, {}) if given == "line" else ({}, {"task": "syntax_spans"})
    samples = read(lines(SYNTAX["syntax_spans"][:6], **of_line), **of_file)
    assert {s.task for s in samples} == {"syntax_spans"} and len(samples) == 12


def test_a_whole_set_of_targets_is_enough(read: Read) -> None:
    """Texts for the released targets of a task say nothing about its other ones, and need not."""
    samples = read(lines(SYNTAX["syntax_tree"][:3]), task="syntax_tree")
    assert {s.target_id for s in samples} == {"released-0", "released-1", "released-2"}


@pytest.mark.parametrize(
    ("more", "options", "name"),
    [
        ({"method": "theirs"}, {}, "theirs"),
        ({"method": "theirs"}, {"method": "ours"}, "ours"),
        ({}, {}, "mine"),
    ],
)
def test_the_method_is_named_by_the_option_the_lines_or_the_file(
    read: Read, more: Line, options: Line, name: str
) -> None:
    assert {s.method for s in read(lines(LENGTHS, **more), **options)} == {name}


def test_our_own_samples_come_back_as_they_are(tmp_path: Path) -> None:
    samples = [Sample("fudge", "length", t.target_id, i, 7, "", 30, 4) for t in LENGTHS for i in (1, 0)]
    write_records(tmp_path / "seed7.jsonl", samples)
    assert read_contribution(tmp_path / "seed7.jsonl", TARGETS) == samples
    packed = tmp_path / "seed7.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "seed7.jsonl").read_bytes()))
    assert read_contribution(packed, TARGETS) == samples


def test_the_last_line_needs_no_end(read: Read) -> None:
    content = "\n".join(json.dumps(line) for line in WHOLE)
    assert len(read(content.encode())) == len(read(content.replace("\n", "\r\n").encode())) == 10


# --- what is refused


def without(*targets: str) -> list[Line]:
    return [line for line in WHOLE if line["target_id"] not in targets]


def as_bytes(content: list[Line]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in content).encode()


BAD: dict[str, tuple[list[Line] | bytes, str]] = {
    "3 targets missing": (
        without("length-1", "length-2", "length-5"),
        ": 3 of 5 targets of length have no text: 'length-1', 'length-2', 'length-5'; write texts for every",
    ),
    "a target twice": ([*WHOLE, WHOLE[2]], ": target 'length-3' of length has 3 texts, others 2; "),
    "a number twice": (
        [{**line, "sample_index": 0} for line in (*WHOLE[:5], WHOLE[1])],
        ":6: sample 0 of target 'length-2' stands in line 2 too; ",
    ),
    "a target less often": (WHOLE[:-1], ": target 'length-5' of length has 1 texts, others 2; "),
    "another seed's target missing": (
        WHOLE + [{**line, "seed": 1} for line in without("length-4")],
        ": 1 of 5 targets of length have no text: 'length-4'; ",
    ),
    "truncated last line": (
        as_bytes(WHOLE)[:-9],
        ":10: the last line is cut off; write the line again, whole",
    ),
    "truncated file of whole lines": (as_bytes(WHOLE[:8]), ": target 'length-4' of length has 1 texts, oth"),
    "another target set": (
        [{"target_id": "context-17", "text": "a"}],
        ":1: no target 'context-17'; write texts for the targets that it is compared on",
    ),
    "several unknown targets": (
        [*WHOLE, *({"target_id": f"context-{n}", "text": "a"} for n in (1, 2, 3, 2))],
        ":11: no target 'context-1', and none of 2 others; write texts for the targets that",
    ),
    "a target of another task": (
        [{"target_id": "length-1", "text": "a", "task": "syntax_tree"}],
        ":1: no target 'length-1' of syntax_tree; ",
    ),
    "a misspelt target": ([*WHOLE[:3], {**WHOLE[3], "target_id": "lenght-4"}], "'lenght-4'; did you mean 'l"),
    "a target for settings": (
        lines(SYNTAX["syntax_tree"], task="syntax_tree"),
        ":7: target 'tuning-0' is for choosing settings, so nothing is reported on it; leave out the targets",
    ),
    "no task": (
        lines(SYNTAX["syntax_tree"][:6]),
        ":1: target 'released-0' may be of 2 tasks; give task in each line, or --task with one of synt",
    ),
    "unknown task": (
        [{**WHOLE[0], "task": "lenght"}],
        ":1: no such task as 'lenght'; did you mean 'length'?",
    ),
    "absent task": ([{**WHOLE[0], "task": "infilling"}], ":1: there are no targets of infilling here; "),
    "not UTF-8": (as_bytes(WHOLE) + b'{"target_id": "\xff"}', ":11: not UTF-8; save the file as UTF-8"),
    "half a character": ([{**WHOLE[0], "text": "\ud800"}], ":1: holds half a character (a lone surrogate); "),
    "empty": (b"", ": empty; write one JSON object with target_id and text in each line"),
    "an empty line": (b"\n" + as_bytes(WHOLE), ":1: not JSON ("),
    "no object": (b"[1]\n", ":1: not a JSON object; "),
    "a list": (b'["a"]', ":1: not a JSON object; "),
    "no text": ([{"target_id": "length-1"}], ":1: key 'text' is missing; "),
    "unknown key": (
        [{**WHOLE[0], "sample_idx": 1}],
        ":1: unknown key 'sample_idx'; did you mean 'sample_index'",
    ),
    "wrong type": ([{**WHOLE[0], "text": None}], ":1: key 'text' has the wrong type; give it as str"),
    "a truth as a number": (
        [{**WHOLE[0], "seed": True}],
        ":1: key 'seed' has the wrong type; give it as int",
    ),
    "several methods": (
        [*lines(LENGTHS, method="a"), *lines(LENGTHS, method="b", seed=1)],
        ": texts of several methods: a, b; ",
    ),
}


@pytest.mark.parametrize(("content", "told"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_with_one_line(read: Read, content: list[Line] | bytes, told: str) -> None:
    with pytest.raises(InputError) as error:
        read(content)
    assert told in str(error.value) and "mine.jsonl:" in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl.gz"
    path.write_bytes(gzip.compress(as_bytes(WHOLE))[:-12])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_contribution(path, TARGETS)


def test_an_unknown_task_of_the_whole_file_is_the_option_s_fault(read: Read) -> None:
    with pytest.raises(InputError, match="--task: no such task as 'lenght'; did you mean 'length'?"):
        read(WHOLE, task="lenght")
