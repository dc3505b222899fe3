"""A disk that is full and a folder that cannot be written: one line, nothing half written, and it goes on."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.files import atomic, write_text
from tests.faults.commands import Call, run
from tests.faults.conftest import Miniature
from tests.workflow.test_dag import MINIATURE

FREE = "free some space and run the same command again"


def limited(size: int) -> Callable[[], None]:
    """Lets no file grow beyond ``size`` bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def moved(call: Call, folder: Path) -> Call:
    """The same call with its outputs in another folder."""
    at = call.words.index("--output")
    outputs = (word.replace("results/demo", str(folder), 1) for word in call.words[at:])
    return Call(call.module, (*call.words[:at], *outputs))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("module", ["pipeline.corpora.prepare", "pipeline.teacher", "pipeline.generate"])
def test_a_file_that_cannot_be_written_is_one_line_and_nothing_is_half_written(
    module: str, few: Miniature, tmp_path: Path
) -> None:
    call = moved(next(call for call in few.calls if call.module == module), tmp_path)
    ended = run(call, few.folder, limited(600))
    assert ended.code == 2
    assert ended.told.splitlines()[-1].startswith(f"error: {tmp_path}")
    assert "file too large; allow larger files there" in ended.told and "Traceback" not in ended.told
    for name in files(tmp_path):  # one of several outputs may have been written before
        assert (tmp_path / name).read_bytes() == (few.results / name).read_bytes()


def test_training_goes_on_from_its_state_once_its_model_can_be_written(
    few: Miniature, tmp_path: Path
) -> None:
    call = moved(next(call for call in few.calls if call.module == "pipeline.teacher"), tmp_path)
    model, state = tmp_path / "models/teacher.safetensors", tmp_path / "models/teacher.work/state.safetensors"
    model.mkdir(parents=True)
    ended = run(call, few.folder)
    assert ended.code == 2
    assert ended.told.splitlines()[-1].startswith(f"error: {model}: is a directory")
    assert state.is_file()
    model.rmdir()
    assert run(call, few.folder).code == 0
    assert model.read_bytes() == (few.results / "models/teacher.safetensors").read_bytes()
    assert not state.exists()


def test_a_state_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    write_text(state, "before\n")
    with pytest.raises(OSError) as told, atomic(state) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert (told.value.errno, told.value.filename) == (28, str(state))
    assert state.read_text() == "before\n"
    assert files(tmp_path) == ["state.safetensors"]


def test_what_a_killed_process_left_of_a_file_goes_when_it_is_written_again(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    path = tmp_path / "model.safetensors"
    with atomic(path) as temporary:
        start = temporary.name.removesuffix(f"{os.getpid()}.partial")
        dead, alive = tmp_path / f"{start}{child.pid}.partial", tmp_path / f"{start}{os.getppid()}.partial"
        temporary.write_text("mine")
    dead.write_text("half")
    alive.write_text("half")
    write_text(path, "whole\n")
    assert files(tmp_path) == sorted([alive.name, path.name])


# --- the workflow on a disk of its own


@pytest.fixture
def disk(copy_repository: Callable[[Path], Path], tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Gives other mount options to the small file system on which the results of a copy lie."""
    folder = copy_repository(tmp_path / "copy")
    (folder / "mini.yaml").write_text(yaml.safe_dump(MINIATURE))
    results = folder / "results/demo"
    results.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", results], check=True)

    def remount(options: str) -> Path:
        subprocess.run(["mount", "-o", f"remount,{options}", results], check=True)
        return folder

    yield remount
    subprocess.run(["umount", results], check=True)


FILES = ("samples/length/human/seed0.jsonl", "samples/infilling/human/seed0.jsonl")


@pytest.mark.faults
@pytest.mark.parametrize(
    ("bad", "good", "message"),
    [
        ("size=300k", "size=64m", f"no space left on device; {FREE}"),
        ("ro", "rw", "read-only file system; make it writable"),
    ],
)
def test_a_run_that_cannot_write_says_so_and_goes_on_when_it_can(
    disk: Callable[[str], Path],
    snakemake: Callable[..., Any],
    few: Miniature,
    bad: str,
    good: str,
    message: str,
) -> None:
    words = ("--cores", "2", "--configfile", "mini.yaml", "--", *(f"results/demo/{file}" for file in FILES))
    folder = disk(bad)
    done = snakemake(folder, *words)
    assert done.code != 0
    assert message in done.told
    assert "error: " in "\n".join(done.told.splitlines()[-12:])  # where a person looks
    assert not [name for name in files(folder / "results/demo") if name.endswith(".partial")]
    done = snakemake(disk(good), *words)
    assert done.code == 0, done.told[-3000:]
    for file in FILES:
        assert (folder / "results/demo" / file).read_bytes() == (few.results / file).read_bytes()
    assert json.loads((folder / "results/demo" / f"{FILES[1]}.run.json").read_text())["signature"]
