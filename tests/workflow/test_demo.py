"""The demo as a newcomer runs it: `snakemake --cores 2` in a fresh checkout, and tables that make sense."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from eval.stored import stored_cells
from pipeline.files import read_lines

pytestmark = pytest.mark.demo

CONTROL = ("semantic_content", "parts_of_speech", "syntax_tree", "syntax_spans", "length")
COMPOSITIONS = {"semantic_content+syntax_tree": "syntax_ctrl", "semantic_content+parts_of_speech": "pos_ctrl"}


BASELINES = ("fudge", "ft_sample", "ft_search")


class Demo(NamedTuple):
    """The folder of the results, what Snakemake said, and the tables: value by (task, method, metric)."""

    results: Path
    told: str
    values: dict[tuple[str, str, str], float]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demo(
    copy_repository: Callable[[Path], Path],
    snakemake: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Demo:
    folder = copy_repository(tmp_path_factory.mktemp("demo"))
    done = snakemake(folder, "--cores", "2", timeout=3600)
    assert done.code == 0, done.told[-5000:]
    results = folder / "results/demo"
    rows = [row for name in ("control", "composition") for row in read(results / f"tables/{name}.csv")]
    whole = [r for r in rows if (r["target_set"], r["selection"]) in (("all", "all"), ("heldout", "all"))]
    values = {(r["task"], r["method"], r["metric"]): float(r["value"]) for r in whole if r["value"]}
    return Demo(results, done.told, values)


# Semantic content 87.7 where it was measured, syntax meant to be 90; other processors train other models.
LEAST = {"semantic_content": 80, "parts_of_speech": 90, "syntax_tree": 85, "syntax_spans": 85, "length": 90}


@pytest.mark.parametrize(("task", "least"), LEAST.items())
def test_guidance_controls_what_it_should(demo: Demo, task: str, least: float) -> None:
    assert demo.values[task, "diffusion_lm", "ctrl"] >= least


@pytest.mark.parametrize(("task", "syntax"), COMPOSITIONS.items())
def test_both_halves_of_a_composition_are_controlled(demo: Demo, task: str, syntax: str) -> None:
    assert demo.values[task, "diffusion_lm", "semantic_ctrl"] >= 60
    assert demo.values[task, "diffusion_lm", syntax] >= 60


@pytest.mark.parametrize("task", CONTROL)
def test_the_unguided_model_meets_a_control_by_chance_only(demo: Demo, task: str) -> None:
    assert demo.values[task, "unguided", "ctrl"] < 45


@pytest.mark.parametrize("task", [*CONTROL, *COMPOSITIONS])
def test_control_is_not_paid_with_fluency(demo: Demo, task: str) -> None:
    unguided = demo.values["unconditional", "unguided", "lm_score"]
    assert demo.values[task, "diffusion_lm", "lm_score"] <= 2 * unguided


@pytest.mark.parametrize("task", CONTROL)
def test_people_do_what_their_annotation_says(demo: Demo, task: str) -> None:
    """The judges are in order."""
    assert demo.values[task, "human", "ctrl"] == 100


def test_both_parsers_know_the_grammar(demo: Demo) -> None:
    rows = [row for row in read(demo.results / "tables/judges.csv") if row["metric"] == "bracket F1"]
    assert {row["judge"] for row in rows} == {"judge1", "judge2"}
    assert all(float(row["value"]) >= 95 for row in rows)


@pytest.mark.parametrize("task", CONTROL)
@pytest.mark.parametrize("method", BASELINES)
def test_a_baseline_does_more_than_chance(demo: Demo, task: str, method: str) -> None:
    assert demo.values[task, method, "ctrl"] > demo.values[task, "unguided", "ctrl"]


@pytest.mark.parametrize(("task", "syntax"), COMPOSITIONS.items())
@pytest.mark.parametrize("method", ["fudge", "ft_poe"])
def test_a_baseline_composes_more_than_chance(demo: Demo, task: str, syntax: str, method: str) -> None:
    for metric in ("semantic_ctrl", syntax):
        assert demo.values[task, method, metric] > demo.values[task, "unguided", metric]


CHEATERS = ("cheat_retrieval", "cheat_repeat", "cheat_source", "cheat_shuffle")


@pytest.mark.parametrize("task", [*CONTROL, *COMPOSITIONS])
def test_no_cheater_has_joint_success_and_methods_that_have_it_are_above_all_of_them(
    demo: Demo, task: str
) -> None:
    joint = {
        m: value for (t, m, metric), value in demo.values.items() if (t, metric) == (task, "joint_success")
    }
    cheaters = {name: joint[name] for name in CHEATERS}
    honest = [value for name, value in joint.items() if name not in CHEATERS and value > 5]
    assert max(cheaters.values()) <= 2, cheaters
    assert joint["diffusion_lm"] > 5 and min(honest) > max(cheaters.values())


@pytest.mark.parametrize(("name", "refused"), [("control", {"pplm"}), ("composition", set())])
def test_every_cell_has_a_value_or_a_reason(demo: Demo, name: str, refused: set[str]) -> None:
    empty = [row for row in read(demo.results / f"tables/{name}.csv") if not row["value"]]
    assert all(row["note"].startswith("not applicable: ") for row in empty if row["task"] != "unconditional")
    assert {row["method"] for row in empty if row["task"] != "unconditional"} == refused


INFILLERS = ("left_only", "delorean", "cold", "diffusion_lm", "diffuseq", "ar_infilling")
QUALITY = ("BLEU-4", "ROUGE-L", "CIDEr", "BERTScore")


def infilling(demo: Demo, selection: str) -> dict[tuple[str, str], float]:
    """The numbers of a selection by (method, metric)."""
    rows = [row for row in read(demo.results / "tables/infilling.csv") if row["selection"] == selection]
    return {(row["method"], row["metric"]): float(row["value"]) for row in rows if row["value"]}


@pytest.mark.parametrize("selection", ["mbr", "first"])
def test_every_infilling_method_has_every_metric(demo: Demo, selection: str) -> None:
    found = infilling(demo, selection)
    assert {(method, metric) for method in INFILLERS for metric in QUALITY} <= found.keys()


def test_a_model_that_sees_both_sides_fills_in_better_than_one_that_sees_the_left(demo: Demo) -> None:
    found = infilling(demo, "mbr")
    for metric in ("BLEU-4", "ROUGE-L"):
        assert found["ar_infilling", metric] > found["left_only", metric]


def test_every_cell_has_its_cost(demo: Demo) -> None:
    rows = {(row["task"], row["method"]): row for row in read(demo.results / "tables/cost.csv")}
    assert {"pplm", "fudge", "ft_sample", "ft_search"} <= {m for t, m in rows if t == "semantic_content"}
    assert all(float(row["seconds"]) > 0 and float(row["forward_tokens"]) > 0 for row in rows.values())
    assert float(rows["semantic_content", "pplm"]["backward_passes"]) > 0


@pytest.mark.parametrize("name", ["control", "composition", "infilling"])
def test_the_tables_are_there_to_be_read(demo: Demo, name: str) -> None:
    markdown = (demo.results / f"tables/{name}.md").read_text(encoding="utf-8")
    assert "| diffusion_lm " in markdown
    assert markdown in demo.told
    assert "The full reproduction: snakemake --cores all --config scale=paper" in demo.told


def test_what_is_stored_is_whole_and_a_method_equals_itself_in_every_task(demo: Demo) -> None:
    """Nothing is trained to compare a file: the stored folder has all it takes."""
    root, stored = demo.results.parents[1], "results/stored/demo"

    def run(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("pipeline.store", "--scale", "demo")
    assert "nothing wrong" in run("eval.validate", stored)
    cells = {n: p for n, p in stored_cells(root / stored, "samples").items() if "/diffusion_lm/" in n}
    lines = [json.loads(line) for path in cells.values() for line in read_lines(path)]
    keys = ("task", "target_id", "sample_index", "text")
    told = "".join(json.dumps({key: line[key] for key in keys}) + "\n" for line in lines)
    (root / "mine.jsonl").write_text(told, encoding="utf-8")
    run("eval.compare", "mine.jsonl", "--against", stored, "--method", "mine")
    rows = [r for r in read(root / "results/compared/mine/differences.csv") if r["other"] == "diffusion_lm"]
    assert {row["task"] for row in rows} == {*CONTROL, *COMPOSITIONS, "infilling"}
    assert all(float(row[key]) == 0 for row in rows for key in ("difference", "low", "high"))
    assert all(float(row["p_holm"]) == 1 for row in rows)
