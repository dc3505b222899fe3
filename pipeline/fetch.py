"""Downloads with checksums, continued where they broke off: the only module that reaches for the network."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import InputError
from pipeline.files import atomic, sha256
from pipeline.progress import Progress

TIMEOUT = 60  # seconds without an answer
PATIENCE = 4  # the same, where nothing is wanted but a sign of life
CHUNK = 1 << 16  # bytes


def fetch(url: str, destination: Path, sha256s: Mapping[str, str]) -> list[Path]:
    """Download a zip archive and put the named files of it into ``destination``.

    Files that are there already with the right content are kept, without any network. Nothing gets its final
    name before all files are verified. What has come when a connection breaks is kept, and continued.

    Args:
        url: address of the archive.
        destination: folder, made if needed.
        sha256s: file name (in whatever folder of the archive) to SHA-256 of its unpacked content.

    Raises:
        InputError: no network, no archive at that address, a file missing from it, or a wrong checksum.
    """
    paths = [destination / name for name in sha256s]
    if _missing(destination, sha256s):
        archive = _download(url, destination, sha256s)
        try:
            contents = _unpack(url, archive, sha256s)
        finally:
            archive.unlink()
        for name, content in contents.items():
            _verify(f"{url}:{name}", hashlib.sha256(content).hexdigest(), sha256s[name])
        for path in paths:
            with atomic(path) as temporary:
                temporary.write_bytes(contents[path.name])
    return paths


def fetch_files(base: str, destination: Path, sha256s: Mapping[str, str]) -> list[Path]:
    """Download single files, ``base`` + name each, into ``destination``; otherwise as :func:`fetch`."""
    downloaded = {
        name: _download(base + name, destination, sha256s) for name in _missing(destination, sha256s)
    }
    for name, partial in downloaded.items():
        try:
            _verify(base + name, sha256(partial), sha256s[name])
        except InputError:
            partial.unlink()  # or the next attempt would continue it
            raise
    for name, partial in downloaded.items():
        os.replace(partial, destination / name)
    return [destination / name for name in sha256s]


def reachable(url: str) -> bool:
    """Whether the host of an address answers within a few seconds, whatever it says; asked once."""
    parts = urlsplit(url)
    return _answers(f"{parts.scheme}://{parts.netloc}/")


@cache
def _answers(host: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(host, method="HEAD"), timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def _missing(destination: Path, sha256s: Mapping[str, str]) -> list[str]:
    """The files that are not there as they should be."""
    paths = {name: destination / name for name in sha256s}
    return [name for name, path in paths.items() if not (path.is_file() and sha256(path) == sha256s[name])]


def _download(url: str, destination: Path, names: Mapping[str, str]) -> Path:
    """Everything at ``url`` in a partial file, of which some may be there from an earlier attempt."""
    partial = destination / f".{PurePosixPath(url).name}.partial"
    try:
        _receive(url, partial)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(
            url,
            f"cannot be downloaded ({error})",
            f"try again, or without a network put {', '.join(names)} in a folder and set data_dir to it",
        ) from None
    return partial


def _receive(url: str, partial: Path) -> None:
    """Append to ``partial`` what it lacks; all of it, where the server cannot send a part."""
    there = partial.stat().st_size if partial.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if there and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # it is whole
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            there = 0
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("ab" if there else "wb") as file:
            _copy(response, file, PurePosixPath(url).name, there)


def _copy(response: Any, file: Any, name: str, there: int) -> None:
    """Copy a response's body behind the ``there`` bytes that the file has."""
    announced = response.headers.get("Content-Length")
    total = there + int(announced) if announced else 0
    progress = Progress(name, total, start=there)
    while chunk := response.read(CHUNK):
        file.write(chunk)
        there += len(chunk)
        progress.update(there)
    if announced and there < total:
        raise http.client.IncompleteRead(b"", total - there)


def _unpack(url: str, archive: Path, names: Mapping[str, str]) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {PurePosixPath(member).name: member for member in opened.namelist()}
            return {name: opened.read(members[name]) for name in names}
    except KeyError as error:
        raise InputError(
            url, f"has no file {error.args[0]!r}", "give the address of the right archive"
        ) from None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise InputError(url, f"not a whole zip archive ({error})", "download it again") from None


def _verify(where: str, found: str, expected: str) -> None:
    if found != expected:
        raise InputError(
            where, f"SHA-256 is {found}, not {expected}", "download again, or set data_dir to a good copy"
        )
