"""Train a guidance classifier on the noisy vectors of a trained Diffusion-LM (paper Appendix D).

python -m diffusion_lm.train_classifier --spec SPEC --input corpus=FILE vocabulary=FILE diffusion=FILE \\
    --output model=FILE
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_lm import train as diffusion
from diffusion_lm.classifiers import ClassifierSettings, FieldClassifier, WordsClassifier, noisy_batch
from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.layout import canvas_layout, pad_layout
from diffusion_lm.syntax_classifiers import SpanClassifier, SyntaxSettings, TagClassifier, batch_rows
from pipeline import checkpoint
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import END, PAD, START, Vocabulary
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.language_model import padded
from pipeline.records import Text, read_records
from pipeline.tasks import PARTS_OF_SPEECH, SEMANTIC_CONTENT, SYNTAX_TREE, UNIVERSAL_TAGS, field_values
from pipeline.training import Batches, TrainingSettings, train
from pipeline.trees import read_tree, spans

KIND = "guidance classifier"
CLASSIFIED = (SEMANTIC_CONTENT, PARTS_OF_SPEECH, SYNTAX_TREE)  # tasks that have a classifier of their own
SemanticClassifier = FieldClassifier | WordsClassifier
SyntaxClassifier = TagClassifier | SpanClassifier


def build(
    settings: ClassifierSettings, model: DiffusionLM, values: dict[str, list[str]]
) -> SemanticClassifier:
    """A new semantic classifier over a corpus' field values, in the form that the settings name."""
    if settings.form == "fields":
        return FieldClassifier(settings, model, values)
    return WordsClassifier(settings, model.embedding.table)


def from_header(header: Mapping[str, Any], model: DiffusionLM) -> SemanticClassifier | SyntaxClassifier:
    """A new classifier of the kind, form and classes that a checkpoint's header names."""
    if header["task"] == SEMANTIC_CONTENT:
        return build(ClassifierSettings(**header["model"]), model, header["values"])
    settings = SyntaxSettings(**header["model"])
    if header["task"] == PARTS_OF_SPEECH:
        return TagClassifier(settings, model)
    return SpanClassifier(settings, model, header["labels"])


