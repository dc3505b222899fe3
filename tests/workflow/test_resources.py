"""What jobs ask a cluster for, and what the SLURM profile says of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.settings import resolve

PROFILE = Path("pipeline/profiles/slurm")
JOB = re.compile(r"^rule (?P<rule>[\w+]+):\n(?P<body>(?:    .*\n)*)", re.MULTILINE)

Plan = dict[str, dict[str, str]]  # the resources of every rule, by name


@pytest.fixture(scope="module")
def plan(
    copy_repository: Callable[[Path], Path],
    snakemake: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Plan]:
    """What the jobs of a dry run ask for, by rule."""
    folder = copy_repository(tmp_path_factory.mktemp("fresh"))

    def run(*words: str) -> Plan:
        done = snakemake(folder, "-n", *words)
        assert done.code == 0, done.told[-3000:]
        found: Plan = {}
        for job in JOB.finditer(done.told):
            line = re.search(r"^    resources: (.*)$", job["body"], re.MULTILINE)
            words_of = [word.partition("=") for word in (line[1] if line else "").split(", ")]
            found[job["rule"]] = {key: value for key, _, value in words_of}
        return found

    return run


@pytest.fixture(scope="module")
def paper(plan: Callable[..., Plan]) -> Plan:
    return plan("--workflow-profile", str(PROFILE), "--config", "scale=paper")


def readme() -> str:
    return (PROFILE / "README.md").read_text(encoding="utf-8")


def test_every_job_says_how_much_memory_and_time_it_takes(paper: Plan) -> None:
    for rule, asked in paper.items():
        assert rule == "all" or (int(asked["mem_mb"]) > 0 and int(asked["runtime"]) > 0), rule


def test_a_new_attempt_asks_for_more_but_never_for_longer_than_the_longest_job(
    plan: Callable[..., Plan], paper: Plan
) -> None:
    words = ("--config", "scale=paper", "longest_job=2000")
    third = plan("--workflow-profile", str(PROFILE), "--attempt", "3", *words)
    for rule in paper.keys() - {"all"}:
        assert int(third[rule]["mem_mb"]) == 3 * int(paper[rule]["mem_mb"])
        assert int(third[rule]["runtime"]) == min(2000, 3 * int(paper[rule]["runtime"]))


def test_whoever_trains_or_runs_networks_asks_for_a_card_at_paper_and_nobody_in_the_demo(paper: Plan) -> None:
    """The profile's README lists them, for clusters that hand out cards by --gres."""
    block = re.search(r"```yaml\n(  set-resources:.*?)```", readme(), re.DOTALL)
    assert block
    listed = yaml.safe_load(block[1])["set-resources"]
    assert {rule for rule, asked in paper.items() if asked.get("gpu") == "1"} == set(listed)
    assert resolve("demo")["gpus"] == 0


def test_the_readme_of_the_profile_explains_every_line_of_it() -> None:
    keys = set(yaml.safe_load((PROFILE / "config.yaml").read_text(encoding="utf-8"))) - {"executor"}
    assert all(f"`{key}" in readme() for key in keys), [key for key in keys if f"`{key}" not in readme()]
