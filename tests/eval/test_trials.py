"""The table of trials: which targets count, and every number of a row by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.fluency import Teacher
from eval.trials import columns
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.records import Sample, Target, write_records

TARGETS = [
    Target("food=Thai", "semantic_content", {"field": "food", "value": "Thai"}, tuned_on=True),
    Target("food=French", "semantic_content", {"field": "food", "value": "French"}),
    Target("name=Aromi", "semantic_content", {"field": "name", "value": "Aromi"}, tuned_on=True),
]
# The first two texts of a target are equal, so that MBR selects their first one.
GOOD = {
    "food=Thai": ["The Mill serves Thai food .", "The Mill serves Thai food .", "The Mill ."],
    "name=Aromi": ["Aromi is a pub .", "Aromi is a pub .", "Aromi Aromi is a pub ."],
}
BAD = {target: ["a pub", "a pub", "is is"] for target in GOOD}
TRIALS = {"warm": GOOD, "cold": BAD}
Trials = Callable[..., Any]


def samples(trial: str, texts: dict[str, list[str]]) -> list[Sample]:
    return [
        Sample(trial, "semantic_content", target, i, 1001, text, 1, 0)
        for target, found in texts.items()
        for i, text in enumerate(found)
    ]


@pytest.fixture
def trials(run_command: Callable[..., Any], judges: Any, tmp_path: Path) -> Trials:
    """Run the command; keywords replace targets or the texts of trials."""

    def run(targets: list[Target] = TARGETS, **texts: dict[str, list[str]]) -> Any:
        write_records(tmp_path / "targets.jsonl", targets)
        inputs = {"targets": tmp_path / "targets.jsonl", **judges.inputs}
        for trial, found in (TRIALS | texts).items():
            inputs[f"samples/{trial}"] = tmp_path / f"{trial}.jsonl"
            write_records(inputs[f"samples/{trial}"], samples(trial, found))
        spec = {"mbr_rule": "paper", "threads": 1, "trials": {"warm": '{"rate": 1}', "cold": '{"rate": 0}'}}
        return run_command("eval.trials", spec, inputs, {"table": tmp_path / "table.md"})

    return run


def rows(folder: Path) -> list[dict[str, str]]:
    lines = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def perplexity(judges: Any, texts: list[str]) -> str:
    teacher = Teacher(judges.teacher, Vocabulary.load(judges.vocabulary))
    means = [losses.mean() for losses in teacher.token_losses([text.split(" ") for text in texts])]
    return f"{np.exp(np.mean(means)):.2f}"


def test_rows_stand_in_the_order_of_the_trials_with_their_settings(trials: Trials, tmp_path: Path) -> None:
    assert trials().code == 0
    assert [(row["trial"], row["settings"]) for row in rows(tmp_path)] == [
        ("warm", '{"rate": 1}'),
        ("cold", '{"rate": 0}'),
    ]
    assert (tmp_path / "table.md").read_text().startswith("### Trials on 2 targets: semantic_content\n")


def test_columns_follow_the_task(trials: Trials, tmp_path: Path) -> None:
    rest = ["lm", "lm mbr", "length", "distinct-4", "doubled %", "settings"]
    trials()
    assert list(rows(tmp_path)[0]) == ["trial", "ctrl", "ctrl mbr", *rest]
    success = [f"{name}{kind}" for name in ("semantic_ctrl", "pos_ctrl", "joint") for kind in ("", " mbr")]
    assert columns("semantic_content+parts_of_speech") == ["trial", *success, *rest]


def test_numbers_by_hand(trials: Trials, judges: Any, tmp_path: Path) -> None:
    trials()
    warm, cold = rows(tmp_path)
    assert (warm["ctrl"], warm["ctrl mbr"], cold["ctrl"]) == ("83.33", "100.00", "0.00")
    assert warm["length"] == f"{(6 + 6 + 3 + 5 + 5 + 6) / 6:.2f}"
    assert (warm["doubled %"], cold["doubled %"]) == ("16.67", "33.33")
    assert (warm["distinct-4"], cold["distinct-4"]) == (f"{6 / 13:.2f}", "0.00")
    texts = [text for found in GOOD.values() for text in found]
    assert warm["lm"] == perplexity(judges, texts)
    assert warm["lm mbr"] == perplexity(judges, [found[0] for found in GOOD.values()])


def test_samples_of_reported_targets_are_refused(trials: Trials, tmp_path: Path) -> None:
    done = trials(warm={**GOOD, "food=French": ["French food"] * 3})
    assert done.code == 2
    assert "warm.jsonl: warm: unknown target 'food=French'" in done.stderr
    assert not (tmp_path / "table.md").exists()


def test_without_targets_to_tune_on_there_is_no_table(trials: Trials, tmp_path: Path) -> None:
    done = trials([replace(target, tuned_on=False) for target in TARGETS])
    assert done.code == 2
    assert "targets.jsonl: no target that settings may be chosen on" in done.stderr
    assert not (tmp_path / "table.md").exists()


def test_trials_of_a_task_of_syntax_are_judged(
    run_command: Callable[..., Any],
    judges: Any,
    syntax_judge: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = "semantic_content+parts_of_speech"
    control = {"field": "food", "value": "Thai", "tags": ["Thai", "food"]}
    write_records(
        tmp_path / "targets.jsonl",
        [
            Target("t", task, control, target_set="tuning", tuned_on=True),
            Target("r", task, control, target_set="heldout"),
        ],
    )
    texts = ["Thai food", "Thai food", "Thai pub", "food"]
    write_records(
        tmp_path / "warm.jsonl",
        [Sample("warm", task, "t", i, 1001, text, 1, 0) for i, text in enumerate(texts)],
    )
    inputs = {"targets": tmp_path / "targets.jsonl", "samples/warm": tmp_path / "warm.jsonl", **judges.inputs}
    spec = {"mbr_rule": "paper", "threads": 1, "trials": {"warm": "{}"}}
    outputs = {"table": tmp_path / "table.md"}
    done = run_command("eval.trials", spec, inputs, outputs)
    assert done.code == 2 and "needs a judge" in done.stderr

    monkeypatch.setattr("eval.oracles.load.load_judge", lambda *arguments: syntax_judge())
    files = dict.fromkeys(("judge1_tagger", "judge1_parser"), tmp_path / "warm.jsonl")
    assert run_command("eval.trials", spec, inputs | files, outputs).code == 0
    (row,) = rows(tmp_path)
    assert (row["semantic_ctrl"], row["pos_ctrl"], row["joint"]) == ("75.00", "62.50", "62.50")
    assert row["joint mbr"] == "100.00"
