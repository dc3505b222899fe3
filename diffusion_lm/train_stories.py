"""Train the Diffusion-LM that fills sentences into stories (paper Sections 6.1, 6.4).

python -m diffusion_lm.train_stories --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE

Beside ``model`` and ``training`` SPEC says what a text is: ``examples`` are whole ``stories``, or a sentence
of a story between its ``neighbours`` or between the story's ``ends``. Behind that sentence stand up to
``slack`` PAD words, so that the model learns to leave slots empty; in a share ``clean_context`` of the
texts what stands around it is clean, as it will be when a sentence is filled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from diffusion_lm.infilling import SLOTS_FIRST, slots_first
from diffusion_lm.layout import Row, framed, pad_layout
from diffusion_lm.train import KIND, WHOLE, build, canvas_loss, fit, fixed_loss, length_counts
from pipeline.command import Job, command
from pipeline.corpora.infilling import Context, examples
from pipeline.corpora.vocabulary import PAD, Vocabulary
from pipeline.errors import InputError
from pipeline.records import Text, read_records
from pipeline.seeding import seed_of
from pipeline.training import Batches, TrainingSettings

Kind = Context | Literal["stories"]


class Told(NamedTuple):
    """Word ids of a training text: a sentence and what stands around it, or a whole story in ``middle``."""

    left: list[int]
    middle: list[int]
    right: list[int]

    @property
    def ids(self) -> list[int]:
        """All of them."""
        return [*self.left, *self.middle, *self.right]

    def row(self, clean: bool) -> Row:
        """Its canvas, which begins with the sentence; ``clean``: what stands around it is known."""
        before, after = ([not clean] * len(words) for words in (self.left, self.right))
        free = [*[True] * len(self.middle), *after, False, False, *before]
        return Row(slots_first(self.left, self.middle, self.right), free)


@dataclass(frozen=True)
class ExampleSettings:
    """What is learned; every key is described in the configuration schema."""

    examples: Kind
    slack: int
    clean_context: float


def training_texts(corpus: Path, vocabulary: Vocabulary, kind: Kind) -> list[Told]:
    """The training texts of a corpus of stories.

    Raises:
        InputError: no training text, a story without five sentences, or no such kind.
    """
    stories = [text for text in read_records(corpus, Text) if text.split == "train"]
    if not stories:
        raise InputError(corpus, "no training text", "prepare the corpus again")
    if kind == "stories":
        return [Told([], vocabulary.encode(story.tokens), []) for story in stories]
    return [Told(*map(vocabulary.encode, example)) for example in examples(stories, kind)]


class Lessons:
    """The texts of each training step, drawn by (seed, step).

    Behind the sentence stand 0 to ``slack`` PAD words, as far as ``most`` words allow. In a share
    ``clean_context`` of the rows what stands around it is known.
    """

    def __init__(
        self, texts: Sequence[Told], own: ExampleSettings, training: TrainingSettings, canvas: bool, most: int
    ) -> None:
        self.texts, self.own, self.seed, self.most = texts, own, training.seed, most
        lengths = [len(told.ids) for told in texts] if canvas else None
        self.batches = Batches(len(texts), training.batch_size, training.seed, lengths)

    def texts_at(self, step: int) -> list[Told]:
        """With their PAD words."""
        chosen = [self.texts[i] for i in self.batches.at(step)]
        empty = self._random("slack", step).integers(self.own.slack + 1, size=len(chosen)).tolist()
        return [
            told._replace(middle=[*told.middle, *[PAD] * min(n, self.most - len(told.ids))])
            for told, n in zip(chosen, empty, strict=True)
        ]

    def rows_at(self, step: int) -> list[Row]:
        """On canvases."""
        texts = self.texts_at(step)
        if self.own.examples == "stories":
            return [framed(told.ids) for told in texts]
        clean = self._random("clean context", step).random(len(texts)) < self.own.clean_context
        return [told.row(known) for told, known in zip(texts, clean.tolist(), strict=True)]

    def _random(self, name: str, step: int) -> np.random.Generator:
        return np.random.default_rng(seed_of(name, self.seed, step))


def main(job: Job) -> None:
    """Train on stories, or on sentences and what stands around them."""
    vocabulary, training = Vocabulary.load(job.inputs["vocabulary"]), TrainingSettings(**job.spec["training"])
    model = build(job, vocabulary, WHOLE)
    canvas, positions = model.settings.layout == "canvas", model.settings.positions
    own = example_settings(job, canvas)
    texts = training_texts(job.inputs["corpus"], vocabulary, own.examples)
    most = positions - 2
    fitting = [told for told in texts if len(told.ids) <= most] if canvas else texts  # others are cut
    if not fitting:
        what = f"no training text of at most {most} words"
        raise InputError(job.inputs["corpus"], what, "give the model more positions")
    lessons = Lessons(fitting, own, training, canvas, most)

    def padded_rows(step: int) -> Tensor:
        return pad_layout([told.ids for told in lessons.texts_at(step)], positions)

    loss = canvas_loss(model, lessons.rows_at) if canvas else fixed_loss(model, padded_rows)
    header = {"vocabulary": vocabulary.digest(), "lengths": length_counts([t.ids[:most] for t in fitting])}
    fit(job, KIND, model, loss, {**header, SLOTS_FIRST: canvas and own.examples != "stories"})


def example_settings(job: Job, canvas: bool) -> ExampleSettings:
    """What a job asks to be learned.

    Raises:
        InputError: settings that do not go together.
    """
    own = ExampleSettings(**{field.name: job.spec[field.name] for field in fields(ExampleSettings)})
    if own.examples == "stories" and own.slack:
        raise InputError("slack", "whole stories have no slots to leave empty", "give 0, or other examples")
    if own.clean_context and (own.examples == "stories" or not canvas):
        how = "give 0, or examples of sentences in layout 'canvas'"
        raise InputError("clean_context", "nothing stands around a sentence on a canvas", how)
    return own


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary"), outputs=("model",), section="properties/story_diffusion")
