"""The contract of every command, tried from outside on a throw-away module."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.command import Job, Spec, exit_codes, pairs, set_threads
from pipeline.errors import InputError
from pipeline.fingerprint import ROOT
from pipeline.provenance import network_calls

TOY = '''
"""Repeat the words of a text."""
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.files import atomic


def main(job: Job) -> None:
    with atomic(job.outputs["echo"]) as temporary:
        temporary.write_text(job.inputs["text"].read_text() * job.spec["times"])
        if job.spec["times"] > 9:
            raise InputError(f"{job.inputs['text']}:1", "too often\\nby far", "ask for less")


if __name__ == "__main__":
    command(main, inputs=("text",), outputs=("echo",))
'''
GOOD = ["--spec", '{"times": 2}', "--input", "text=in.txt", "--output", "echo=out.txt"]
SIDECAR = {
    *("schema", "command", "signature", "settings", "inputs", "outputs", "code", "packages", "python"),
    *(
        "host",
        "device",
        "peak_memory_mb",
        "peak_gpu_memory_mb",
        "start",
        "seconds",
        "restored",
        "network_calls",
    ),
}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def toy(tmp_path: Path) -> Run:
    """Run the module by hand in its folder, which holds ``in.txt``."""
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "in.txt").write_text("ab")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "toy", *words]
        return subprocess.run(
            call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def changed(words: list[str], **replaced: str) -> list[str]:
    """The words with whole words replaced, looked up by the option before them."""
    return [replaced.get(before.strip("-"), word) for before, word in zip(["", *words], words, strict=False)]


def test_success_writes_the_output_and_its_sidecar(toy: Run, tmp_path: Path) -> None:
    done = toy(*GOOD)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_text() == "abab"
    sidecar = json.loads((tmp_path / "out.txt.run.json").read_text())
    assert set(sidecar) == SIDECAR
    assert sidecar["schema"] == "run/1"
    assert sidecar["settings"] == {"threads": 1, "times": 2}
    digest = hashlib.sha256(b"abab").hexdigest()
    assert sidecar["outputs"] == {"echo": {"path": "out.txt", "sha256": digest}}
    assert sidecar["inputs"]["text"]["sha256"] == hashlib.sha256(b"ab").hexdigest()
    assert sidecar["command"] == ["toy.py", *GOOD]
    assert sidecar["network_calls"] == 0
    assert 5 < sidecar["peak_memory_mb"] < 5000 and sidecar["peak_gpu_memory_mb"] is None
    assert sidecar["restored"] is False
    assert sidecar["packages"]["torch"].startswith("2.")


def test_spec_may_be_a_file(toy: Run, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"times": 3, "threads": 2}')
    done = toy(*changed(GOOD, spec="spec.json"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_text() == "ababab"
    assert json.loads((tmp_path / "out.txt.run.json").read_text())["settings"]["threads"] == 2


BAD = {
    "missing input": (changed(GOOD, input="text=gone.txt"), "gone.txt: no such file (input 'text')"),
    "unknown name": (changed(GOOD, input="txet=in.txt"), "'text' is missing; add text=FILE"),
    "one name too many": ([*GOOD, "also=x.txt"], "--output: unknown name 'also'; known: echo"),
    "near name": ([*GOOD, "--input", "texts=in.txt"], "--input: unknown name 'texts'; did you mean 'text'?"),
    "name given twice": ([*GOOD, "--input", "text=in.txt"], "'text' is given twice"),
    "no name": (changed(GOOD, input="in.txt"), "'in.txt': not NAME=FILE"),
    "spec not JSON": (changed(GOOD, spec="{times: 2}"), "--spec: not JSON"),
    "spec no object": (changed(GOOD, spec="list.json"), "list.json: not a JSON object"),
    "spec file missing": (changed(GOOD, spec="gone.json"), "gone.json: no such file"),
    "spec lacks a key": (
        changed(GOOD, spec='{"time": 2}'),
        "--spec: 'times' is missing; did you mean 'time'?",
    ),
    "threads": (
        changed(GOOD, spec='{"times": 2, "threads": 0}'),
        "--spec.threads: 0 is less than the minimum of 1; ",
    ),
    "no output": (GOOD[:4], "the following arguments are required: --output; see python -m toy --help"),
    "InputError while writing": (
        changed(GOOD, spec='{"times": 10}'),
        "in.txt:1: too often by far; ask for less",
    ),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_exit_code_2_and_no_file(
    toy: Run, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "list.json").write_text("[]")
    before = sorted(path.name for path in tmp_path.iterdir())
    done = toy(*words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stdout == ""
    left = (path.name for path in tmp_path.iterdir() if path.name != "__pycache__")
    assert sorted(left) == before


def test_a_fault_of_the_program_keeps_its_traceback_and_leaves_no_file(toy: Run, tmp_path: Path) -> None:
    done = toy(*changed(GOOD, spec='{"times": "2"}'))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert not list(tmp_path.glob("*out.txt*"))


def test_the_line_of_an_error_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line and newline apart would let another job's line in between."""
    written: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(sys.stderr, "write", written.append)
        with pytest.raises(SystemExit) as end, exit_codes():
            raise InputError("in.txt:1", "too often", "ask for less")
    assert (written, end.value.code) == (["error: in.txt:1: too often; ask for less\n"], 2)


def test_pairs_keep_equals_signs_of_the_path() -> None:
    assert pairs(["samples=results/a=b.jsonl"]) == {"samples": Path("results/a=b.jsonl")}


def test_spec_names_the_nearest_key() -> None:
    with pytest.raises(InputError, match="'sed' is missing; did you mean 'seed'"):
        Spec(seed=1)["sed"]


def test_threads_reach_the_libraries_that_are_loaded() -> None:
    import torch
    from threadpoolctl import threadpool_info

    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            patch.setenv(name, "1")
        try:
            set_threads(2)
            assert torch.get_num_threads() == 2
            assert os.environ["OMP_NUM_THREADS"] == "2"
        finally:
            set_threads(1)
    assert torch.get_num_threads() == 1
    assert all(library["num_threads"] == 1 for library in threadpool_info())


def test_connections_are_counted_whoever_opens_them() -> None:
    hosts = network_calls()
    before = len(hosts)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    left, right = socket.socketpair()  # within the machine: no network
    left.close()
    right.close()
    assert hosts[before:] == ["127.0.0.1"]


def test_folders_of_one_machine_are_no_part_of_a_signature(tmp_path: Path) -> None:
    """Neither the folder of the data nor that of a judge's cache, nor whether stored results may be used."""
    text, out = tmp_path / "in.txt", {"echo": tmp_path / "out.txt"}
    text.write_text("ab")

    def signed(**more: object) -> str:
        return Job({"times": 2, **more}, {"text": text}, out).signature

    own = signed()
    for key in ("data_dir", "download_dir", "cache", "use_stored"):
        assert {signed(**{key: value}) for value in ("here", "there")} == {own}
    assert own != signed(seed=1) != signed(threads=1) != own
    before = signed()
    text.write_text("abc")
    assert signed() != before
