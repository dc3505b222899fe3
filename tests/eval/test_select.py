"""The selection command: all cells of a task, one text per target, by the rule of the settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.records import Sample, read_records, write_records

TEXTS = ["a b c d e", "a b c d", "a b c d f", "a b c d f g h i"]
Select = Callable[..., Any]


def samples(method: str, target: str, texts: list[str], seed: int = 0) -> list[Sample]:
    return [Sample(method, "length", target, i, seed, text, 7, 1) for i, text in enumerate(texts)]


CELLS = {
    "ours/seed0": [*samples("ours", "t1", TEXTS), *samples("ours", "t2", ["x y", "x y", "z"])],
    "ours/seed1": samples("ours", "t1", TEXTS[::-1], seed=1),
    "human/seed0": samples("human", "t2", ["a human text"]),
}


@pytest.fixture
def select(run_command: Callable[..., Any], tmp_path: Path) -> Select:
    """Run the command on the cells; ``left_out`` is an output that is not given."""

    def run(left_out: str = "", **changes: Any) -> Any:
        inputs, outputs = {}, {}
        for cell, found in CELLS.items():
            inputs[f"samples/{cell}"] = tmp_path / "samples" / f"{cell}.jsonl"
            outputs[f"selected/{cell}"] = tmp_path / "selected" / f"{cell}.jsonl"
            write_records(inputs[f"samples/{cell}"], found)
        outputs.pop(left_out, None)
        return run_command("eval.select", {"mbr_rule": "paper", "threads": 1} | changes, inputs, outputs)

    return run


def chosen(folder: Path, cell: str) -> list[Sample]:
    return read_records(folder / "selected" / f"{cell}.jsonl", Sample)


def test_every_cell_gets_one_whole_sample_per_target(select: Select, tmp_path: Path) -> None:
    assert select().code == 0
    for cell, given in CELLS.items():
        found = chosen(tmp_path, cell)
        assert [s.target_id for s in found] == list(dict.fromkeys(s.target_id for s in given))
        assert set(found) <= set(given)
    assert [s.text for s in chosen(tmp_path, "human/seed0")] == ["a human text"]
    assert chosen(tmp_path, "ours/seed0")[1].text == "x y"


def test_the_rule_is_a_setting(select: Select, tmp_path: Path) -> None:
    """Of equals the paper's rule takes the first, the released one the last."""
    select()
    assert chosen(tmp_path, "ours/seed0")[1].sample_index == 0
    select(mbr_rule="released")
    assert chosen(tmp_path, "ours/seed0")[1].sample_index == 1


def test_the_same_texts_are_selected_under_either_numbering(select: Select, tmp_path: Path) -> None:
    select()
    one, other = chosen(tmp_path, "ours/seed0")[0], chosen(tmp_path, "ours/seed1")[0]
    assert one.text == other.text
    assert other.sample_index == len(TEXTS) - 1 - one.sample_index


def test_a_cell_without_an_output_is_bad_input(select: Select, tmp_path: Path) -> None:
    done = select(left_out="selected/human/seed0")
    assert done.code == 2
    told = "error: --output: 'selected/human/seed0' is missing; add selected/human/seed0=FILE\n"
    assert done.stderr == told
    assert not (tmp_path / "selected").exists()
