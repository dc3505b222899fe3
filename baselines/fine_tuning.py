"""FT-sample and FT-search: a language model fine-tuned on (control, text) pairs, one per task (Section 6.3).

The control, written as words, is the prompt: ``prompt START text END``. FT-sample draws from the model,
FT-search takes the best of a beam.

python -m baselines.fine_tuning --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.language_model import LanguageModel, LanguageModelSettings, Row, build, fit
from pipeline.methods import Method, Request
from pipeline.progress import Progress
from pipeline.records import Target, Text, read_records
from pipeline.tasks import LENGTH, SEMANTIC_CONTENT, UNCONDITIONAL
from pipeline.training import TrainingSettings

CHUNK = 1024  # texts between two progress lines

Control = Mapping[str, Any]


class Serialisation(NamedTuple):
    """How the controls of a task become words (released code: run_clm.py:435-477, 743-745, 1121-1124)."""

    prompt: Callable[[Control], list[str]]
    stated: Callable[[Text], list[Control]]  # the controls that a training text fulfils
    askable: Callable[[Sequence[Text], int], list[Control]]  # all that prompts must be able to say


def _field_prompt(control: Control) -> list[str]:
    return [*control["field"].split(), ":", *control["value"].split()]


def _stated_fields(text: Text) -> list[Control]:
    return [{"field": field, "value": value} for field, value in (text.fields or {}).items()]


def _askable_fields(texts: Sequence[Text], most_words: int) -> list[Control]:
    return [control for text in texts for control in _stated_fields(text)]


def _length_prompt(control: Control) -> list[str]:
    return [str(control["length"])]


def _stated_length(text: Text) -> list[Control]:
    return [{"length": len(text.tokens)}]


def _askable_lengths(texts: Sequence[Text], most_words: int) -> list[Control]:
    return [{"length": words} for words in range(most_words + 1)]


SERIALISATIONS: dict[str, Serialisation] = {
    SEMANTIC_CONTENT: Serialisation(_field_prompt, _stated_fields, _askable_fields),
    LENGTH: Serialisation(_length_prompt, _stated_length, _askable_lengths),
}


def prompt(task: str, control: Control) -> list[str]:
    """The words of a control: ``food : Fast food``, or the number of words as one token."""
    return SERIALISATIONS[task].prompt(control)


def extra_words(task: str, texts: Sequence[Text], most_words: int) -> list[str]:
    """Every word of every prompt of a task, once, so that a word-level model has a token for each.

    A pretrained model spells them in its own tokens, as in the release.
    """
    askable = SERIALISATIONS[task].askable(texts, most_words)
    return list(dict.fromkeys(word for control in askable for word in prompt(task, control)))


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


def training_rows(model: LanguageModel, task: str, texts: Sequence[Text], loss_on_prompt: bool) -> list[Row]:
    """One row per text and control that it states: each field with its value, or the number of words.

    The release has 8 rows per text, one per field, ``none`` where a text leaves it out; nobody asks for
    ``none``, so those rows are left out.

    Args:
        loss_on_prompt: the prompt is learned too, all but its first token, as in the release (whose loss
            on the padding is not reproduced).
    """
    pairs = [(text, control) for text in texts for control in SERIALISATIONS[task].stated(text)]
    rows = [model.row(text.tokens, prompt(task, control)) for text, control in pairs]
    return [replace(row, prompt=1) for row in rows] if loss_on_prompt else rows


def main(job: Job) -> None:
    """Train, then save the averaged weights with the task and the vocabulary they belong to."""
    spec, corpus = job.spec, job.inputs["corpus"]
    if (task := spec["task"]) not in SERIALISATIONS:
        raise InputError(f"task '{task}'", "no fine-tuning for it", nearest(task, SERIALISATIONS))
    vocabulary, texts = Vocabulary.load(job.inputs["vocabulary"]), training_texts(corpus, spec["most_words"])
    settings, training = LanguageModelSettings(**spec["model"]), TrainingSettings(**spec["training"])
    extra = extra_words(task, texts, spec["most_words"]) if settings.source == "train" else []
    model = build(settings, vocabulary, extra, training.seed).to(device())
    rows = training_rows(model, task, texts, spec["loss_on_prompt"])
    if not rows:
        raise InputError(corpus, f"no training text states a control of {task}", "use a corpus that has them")
    fit(model, rows, training, job.work, f"fine_tuning {task}", job.signature)
    model.save(job.outputs["model"], settings, task=task, vocabulary=vocabulary.digest())


class FineTuned(Method):
    """Settings: ``decoding`` (``sample`` or ``search``), ``temperature``, ``beams``, ``longest`` (words).

    The search draws nothing, so all its samples of a target are equal: ask for one.
    """

    tasks = frozenset(SERIALISATIONS)
    refusals: ClassVar[Mapping[str, str]] = {UNCONDITIONAL: "it has learned texts under a control only"}

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Words and costs, chunk by chunk: every token that the model reads counts, once per beam.

        Raises:
            InputError: the model is of another task or vocabulary, cannot say a control, or is too short.
        """
        beams = self.settings["beams"] if self.settings["decoding"] == "search" else 1
        model, progress = self.load(requests), Progress(self.name, len(requests))
        for first in range(0, len(requests), CHUNK):
            chunk = requests[first : first + CHUNK]
            prompts = [prompt_ids(model, request.target) for request in chunk]
            for given, new in zip(prompts, self.decode(model, prompts, chunk, seed), strict=True):
                words = model.decode(new)[: self.settings["longest"]]
                yield words, (len(given) + 1 + len(new)) * beams, 0
            progress.update(first + len(chunk))

    def load(self, requests: Sequence[Request]) -> LanguageModel:
        """The model of the requests' task; a file holds one task only, so a second task is an error."""
        tasks = sorted({request.target.task for request in requests})
        path, digest = self.models["language_model"], self.vocabulary.digest()
        models = [LanguageModel.load(path, task=task, vocabulary=digest) for task in tasks]
        return models[0].to(device())

    def decode(
        self, model: LanguageModel, prompts: Sequence[list[int]], requests: Sequence[Request], seed: int
    ) -> list[list[int]]:
        """New token ids of each prompt; every sampled text has its own generator."""
        settings = self.settings
        if settings["decoding"] == "search":
            return model.search(prompts, settings["beams"], settings["longest"])
        generators = [self.generator(request, seed) for request in requests]
        return model.sample(prompts, generators, settings["longest"], settings["temperature"])


def prompt_ids(model: LanguageModel, target: Target) -> list[int]:
    """The token ids of a target's control.

    Raises:
        InputError: a word of it is none of the model's.
    """
    words = prompt(target.task, target.control)
    ids = model.encode_prompt(words)
    if model.unknown in ids:
        what = f"the model's prompts cannot say '{' '.join(words)}'"
        raise InputError(f"target '{target.target_id}'", what, "ask for a control of the training texts")
    return ids


METHOD = FineTuned


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary"), outputs=("model",))
