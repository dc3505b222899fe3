"""Judges from files: what is read is read once, by whichever job, and no answer is another sentence's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from eval.oracles import load, parser, tagger
from eval.oracles.load import Cache, load_judge
from pipeline.errors import InputError
from pipeline.store import _in_bf16

PUB, INN = ["A", "pub"], ["An", "inn", "."]


class Readers:
    """In place of both models: say the word and the file, and note what was asked."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.read: list[list[str]] = []

    def tagger(self, path: Path) -> Callable[[list[Sequence[str]]], list[str]]:
        return self._reader(path, lambda words: " ".join(f"{word}/{path.stem}" for word in words))

    def parser(self, path: Path) -> Callable[[list[Sequence[str]]], list[str]]:
        return self._reader(path, lambda words: f"({path.stem} {' '.join(words)})")

    def _reader(self, path: Path, answer: Any) -> Any:
        self.loaded.append(path.stem)

        def read(sentences: list[Sequence[str]]) -> list[str]:
            self.read += [list(words) for words in sentences]
            return [answer(words) for words in sentences]

        return read


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Readers:
    made = Readers()
    monkeypatch.setattr(load, "_tagger", made.tagger)
    monkeypatch.setattr(load, "_parser", made.parser)
    return made


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A tagger and a parser, told apart by their bytes."""
    for name in ("t", "p"):
        (tmp_path / name).write_text(name)
    return tmp_path / "t", tmp_path / "p"


@pytest.mark.parametrize("cached", [False, True])
def test_order_and_repeats_are_kept(cached: bool, readers: Readers, files: Any, tmp_path: Path) -> None:
    judge = load_judge("judge", *files, tmp_path / "folder/cache" if cached else None)
    asked = [PUB, [], INN, PUB, INN, []]
    for _ in range(2):
        tags = [[f"{word}/t" for word in words] for words in asked]
        assert judge.tags(asked) == tags
        assert judge.trees(asked) == [f"(p {' '.join(words)})" if words else "" for words in asked]
    assert readers.read == [PUB, INN] * (2 if cached else 4)
    assert readers.loaded == ["t", "p"]
    assert (tmp_path / "folder/cache").is_file() == cached
    assert judge.tags([]) == judge.trees([]) == []


def test_what_is_known_needs_no_model(readers: Readers, files: Any, tmp_path: Path) -> None:
    first = load_judge("judge", *files, tmp_path / "cache")
    wanted = first.tags([PUB, INN]), first.trees([PUB, INN])
    before = list(readers.loaded)
    second = load_judge("another name", *files, tmp_path / "cache")
    assert (second.tags([PUB, INN]), second.trees([PUB, INN])) == wanted
    assert second.tags([[], []]) == [[], []]
    assert readers.loaded == before
    second.tags([INN, ["new"], []])
    assert readers.loaded == [*before, "t"] and readers.read[-1:] == [["new"]]


def test_other_files_have_other_answers(readers: Readers, files: Any, tmp_path: Path) -> None:
    """A model that was trained again is another one, under the same path too."""
    tagger_file, parser_file = files
    load_judge("judge", *files, tmp_path / "cache").tags([PUB])
    (tmp_path / "other").write_text("other")
    other = load_judge("judge", tmp_path / "other", parser_file, tmp_path / "cache")
    assert other.tags([PUB]) == [["A/other", "pub/other"]]
    tagger_file.write_text("trained again")
    load_judge("judge", *files, tmp_path / "cache").tags([PUB])
    assert readers.read == [PUB] * 3


def test_tags_and_trees_of_one_file_are_kept_apart(readers: Readers, files: Any, tmp_path: Path) -> None:
    judge = load_judge("judge", files[0], files[0], tmp_path / "cache")
    assert judge.tags([PUB]) == [["A/t", "pub/t"]]
    assert judge.trees([PUB]) == ["(t A pub)"]


def test_sentences_are_told_apart_by_their_words(readers: Readers, files: Any, tmp_path: Path) -> None:
    judge = load_judge("judge", *files, tmp_path / "cache")
    asked = [["a", "b"], ["ab"], ["a b"], ["b", "a"], ["A", "b"], ["a", "b", ""]]
    assert len(set(judge.trees(asked[:2]) + judge.trees(asked[3:5]))) == 4
    judge.trees(asked)
    assert len(readers.read) == len(asked)


def test_answers_are_kept_as_they_come(
    readers: Readers, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is killed in the middle has lost one part at most; more keys than SQLite takes at once."""
    monkeypatch.setattr(load, "CHUNK", 400)
    sentences = [[str(n)] for n in range(1300)]
    read = readers.tagger

    def failing(path: Path) -> Any:
        inner = read(path)

        def reader(part: list[Sequence[str]]) -> list[str]:
            if ["1200"] in part:
                raise KeyboardInterrupt
            return inner(part)

        return reader

    monkeypatch.setattr(load, "_tagger", failing)
    with pytest.raises(KeyboardInterrupt):
        load_judge("judge", *files, tmp_path / "cache").tags(sentences)
    assert len(readers.read) == 1200
    monkeypatch.setattr(load, "_tagger", read)
    assert load_judge("judge", *files, tmp_path / "cache").tags(sentences) == [
        [f"{n}/t"] for n in range(1300)
    ]
    assert len(readers.read) == 1300


