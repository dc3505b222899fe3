"""A judge from its files, with a cache of everything it has read."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from eval.oracles.judge import Judge, Sentence
from pipeline.errors import InputError
from pipeline.files import read_bytes
from pipeline.progress import Progress

CHUNK = 5000  # sentences read between two writes to the cache
SECONDS_TO_WAIT = 120  # for another job's write


class Cache:
    """Answers of models by (model, sentence), in one SQLite file that jobs of any run share."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as table:
                table.execute("create table if not exists answers (key text primary key, answer text)")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        assert self.path is not None
        try:
            with closing(sqlite3.connect(self.path, timeout=SECONDS_TO_WAIT)) as connection, connection:
                yield connection
        except sqlite3.DatabaseError as error:
            how = "free some space if the disk is full, delete the file if it is damaged: it only saves time"
            raise InputError(self.path, f"cache of readings ({error})", how) from None

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """The answers that are known."""
        if self.path is None:
            return {}
        with self._open() as table:
            found: dict[str, str] = {}
            for start in range(0, len(keys), 500):  # SQLite bounds the number of parameters
                part = keys[start : start + 500]
                marks = ",".join("?" * len(part))
                found |= dict(table.execute(f"select key, answer from answers where key in ({marks})", part))
        return found

    def put(self, answers: dict[str, str]) -> None:
        """Keep answers."""
        if self.path is not None:
            with self._open() as table:
                table.executemany("insert or replace into answers values (?, ?)", answers.items())


class CachedJudge:
    """A tagger and a parser, loaded when they are first needed; no sentence is ever read twice."""

    def __init__(self, name: str, tagger: Path, parser: Path, cache: Path | None) -> None:
        self.name, self.cache = name, Cache(cache)
        self.files = {"tags": tagger, "tree": parser}
        self.readers: dict[str, Callable[[list[Sentence]], list[str]]] = {}
        contents = {kind: read_bytes(path) for kind, path in self.files.items()}
        self.digests = {kind: hashlib.sha256(data).hexdigest()[:16] for kind, data in contents.items()}

    def tags(self, sentences: Sequence[Sentence]) -> list[list[str]]:
        """See :class:`eval.oracles.judge.Judge`."""
        return [answer.split(" ") if answer else [] for answer in self._answers("tags", sentences)]

    def trees(self, sentences: Sequence[Sentence]) -> list[str]:
        """See :class:`eval.oracles.judge.Judge`."""
        return self._answers("tree", sentences)

    def _answers(self, kind: str, sentences: Sequence[Sentence]) -> list[str]:
        keys = [self._key(kind, words) for words in sentences]
        known = self.cache.get(list(dict.fromkeys(keys)))
        unknown = {k: w for k, w in zip(keys, sentences, strict=True) if k not in known and len(w)}
        waiting = list(unknown.items())
        progress = Progress(f"{self.name} {kind}", max(len(waiting), 1))
        for start in range(0, len(waiting), CHUNK):
            part = waiting[start : start + CHUNK]
            answers = self._reader(kind)([words for _, words in part])
            found = dict(zip((key for key, _ in part), answers, strict=True))
            self.cache.put(found)
            known |= found
            progress.update(start + len(part))
        return [known.get(key, "") for key in keys]

    def _key(self, kind: str, words: Sentence) -> str:
        return hashlib.sha256("\x1f".join((kind, self.digests[kind], *words)).encode()).hexdigest()

    def _reader(self, kind: str) -> Callable[[list[Sentence]], list[str]]:
        if kind not in self.readers:
            self.readers[kind] = _tagger(self.files[kind]) if kind == "tags" else _parser(self.files[kind])
        return self.readers[kind]


def _tagger(path: Path) -> Callable[[list[Sentence]], list[str]]:
    from eval.oracles import tagger

    nlp = tagger.load(path)
    return lambda sentences: [" ".join(tags) for tags in tagger.tag(nlp, sentences)]


def _parser(path: Path) -> Callable[[list[Sentence]], list[str]]:
    from eval.oracles import parser

    model = parser.load(path)
    return lambda sentences: parser.parse(model, sentences)


def load_judge(name: str, tagger: Path, parser: Path, cache: Path | None = None) -> Judge:
    """A judge from its two files; ``cache`` is a file that any number of jobs may share.

    Raises:
        InputError: a file is missing; when it is first asked: one is of another kind, or not of English.
    """
    return CachedJudge(name, tagger, parser, cache)
