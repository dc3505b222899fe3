"""Files that are whole or absent: atomic writing, and reading with one-line errors."""

from __future__ import annotations

import glob
import gzip
import hashlib
import json
import math
import os
import platform
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.errors import InputError

HOST = platform.node()
KINDS: dict[type, str] = {dict: "object", list: "list"}
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")  # how libraries written in Rust tell an error of the system


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes the name ``path`` only if the block succeeds.

    Raises:
        OSError: it cannot be written; the error names ``path``.
    """
    temporary = path.with_name(f".{path.name}.{HOST}-{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path)
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some writers leave files that nobody else can read
        os.replace(temporary, path)
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else _system_error(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        with suppress(OSError):  # of a folder that cannot be written; nothing is there then
            temporary.unlink(missing_ok=True)


def _remove_left(path: Path) -> None:
    """Remove what killed processes of this machine have left of a file; it may be gigabytes."""
    start = f".{path.name}.{HOST}-"
    for left in path.parent.glob(f"{glob.escape(start)}*.partial"):
        process = left.name.removeprefix(start).removesuffix(".partial")
        if process.isdecimal() and not _is_alive(int(process)):
            left.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _system_error(error: Exception) -> int | None:
    found = SYSTEM_ERROR.search(str(error))
    return int(found[1]) if found else None


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
    require_file(path)
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(path, f"truncated or damaged ({error})", "fetch the file again") from None


def require_file(path: Path, what: str = "") -> None:
    """Check that a path is a file; ``what`` tells what it is for.

    Raises:
        InputError: it is not there, or is something else.
    """
    if not path.is_file():
        raise InputError(path, f"no such file{what}", "make it first, or correct the path")


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


def read_json(path: Path, kind: type = object) -> Any:
    """Parse one JSON document, which must be a ``kind`` (dict, list).

    Raises:
        InputError: as :func:`read_lines` and :func:`parse_json`, or another kind.
    """
    value = parse_json("\n".join(read_lines(path)), path)
    if not isinstance(value, kind):
        raise InputError(path, f"not a JSON {KINDS[kind]}", "mend the file, or make it again")
    return value


def parse_json(text: str, where: str | Path) -> Any:
    """Parse JSON as its standard has it: no NaN, no infinity, no key twice, no half characters.

    Raises:
        InputError: at ``where`` (and the line, if there are several).
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_unique)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where = f"{where}:{error.lineno}" if "\n" in text else where
        raise InputError(where, f"not JSON ({error.msg})", "mend the file") from None
    except RecursionError:
        raise InputError(where, "not JSON of ours (nested too deep)", "mend the file") from None
    except UnicodeEncodeError:
        raise InputError(where, "holds half a character (a lone surrogate)", "write it as UTF-8") from None
    except ValueError as error:
        raise InputError(where, f"not JSON ({error})", "mend the file") from None
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _finite(digits: str) -> float:
    return number if math.isfinite(number := float(digits)) else _refuse(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key stands twice in {{{', '.join(key for key, _ in pairs)}}}")
    return found


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as stored, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
