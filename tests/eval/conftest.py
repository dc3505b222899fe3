"""What the tests of the judges' commands share: a tiny corpus and what scores texts beside it, untrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from eval.fluency import Teacher
from eval.human_texts import measure
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.language_model import LanguageModelSettings, build
from pipeline.records import Text, write_records

TEACHER = LanguageModelSettings("train", hidden=16, layers=1, heads=2, positions=32, dropout=0.0)
TRAINING = ["The Mill serves Thai food .", "The Mill is a pub .", "Aromi serves French food ."]


class Judges(NamedTuple):
    """The files that the commands read beside samples; none reads all of them."""

    corpus: Path
    vocabulary: Path
    teacher: Path
    human_texts: Path

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
    names = ("corpus.jsonl", "vocabulary.json", "teacher.safetensors", "human_texts.safetensors")
    made = Judges(*(folder / name for name in names))
    texts = [Text(str(i), "train", text, text.split(" ")) for i, text in enumerate(TRAINING)]
    texts.append(Text("h", "human", "A human text", ["A", "human", "text"]))
    write_records(made.corpus, texts)
    vocabulary = Vocabulary.build([text.tokens for text in texts[:-1]], more_than=0)
    vocabulary.save(made.vocabulary)
    teacher = build(TEACHER, vocabulary, [], seed=0)
    teacher.save(made.teacher, TEACHER, vocabulary=vocabulary.digest())
    measure(texts, Teacher(made.teacher, vocabulary), seed=0).save(made.human_texts)
    return made
