"""What all tests share: one thread, commands run within the process, the real corpora where they are."""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.workflow.slurm import missing

# Set before anything loads torch or numpy, and inherited by the commands that tests start.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

DATA = "DLM_DATA"
# Marks of tests that not every machine can run: what to say of them where it cannot.
NEEDS = {
    "real_data": ""
    if os.environ.get(DATA)
    else f"on the real corpora; run them with {DATA}=<folder of corpora>",
    "slurm": f"on a real SLURM; this machine lacks {missing()} for them" if missing() else "",
}
deselected = pytest.StashKey[dict[str, int]]()


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


RunCommand = Callable[[str, Mapping[str, Any], Mapping[str, Path], Mapping[str, Path]], Ran]


@pytest.fixture(scope="session")
def run_command() -> RunCommand:
    """Runs ``python -m MODULE --spec ...`` within this process, which saves the start of another."""

    def run(
        module: str, spec: Mapping[str, Any], inputs: Mapping[str, Path], outputs: Mapping[str, Path]
    ) -> Ran:
        words = [module, "--spec", json.dumps(spec)]
        for option, files in (("--input", inputs), ("--output", outputs)):
            words += [option, *(f"{name}={path}" for name, path in files.items())] if files else []
        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a test may have imported the module before
            patch.setattr(sys, "argv", words)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    runpy.run_module(module, run_name="__main__", alter_sys=True)
                except SystemExit as end:
                    code = int(end.code or 0)
        return Ran(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the published corpora; a test that asks for it carries the mark ``real_data``."""
    folder = Path(os.environ.get(DATA, ""))
    assert os.environ.get(DATA) and folder.is_dir(), f"needs the mark real_data, and a folder in {DATA}"
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--methods", metavar="FILE", help="configuration whose methods test_conformance.py tests"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[deselected] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that this machine cannot run."""
    for mark in filter(NEEDS.get, NEEDS):
        if left_out := [item for item in items if item.get_closest_marker(mark)]:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker(mark)]
            config.stash[deselected][mark] = len(left_out)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of pytest-xdist: hand the counts to the process that prints the summary."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["deselected"] = session.config.stash[deselected]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """In that process: every worker collects the same tests, so one worker's counts are enough."""
    config, output = node.config, getattr(node, "workeroutput", None) or {}
    config.stash[deselected] |= output.get("deselected", {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was not tested, and how to test it."""
    if counts := config.stash[deselected]:
        terminalreporter.write_sep("-", "not tested")
        for mark, count in counts.items():
            terminalreporter.line(f"{count} tests {NEEDS[mark]}")
