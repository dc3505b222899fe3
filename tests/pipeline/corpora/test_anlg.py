"""The reader of aNLG: contexts with all their references, where it looks, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpora import anlg
from pipeline.corpora.anlg import DEV, TEST, TEST_REFERENCES, anlg_folder, read_anlg
from pipeline.errors import InputError

DOG = {"obs1": "Ann's dog ran.", "obs2": "They  slept."}
CAT = {"obs1": "A cat sat.", "obs2": "It left."}
FILES: dict[str, Any] = {
    DEV: {"dog-1": DOG | {"gold_labels": ["It fell.", "It didn't bark."]}},
    TEST: {"cat-1": CAT | {"gold_labels": []}, "dog-2": DOG | {"gold_labels": []}},
    TEST_REFERENCES: {"dog-2": ["It was late."], "cat-1": ["A dog came.", "It got bored."]},
}
Files = Callable[..., Path]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Write the three files, one of them replaced: its object, its text, or None for no file."""

    def write(name: str = "", content: Any = None) -> Path:
        (tmp_path / "anlg").mkdir()
        for file, value in (FILES | ({name: content} if name else {})).items():
            if value is not None:
                text = value if isinstance(value, str) else json.dumps(value)
                (tmp_path / "anlg" / file).write_text(text)
        return tmp_path

    return write


def test_every_context_has_all_its_references(files: Files) -> None:
    read = read_anlg(files())
    (dog,) = read["dev"]
    assert (dog.target_id, dog.task) == ("dog-1", "infilling")
    assert dog.control == {"left": "Ann 's dog ran .", "right": "They slept ."}
    assert dog.references == ["It fell .", "It did n't bark ."]
    found = {target.target_id: target.references for target in read["test"]}
    assert found == {"cat-1": ["A dog came .", "It got bored ."], "dog-2": ["It was late ."]}
    assert list(found) == ["cat-1", "dog-2"]


def test_a_context_can_be_named_by_its_hash(files: Files) -> None:
    read = read_anlg(files())
    ids = {target.target_id: target.source_id for target in [*read["dev"], *read["test"]]}
    assert ids["dog-1"] == ids["dog-2"] == hashlib.sha256(b"Ann 's dog ran .\nThey slept .").hexdigest()
    assert ids["cat-1"] != ids["dog-1"]


def changed(name: str, identity: str, **values: Any) -> tuple[str, Any]:
    """A file in which a context has other values; None takes one away."""
    context = {key: value for key, value in (FILES[name][identity] | values).items() if value is not None}
    return name, FILES[name] | {identity: context}


BAD: dict[str, tuple[tuple[str, Any], str]] = {
    "no dev file": ((DEV, None), f"{DEV}: no such file"),
    "no test file": ((TEST, None), f"{TEST}: no such file"),
    "no references": ((TEST_REFERENCES, None), f"{TEST_REFERENCES}: no such file"),
    "not JSON": ((DEV, '{\n"a": {,\n'), f"{DEV}:2: not JSON"),
    "a list": ((DEV, [1]), f"{DEV}: not a JSON object of contexts"),
    "empty": ((DEV, {}), f"{DEV}: not a JSON object of contexts"),
    "a context too few": ((TEST, {"cat-1": CAT}), f"{TEST_REFERENCES}: context 'dog-2' is in only one of it"),
    "a context too many": ((TEST_REFERENCES, {"cat-1": ["A."]}), f"{TEST_REFERENCES}: context 'dog-2' is in"),
    "no right side": (changed(DEV, "dog-1", obs2=None), f"{DEV}: context 'dog-1': no obs2"),
    "an empty side": (changed(DEV, "dog-1", obs1=" "), f"{DEV}: context 'dog-1': not a sentence: ' '"),
    "a number": (changed(TEST, "cat-1", obs1=3), f"{TEST}: context 'cat-1': not a sentence: 3"),
    "not a context": ((TEST, FILES[TEST] | {"cat-1": "A."}), f"{TEST}: context 'cat-1': no obs1"),
    "no labels": (changed(DEV, "dog-1", gold_labels=None), f"{DEV}: context 'dog-1': no gold_labels"),
    "empty labels": (changed(DEV, "dog-1", gold_labels=[]), f"{DEV}: context 'dog-1': no reference"),
    "an empty reference": (changed(DEV, "dog-1", gold_labels=["A.", ""]), f"{DEV}: context 'dog-1': not a"),
    "a reference list that is empty": (
        (TEST_REFERENCES, FILES[TEST_REFERENCES] | {"cat-1": []}),
        f"{TEST_REFERENCES}: context 'cat-1': no reference",
    ),
    "a reference for a list": (
        (TEST_REFERENCES, FILES[TEST_REFERENCES] | {"cat-1": "A dog came."}),
        f"{TEST_REFERENCES}: context 'cat-1': no reference",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_named(files: Files, change: tuple[str, Any], message: str) -> None:
    folder = files(*change)
    with pytest.raises(InputError) as caught:
        read_anlg(folder)
    assert str(caught.value).startswith(f"{folder / 'anlg'}/{message}")
    assert "\n" not in str(caught.value)


def test_a_folder_of_ones_own_is_used_as_it_is(files: Files, tmp_path: Path) -> None:
    own = files(DEV, None)
    assert anlg_folder(own, tmp_path / "downloads") == own
    assert not (tmp_path / "downloads").exists()


def test_files_are_downloaded_and_verified(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = files() / "anlg"
    monkeypatch.setattr(anlg, "URL", f"{home.as_uri()}/")
    downloads = tmp_path / "downloads"
    with pytest.raises(InputError, match="SHA-256 is"):
        anlg_folder(tmp_path / "none", downloads)
    assert not list(downloads.glob("*.json*"))  # nothing has its final name
    sums = {name: hashlib.sha256((home / name).read_bytes()).hexdigest() for name in FILES}
    monkeypatch.setattr(anlg, "FILES", sums)
    assert anlg_folder(tmp_path / "none", downloads) == downloads
    assert read_anlg(downloads) == read_anlg(tmp_path)


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anlg, "URL", f"{tmp_path.as_uri()}/none/")
    with pytest.raises(
        InputError, match=f"put {DEV}, {TEST}, {TEST_REFERENCES} in a folder and set data_dir"
    ):
        anlg_folder(tmp_path, tmp_path / "downloads")


@pytest.mark.real_data
def test_the_released_files(real_data: Path) -> None:
    for name, sha256 in anlg.FILES.items():
        assert hashlib.sha256((real_data / "anlg" / name).read_bytes()).hexdigest() == sha256
    read = read_anlg(real_data)
    counts = {split: (len(t), sum(len(x.references or []) for x in t)) for split, t in read.items()}
    assert counts == {"dev": (1780, 7252), "test": (3561, 14313)}
    targets = [*read["dev"], *read["test"]]
    assert len({t.target_id for t in targets}) == len({t.source_id for t in targets}) == len(targets)
    for target in targets:
        for text in (*target.control.values(), *(target.references or [])):
            assert text and " ".join(text.split()) == text
