"""Scoring the sampling ablations: their table, the verdict on steps, and the figure."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eval.figures import KINDS
from eval.sampling_verdicts import COLUMNS, enough_steps
from eval.verdicts import FAILS, HOLDS, UNDECIDED
from pipeline.records import Sample, Score, Target, write_records

TEXTS = ["The Mill serves", "Thai food .", "Aromi is a pub ."]
LENGTHS = [Target(f"length-{n}", "length", {"length": n}) for n in (3, 5)]


def samples(variant: str, task: str, targets: list[str], tokens: int) -> list[Sample]:
    return [
        Sample(variant, task, target, i, 0, text, tokens, 1)
        for target in targets
        for i, text in enumerate(TEXTS)
    ]


@pytest.fixture(scope="module")
def files(judges: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sampling")
    lengths = [target.target_id for target in LENGTHS]
    found = {name: judges.inputs[name] for name in ("vocabulary", "teacher")}
    records: dict[str, list[Any]] = {
        "targets/unconditional": [Target("any", "unconditional", {})],
        "targets/length": list(LENGTHS),
        "samples/steps": [
            *samples("200", "unconditional", ["any"], 20), *samples("2000", "unconditional", ["any"], 200)
        ],
        "samples/updates": [*samples("0", "length", lengths, 5), *samples("1", "length", lengths, 9)],
        "run/samples/length": samples("diffusion_lm", "length", lengths, 4),
        "run/scores/length": [
            Score("diffusion_lm", "length", target, i, 0, i == 0, metrics)
            for target in lengths
            for i, metrics in enumerate(
                [{"ctrl": 100.0 * (i == 0), "lm_nll": 1.0 + i, "length": 3.0} for i in range(3)]
            )
        ],
    }  # fmt: skip
    for name, own in records.items():
        found[name] = folder / f"{name.replace('/', '_')}.jsonl"
        write_records(found[name], own)
    for group, variants in (("steps", ("200", "2000")), ("updates", ("0", "1"))):
        found[f"seconds/{group}"] = folder / f"{group}.json"
        found[f"seconds/{group}"].write_text(json.dumps(dict.fromkeys(variants, 1.5)))
    return found


@pytest.fixture(scope="module")
def made(
    run_command: Callable[..., Any], files: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    spec = {
        "groups": {"steps": "unconditional", "updates": "length"},
        "mbr_rule": "paper", "mbr_sizes": [1, 2, 9], "seed": 0,
    }  # fmt: skip
    outputs = {"csv": folder / "t.csv", "markdown": folder / "t.md"}
    done = run_command("eval.sampling_ablations", spec, files, outputs)
    assert done.code == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def rows(made: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with (made / "t.csv").open(newline="") as file:
        return {(row["group"], row["variant"], row["metric"]): row for row in csv.DictReader(file)}


def test_every_variant_has_success_fluency_diversity_length_and_cost(
    rows: dict[tuple[str, str, str], dict[str, str]],
) -> None:
    plain, asked = (
        ("lm_score", "distinct_4", "mean_length"),
        ("ctrl", "lm_score", "distinct_4", "mean_length"),
    )
    wanted = {("steps", n, m) for n in ("200", "2000") for m in plain}
    wanted |= {("updates", n, m) for n in "01" for m in asked} | {("mbr", n, m) for n in "12" for m in asked}
    assert set(rows) == wanted
    assert float(rows["steps", "2000", "lm_score"]["forward_tokens"]) == 200
    assert rows["updates", "1", "ctrl"]["targets"] == "2" and rows["updates", "1", "ctrl"]["texts"] == "6"
    assert float(rows["steps", "200", "mean_length"]["value"]) == pytest.approx((3 + 3 + 5) / 3, abs=1e-3)


def test_mbr_chooses_from_the_first_samples_and_costs_all_of_them(
    rows: dict[tuple[str, str, str], dict[str, str]],
) -> None:
    assert float(rows["mbr", "1", "ctrl"]["value"]) == 100  # the first sample alone is right
    assert [float(rows["mbr", n, "ctrl"]["forward_tokens"]) for n in "12"] == [4, 8]


def test_the_markdown_has_a_table_per_group_with_seconds_and_the_verdict(made: Path) -> None:
    text = (made / "t.md").read_text()
    assert all(
        f"#### {title}\n" in text for title in ("steps: unconditional", "updates: length", "mbr: length")
    )
    assert "0.500" in text  # 1.5 seconds for 3 texts
    assert "- **200 steps are enough (lm at most 1.1 times that of 2000): holds.** lm of 200 over" in text


def test_times_do_not_stand_in_the_table_that_runs_are_compared_by(made: Path) -> None:
    assert "second" not in (made / "t.csv").read_text()


def test_the_figure_has_a_panel_per_group(
    run_command: Callable[..., Any], made: Path, tmp_path: Path
) -> None:
    outputs = {kind: tmp_path / f"f.{kind}" for kind in (*KINDS, "csv", "caption")}
    done = run_command("eval.sampling_figure", {}, {"table": made / "t.csv"}, outputs)
    assert done.code == 0, done.stderr
    assert outputs["csv"].read_bytes() == (made / "t.csv").read_bytes()
    assert all(outputs[kind].stat().st_size > 500 for kind in KINDS)
    assert "200 steps are enough" in outputs["caption"].read_text()


def test_another_file_is_no_table(run_command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    outputs = {kind: tmp_path / f"f.{kind}" for kind in (*KINDS, "csv", "caption")}
    done = run_command("eval.sampling_figure", {}, {"table": tmp_path / "x.csv"}, outputs)
    assert done.code == 2 and "not the table of eval.sampling_ablations" in done.stderr


@pytest.mark.parametrize(
    ("few", "spread", "expected"),
    [(10, 1.02, HOLDS), (10.5, 1.2, UNDECIDED), (20, 1.1, FAILS), (10.9, 1.001, HOLDS), (11.2, 1.001, FAILS)],
)
def test_steps_are_enough_if_the_lm_score_is_within_the_margin(
    few: float, spread: float, expected: str
) -> None:
    values = {"200": few, "2000": 10}
    rows = [
        ("steps", "unconditional", name, "lm_score", v, v / spread, v * spread, 1, 64, 1.0, 0.0, "")
        for name, v in values.items()
    ]
    assert enough_steps(pd.DataFrame(rows, columns=list(COLUMNS))).outcome == expected
