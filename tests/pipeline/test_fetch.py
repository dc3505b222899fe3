"""Downloads: verified before they get a name, and one clear line when there is no network."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.fetch import fetch, fetch_files, reachable

CONTENT = {"train.csv": b"mr,ref\r\n", "dev.csv": b"mr,ref\n"}
SHA256S = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "web" / "data.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("data/README.md", "not asked for")
        for name, content in CONTENT.items():
            opened.writestr(f"data/{name}", content)
    return path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(archive: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(archive.parent))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/data.zip"
        server.shutdown()


def test_the_named_files_are_unpacked(address: str, tmp_path: Path) -> None:
    paths = fetch(address, tmp_path / "raw", SHA256S)
    assert paths == [tmp_path / "raw" / name for name in CONTENT]
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()} == CONTENT


def test_verified_files_need_no_network(archive: Path, tmp_path: Path) -> None:
    first = fetch(archive.as_uri(), tmp_path / "raw", SHA256S)
    archive.unlink()
    assert fetch(archive.as_uri(), tmp_path / "raw", SHA256S) == first


def test_a_changed_file_is_fetched_again(archive: Path, tmp_path: Path) -> None:
    path = fetch(archive.as_uri(), tmp_path / "raw", SHA256S)[0]
    path.write_bytes(b"changed")
    fetch(archive.as_uri(), tmp_path / "raw", SHA256S)
    assert path.read_bytes() == CONTENT["train.csv"]


def test_a_wrong_checksum_leaves_nothing_behind(archive: Path, tmp_path: Path) -> None:
    wrong = {**SHA256S, "dev.csv": "0" * 64}
    with pytest.raises(
        InputError, match=rf"dev\.csv: SHA-256 is {SHA256S['dev.csv']}, not 0000.*set data_dir"
    ):
        fetch(archive.as_uri(), tmp_path / "raw", wrong)
    assert files(tmp_path / "raw") == {}


def test_no_network_names_the_address_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        fetch("http://127.0.0.1:9/data.zip", tmp_path / "raw", SHA256S)
    assert str(caught.value).startswith("http://127.0.0.1:9/data.zip: cannot be downloaded")
    assert "put train.csv, dev.csv in a folder and set data_dir to it" in str(caught.value)
    assert not (tmp_path / "raw").exists()


def test_a_missing_page_is_told(address: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"other\.zip: cannot be downloaded .*404"):
        fetch(address.replace("data.zip", "other.zip"), tmp_path / "raw", SHA256S)


def test_a_file_missing_from_the_archive_is_told(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no file 'test\.csv'"):
        fetch(archive.as_uri(), tmp_path / "raw", {**SHA256S, "test.csv": "0" * 64})


def test_a_cut_archive_is_told(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(InputError, match="not a whole zip archive"):
        fetch(archive.as_uri(), tmp_path / "raw", SHA256S)
    assert files(tmp_path / "raw") == {}


def test_single_files_are_verified_before_any_gets_its_name(
    address: str, archive: Path, tmp_path: Path
) -> None:
    base = address.removesuffix("data.zip")
    for name, content in CONTENT.items():
        (archive.parent / name).write_bytes(content)
    paths = fetch_files(base, tmp_path / "raw", SHA256S)
    assert {path.name: path.read_bytes() for path in paths} == CONTENT
    (archive.parent / "dev.csv").write_bytes(b"changed")
    assert fetch_files(base, tmp_path / "raw", SHA256S) == paths  # they are there, so nothing is asked
    with pytest.raises(InputError, match=r"dev\.csv: SHA-256 is"):
        fetch_files(base, tmp_path / "new", SHA256S)
    assert files(tmp_path / "new") == {".train.csv.partial": CONTENT["train.csv"]}  # whole, but for a name
    (archive.parent / "dev.csv").write_bytes(CONTENT["dev.csv"])
    fetch_files(base, tmp_path / "new", SHA256S)
    assert files(tmp_path / "new") == CONTENT


@pytest.mark.parametrize("sends_parts", [True, False])
def test_a_broken_download_is_continued(sends_parts: bool, archive: Path, tmp_path: Path) -> None:
    """What has come is kept; then only the rest is asked for, and a server that sends all is listened to."""
    body = archive.read_bytes()
    with serving(Breaking, body=body, sends_parts=sends_parts) as (base, sent):
        with pytest.raises(InputError, match=r"cannot be downloaded \(IncompleteRead.*try again"):
            fetch(base + "data.zip", tmp_path / "raw", SHA256S)
        assert files(tmp_path / "raw") == {".data.zip.partial": body[: len(body) // 2]}
        fetch(base + "data.zip", tmp_path / "raw", SHA256S)
    assert files(tmp_path / "raw") == CONTENT
    half = len(body) // 2
    assert sent == ([half, len(body) - half] if sends_parts else [half, len(body)])


class Breaking(BaseHTTPRequestHandler):
    """Breaks off in the middle of the first answer."""

    body: bytes
    sends_parts: bool
    sent: list[int]

    def do_GET(self) -> None:
        asked = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if self.sends_parts else 0
        rest = self.body[asked:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(part := rest if self.sent else rest[: len(rest) // 2])
        self.sent.append(len(part))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[Breaking], **attributes: object) -> Iterator[tuple[str, list[int]]]:
    """The address of a server, and how many bytes each of its answers had."""
    sent: list[int] = []
    kind = type("Handler", (handler,), {**attributes, "sent": sent})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", sent
        server.shutdown()


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, hidden files too; nothing if there is none."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


# --- signs of life


def test_a_host_is_reachable_if_it_answers_anything(address: str) -> None:
    assert reachable(address)
    assert reachable(address.replace("data.zip", "no such file"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "https://no-such-host.invalid/x", "nothing", ""])
def test_what_does_not_answer_is_not_reachable(url: str) -> None:
    assert not reachable(url)


def test_a_host_is_asked_once(archive: Path) -> None:
    asked: list[str] = []

    class Counting(Quiet):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            super().do_HEAD()

    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        for name in ("a", "b", "a"):
            assert reachable(f"http://127.0.0.1:{server.server_port}/{name}")
        server.shutdown()
    assert asked == ["/"]
