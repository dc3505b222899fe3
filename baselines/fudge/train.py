"""Train a FUDGE discriminator: will the text that begins so satisfy the control?

The label of the whole text is copied to each of its prefixes (original: main.py:39-42). A syntax control,
which the discriminator reads, is the text's own or another; field values and lengths are all asked at once.

python -m baselines.fudge.train --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from baselines.fudge.controls import FORMS, Encoding, Told
from baselines.fudge.discriminator import Discriminator, DiscriminatorSettings
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import END, PAD, START, Vocabulary
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.language_model import padded
from pipeline.records import Text, read_records
from pipeline.seeding import seed_of
from pipeline.tasks import LENGTH, PARTS_OF_SPEECH, SEMANTIC_CONTENT, SYNTAX_SPANS
from pipeline.training import Batches, TrainingSettings, train
from pipeline.trees import read_tree

DISCRIMINATED = (SEMANTIC_CONTENT, LENGTH, *FORMS)
OWN, OTHER = 0.5, 0.75  # a control is the text's own, up to here; another text's, up to here; else edited


class Lesson(NamedTuple):
    """A batch of texts: word ids [B, L], what is told of a control [B, L, F], right outputs [B, outputs]."""

    ids: Tensor
    features: Tensor
    labels: Tensor


class Lessons:
    """The texts of one task with their labels; what step ``step`` draws depends on (seed, step) alone."""

    def __init__(
        self, encoding: Encoding, texts: Sequence[Text], vocabulary: Vocabulary, settings: TrainingSettings
    ) -> None:
        self.encoding, self.texts, self.seed = encoding, texts, settings.seed
        self.ids = [[START, *vocabulary.encode(text.tokens), END] for text in texts]
        self.stated = [encoding.stated(text) for text in texts]
        self.batches = Batches(len(texts), settings.batch_size, settings.seed, map(len, self.ids))

    def at(self, step: int) -> Lesson:
        """The batch of a training step."""
        random = np.random.default_rng(seed_of("fudge", self.encoding.task, self.seed, step))
        return self.lesson(self.batches.at(step), random)

    def lesson(self, chosen: Sequence[int] | np.ndarray, random: np.random.Generator) -> Lesson:
        """Some texts, by number, each with a control of its own or another."""
        ids = padded([self.ids[i] for i in chosen], PAD)
        syntax = self.encoding.task in FORMS
        told = [self.drawn(i, random) if syntax else () for i in chosen]
        labels = [self.labels(i, control) for i, control in zip(chosen, told, strict=True)]
        features = self.encoding.laid_out(told, ids.shape[1])
        return Lesson(*(part.to(device()) for part in (ids, features, torch.stack(labels))))

    def drawn(self, text: int, random: np.random.Generator) -> Told:
        """A syntax control for a text: half of the time its own.

        Else a span of another text; or another text's tags or tree, or its own with one word edited.
        """
        own, kind = self.stated[text], random.random()
        if kind < OWN:
            return own[random.integers(len(own))]
        other = self.stated[random.integers(len(self.stated))]
        control = other[random.integers(len(other))]
        whole = self.encoding.task != SYNTAX_SPANS
        return edited(own[0], control, random) if whole and kind >= OTHER else control

    def labels(self, text: int, told: Told) -> Tensor:
        """The right outputs [outputs] for a text: 1 where it has the value or length, or meets ``told``."""
        labels = torch.zeros(self.encoding.outputs)
        if self.encoding.task in FORMS:
            labels[0] = told in self.stated[text]  # a drawn control may happen to be the text's own
        elif self.encoding.task == LENGTH:
            labels[len(self.texts[text].tokens)] = 1
        else:
            for field, value in (self.texts[text].fields or {}).items():
                labels[self.encoding.output({"field": field, "value": value})] = 1
        return labels


def edited(own: Told, other: Told, random: np.random.Generator) -> Told:
    """``own`` with one word substituted, inserted or deleted; a new word is one of ``other``."""
    edit = ("substitute", "insert", "delete")[random.integers(3)]
    place = random.integers(len(own) + (edit == "insert"))
    new = () if edit == "delete" else (other[random.integers(len(other))],)
    return (*own[:place], *new, *own[place + (edit != "insert") :])


def losses(model: Discriminator, lesson: Lesson) -> Tensor:
    """Cross-entropy [B, L] of the labels after each word, 0 on padding; a mean over sigmoids."""
    logits = model(lesson.ids, lesson.features)
    labels = lesson.labels[:, None].expand_as(logits)
    if model.encoding.task == LENGTH:
        found = -(logits.log_softmax(-1) * labels).sum(-1)
    else:
        found = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(-1)
    return found * (lesson.ids != PAD)


def training_texts(corpus: Path, task: str, most_words: int) -> list[Text]:
    """The texts of the split ``train``, of at most ``most_words`` words, that fulfil a control of ``task``.

    Raises:
        InputError: there is none, or one lacks the tags or the tree that the task needs, or they do not fit.
    """
    lines = enumerate(read_records(corpus, Text), 1)
    texts = {n: text for n, text in lines if text.split == "train" and 0 < len(text.tokens) <= most_words}
    if task in FORMS:
        for number, text in texts.items():
            _check_annotation(f"{corpus}:{number}", text, task)
    kept = [text for text in texts.values() if _fulfils_some(text, task)]
    if not kept:
        what = f"no training text of at most {most_words} words fulfils a control of {task}"
        raise InputError(corpus, what, "use a corpus that has them")
    return kept


def _check_annotation(where: str, text: Text, task: str) -> None:
    kind, found = ("tags", text.tags) if task == PARTS_OF_SPEECH else ("tree", text.tree)
    if found is None:
        raise InputError(
            where, f"text '{text.id}' has no {kind}", f"annotate it: {task} is learned from them"
        )
    words = len(found) if isinstance(found, list) else len(read_tree(found, where).words)
    if words != len(text.tokens):
        what = f"{kind} of {words} words for {len(text.tokens)} tokens"
        raise InputError(where, what, "annotate the tokens of the record")


def _fulfils_some(text: Text, task: str) -> bool:
    if task == SEMANTIC_CONTENT:
        return bool(text.fields)
    return task == LENGTH or bool(FORMS[task].stated(text))


def main(job: Job) -> None:
    """Train, then save the averaged weights with the encoding of controls and the vocabulary's digest."""
    spec, corpus = job.spec, job.inputs["corpus"]
    if (task := spec["task"]) not in DISCRIMINATED:
        raise InputError(f"task '{task}'", "no discriminator for it", nearest(task, DISCRIMINATED))
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    texts = training_texts(corpus, task, spec["most_words"])
    encoding, training = (
        Encoding.collect(task, texts, spec["most_words"]),
        TrainingSettings(**spec["training"]),
    )
    model = Discriminator(DiscriminatorSettings(**spec["model"]), encoding, len(vocabulary)).to(device())
    lessons = Lessons(encoding, texts, vocabulary, training)

    def loss(step: int) -> Tensor:
        lesson = lessons.at(step)
        mean: Tensor = losses(model, lesson).sum() / (lesson.ids != PAD).sum()
        return mean

    train(model, loss, training, job.work, f"fudge {task}", job.signature)
    model.save(job.outputs["model"], vocabulary.digest())


if __name__ == "__main__":
    command(
        main, inputs=("corpus", "vocabulary"), outputs=("model",), section="properties/fudge_discriminators"
    )
