"""Train a Diffusion-LM end to end (paper Section 4, Appendix B).

python -m diffusion_lm.train --spec SPEC --input corpus=FILE vocabulary=FILE [language_model=FILE] \\
    --output model=FILE

SPEC holds ``model``, ``training`` and, where it is not ``simple``, ``objective``: ``vlb`` trains on the bound
itself (layout ``pad``). The language model is read where ``model.embedding`` is taken from one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion_lm.bound import bound_loss
from diffusion_lm.denoiser import DiffusionLM, ModelSettings
from diffusion_lm.layout import Row, block_layout, framed, pad_layout, row_tensors
from diffusion_lm.objective import paper_loss, words_loss
from pipeline import checkpoint
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.language_model import LanguageModel
from pipeline.records import Text, read_records
from pipeline.training import Batches, TrainingSettings, train

KIND = "Diffusion-LM"
OBJECTIVES = ("simple", "vlb")
WHOLE = ("canvas", "pad")  # layouts that cut no text into pieces


def training_texts(corpus: Path, vocabulary: Vocabulary, most_words: int) -> list[list[int]]:
    """Word ids of the training texts that fit into the model's positions.

    Raises:
        InputError: no training text is left.
    """
    texts = [
        text
        for text in read_records(corpus, Text)
        if text.split == "train" and len(text.tokens) <= most_words
    ]
    if not texts:
        raise InputError(
            corpus, f"no training text of at most {most_words} words", "prepare the corpus again"
        )
    return [vocabulary.encode(text.tokens) for text in texts]


def text_batches(
    texts: Sequence[list[int]], settings: TrainingSettings, by_length: bool
) -> Callable[[int], list[list[int]]]:
    """The texts of each training step; ``by_length``: those of similar length share a batch."""
    lengths = [len(ids) for ids in texts] if by_length else None
    batches = Batches(len(texts), settings.batch_size, settings.seed, lengths)
    return lambda step: [texts[i] for i in batches.at(step)]


def block_batches(
    texts: Sequence[list[int]], settings: TrainingSettings, length: int
) -> Callable[[int], Tensor]:
    """The rows [B, length] of each training step, cut from the joined texts (layout ``block``)."""
    rows = block_layout(texts, length)
    batches = Batches(len(rows), settings.batch_size, settings.seed)
    return lambda step: rows[torch.as_tensor(batches.at(step))]


def canvas_loss(
    model: DiffusionLM, rows: Callable[[int], list[Row]], free_only: bool = False
) -> Callable[[int], Tensor]:
    """Loss of a step on rows whose free words are noised and learned (layout ``canvas``).

    Args:
        rows: those of each step; a PAD among their words is a word. free_only: see :func:`words_loss`.
    """

    def loss(step: int) -> Tensor:
        return words_loss(model, *row_tensors(rows(step), device()), free_only).mean()

    return loss


def fixed_loss(
    model: DiffusionLM, rows: Callable[[int], Tensor], objective: str = "simple"
) -> Callable[[int], Tensor]:
    """Loss of a step on rows of fixed length whose every place is noised (layouts ``pad`` and ``block``).

    Args:
        rows: word ids [B, L] of each step. objective: ``simple``, or ``vlb`` for the bound itself.
    """

    def loss(step: int) -> Tensor:
        ids = rows(step).to(device())
        if objective == "vlb":
            return bound_loss(model, ids).mean()
        if model.settings.predict == "words":
            return words_loss(model, ids, torch.ones_like(ids, dtype=torch.bool), None).mean()
        return paper_loss(model, ids).mean()

    return loss


def build(job: Job, vocabulary: Vocabulary, layouts: Sequence[str]) -> DiffusionLM:
    """The untrained model of a training command that knows these layouts.

    Raises:
        InputError: another layout, or one that cannot be trained so.
    """
    settings = ModelSettings(words=len(vocabulary), **job.spec["model"])
    if settings.layout not in layouts:
        raise InputError("model.layout", f"cannot be '{settings.layout}'", f"choose {' or '.join(layouts)}")
    if settings.layout == "canvas" and settings.predict != "words":
        raise InputError("model.layout", "'canvas' needs predict 'words'", "choose 'pad' or predict 'words'")
    model = DiffusionLM(settings)
    if settings.embedding == "language_model":
        table = language_model_table(job, vocabulary, settings.dimension)
        model.embedding.weight.data.copy_(table)
    return model.to(device())


def language_model_table(job: Job, vocabulary: Vocabulary, dimension: int) -> Tensor:
    """The main directions of a trained language model's word vectors, [V, d], with mean 0 and variance 1.

    Raises:
        InputError: no model, one that knows other words, or one narrower than ``dimension``.
    """
    if "language_model" not in job.inputs:
        what = "needs a language model to take the embeddings from"
        raise InputError("model.embedding", what, "add --input language_model=FILE, or choose 'learned'")
    path = job.inputs["language_model"]
    vectors = LanguageModel.load(path, vocabulary=vocabulary.digest()).word_vectors()[: len(vocabulary)]
    if vectors.shape[1] < dimension:
        what = f"its word vectors have {vectors.shape[1]} dimensions, {dimension} are asked for"
        raise InputError(path, what, "lower model.dimension")
    left, values, _ = torch.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    table = left[:, :dimension] * values[:dimension]
    return (table - table.mean()) / table.std()


def fit(
    job: Job, kind: str, model: DiffusionLM, loss: Callable[[int], Tensor], header: Mapping[str, Any]
) -> None:
    """Train on the loss of each step, then save the averaged weights as a checkpoint of this kind."""
    training = TrainingSettings(**job.spec["training"])
    train(model, loss, training, job.work, job.outputs["model"].stem, job.signature)
    checkpoint.save(
        job.outputs["model"], kind, {"model": asdict(model.settings), **header}, model.state_dict()
    )


def main(job: Job) -> None:
    """Train on texts."""
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    model, training = build(job, vocabulary, (*WHOLE, "block")), TrainingSettings(**job.spec["training"])
    positions, layout = model.settings.positions, model.settings.layout
    if (objective := job.spec.get("objective", "simple")) not in OBJECTIVES:
        raise InputError("objective", f"cannot be '{objective}'", nearest(str(objective), OBJECTIVES))
    if objective != "simple" and layout != "pad":
        raise InputError("objective", f"'{objective}' needs whole rows", "choose model.layout 'pad'")
    texts = training_texts(job.inputs["corpus"], vocabulary, positions - 2)
    told = text_batches(texts, training, by_length=layout == "canvas")
    if layout == "canvas":
        loss = canvas_loss(model, lambda step: [framed(ids) for ids in told(step)])
    elif layout == "pad":
        loss = fixed_loss(model, lambda step: pad_layout(told(step), positions), objective)
    else:
        loss = fixed_loss(model, block_batches(texts, training, positions))
    fit(job, KIND, model, loss, {"vocabulary": vocabulary.digest(), "lengths": length_counts(texts)})


def length_counts(texts: Sequence[Sequence[Any]]) -> list[int]:
    """How many texts have 0, 1, 2, ... words."""
    return torch.bincount(torch.tensor([len(ids) for ids in texts])).tolist()


def load(path: Path, vocabulary: Vocabulary) -> tuple[DiffusionLM, list[int]]:
    """A trained model in evaluation mode on the machine's device, and its length counts.

    Raises:
        InputError: missing, damaged, or trained on another vocabulary.
    """
    model, header = load_kind(path, KIND, vocabulary)
    return model, header["lengths"]


def load_kind(path: Path, kind: str, vocabulary: Vocabulary) -> tuple[DiffusionLM, dict[str, Any]]:
    """A checkpoint of a kind as :func:`load` gives it, and its header.

    Raises:
        InputError: as :func:`load`, or of another kind.
    """
    header, weights = checkpoint.load(path, kind)
    checkpoint.require(path, header, {"vocabulary": vocabulary.digest()})
    model = DiffusionLM(ModelSettings(**header["model"]))
    checkpoint.restore(model, path, weights)
    return model.to(device()).eval(), header


if __name__ == "__main__":
    command(
        main,
        inputs=("corpus", "vocabulary"),
        outputs=("model",),
        open_ended=True,
        section="properties/diffusion",
    )
