"""Train a language model to write a story's sentence behind those around it (paper Section 6.4; released
code: run_clm.py:281-298).

python -m baselines.ar_infilling.train --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE

SPEC has ``model``, ``training``, ``context`` (``neighbours`` or ``ends``) and ``layout``: ``separated`` is
``left SEP right START middle END`` with a loss on middle and END, ``released`` is
``START left right middle END`` with a loss on all of it but START.
"""

from __future__ import annotations

from collections.abc import Sequence

from baselines.story_language_model import fit
from pipeline.command import Job, command
from pipeline.corpora.infilling import Example, examples
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.language_model import LanguageModel, LanguageModelSettings, Row, build
from pipeline.records import Text, read_records
from pipeline.tasks import INFILLING
from pipeline.training import TrainingSettings

LAYOUTS = ("separated", "released")
SEPARATOR = "left | right"  # no word of a text has spaces in it


def main(job: Job) -> None:
    """Train on three examples of every training story; save with the layout."""
    spec, corpus = job.spec, job.inputs["corpus"]
    if (layout := spec["layout"]) not in LAYOUTS:
        raise InputError("layout", f"cannot be '{layout}'", nearest(str(layout), LAYOUTS))
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    settings, training = LanguageModelSettings(**spec["model"]), TrainingSettings(**spec["training"])
    extra = [SEPARATOR] if layout == "separated" else []
    model = build(settings, vocabulary, extra, training.seed).to(device())
    stories = [story for story in read_records(corpus, Text) if story.split == "train"]
    rows = [example_row(model, layout, example) for example in examples(stories, spec["context"])]
    fit(model, rows, training, job, "ar_infilling")
    model.save(job.outputs["model"], settings, task=INFILLING, vocabulary=vocabulary.digest(), layout=layout)


def example_row(model: LanguageModel, layout: str, example: Example) -> Row:
    """The training sequence of an example; the release learns its padding too, which rows have none of."""
    given = context_ids(model, layout, example.left, example.right)
    ids = [*given, *model.encode(example.middle), model.end]
    return Row(ids, 1 if layout == "released" else len(given))


def context_ids(model: LanguageModel, layout: str, left: Sequence[str], right: Sequence[str]) -> list[int]:
    """What the model reads before it writes the middle."""
    if layout == "released":
        return [model.start, *model.encode([*left, *right])]
    separator = model.tokenizer.token_to_id(SEPARATOR)
    return [*model.encode(left), separator, *model.encode(right), model.start]


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary"), outputs=("model",), section="properties/ar_infilling")
