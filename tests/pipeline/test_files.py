"""Files: whole or absent when written, one-line errors when read."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.files import atomic, read_bytes, read_json, read_lines, sha256, write_json, write_text

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("before", [None, "old"])
def test_nothing_is_left_of_a_write_that_fails(before: str | None, tmp_path: Path) -> None:
    """An old file stays, a new one does not come into being, and no temporary file is left."""
    path = tmp_path / "result.txt"
    if before:
        path.write_text(before)
    with pytest.raises(ZeroDivisionError), atomic(path) as temporary:
        temporary.write_text("half of the")
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.iterdir()] == (["result.txt"] if before else [])
    assert not before or path.read_text() == before


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "result.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_name_appears_only_with_the_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "result.txt"
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent and not path.exists()  # a rename within one file system
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_a_kill_leaves_no_half_file(tmp_path: Path) -> None:
    """Killed within the block, the process leaves the old file as it was."""
    path = tmp_path / "result.txt"
    path.write_text("old")
    program = (
        "import os, signal, sys, pathlib\nfrom pipeline.files import atomic\n"
        "with atomic(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_text_that_is_not_unicode_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "result.txt", "lone surrogate \ud800")
    assert list(tmp_path.iterdir()) == []


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    """Other characters that Python counts as line ends are part of the text; Windows line ends are not."""
    path = tmp_path / "lines.txt"
    path.write_bytes("one\r\ntwo\u2028\x0c\x85 three\rfour\n\nlast".encode())
    assert read_lines(path) == ["one", "two\u2028\x0c\x85 three\rfour", "", "last"]


@pytest.mark.parametrize(
    ("text", "lines"), [("", []), ("\n", [""]), ("a", ["a"]), ("a\n", ["a"]), ("a\n\n", ["a", ""])]
)
def test_a_final_newline_ends_the_last_line(text: str, lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text(text)
    assert read_lines(path) == lines


def test_text_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("fine\nalso £ fine\n".encode() + "café\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.txt:3: not UTF-8; save the file as UTF-8$"):
        read_lines(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(InputError, match=r": no such file; make it first, or correct the path$"):
            read_bytes(path)


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt.gz"
    path.write_bytes(gzip.compress("£\nx".encode()))
    assert read_lines(path) == ["£", "x"]


@pytest.mark.parametrize("damage", ["cut", "changed", "not packed"])
def test_a_damaged_packed_file_is_told(damage: str, tmp_path: Path) -> None:
    path, packed = tmp_path / "lines.txt.gz", bytearray(gzip.compress(os.urandom(500)))
    packed[250] ^= 255
    path.write_bytes({"cut": bytes(packed[:200]), "changed": bytes(packed), "not packed": b"plain"}[damage])
    with pytest.raises(InputError, match=r"lines\.txt\.gz: truncated or damaged \(.*\); ") as error:
        read_bytes(path)
    assert "\n" not in str(error.value)


def test_json_comes_back_in_its_order(tmp_path: Path) -> None:
    value = {"z": "£", "a": [1, None, 0.1], "m": {"y": True, "b": ""}}
    write_json(tmp_path / "value.json", value)
    read = read_json(tmp_path / "value.json")
    assert read == value and list(read) == list(value)
    assert "£" in (tmp_path / "value.json").read_text(encoding="utf-8")


def test_malformed_json_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_text('{\n "a": 1,\n "b" 2\n}\n')
    with pytest.raises(
        InputError, match=r"value\.json:3: not JSON \(Expecting ':' delimiter\); mend the file$"
    ):
        read_json(path)


def test_the_digest_is_of_the_bytes_as_stored(tmp_path: Path) -> None:
    path = tmp_path / "data.gz"
    path.write_bytes(gzip.compress(b"x"))
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest() != hashlib.sha256(b"x").hexdigest()
