"""Files that are whole or absent: atomic writing, and reading with one-line errors."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import InputError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes the name ``path`` only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some writers leave files that nobody else can read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically, keys in the order given."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; ``.gz`` is unpacked.

    Raises:
        InputError: the file is missing, or its compressed data is truncated.
    """
    if not path.is_file():
        raise InputError(path, "no such file", "make it first, or correct the path")
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(path, f"truncated or damaged ({error})", "fetch the file again") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, without line ends.

    Raises:
        InputError: as :func:`read_bytes`, or a line is not UTF-8.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}", "not UTF-8", "save the file as UTF-8") from None
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_json(path: Path) -> Any:
    """Parse one JSON document."""
    try:
        return json.loads("\n".join(read_lines(path)))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}", f"not JSON ({error.msg})", "mend the file") from None


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as stored, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
