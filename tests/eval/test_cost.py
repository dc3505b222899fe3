"""The tables of costs: numbers by hand, absent sidecars, order, and the two files and their Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eval.cost import Cost, Training, cost_markdown, sampling_costs, training_cost
from eval.efficiency import Efficiency, efficiencies
from pipeline.errors import InputError
from pipeline.records import Sample, write_records

TRIALS = {"length": {"fudge": 6}, "semantic_content": {"ft_sample": 4}}


def sidecar(
    path: Path, seconds: float, device: str = "cpu", memory: int | None = None, **settings: Any
) -> Path:
    run = {"schema": "run/1", "settings": {"threads": 1, **settings}, "seconds": seconds, "device": device}
    run |= {"outputs": {}} | ({"peak_memory_mb": memory} if memory else {})  # older ones do not tell
    path.with_name(path.name + ".run.json").write_text(json.dumps(run))
    return path


def cell(
    folder: Path, task: str, method: str, tokens: list[int], seed: int = 0, passes: int = 0
) -> Path:  # fmt: skip
    """Samples that took these forward tokens, without a sidecar."""
    path = folder / task / method / f"seed{seed}.jsonl"
    records = [Sample(method, task, "t", i, seed, "a text", count, passes) for i, count in enumerate(tokens)]
    write_records(path, records)
    return path


def test_numbers_by_hand_over_all_seeds(tmp_path: Path) -> None:
    """Seeds count by their texts: 12 seconds for three texts, not the mean of 10 and 1."""
    files = [
        sidecar(cell(tmp_path, "length", "fudge", [10], passes=2), 10.0, memory=400),
        sidecar(cell(tmp_path, "length", "fudge", [20, 60], seed=1), 2.0, "another", memory=900),
    ]
    (found,) = sampling_costs(files, TRIALS)
    assert found == Cost("length", "fudge", 3, 4.0, 30.0, pytest.approx(2 / 3), 6, 900, None, "another, cpu")


def test_rows_have_the_order_of_the_tables_without_the_human_one(tmp_path: Path) -> None:
    cells = [
        *(("length", method) for method in ("zeta", "ft_sample", "human", "diffusion_lm", "unguided")),
        *(("semantic_content", "ft_sample"), ("another", "fudge"), ("unconditional", "human")),
    ]
    files = [sidecar(cell(tmp_path, task, method, [1]), 1.0) for task, method in cells]
    found = sampling_costs(files, TRIALS)
    assert [(row.task, row.method, row.tuning_trials) for row in found] == [
        ("semantic_content", "ft_sample", 4),
        *(("length", method, 0) for method in ("unguided", "diffusion_lm", "ft_sample", "zeta")),
        ("another", "fudge", 0),
    ]
    assert sampling_costs(files[::-1], TRIALS) == found


def test_texts_from_elsewhere_have_no_time(tmp_path: Path) -> None:
    """Nobody knows how long a seed took that has no sidecar, so nobody knows how long both took."""
    files = [
        sidecar(cell(tmp_path, "length", "fudge", [10]), 10.0),
        cell(tmp_path, "length", "fudge", [20], seed=1),
    ]
    (found,) = sampling_costs(files, TRIALS)
    assert math.isnan(found.seconds) and found.device == "cpu" and found.peak_memory_mb is None
    assert (found.texts, found.forward_tokens) == (2, 15.0)


FIT = {"steps": 30, "batch_size": 8}
SETTINGS = {
    "training": ({"model": {"hidden": 4}, "training": FIT}, (30, 8, 240)),
    "tagger": ({"source": "train", "model": {"width": 4, **FIT}}, (30, 8, 240)),
    "parser": ({"source": "train", "model": {"layers": 2}, "training": FIT}, (30, 8, 240)),
    "pretrained judge": ({"source": "benepar_en3", "model": {}, "training": FIT}, (None, None, None)),
    "fine-tuned": ({"model": {"source": "gpt2"}, "training": FIT}, (30, 8, 240)),
    "no training": ({"model": {"layers": 2}}, (None, None, None)),
}


@pytest.mark.parametrize(("settings", "counts"), SETTINGS.values(), ids=SETTINGS)
def test_what_training_saw(tmp_path: Path, settings: dict[str, Any], counts: tuple[int | None, ...]) -> None:
    path = sidecar(tmp_path / "m.safetensors", 12.5, memory=700, **settings)
    assert training_cost("m", path) == Training("m", *counts, 12.5, 700, None, "cpu")


def test_a_model_from_elsewhere_has_no_costs(tmp_path: Path) -> None:
    found = training_cost("m", tmp_path / "m.safetensors")
    assert math.isnan(found.seconds)
    assert found._replace(seconds=0.0) == Training("m", None, None, None, 0.0, None, None, "")


def column(markdown: str, title: str) -> list[str]:
    """The cells of the first table that has a column of this title."""
    lines = [[c.strip() for c in x.strip("|").split("|")] for x in markdown.splitlines() if x.startswith("|")]
    start = next(i for i, line in enumerate(lines) if title in line)
    place, width = lines[start].index(title), len(lines[start])
    rows = lines[start + 2 :]
    until = next((i for i, line in enumerate(rows) if len(line) != width), len(rows))
    return [line[place] for line in rows[:until]]


def test_markdown_has_three_significant_digits_and_no_exponents() -> None:
    seconds = {1636.563: "1640", 24.397: "24.4", 0.157: "0.157", 0.0004159: "0.000416", 0.0: "0"}
    costs = [Cost("length", "fudge", 2, time, 12345.6, 0.0, 6, 512, None, "cpu") for time in seconds]
    costs.append(Cost("length", "fudge", 2, math.nan, 1.5, 7.0, 6, None, None, ""))
    markdown = cost_markdown(costs, [Training("m", None, 8, None, 3550.893, None, 12345, "cpu")])
    assert column(markdown, "seconds") == [*seconds.values(), "–"]
    assert column(markdown, "forward tokens") == ["12300"] * 5 + ["1.50"]
    assert column(markdown, "device") == ["cpu"] * 5 + ["–"]
    assert markdown.count("### ") == 2
    assert "with loading the model" in markdown
    for block in markdown.split("\n\n"):
        lines = block.splitlines()
        assert len(lines) <= 2 if not block.startswith("|") else len({len(line) for line in lines}) == 1
    assert "| m     | –     | 8     | –     | 3550    | –  | 12345     | cpu    |" in markdown
    assert column(markdown, "MB") == ["512"] * 5 + ["–"]


# --- the cluster

COLUMNS = "JobID,RuleName,Elapsed_sec,TotalCPU_sec,NCPUS,MaxRSS_MB,RequestedMem_MB"
REPORT = f"""{COLUMNS}
1.0,rule_generate_wildcards_length_fudge_0,3600,1800,2,500,6000
2.0,rule_generate_wildcards_length_pplm_0,1800,900,2,3000,6000
3.0,rule_score_semantic_content+syntax_tree,60,30,1,100,0
"""


def test_what_was_asked_and_used_is_told_by_rule_over_all_reports(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(REPORT)
    (tmp_path / "b.csv").write_text(f"{COLUMNS}\n9.0,rule_generate,1800,1800,1,10,12000\n")
    generate, score = efficiencies([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert generate == Efficiency("generate", 3, 2.0, 1.75, pytest.approx(4500 / 7200), 6000, 3000)
    assert (score.rule, score.jobs, score.memory_used_mb) == ("score_semantic_content+syntax_tree", 1, 100)


def test_without_comments_all_jobs_share_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(REPORT.replace("RuleName", "Other"))
    assert [(row.rule, row.jobs) for row in efficiencies([tmp_path / "a.csv"])] == [("all", 3)]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_a_file_that_is_no_report_is_bad_input(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=r"a\.csv"):
        efficiencies([tmp_path / "a.csv"])


def test_the_cluster_has_a_table_where_something_ran_on_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(REPORT)
    assert "cluster" not in cost_markdown([], [], [])
    markdown = cost_markdown([], [], efficiencies([tmp_path / "a.csv"]))
    assert "### Use of the cluster" in markdown
    assert column(markdown, "MB asked") == ["6000", "0"]


# --- the command


@pytest.fixture
def tabulate(run_command: Callable[..., Any], tmp_path: Path) -> Callable[[], Any]:
    """Run the command on three cells and two models."""

    def run(reverse: bool = False) -> Any:
        inputs = {
            f"samples/{task}/{method}/seed0": sidecar(
                cell(tmp_path, task, method, [3, 4], passes=1), 5.0, memory=300
            )
            for task, method in (("length", "human"), ("length", "fudge"), ("semantic_content", "fudge"))
        }
        inputs["models/teacher"] = sidecar(tmp_path / "teacher.safetensors", 9.0, training=FIT)
        inputs["models/judge1_tagger"] = sidecar(
            tmp_path / "tagger.safetensors", 8.0, source="en_core_web_sm"
        )
        for path in inputs.values():
            path.touch()
        outputs = {"csv": "cost.csv", "training_csv": "training.csv", "markdown": "cost.md"}
        found = dict(reversed(inputs.items())) if reverse else inputs
        spec = {"trials": TRIALS, "threads": 1}
        return run_command("eval.cost", spec, found, {name: tmp_path / o for name, o in outputs.items()})

    return run


def test_the_command_writes_both_tables(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    done = tabulate()
    assert done.code == 0, done.stderr
    costs = pd.read_csv(tmp_path / "cost.csv")
    assert list(costs.columns) == list(Cost._fields)
    assert costs.astype(object).fillna("").to_numpy().tolist() == [
        ["semantic_content", "fudge", 2, 2.5, 3.5, 1, 0, 300, "", "cpu"],
        ["length", "fudge", 2, 2.5, 3.5, 1, 6, 300, "", "cpu"],
    ]
    assert (tmp_path / "training.csv").read_text().splitlines() == [
        "model,steps,batch_size,texts,seconds,peak_memory_mb,peak_gpu_memory_mb,device",
        "judge1_tagger,,,,8,,,cpu",
        "teacher,30,8,240,9,,,cpu",
    ]
    markdown = (tmp_path / "cost.md").read_text()
    assert column(markdown, "task") == ["semantic_content", "length"]
    assert column(markdown, "model") == ["judge1_tagger", "teacher"]


def test_the_order_of_the_files_changes_no_byte(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    def made(**changes: Any) -> list[bytes]:
        assert tabulate(**changes).code == 0
        return [(tmp_path / name).read_bytes() for name in ("cost.csv", "training.csv", "cost.md")]

    assert made() == made(reverse=True)


def test_trials_must_be_given(run_command: Callable[..., Any], tmp_path: Path) -> None:
    outputs = {name: tmp_path / name for name in ("csv", "training_csv", "markdown")}
    done = run_command("eval.cost", {"trails": {}}, {}, outputs)
    assert done.code == 2
    assert "'trials' is missing; did you mean 'trails'?" in done.stderr
