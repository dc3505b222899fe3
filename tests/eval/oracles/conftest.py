"""What the tests of the judges share: embedded sentences, a tagger, and a parser that knows a few."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from eval.oracles import parser, tagger
from eval.oracles.treebanks import Bracketed, Tagged
from pipeline.corpora.grammar import restaurant_texts
from pipeline.records import Text, write_records
from pipeline.training import TrainingSettings

TAGGER = tagger.TaggerSettings(
    width=32, depth=1, rows=200, dropout=0.1, steps=15, batch_size=32, learning_rate=0.02, seed=0
)
PARSER = parser.ParserSettings(
    hidden=64, layers=1, heads=2, characters=16, dropout=0.0, longest=40, joined=0.0, seed=0
)
TRAINING = TrainingSettings(
    steps=40, batch_size=8, learning_rate=1e-2, warmup=5, weight_decay=0.0, clip=1.0, ema=0.5,
    muon_rate=0.0, precision="fp32", seed=0,
)  # fmt: skip
KNOWN = 8  # sentences that the parser learns


class World(NamedTuple):
    """Embedded texts, their file, and the files of both models with the settings that made them."""

    texts: list[Text]
    corpus: Path
    tagger: Path
    parser: Path
    tagger_settings: tagger.TaggerSettings
    parser_settings: parser.ParserSettings
    training: TrainingSettings

    def tagged(self, split: str) -> list[Tagged]:
        return [Tagged(t.tokens, t.tags or []) for t in self.texts if t.split == split]

    def bracketed(self, split: str) -> list[Bracketed]:
        """Of the training split those that the parser knows."""
        found = [Bracketed(t.tokens, t.tree or "") for t in self.texts if t.split == split]
        return found[:KNOWN] if split == "train" else found


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("oracles")
    texts = restaurant_texts(0, {"train": 100, "valid": 6, "test": 20})
    files = (folder / "corpus.jsonl", folder / "tagger.safetensors", folder / "parser.safetensors")
    made = World(texts, *files, TAGGER, PARSER, TRAINING)
    write_records(made.corpus, texts)
    nlp = tagger.fit(made.tagged("train"), TAGGER, "tagger")
    tagger.save(made.tagger, nlp, TAGGER, "embedded_first")
    sentences = made.bracketed("train")
    model = parser.build(PARSER, sentences)
    parser.fit(model, sentences, PARSER, TRAINING, folder / "work", "parser", "test")
    parser.save(made.parser, model, PARSER, "embedded_first")
    return made
