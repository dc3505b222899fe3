"""Train a Diffusion-LM end to end (paper Section 4, Appendix B).

python -m diffusion_lm.train --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion_lm.denoiser import DiffusionLM, ModelSettings
from diffusion_lm.layout import block_layout, canvas_layout, pad_layout
from diffusion_lm.objective import paper_terms, uniform_steps, words_loss
from pipeline import checkpoint
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import END, PAD, START, Vocabulary
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.records import Text, read_records
from pipeline.training import Batches, TrainingSettings, train

KIND = "Diffusion-LM"


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


def canvas_loss(
    model: DiffusionLM, texts: Sequence[list[int]], settings: TrainingSettings
) -> Callable[[int], Tensor]:
    """Loss of a step on canvases as long as their texts, START and END known (layout ``canvas``)."""
    batches = Batches(len(texts), settings.batch_size, settings.seed, [len(ids) for ids in texts])

    def loss(step: int) -> Tensor:
        ids = canvas_layout([texts[i] for i in batches.at(step)]).to(device())
        mask = ids != PAD
        return words_loss(model, ids, mask & (ids != START) & (ids != END), mask).mean()

    return loss


def fixed_loss(
    model: DiffusionLM, texts: Sequence[list[int]], settings: TrainingSettings
) -> Callable[[int], Tensor]:
    """Loss of a step on rows of fixed length whose every place is noised (layouts ``pad`` and ``block``)."""
    lay = block_layout if model.settings.layout == "block" else pad_layout
    rows = lay(texts, model.settings.positions).to(device())
    batches = Batches(len(rows), settings.batch_size, settings.seed)

    def loss(step: int) -> Tensor:
        ids = rows[torch.as_tensor(batches.at(step), device=rows.device)]
        if model.settings.predict == "words":
            return words_loss(model, ids, torch.ones_like(ids, dtype=torch.bool), None).mean()
        t = uniform_steps(len(ids), model.process).to(ids.device)
        shape = (*ids.shape, model.settings.dimension)
        noises = torch.randn(2, *shape, device=ids.device)
        return sum(paper_terms(model, ids, t, *noises).values(), torch.zeros(())).mean()

    return loss


def main(job: Job) -> None:
    """Train, then save the averaged weights."""
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    settings = ModelSettings(words=len(vocabulary), **job.spec["model"])
    if settings.layout == "canvas" and settings.predict != "words":
        raise InputError(
            "diffusion.model.layout", "'canvas' needs predict 'words'", "choose 'pad' or predict 'words'"
        )
    texts = training_texts(job.inputs["corpus"], vocabulary, settings.positions - 2)
    model = DiffusionLM(settings).to(device())
    training = TrainingSettings(**job.spec["training"])
    loss = (canvas_loss if settings.layout == "canvas" else fixed_loss)(model, texts, training)
    train(model, loss, training, job.work, "diffusion_lm", job.signature)
    header = {"model": asdict(settings), "vocabulary": vocabulary.digest(), "lengths": length_counts(texts)}
    checkpoint.save(job.outputs["model"], KIND, header, model.state_dict())


def length_counts(texts: Sequence[Sequence[Any]]) -> list[int]:
    """How many texts have 0, 1, 2, ... words."""
    return torch.bincount(torch.tensor([len(ids) for ids in texts])).tolist()


def load(path: Path, vocabulary: Vocabulary) -> tuple[DiffusionLM, list[int]]:
    """A trained model in evaluation mode on the machine's device, and its length counts.

    Raises:
        InputError: missing, damaged, or trained on another vocabulary.
    """
    header, weights = checkpoint.load(path, KIND)
    checkpoint.require(path, header, {"vocabulary": vocabulary.digest()})
    model = DiffusionLM(ModelSettings(**header["model"]))
    checkpoint.restore(model, path, weights)
    return model.to(device()).eval(), header["lengths"]


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary"), outputs=("model",))
