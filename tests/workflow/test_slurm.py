"""The workflow on a cluster: a SLURM of one node loses jobs and the node and makes what a local run makes."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGTERM
from typing import Any, NamedTuple

import psutil
import pytest
import yaml

from tests.faults.killing import same_tables
from tests.workflow.slurm import Node, one_node, wait
from tests.workflow.test_dag import MINIATURE

pytestmark = pytest.mark.slurm

PROFILE = "pipeline/profiles/slurm"
# What a test need not wait for; everything else is the profile's.
IMPATIENT = (
    *("--slurm-init-seconds-before-status-checks", "5", "--seconds-between-status-checks", "5"),
    *("--max-status-checks-per-second", "1", "--latency-wait", "20"),
)
# A table, texts, and a row that no job of the cluster makes.
TABLE = "results/demo/tables/judges.csv"
TEXTS = [f"results/demo/samples/{task}/unguided/seed0.jsonl" for task in ("length", "semantic_content")]
HUMAN = "results/demo/samples/length/human/seed0.jsonl"
PARSER = "results/demo/models/judge1_parser.safetensors"
WORDS = ("--configfile", "mini.yaml", "--", TABLE, *TEXTS, HUMAN)

Snakemake = Callable[..., Any]


class Run(NamedTuple):
    """How a run on the cluster ended, where, and the log of the training that was stopped."""

    folder: Path
    code: int
    told: str
    stopped: str


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with one_node(tmp_path_factory.mktemp("slurm")) as node:
        yield node


def prepared(copy: Callable[[Path], Path], folder: Path) -> Path:
    copy(folder)
    (folder / "mini.yaml").write_text(yaml.safe_dump(MINIATURE))
    return folder


@pytest.fixture(scope="module")
def local(
    copy_repository: Callable[[Path], Path], snakemake: Snakemake, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of an undisturbed run without SLURM."""
    folder = prepared(copy_repository, tmp_path_factory.mktemp("local"))
    done = snakemake(folder, "--cores", "2", *WORDS, timeout=3600)
    assert done.code == 0, done.told[-5000:]
    return folder


def running(node: Node, comment: str) -> str:
    """The number of a running job whose comment begins so, once there is one."""
    found: list[str] = []

    def there() -> bool:
        found[:] = [number for number, told in node.jobs().items() if told.startswith(comment)]
        return bool(found)

    wait(there, 1800, f"no job {comment}")
    return found[0]


def signal(number: str, name: str) -> None:
    subprocess.run(["scancel", f"--signal={name}", number], check=True)


def in_training(folder: Path) -> bool:
    """Whether the process that trains the parser has come so far that it handles SIGTERM."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cwd"] == str(folder) and f"model={PARSER}" in (process.info["cmdline"] or ()):
            status = Path(f"/proc/{process.pid}/status").read_text()
            return bool(int(re.findall(r"SigCgt:\s*(\w+)", status)[0], 16) & 1 << SIGTERM - 1)
    return False


def stop_training(node: Node, folder: Path) -> str:
    """Send SIGTERM to a training, as at a time limit; what it logged until its end."""
    log = folder / "results/demo/logs/judge1_parser.log"
    wait(lambda: in_training(folder), 1800, "the parser is not trained")
    signal(running(node, "rule_parser_wildcards_judge1"), "TERM")
    wait(lambda: "stopped at step" in log.read_text(), 300, "the training did not stop")
    return log.read_text()


def lose_node(node: Node) -> None:
    """Stop slurmd for a minute; the node is given up, and its jobs with it."""
    node.stop("slurmd")
    time.sleep(60)
    node.start("slurmd", "-D")


def disturbed(node: Node, folder: Path, *words: str) -> Run:
    """A run through the profile in which a job is killed, a training stopped and the node lost."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", PROFILE, *IMPATIENT, *words]
    with (folder / "told").open("wb") as told:
        run = subprocess.Popen(command, cwd=folder, stdout=told, stderr=subprocess.STDOUT)
    try:
        signal(running(node, "rule_corpus"), "KILL")
        stopped = stop_training(node, folder)
        running(node, "rule_generate")
        lose_node(node)
        code = run.wait(3600)
    finally:
        run.kill()
    return Run(folder, code, (folder / "told").read_text(), stopped)


@pytest.fixture(scope="module")
def cluster(
    copy_repository: Callable[[Path], Path], node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """The miniature, disturbed."""
    folder = prepared(copy_repository, tmp_path_factory.mktemp("cluster"))
    return disturbed(node, folder, *WORDS)


def recovered(run: Run) -> bool:
    """Whether a run ended well and tried again whatever had failed, among it what the test had stopped."""
    assert run.code == 0, run.told[-5000:]
    failed = re.findall(r"^Error in rule (\w+):", run.told, re.MULTILINE)
    return {"corpus", "parser"} <= set(failed) and run.told.count("Trying to restart job") == len(failed)


def test_the_run_recovers_from_all_of_it_without_help(cluster: Run) -> None:
    assert recovered(cluster)


@pytest.mark.parametrize("made", [TABLE, *TEXTS, HUMAN, PARSER])
def test_it_makes_what_a_local_run_makes(cluster: Run, local: Path, made: str) -> None:
    assert (cluster.folder / made).read_bytes() == (local / made).read_bytes()


def test_a_training_that_is_stopped_has_time_to_save_its_state_and_to_say_so(cluster: Run) -> None:
    """That it goes on from there is tested with the training; here it ends with the local run's model."""
    assert re.search(r"stopped at step \d+, saved in .*judge1_parser\.work", cluster.stopped)


def test_a_lost_node_gives_its_jobs_back_to_the_queue(cluster: Run, node: Node) -> None:
    log = (node.folder / "slurmctld.log").read_text()
    assert "not responding" in log and "requeue" in log.lower()


def test_short_rules_are_no_jobs_of_the_cluster(cluster: Run) -> None:
    assert re.findall(r"^localrule (\w+):", cluster.told, re.MULTILINE) == ["human"]
    assert "rule_generate/" in cluster.told and "rule_human/" not in cluster.told


@pytest.mark.demo
def test_the_whole_demo_makes_the_tables_of_a_local_run(
    copy_repository: Callable[[Path], Path], node: Node, tmp_path: Path, undisturbed_tables: Path
) -> None:
    run = disturbed(node, copy_repository(tmp_path / "cluster"))
    assert recovered(run)
    assert same_tables(run.folder / "results/demo/tables", undisturbed_tables) == []
