"""What the tests of the judges' commands share: a tiny corpus, its vocabulary and an untrained teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.corpora.vocabulary import Vocabulary
from pipeline.language_model import LanguageModelSettings, build
from pipeline.records import Text, write_records

TEACHER = LanguageModelSettings("train", hidden=16, layers=1, heads=2, positions=32, dropout=0.0)
TRAINING = ["The Mill serves Thai food .", "The Mill is a pub .", "Aromi serves French food ."]


class Judges(NamedTuple):
    """The files that the commands read beside samples."""

    corpus: Path
    vocabulary: Path
    teacher: Path

    @property
    def inputs(self) -> dict[str, Path]:
        return self._asdict()


class SyntaxJudge:
    """Says what it was told; a word it was told nothing about is its own tag. ``asked`` counts sentences."""

    def __init__(self, trees: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None) -> None:
        self.known_trees, self.known_tags = dict(trees or {}) | {"": ""}, dict(tags or {})
        self.asked: list[int] = []

    def tags(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        self.asked.append(len(sentences))
        return [[self.known_tags.get(word, word) for word in words] for words in sentences]

    def trees(self, sentences: Sequence[Sequence[str]]) -> list[str]:
        self.asked.append(len(sentences))
        return [self.known_trees[" ".join(words)] for words in sentences]


@pytest.fixture(scope="session")
def syntax_judge() -> type[SyntaxJudge]:
    return SyntaxJudge


@pytest.fixture(scope="session")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Judges:
    folder = tmp_path_factory.mktemp("judges")
    made = Judges(folder / "corpus.jsonl", folder / "vocabulary.json", folder / "teacher.safetensors")
    texts = [Text(str(i), "train", text, text.split(" ")) for i, text in enumerate(TRAINING)]
    write_records(made.corpus, [*texts, Text("h", "human", "A human text", ["A", "human", "text"])])
    vocabulary = Vocabulary.build([text.tokens for text in texts], more_than=0)
    vocabulary.save(made.vocabulary)
    teacher = build(TEACHER, vocabulary, [], seed=0)
    teacher.save(made.teacher, TEACHER, vocabulary=vocabulary.digest())
    return made
