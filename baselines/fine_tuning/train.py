"""Fine-tune a language model on (control, text) pairs of one task (paper Section 6.3).

python -m baselines.fine_tuning.train --spec SPEC \\
    --input corpus=FILE vocabulary=FILE [language_model=FILE] --output model=FILE

A row is ``prompt START text END``. The model starts from the shared ``language_model`` (source: shared), from
a pretrained GPT-2, or from nothing (source: train).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from baselines.fine_tuning.prompts import SERIALISATIONS, extra_words, prompt
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.language_model import LanguageModel, LanguageModelSettings, Row, build, extended, fit
from pipeline.records import Text, read_records
from pipeline.seeding import seed_of
from pipeline.training import TrainingSettings


def main(job: Job) -> None:
    """Train, then save the averaged weights with the task and the vocabulary they belong to."""
    spec, corpus = job.spec, job.inputs["corpus"]
    if (task := spec["task"]) not in SERIALISATIONS:
        raise InputError(f"task '{task}'", "no fine-tuning for it", nearest(task, SERIALISATIONS))
    texts, training = training_texts(corpus, spec["most_words"]), TrainingSettings(**spec["training"])
    model, settings = initial(job, texts), LanguageModelSettings(**spec["model"])
    rows = training_rows(model, task, texts, spec["controls_per_text"], spec["loss_on_prompt"])
    if not rows:
        raise InputError(corpus, f"no training text states a control of {task}", "use a corpus that has them")
    fit(model, rows, training, job.work, f"fine_tuning {task}", job.signature)
    digest = Vocabulary.load(job.inputs["vocabulary"]).digest()
    model.save(job.outputs["model"], settings, task=task, vocabulary=digest)


def initial(job: Job, texts: Sequence[Text]) -> LanguageModel:
    """The model before training, able to read the prompts of its task.

    Raises:
        InputError: the shared model is missing or of another vocabulary.
    """
    spec, vocabulary = job.spec, Vocabulary.load(job.inputs["vocabulary"])
    settings, seed = LanguageModelSettings(**spec["model"]), spec["training"]["seed"]
    word_level = settings.source in ("train", "shared")
    extra = extra_words(spec["task"], texts, spec["most_words"]) if word_level else []
    if settings.source != "shared":
        return build(settings, vocabulary, extra, seed).to(device())
    if "language_model" not in job.inputs:
        raise InputError("--input", "'language_model' is missing", "add language_model=FILE (source: shared)")
    shared = LanguageModel.load(job.inputs["language_model"], vocabulary=vocabulary.digest())
    return extended(shared, settings, extra, seed).to(device())


def training_texts(corpus: Path, most_words: int) -> list[Text]:
    """The texts of the split ``train`` that have at most ``most_words`` words.

    Raises:
        InputError: there is none.
    """
    texts = [t for t in read_records(corpus, Text) if t.split == "train" and len(t.tokens) <= most_words]
    if not texts:
        what = f"no training text of at most {most_words} words"
        raise InputError(corpus, what, "prepare the corpus again")
    return texts


def training_rows(
    model: LanguageModel, task: str, texts: Sequence[Text], controls_per_text: int, loss_on_prompt: bool
) -> list[Row]:
    """Rows for the controls that each text states: fields with their values, tags, tree, spans or length.

    The release has 8 rows per text for fields, ``none`` where a text leaves one out; nobody asks for
    ``none``, so those rows are left out.

    Args:
        controls_per_text: most controls of one text, drawn once for all epochs; 0: all that it states.
        loss_on_prompt: the prompt is learned too, all but its first token, as in the release (whose loss
            on the padding is not reproduced).
    """
    rows = []
    for text in texts:
        controls = SERIALISATIONS[task].stated(text)
        if 0 < controls_per_text < len(controls):
            random = np.random.default_rng(seed_of("fine-tuning controls", task, text.id))
            controls = [controls[i] for i in random.choice(len(controls), controls_per_text, replace=False)]
        rows += [model.row(text.tokens, prompt(task, control)) for control in controls]
    return [replace(row, prompt=1) for row in rows] if loss_on_prompt else rows


if __name__ == "__main__":
    command(
        main,
        inputs=("corpus", "vocabulary"),
        outputs=("model",),
        open_ended=True,
        section="properties/fine_tuning",
    )
