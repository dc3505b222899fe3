"""What methods cannot do: every task that one does not support has a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.refusals import refusals
from pipeline.tasks import LENGTH, SEMANTIC_CONTENT, TASKS

COUNTER = """
from pipeline.methods import Method

class Counter(Method):
    tasks = frozenset({"length"})
    refusals = {"semantic_content": "it can only count"}

    def write(self, requests, seed):
        raise NotImplementedError

METHOD = Counter
"""
EVERYTHING = COUNTER.replace('{"length"}', repr(set(TASKS)))


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two importable methods."""
    (tmp_path / "counter_of_words.py").write_text(COUNTER)
    (tmp_path / "does_everything.py").write_text(EVERYTHING)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_reason_is_the_methods_own_or_what_it_supports() -> None:
    found = refusals("counter", "counter_of_words")
    assert set(found) == set(TASKS) - {LENGTH}
    assert found.pop(SEMANTIC_CONTENT) == "it can only count"
    assert set(found.values()) == {"it supports length"}


def test_a_reason_for_a_task_that_it_does_is_none() -> None:
    assert refusals("all", "does_everything") == {}


def test_the_command_writes_every_method_by_name(run_command: Callable[..., Any], tmp_path: Path) -> None:
    methods = {"b": {"module": "counter_of_words"}, "a": {"module": "does_everything"}}
    out = tmp_path / "refusals.json"
    done = run_command("pipeline.refusals", {"methods": methods, "threads": 1}, {}, {"refusals": out})
    assert done.code == 0, done.stderr
    written = json.loads(out.read_text())
    assert written == {"b": refusals("b", "counter_of_words"), "a": {}}
    assert list(written["b"]) == [task for task in TASKS if task != LENGTH]


def test_a_missing_module_is_bad_input(run_command: Callable[..., Any], tmp_path: Path) -> None:
    spec = {"methods": {"mine": {"module": "counter_of_wrods"}}}
    done = run_command("pipeline.refusals", spec, {}, {"refusals": tmp_path / "refusals.json"})
    assert done.code == 2
    assert done.stderr.startswith("error: methods.mine.module: cannot import 'counter_of_wrods'")
    with pytest.raises(InputError):
        refusals("mine", "counter_of_wrods")
