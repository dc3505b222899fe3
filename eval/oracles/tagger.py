"""The part-of-speech tagger: a spaCy pipeline, trained here on universal tags or pretrained."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam, fix_random_seed

from eval.oracles.treebanks import Tagged
from pipeline import checkpoint
from pipeline.errors import InputError
from pipeline.progress import Progress
from pipeline.tasks import UNIVERSAL_TAGS
from pipeline.training import Batches

KIND = "part-of-speech tagger"
UNIVERSAL_PIPES = {"attribute_ruler", "morphologizer"}  # what turns fine-grained tags into universal ones
BATCH = 256  # texts tagged together; changes no tag


@dataclass(frozen=True)
class TaggerSettings:
    """Shape and training of a tagger; every key is described in the configuration schema."""

    width: int
    depth: int
    rows: int
    dropout: float
    steps: int
    batch_size: int
    learning_rate: float
    seed: int


def fit(sentences: Sequence[Tagged], settings: TaggerSettings, name: str) -> Language:
    """A tagger trained on the sentences; it keeps the running average of its weights."""
    fix_random_seed(settings.seed)
    nlp = spacy.blank("en")
    tagger: Any = nlp.add_pipe("tagger", config={"model": _architecture(settings)})
    examples = [_example(nlp, sentence) for sentence in sentences]
    nlp.initialize(lambda: examples)
    optimizer = Adam(settings.learning_rate, L2=0.01, L2_is_weight_decay=True, use_averages=True)
    batches = Batches(len(examples), settings.batch_size, settings.seed)
    progress = Progress(name, settings.steps)
    for step in range(settings.steps):
        optimizer.learn_rate = settings.learning_rate * (1 - step / settings.steps)
        chosen = [examples[i] for i in batches.at(step)]
        losses = nlp.update(chosen, drop=settings.dropout, sgd=optimizer)
        progress.update(step + 1, loss=losses["tagger"] / sum(len(e.reference) for e in chosen))
    with tagger.model.use_params(optimizer.averages):
        averaged = nlp.to_bytes()
    return nlp.from_bytes(averaged)


def _architecture(settings: TaggerSettings) -> dict[str, Any]:
    return {
        "@architectures": "spacy.Tagger.v2",
        "tok2vec": {
            "@architectures": "spacy.HashEmbedCNN.v2", "width": settings.width, "depth": settings.depth,
            "embed_size": settings.rows, "window_size": 1, "maxout_pieces": 3, "subword_features": True,
            "pretrained_vectors": None,
        },
    }  # fmt: skip


def _example(nlp: Language, sentence: Tagged) -> Example:
    """The universal tags stand where spaCy keeps fine-grained ones: one component then does the work."""
    words = sentence.words
    return Example(Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=words, tags=sentence.tags))


def save(path: Path, nlp: Language, settings: TaggerSettings, trained_on: str) -> None:
    """Write a trained tagger: spaCy's bytes as one tensor, and in the header what rebuilds it."""
    header = {"settings": asdict(settings), "trained_on": trained_on, "config": nlp.config.to_str()}
    content = torch.from_numpy(np.frombuffer(nlp.to_bytes(), dtype=np.uint8).copy())
    checkpoint.save(path, KIND, header, {"spacy": content})


def refer(path: Path, source: str) -> None:
    """Write a file that stands for an installed spaCy package or a folder of one; it is read from there.

    Raises:
        InputError: there is no such model, or it is no tagger of English.
    """
    content = hashlib.sha256(_pretrained(path, source).to_bytes()).hexdigest()
    checkpoint.save(path, KIND, {"source": source, "content": content}, {})


def load(path: Path) -> Language:
    """Read a tagger that :func:`save` or :func:`refer` wrote.

    Raises:
        InputError: no such file, no tagger, or its pretrained model is missing.
    """
    settings, weights = checkpoint.load(path, KIND)
    if "source" in settings:
        return _pretrained(path, settings["source"])
    config = spacy.util.load_config_from_str(settings["config"])
    nlp = spacy.util.load_model_from_config(config, auto_fill=False, validate=False)
    return nlp.from_bytes(weights["spacy"].numpy().tobytes())


def _pretrained(path: Path, source: str) -> Language:
    try:
        nlp = spacy.load(source, exclude=["parser", "ner", "lemmatizer"])
    except OSError as error:
        what, how = f"no tagger '{source}' ({error})", f"run python -m spacy download {Path(source).name}"
        raise InputError(path, what, how) from None
    if nlp.lang != "en" or "tagger" not in nlp.pipe_names:
        raise InputError(
            path, f"'{source}' is no tagger of English", "give an English pipeline with a tagger"
        )
    labels = set(nlp.pipe_labels["tagger"])
    universal = bool(labels) and labels <= set(UNIVERSAL_TAGS)
    if not universal and not UNIVERSAL_PIPES & set(nlp.pipe_names):
        how = f"give one with {' or '.join(sorted(UNIVERSAL_PIPES))}"
        raise InputError(path, f"'{source}' gives no universal tags", how)
    return nlp


def tag(nlp: Language, sentences: Iterable[Sequence[str]]) -> list[list[str]]:
    """The universal tags of sentences; pretrained pipelines derive them from their fine-grained ones."""
    docs = nlp.pipe((Doc(nlp.vocab, words=list(words)) for words in sentences), batch_size=BATCH)
    return [[_universal(token.pos_ or token.tag_) for token in doc] for doc in docs]


def _universal(tag: str) -> str:
    return tag if tag in UNIVERSAL_TAGS else "X"  # spaCy's own SPACE, of a newline word
