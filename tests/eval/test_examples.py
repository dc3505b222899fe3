"""Examples: which targets and texts are shown, and that texts cannot act."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from eval.examples import Block, blocks, drawing, examples_csv, examples_markdown
from pipeline.records import Sample, Score, Target, write_records

NASTY = "``` ![x](http://example.org/x.png) <b>\n# A heading"


def write(
    folder: Path, task: str, method: str, texts: dict[str, list[str]], ctrl: float = 100.0
) -> dict[str, Path]:
    """Samples and scores of a method, texts by target, the files under their names; the last text first."""
    found = [
        Sample(method, task, target, index, 0, text, 1, 0)
        for target, of_target in texts.items()
        for index, text in reversed(list(enumerate(of_target)))
    ]
    metrics = {"ctrl": ctrl} if task != "unconditional" else {}
    scores = [Score(method, task, s.target_id, s.sample_index, 0, False, metrics) for s in found]
    files = {
        f"{kind}/{task}/{method}/seed0": folder / f"{kind}-{task}-{method}.jsonl"
        for kind in ("samples", "scores")
    }
    write_records(files[f"samples/{task}/{method}/seed0"], found)
    write_records(files[f"scores/{task}/{method}/seed0"], scores)
    return files


def targets(folder: Path, task: str, found: list[Target]) -> dict[str, Path]:
    write_records(folder / f"targets-{task}.jsonl", found)
    return {f"targets/{task}": folder / f"targets-{task}.jsonl"}


@pytest.fixture
def length(tmp_path: Path) -> dict[str, Path]:
    asked = [Target(f"length-{n}", "length", {"length": n}, tuned_on=n == 2) for n in (2, 3, 4, 9)]
    texts = {f"length-{n}": ["a b c", NASTY] for n in (2, 3, 4)}
    return {
        **targets(tmp_path, "length", asked),
        **write(tmp_path, "length", "fudge", texts, ctrl=0.0),
        **write(tmp_path, "length", "diffusion_lm", {"length-3": [NASTY]}),
        **write(tmp_path, "length", "cheat_source", texts),
    }


def test_the_first_text_for_each_target_that_nothing_was_chosen_on(
    length: dict[str, Path], syntax_judge: Any
) -> None:
    found = blocks("length", length, syntax_judge())
    assert [block.target.target_id for block in found] == ["length-3", "length-4"]
    shown = [[(e.sample.method, e.sample.sample_index) for e in block.examples] for block in found]
    assert shown == [[("fudge", 0), ("diffusion_lm", 0)], [("fudge", 0)]]


def test_what_failed_is_marked(length: dict[str, Path], syntax_judge: Any) -> None:
    (fudge, ours), _ = (block.examples for block in blocks("length", length, syntax_judge()))
    assert (fudge.mark, ours.mark) == ("✗0", "100")


def test_several_texts_are_shown_where_nothing_is_asked_for(tmp_path: Path, syntax_judge: Any) -> None:
    files = {
        **targets(tmp_path, "unconditional", [Target("any", "unconditional", {})]),
        **write(tmp_path, "unconditional", "unguided", {"any": [f"text {n}" for n in range(9)]}),
        **write(tmp_path, "unconditional", "human", {"any": ["a human text"]}),
    }
    (block,) = blocks("unconditional", files, syntax_judge())
    assert [e.sample.text for e in block.examples if e.sample.method == "unguided"] == [
        f"text {n}" for n in range(5)
    ]
    assert [e.sample.text for e in block.examples if e.sample.method == "human"] == ["a human text"]


def test_the_judge_says_which_tags_failed(tmp_path: Path, syntax_judge: Any) -> None:
    files = {
        **targets(tmp_path, "parts_of_speech", [Target("t", "parts_of_speech", {"tags": ["DET", "NOUN"]})]),
        **write(tmp_path, "parts_of_speech", "fudge", {"t": ["the eat"]}, ctrl=50.0),
    }
    (block,) = blocks("parts_of_speech", files, syntax_judge(tags={"the": "DET", "eat": "VERB"}))
    assert block.examples[0].cells == ["the", "✗eat/VERB"] and block.examples[0].mark == "✗50"


def test_a_text_cannot_leave_its_block(length: dict[str, Path], syntax_judge: Any) -> None:
    found: list[Block] = blocks("length", length, syntax_judge())
    lines = drawing(found[0]).split("\n")
    assert lines[0] == lines[-1] == "````" and len(lines) == 5
    assert not any(line.startswith("#") for line in lines)


def test_all_forms_hold_every_text(length: dict[str, Path], syntax_judge: Any) -> None:
    shown = {"length": blocks("length", length, syntax_judge())}
    told = examples_markdown(shown, "### Table 6")
    assert told.index("### Table 1:") < told.index("### Table 11: length")
    rows = list(csv.DictReader(StringIO(examples_csv(shown), newline="")))
    assert [row["method"] for row in rows] == ["fudge", "diffusion_lm", "fudge"]
    assert rows[1]["text"] == NASTY and rows[1]["asked_for"] == "3 words" and rows[0]["success"] == "✗0"
