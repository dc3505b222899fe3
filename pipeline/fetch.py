"""Downloads with checksums: the only module that reaches for the network."""

from __future__ import annotations

import hashlib
import http.client
import io
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline.errors import InputError
from pipeline.files import atomic, sha256

TIMEOUT = 60  # seconds without an answer


def fetch(url: str, destination: Path, sha256s: Mapping[str, str]) -> list[Path]:
    """Download a zip archive and put the named files of it into ``destination``.

    Files that are there already with the right content are kept, without any network. Nothing gets its final
    name before all files are verified.

    Args:
        url: address of the archive.
        destination: folder, made if needed.
        sha256s: file name (in whatever folder of the archive) to SHA-256 of its unpacked content.

    Raises:
        InputError: no network, no archive at that address, a file missing from it, or a wrong checksum.
    """
    paths = [destination / name for name in sha256s]
    if all(path.is_file() and sha256(path) == sha256s[path.name] for path in paths):
        return paths
    contents = _unpack(url, _download(url, sha256s), sha256s)
    for name, expected in sha256s.items():
        _verify(f"{url}:{name}", contents[name], expected)
    for path in paths:
        with atomic(path) as temporary:
            temporary.write_bytes(contents[path.name])
    return paths


def fetch_files(base: str, destination: Path, sha256s: Mapping[str, str]) -> list[Path]:
    """Download single files, ``base`` + name each, into ``destination``; otherwise as :func:`fetch`."""
    paths = [destination / name for name in sha256s]
    missing = [path for path in paths if not (path.is_file() and sha256(path) == sha256s[path.name])]
    contents = {path: _download(base + path.name, sha256s) for path in missing}
    for path, content in contents.items():
        _verify(base + path.name, content, sha256s[path.name])
    for path, content in contents.items():
        with atomic(path) as temporary:
            temporary.write_bytes(content)
    return paths


def _download(url: str, names: Mapping[str, str]) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            return bytes(response.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(
            url,
            f"cannot be downloaded ({error})",
            f"without a network, put {', '.join(names)} in a folder and set data_dir to it",
        ) from None


def _unpack(url: str, archive: bytes, names: Mapping[str, str]) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            members = {PurePosixPath(member).name: member for member in opened.namelist()}
            return {name: opened.read(members[name]) for name in names}
    except KeyError as error:
        raise InputError(
            url, f"has no file {error.args[0]!r}", "give the address of the right archive"
        ) from None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise InputError(url, f"not a whole zip archive ({error})", "download it again") from None


def _verify(where: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise InputError(
            where, f"SHA-256 is {found}, not {expected}", "download again, or set data_dir to a good copy"
        )