def test_many_jobs_may_write_at_once(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def write(job: int) -> None:
        try:
            cache = Cache(tmp_path / "cache")
            for n in range(10):
                cache.put({f"{job} {n}": "mine", f"all {n}": "ours"})
                assert cache.get([f"{job} {n}", f"all {n}", "none"]) == {
                    f"{job} {n}": "mine",
                    f"all {n}": "ours",
                }
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(job,)) for job in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    keys = [f"{job} {n}" for job in (*range(4), "all") for n in range(10)]
    assert len(Cache(tmp_path / "cache").get(keys)) == 50


# --- real models


def test_a_judge_says_what_its_models_say(world: Any, tmp_path: Path) -> None:
    judge = load_judge("judge", world.tagger, world.parser, tmp_path / "cache")
    sentences = [["."], [], *(s.words for s in world.tagged("test")[:3])]
    full = [words for words in sentences if words]
    for _ in range(2):
        tags, trees = judge.tags(sentences), judge.trees(sentences)
        assert (tags[1], trees[1]) == ([], "")
        assert [t for t in tags if t] == tagger.tag(tagger.load(world.tagger), full)
        assert [t for t in trees if t] == parser.parse(parser.load(world.parser), full)


def test_a_stored_judge_finds_the_answers_of_the_trained_one(
    world: Any, readers: Readers, tmp_path: Path
) -> None:
    """Its files are equal byte by byte, so a restored run need not read a corpus again."""
    for path in (world.tagger, world.parser):
        _in_bf16(path, tmp_path / path.name)
    load_judge("judge", world.tagger, world.parser, tmp_path / "cache").trees([PUB])
    load_judge("judge", tmp_path / world.tagger.name, tmp_path / world.parser.name, tmp_path / "cache").trees(
        [PUB]
    )
    assert readers.read == [PUB]


def test_missing_files_and_files_of_another_kind(world: Any, tmp_path: Path) -> None:
    gone = tmp_path / "gone.safetensors"
    for files in ((gone, world.parser), (world.tagger, gone)):
        with pytest.raises(InputError, match=r"gone\.safetensors: no such file"):
            load_judge("judge", *files)
    judge = load_judge("judge", world.parser, world.tagger)
    with pytest.raises(InputError, match="holds a syntax parser; a part-of-speech tagger is needed"):
        judge.tags([PUB])
    with pytest.raises(InputError, match="holds a part-of-speech tagger; a syntax parser is needed"):
        judge.trees([PUB])
