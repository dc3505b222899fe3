"""Malformed input of the commands that are no stages, and of the workflow's own configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.commands import Call, run

STORED = Path("results/stored/demo")
GOOD = {"target_id": "any", "text": "The Mill is a pub ."}
LINES = {
    "no JSON": '{"target_id": "any", "text": ',
    "cut off": '{"target_id": "any", "te',
    "a list": "[]",
    "not a number": '{"target_id": "any", "text": NaN}',
    "too deep": "[" * 100_000,
    "a huge line": json.dumps({**GOOD, "text": "a" * 20_000_000, "b": 1}),
    "no text": '{"target_id": "any"}',
    "a list for a text": '{"target_id": "any", "text": ["a"]}',
    "true for an index": '{"target_id": "any", "text": "a", "sample_index": true}',
    "half a character": '{"target_id": "any", "text": "\\ud800"}',
    "a key twice": '{"target_id": "any", "target_id": "any", "text": "a"}',
    "an unknown target": '{"target_id": "../../etc/passwd", "text": "a"}',
    "an unknown key": json.dumps({**GOOD, "txet": "a"}),
    "a byte order mark": "\ufeff" + json.dumps(GOOD),
}
SETTINGS = {
    "no scale": ["--scale", "../demo"],
    "no key": ["--set", "samples.lenght=5"],
    "no value": ["--set", "samples"],
    "no YAML": ["--set", "samples.length=["],
    "half a number": ["--set", "samples.length=0.5"],
    "a number with a point": ["--set", "samples.length=64.0"],
    "not a number": ["--set", "teacher.training.learning_rate=.nan"],
    "infinite": ["--set", "teacher.training.learning_rate=.inf"],
    "true": ["--set", "threads=true"],
    "negative": ["--set", "teacher.training.steps=-1"],
    "a name that is a path": ["--set", "methods={../mine: {module: a.b, tasks: {length: {}}}}"],
    "a model outside the folder": ["--set", "methods={mine: {module: a.b, tasks: {length: {m: ../../x}}}}"],
    "too deep": ["--set", "samples=" + "[" * 5000],
    "no option": ["--sett", "threads=1"],
}
INDICES = {
    "no JSON": "{",
    "a list": "[]",
    "no mapping inside": '{"tables/control.csv": 3}',
    "a missing key": '{"tables/control.csv": {"sha256": "0"}}',
    "a file outside": json.dumps(
        {
            "../../x": {
                "signature": "a",
                "sha256": "0",
                "settings": {},
                "seconds": 1,
                "device": "",
                "packages": {},
            }
        }
    ),
    "not a number": '{"tables/control.csv": {"seconds": NaN}}',
    "too deep": '{"a":' * 100_000,
}
SIDECARS = {
    "no JSON": "{",
    "a list": "[]",
    "no outputs": '{"settings": {}}',
    "a list of outputs": '{"settings": {}, "outputs": [], "seconds": 1, "device": "", "signature": "a"}',
    "a text for seconds": '{"settings": {}, "outputs": {}, "seconds": "1", "device": ""}',
}


def refused(call: Call, folder: Path, lines: int = 1) -> str:
    """What a command that must fail told, once it is clear that it changed nothing."""
    before = {path: os.stat(path).st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    ended = run(call, folder)
    assert ended.code == 2, ended.told[-1000:]
    assert ended.told.startswith("error: ") and ended.told.count("\n") == lines, ended.told[-1000:]
    assert len(ended.told) < 3000
    assert before == {path: os.stat(path).st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    return ended.told


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    """A folder with the targets of a task that asks for nothing."""
    target = {"schema": "target/1", "target_id": "any", "task": "unconditional", "control": {}}
    (tmp_path / "targets.jsonl").write_text(json.dumps(target) + "\n")
    return tmp_path


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_contributed_texts_are_refused(line: str, targets: Path) -> None:
    (targets / "mine.jsonl").write_text(f"{json.dumps(GOOD)}\n{line}\n", encoding="utf-8")
    words = ("mine.jsonl", "--targets", "targets.jsonl", "--method", "mine")
    assert "mine.jsonl:2" in refused(Call("eval.validate", words), targets)


@pytest.mark.parametrize("words", SETTINGS.values(), ids=SETTINGS)
def test_settings_are_refused(words: list[str], tmp_path: Path) -> None:
    refused(Call("pipeline.settings", tuple(words)), tmp_path)


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_a_stored_folder_with_a_malformed_index_is_refused(index: str, tmp_path: Path) -> None:
    stored = tmp_path / "stored"
    stored.mkdir()
    (stored / "signatures.json").write_text(index)
    (tmp_path / "mine.jsonl").write_text(json.dumps(GOOD) + "\n")
    assert "signatures.json" in refused(Call("eval.validate", ("stored",)), tmp_path)
    words = ("mine.jsonl", "--against", "stored", "--method", "mine")
    assert "signatures.json" in refused(Call("eval.compare", words), tmp_path)


@pytest.mark.parametrize("sidecar", SIDECARS.values(), ids=SIDECARS)
def test_a_malformed_sidecar_keeps_a_scale_from_being_stored(sidecar: str, tmp_path: Path) -> None:
    results = tmp_path / "results/demo"
    results.mkdir(parents=True)
    (results / "corpus.jsonl.run.json").write_text(sidecar)
    assert "corpus.jsonl.run.json" in refused(Call("pipeline.store", ("--scale", "demo")), tmp_path)


@pytest.mark.parametrize("scale", ["../demo", "/etc", "demo", "."])
def test_a_scale_that_is_a_path_or_was_not_run_is_not_stored(scale: str, tmp_path: Path) -> None:
    refused(Call("pipeline.store", ("--scale", scale)), tmp_path)


CONFIGURATIONS = {
    "half a number": "samples: {length: 64.0}",
    "not a number": "teacher: {training: {learning_rate: .nan}}",
    "an unknown key": "lenghts: {first: 3}",
    "true for a number": "threads: true",
    "a list for a mapping": "methods: [fudge]",
    "a method outside": "methods: {../mine: {module: a.b, tasks: {length: {}}}}",
}
NO_CONFIGURATION = {
    "no YAML": b"a: [",
    "Latin-1": b"scale: d\xe9mo",
    "a list": b"- a",
    "too deep": b"[" * 5000,
}


@pytest.fixture(scope="module")
def fresh(copy_repository: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repository(tmp_path_factory.mktemp("fresh"))


@pytest.mark.faults
@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_configuration_is_refused_in_one_line(
    text: str, fresh: Path, snakemake: Callable[..., Any]
) -> None:
    (fresh / "mine.yaml").write_text(text)
    done = snakemake(fresh, "--cores", "1", "--configfile", "mine.yaml")
    assert done.code == 2 and done.told.startswith("error: ") and done.told.count("\n") == 1, done.told
    assert not (fresh / "results/demo").exists()


@pytest.mark.faults
@pytest.mark.parametrize("content", NO_CONFIGURATION.values(), ids=NO_CONFIGURATION)
def test_a_file_that_is_no_configuration_runs_nothing(
    content: bytes, fresh: Path, snakemake: Callable[..., Any]
) -> None:
    """Snakemake reads it before us and tells of it in its own words."""
    (fresh / "mine.yaml").write_bytes(content)
    done = snakemake(fresh, "--cores", "1", "--configfile", "mine.yaml")
    assert done.code != 0
    assert not (fresh / "results/demo").exists()
