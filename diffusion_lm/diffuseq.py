"""DiffuSeq (Gong et al. 2023): the sentences around stand clean before the one that is denoised.

python -m diffusion_lm.diffuseq --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE

SPEC holds ``model`` and ``training`` as for Diffusion-LM, ``examples`` (a sentence between its ``neighbours``
or between the ``ends`` of its story), and ``slots``: places of the target in layout ``canvas``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion_lm.denoiser import DiffusionLM, ModelSettings
from diffusion_lm.infilling import require_room, sentences_around
from diffusion_lm.layout import Row, row_tensors
from diffusion_lm.objective import paper_loss
from diffusion_lm.sampling import FREE, SamplingSettings
from diffusion_lm.train import WHOLE, build, canvas_loss, fit, load_kind
from diffusion_lm.writing import CanvasMethod
from pipeline.command import Job, command
from pipeline.corpora.infilling import Context, examples
from pipeline.corpora.vocabulary import END, PAD, START, UNK, Vocabulary
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.methods import ONLY_INFILLING, Request
from pipeline.records import Text, read_records
from pipeline.tasks import INFILLING
from pipeline.training import Batches, TrainingSettings

KIND = "DiffuSeq"


def source(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """The clean part of a row: START left END right END."""
    return [START, *left, END, *right, END]


def whole_row(source: Sequence[int], target: Sequence[int], layout: str) -> Row:
    """Source and target: the target behind in layout ``pad`` (as released), else before its source.

    So a slot of a canvas has the same position in every row, however long the source is.
    """
    known, free = [False] * len(source), [True] * len(target)
    if layout == "pad":
        return Row([*source, *target], [*known, *free])
    return Row([*target, *source], [*free, *known])


def places_left(source: Sequence[int], model: ModelSettings, slots: int) -> int:
    """Places of the target: ``slots``, or in layout ``pad`` all that the model has left (as released)."""
    return model.positions - len(source) if model.layout == "pad" else slots


def training_rows(
    stories: Sequence[Text], vocabulary: Vocabulary, context: Context, model: ModelSettings, slots: int
) -> list[Row]:
    """Source and target of the sentences that fit into their slots, and with them into the positions.

    A target is the sentence, END, and PAD to the last slot.
    """
    rows = []
    for left, middle, right in examples(stories, context):
        given = source(vocabulary.encode(left), vocabulary.encode(right))
        empty = places_left(given, model, slots) - len(middle) - 1
        row = whole_row(given, [*vocabulary.encode(middle), END, *[PAD] * empty], model.layout)
        if empty >= 0 and len(row.ids) <= model.positions:
            rows.append(row)
    return rows


def partial_loss(
    model: DiffusionLM, rows: Sequence[Row], training: TrainingSettings
) -> Callable[[int], Tensor]:
    """Loss of a step on rows whose targets alone are noised and counted (partial noising, Section 3)."""
    batches = Batches(len(rows), training.batch_size, training.seed, [len(row.ids) for row in rows])

    def chosen(step: int) -> list[Row]:
        return [rows[i] for i in batches.at(step)]

    def loss(step: int) -> Tensor:
        ids, free, _ = row_tensors(chosen(step), device())
        return paper_loss(model, ids, free).mean()

    return canvas_loss(model, chosen, free_only=True) if model.settings.predict == "words" else loss


def main(job: Job) -> None:
    """Train on the sentences of stories, and what stands around them."""
    vocabulary, slots = Vocabulary.load(job.inputs["vocabulary"]), job.spec["slots"]
    model = build(job, vocabulary, WHOLE)
    stories = [text for text in read_records(job.inputs["corpus"], Text) if text.split == "train"]
    rows = training_rows(stories, vocabulary, job.spec["examples"], model.settings, slots)
    if not rows:
        what = f"no training text fits into {model.settings.positions} positions"
        raise InputError(job.inputs["corpus"], what, "give the model more")
    loss = partial_loss(model, rows, TrainingSettings(**job.spec["training"]))
    fit(job, KIND, model, loss, {"vocabulary": vocabulary.digest(), "slots": slots})


class DiffuSeqMethod(CanvasMethod):
    """Samples of a DiffuSeq: the words before the first END in the slots."""

    tasks = frozenset({INFILLING})
    refusals = ONLY_INFILLING

    def __init__(
        self, name: str, settings: Mapping[str, Any], vocabulary: Vocabulary, models: Mapping[str, Path]
    ) -> None:
        super().__init__(name, settings, vocabulary, models)
        self.model, header = load_kind(models["diffusion"], KIND, vocabulary)
        self.slots: int = header["slots"]
        self.sampling = self.check_steps(SamplingSettings(**settings["sampling"]), "sampling")

    def canvas(self, request: Request, generator: torch.Generator) -> list[int]:
        """The sentences around, and slots."""
        given, model = source(*sentences_around(request.target, self.vocabulary)), self.model.settings
        slots = [FREE] * max(1, places_left(given, model, self.slots))
        row = whole_row(given, slots, model.layout).ids
        require_room(request.target, row, model.positions)
        return row

    def barred(self, task: str) -> tuple[int, ...]:
        """No place is UNK; END and PAD say how long a text is."""
        return (START, UNK)

    def sampling_of(self, task: str) -> SamplingSettings:
        """The method's own."""
        return self.sampling

    def in_bf16(self, task: str) -> bool:
        """As the settings say."""
        return self.settings["precision"] == "bf16"


METHOD = DiffuSeqMethod

if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary"), outputs=("model",), section="properties/story_diffuseq")