def noisy_texts(model: DiffusionLM, texts: Sequence[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, network times and mask of a batch, laid out and noised as the sampler will show texts."""
    canvas = model.settings.layout == "canvas"
    ids = (canvas_layout(texts) if canvas else pad_layout(texts, model.settings.positions)).to(device())
    mask = ids != PAD if canvas else torch.ones_like(ids, dtype=torch.bool)
    free = mask & (ids != START) & (ids != END) if canvas else mask
    x_t, time = noisy_batch(model, ids, free)
    return x_t, time, mask


def value_rows(vocabulary: Vocabulary, controls: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """``field : value`` as padded word ids [B, M], and how many of them the field takes, [B]."""
    prompts = [[*field.split(), ":"] for field, _ in controls]
    rows = [vocabulary.encode([*p, *value.split()]) for p, (_, value) in zip(prompts, controls, strict=True)]
    return padded(rows, PAD).to(device()), torch.tensor([len(p) for p in prompts], device=device())


def classifier_loss(
    classifier: SemanticClassifier, model: DiffusionLM, vocabulary: Vocabulary, texts: Sequence[Text],
    settings: TrainingSettings,
) -> Callable[[int], Tensor]:  # fmt: skip
    """Loss of a step: every field of the batch's texts, or (form ``words``) one stated value of each."""
    batches = Batches(len(texts), settings.batch_size, settings.seed, [len(text.tokens) for text in texts])
    encoded = [vocabulary.encode(text.tokens) for text in texts]

    def loss(step: int) -> Tensor:
        chosen = batches.at(step)
        x_t, time, mask = noisy_texts(model, [encoded[i] for i in chosen])
        fields = [texts[i].fields or {} for i in chosen]
        if isinstance(classifier, FieldClassifier):
            labels = torch.tensor([classifier.labels(f) for f in fields], device=x_t.device)
            return -classifier.log_probabilities(x_t, time, mask).gather(1, labels).mean()
        draws = torch.rand(len(fields)).tolist()
        controls = [list(f.items())[int(u * len(f))] for f, u in zip(fields, draws, strict=True)]
        return classifier.label_loss(x_t, time, mask, *value_rows(vocabulary, controls)).mean()

    return loss


def syntax_loss(
    classifier: SyntaxClassifier, model: DiffusionLM, vocabulary: Vocabulary, texts: Sequence[Text],
    settings: TrainingSettings,
) -> Callable[[int], Tensor]:  # fmt: skip
    """Loss of a step: cross-entropy of all that is asked of the batch's texts, divided by its words.

    A mean over the cells of a chart would hide the constituents: nearly all of its cells have none.
    """
    batches = Batches(len(texts), settings.batch_size, settings.seed, [len(text.tokens) for text in texts])
    encoded = [vocabulary.encode(text.tokens) for text in texts]
    rows = [asked_row(classifier, text) for text in texts]

    def loss(step: int) -> Tensor:
        chosen = batches.at(step)
        x_t, time, mask = noisy_texts(model, [encoded[i] for i in chosen])
        losses = classifier.loss(x_t, time, mask, batch_rows([rows[i] for i in chosen], x_t.device))
        return losses.sum() / sum(len(encoded[i]) for i in chosen)

    return loss


def asked_row(classifier: SyntaxClassifier, text: Text) -> Tensor:
    """A text's own tags or spans as a row of class numbers."""
    if isinstance(classifier, TagClassifier):
        return classifier.row(text.tags or [])
    return classifier.row(spans(text.tree or ""), len(text.tokens))


def main(job: Job) -> None:
    """Train, then save the averaged weights with the field values or labels they know."""
    task = task_of(job.spec)
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    model, _ = diffusion.load(job.inputs["diffusion"], vocabulary)
    texts = annotated_texts(job.inputs["corpus"], task)
    kind = ClassifierSettings if task == SEMANTIC_CONTENT else SyntaxSettings
    header = {"task": task, "model": asdict(kind(**job.spec["model"])), **classes(task, texts)}
    classifier = from_header(header, model).to(device())
    most = model.settings.positions - 2
    fitting = [text for text in texts if len(text.tokens) <= most]
    if not fitting:
        raise InputError(
            job.inputs["corpus"], f"no training text of at most {most} words", "prepare it again"
        )
    training = TrainingSettings(**job.spec["training"])
    if isinstance(classifier, SyntaxClassifier):
        loss = syntax_loss(classifier, model, vocabulary, fitting, training)
        if isinstance(classifier, SpanClassifier):
            classifier.count_lengths((spans(text.tree or ""), len(text.tokens)) for text in fitting)
    else:
        stated = [text for text in fitting if text.fields]
        if not stated:
            raise InputError(job.inputs["corpus"], "no training text with fields", "they are what is learned")
        loss = classifier_loss(classifier, model, vocabulary, stated, training)
    train(classifier, loss, training, job.work, "classifier", job.signature)
    header["embedding"] = embedding_digest(model)
    checkpoint.save(job.outputs["model"], KIND, header, trainable(classifier))


def task_of(spec: Mapping[str, Any]) -> str:
    """The task that a classifier is wanted for.

    Raises:
        InputError: it has none of its own.
    """
    task = spec.get("task", SEMANTIC_CONTENT)
    if task not in CLASSIFIED:
        raise InputError("--spec", f"no classifier is trained for '{task}'", nearest(str(task), CLASSIFIED))
    return str(task)


def annotated_texts(corpus: Path, task: str) -> list[Text]:
    """The training texts of a corpus.

    Raises:
        InputError: there are none, or one lacks the tags or the tree that ``task`` needs, or they do not fit.
    """
    lines = enumerate(read_records(corpus, Text), 1)
    numbered = [(f"{corpus}:{line}", text) for line, text in lines if text.split == "train"]
    if not numbered:
        raise InputError(corpus, "no training text", "prepare the corpus again")
    if task != SEMANTIC_CONTENT:
        for where, text in numbered:
            _check_annotation(where, text, task)
    return [text for _, text in numbered]


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
    for tag in text.tags if task == PARTS_OF_SPEECH and text.tags else ():
        if tag not in UNIVERSAL_TAGS:
            raise InputError(where, f"unknown tag '{tag}'", nearest(tag, UNIVERSAL_TAGS))


def classes(task: str, texts: Sequence[Text]) -> dict[str, Any]:
    """What a classifier learns to tell apart, as its header names it: field values, or labels of spans."""
    if task == SEMANTIC_CONTENT:
        return {"values": field_values(texts)}
    if task == SYNTAX_TREE:
        return {"labels": sorted({span.label for text in texts for span in spans(text.tree or "")})}
    return {}


def load(path: Path, model: DiffusionLM, task: str | None = None) -> SemanticClassifier | SyntaxClassifier:
    """A trained classifier of this very Diffusion-LM, frozen, in evaluation mode.

    Args:
        task: what it must classify; None: anything. Files without it are of semantic content.

    Raises:
        InputError: missing, damaged, of another task, or trained on another model's embeddings.
    """
    header, weights = checkpoint.load(path, KIND)
    header = {"task": SEMANTIC_CONTENT, **header}
    expected = {"embedding": embedding_digest(model)} | ({"task": task} if task else {})
    checkpoint.require(path, header, expected)
    classifier = from_header(header, model)
    checkpoint.restore(classifier, path, {**classifier.state_dict(), **weights})
    return classifier.to(device()).eval().requires_grad_(False)


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """What a classifier learned: its weights, and a span classifier's counts of lengths.

    The word table, a buffer too, belongs to the Diffusion-LM.
    """
    counted = {"lengths": module.lengths} if isinstance(module, SpanClassifier) else {}
    return {name: p.detach() for name, p in module.named_parameters()} | counted


def embedding_digest(model: DiffusionLM) -> str:
    """Hash of the word table that a classifier was trained on."""
    return checkpoint.digest(model.embedding.weight)


if __name__ == "__main__":
    command(
        main,
        inputs=("corpus", "vocabulary", "diffusion"),
        outputs=("model",),
        section=lambda spec: f"properties/classifiers/properties/{task_of(spec)}",
    )
