"""What the tests of the workflow share: a copy of the repository to run Snakemake in, and how to read it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = "Snakefile environment.yml pipeline diffusion_lm baselines eval".split()
PUBLISHED = "results/paper/*.csv"  # and nothing that a run at scale=paper may have put beside them
JOB = re.compile(r"^(?:local)?rule (?P<rule>[\w+]+):\n(?P<body>(?:    .*\n)*)", re.MULTILINE)
UNDISTURBED = "DLM_UNDISTURBED"  # a folder with the tables of a demo run that nothing disturbed
OUTPUT = re.compile(r"^    output: (.*)$", re.MULTILINE)


class Done(NamedTuple):
    """How a call of Snakemake ended, and what it said on either stream."""

    code: int
    told: str

    @property
    def jobs(self) -> dict[str, str]:
        """Of a dry run: the rule of every job, by its first output; results/<scale>/ is left out."""
        found = {}
        for job in JOB.finditer(self.told):
            output = OUTPUT.search(job["body"])
            first = output[1].split(", ")[0] if output else job["rule"]
            found[re.sub(r"^results/\w+/", "", first)] = job["rule"]
        return found


Snakemake = Callable[..., Done]


@pytest.fixture(scope="session")
def snakemake() -> Snakemake:
    """Runs Snakemake in a folder under the interpreter of the tests."""

    def run(folder: Path, *words: str, timeout: float = 600) -> Done:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment["XDG_CACHE_HOME"] = str(folder / ".cache")
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *words], cwd=folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout)

    return run


@pytest.fixture(scope="session")
def copy_repository() -> Callable[[Path], Path]:
    """Copies what the workflow needs into a new folder; no results."""

    def copy(folder: Path) -> Path:
        for name in (*PARTS, *(path.relative_to(ROOT) for path in ROOT.glob(PUBLISHED))):
            source, target = ROOT / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        return folder

    return copy


@pytest.fixture(scope="session")
def undisturbed_tables(
    copy_repository: Callable[[Path], Path], snakemake: Snakemake, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tables of a demo run on this machine: in the folder ``DLM_UNDISTURBED``, or of a run made here."""
    if UNDISTURBED in os.environ:
        return Path(os.environ[UNDISTURBED])
    folder = copy_repository(tmp_path_factory.mktemp("undisturbed"))
    assert snakemake(folder, "--cores", "2", timeout=7200).code == 0
    return folder / "results/demo/tables"
