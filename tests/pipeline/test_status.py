"""Where a run is: states of jobs, the tables, and what Snakemake says of a small workflow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.plan import Planned
from pipeline.status import Seen, cells, listed, main, outputs_being_made, plan, see, tables, told

OUTPUT, LOG, BENCHMARK = Path("x.jsonl"), Path("x.log"), Path("x.benchmark")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(rule: str = "generate", **given: Any) -> Planned:
    known: dict[str, Any] = {
        "wildcards": {"task": "length", "method": "fudge", "seed": "0"}, "outputs": [OUTPUT], "log": LOG,
        "benchmark": BENCHMARK, "threads": 1, "gpus": 0, "limit": 60, "needed": True,
    }  # fmt: skip
    return Planned(rule, **(known | given))


def write(*paths: Path, age: float) -> None:
    """Files that were written so many seconds ago."""
    for path in paths:
        path.write_text("one\ntwo 1/2\rtwo 2/2\n")
        os.utime(path, (1e9 - age, 1e9 - age))


def test_what_is_not_needed_is_done_and_what_is_not_there_is_missing() -> None:
    assert see(job(needed=False), set()).state == "done"
    assert see(job(), set()).state == "missing"


def test_what_is_there_and_needed_is_stale() -> None:
    write(LOG, age=20)
    write(OUTPUT, BENCHMARK, age=10)
    assert see(job(), set()).state == "stale"
    assert see(job(outputs=[OUTPUT, Path("another.jsonl")]), set()).state == "missing"


def test_a_log_that_is_newer_than_all_else_is_of_a_failure() -> None:
    write(LOG, age=0)
    assert see(job(), set()).state == "FAILED"
    write(OUTPUT, age=10)
    assert see(job(), set()).state == "FAILED"


def test_outputs_that_somebody_deleted_are_missing_though_their_log_is_there() -> None:
    """The benchmark is written last, and only by a job that succeeded."""
    write(LOG, age=10)
    write(BENCHMARK, age=5)
    assert see(job(), set()).state == "missing"


def test_what_is_being_made_runs_whatever_lies_there() -> None:
    write(LOG, age=0)
    assert see(job(), {str(OUTPUT)}).state == "runs"
    assert see(job(cluster_job="4711"), set()).state == "runs"
    assert see(job(), {"another.jsonl"}).state == "FAILED"


def test_processes_of_this_folder_tell_what_they_make(tmp_path: Path) -> None:
    """Not what they read, and nobody else's folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, "--input", "a=read.x", "--output", "model=made.x", "other=also.x"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen(words, cwd=tmp_path, **pipes) as here,
        subprocess.Popen([*words, "third=not.x"], cwd=elsewhere, **pipes) as there,
    ):
        for process in (here, there):
            assert process.stdout and process.stdout.readline() == b"up\n"
        assert outputs_being_made() == {"made.x", "also.x"}
        for process in (here, there):
            process.communicate()


# --- what is printed


def cell(task: str, method: str, state: str, seed: int = 0) -> Seen:
    return Seen(job(wildcards={"task": task, "method": method, "seed": str(seed)}), state)


def test_cells_have_the_usual_order_and_one_word_for_equal_seeds() -> None:
    seen = [
        cell("infilling", "cold", "done"),
        *(cell("length", "fudge", state, seed) for seed, state in ((10, "missing"), (2, "done"))),
        *(cell("length", "pplm", "runs", seed) for seed in range(3)),
        Seen(job("human"), "done"),
    ]
    found = cells(seen, ["pplm", "fudge", "cold", "unused"])
    assert found == {"length": {"pplm": "runs", "fudge": "done -"}, "infilling": {"cold": "done"}}
    assert list(found["length"]) == ["pplm", "fudge"]


def test_a_table_is_broken_between_methods_where_it_is_too_wide() -> None:
    found = {"length": {"fudge": "done", "pplm": "FAILED"}, "infilling": {"cold": "-"}}
    assert list(tables(found, 80)) == [
        *("           fudge  pplm    cold", "length     done   FAILED", "infilling                 -", ""),
    ]
    assert list(tables(found, 25)) == [
        *("           fudge  pplm", "length     done   FAILED", ""),
        *("           cold", "infilling  -", ""),
    ]
    assert len(list(tables(found, 1))) == 3 * 3  # at least one method each


def test_equal_names_are_counted() -> None:
    names = [("human", "done"), ("corpus", "done"), ("human", "done"), ("teacher", "missing")]
    assert list(listed("jobs", names, 80)) == [
        *("jobs:", "  done (3): corpus, 2 human", "  missing (1): teacher", ""),
    ]


def test_failures_are_told_with_their_logs_and_last_words() -> None:
    write(LOG, age=0)
    models = job("teacher", wildcards={}, outputs=[Path("models/teacher.safetensors")], needed=False)
    lines = list(told([see(job(), set()), see(models, set())], ["fudge"], 80))
    assert "FAILED  generate length fudge 0: x.log" in lines
    assert lines[lines.index("FAILED  generate length fudge 0: x.log") + 1].strip() == "two 2/2"
    assert "  done (1): teacher" in lines
    assert lines[-1].startswith("To do: 1 jobs; ")


# --- Snakemake's own word

SNAKEFILE = """
rule all:
    input: expand("results/{task}.txt", task=["length", "infilling"])
rule generate:
    output: "results/{task}.txt"
    log: "logs/{task}.log"
    benchmark: "benchmarks/{task}.jsonl"
    threads: 2
    resources: runtime=30, gpu=1
    shell: "echo {wildcards.task} {config[scale]} > {output}"
"""


def written(folder: Path) -> dict[Path, float]:
    """The files of a folder and when they were written."""
    files = (path for path in folder.rglob("*") if path.is_file() and "iocache" not in path.parts)
    return {path: path.stat().st_mtime for path in files}


def test_the_plan_is_that_of_snakemake_and_nothing_is_touched(folder: Path) -> None:
    """But for Snakemake's cache of what it saw; also in a folder that is locked."""
    Path("Snakefile").write_text(SNAKEFILE)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-q", "all", "--cores", "1", "--config", "scale=demo", "--",
         "results/length.txt"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    Path(".snakemake/locks").mkdir(exist_ok=True)
    Path(".snakemake/locks/0.output.lock").write_text("results/infilling.txt\n")
    before = written(folder)
    found = {job.wildcards["task"]: job for job in plan({"scale": "demo"})}
    assert written(folder) == before
    assert not found["length"].needed and found["length"].seconds is not None
    made = found["infilling"]
    assert made.needed and made.seconds is None and (made.limit, made.gpus) == (1800, 1)
    assert (made.outputs, made.log) == ([Path("results/infilling.txt")], Path("logs/infilling.log"))


def test_a_workflow_that_cannot_be_planned_is_bad_input() -> None:
    Path("Snakefile").write_text('rule all:\n    input: "no such file"\n')
    with pytest.raises(InputError, match="see snakemake -n"):
        plan({"scale": "demo"})


@pytest.mark.parametrize("words", [["--scale", "dmo"], ["--set", "lenghts=1"], ["--configfile", "none.yaml"]])
def test_bad_words_are_bad_input(words: list[str]) -> None:
    Path("Snakefile").touch()
    with pytest.raises(InputError):
        main(words)
