"""Train the attribute head of PPLM's discriminator on a frozen language model.

python -m baselines.pplm.train --spec SPEC \\
    --input corpus=FILE vocabulary=FILE language_model=FILE --output model=FILE

SPEC has ``head`` (``sigmoids`` or ``softmax``), ``training`` and ``most_words``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from baselines.pplm.attribute import Head, mean_hidden
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel
from pipeline.records import Text, read_records
from pipeline.tasks import field_values
from pipeline.training import Batches, TrainingSettings, train


def training_texts(corpus: Path, most_words: int) -> list[Text]:
    """The training texts of at most ``most_words`` words that state a field.

    Raises:
        InputError: there is none.
    """
    texts = [text for text in read_records(corpus, Text) if text.split == "train" and text.fields]
    if not (short := [text for text in texts if len(text.tokens) <= most_words]):
        what = f"no training text of at most {most_words} words that states a field"
        raise InputError(corpus, what, "prepare a corpus that has them")
    return short


def examples(head: Head, texts: Sequence[Text]) -> tuple[Tensor, Tensor]:
    """Numbers of texts [N] and their labels [N, C], 1 at what is stated.

    Of each text one example for ``sigmoids``, one per stated value for ``softmax``.
    """
    stated = [[head.classes[pair] for pair in (text.fields or {}).items()] for text in texts]
    rows = [(i, classes) for i, classes in enumerate(stated)]
    if head.form == "softmax":
        rows = [(i, [one]) for i, classes in rows for one in classes]
    labels = torch.zeros(len(rows), len(head.classes))
    for label, (_, classes) in zip(labels, rows, strict=True):
        label[classes] = 1
    return torch.tensor([i for i, _ in rows]), labels


def head_loss(
    head: Head, features: Tensor, texts: Sequence[Text], settings: TrainingSettings
) -> Callable[[int], Tensor]:
    """Loss of a step on the mean hidden states [N, d] of the texts."""
    rows, labels = (tensor.to(features.device) for tensor in examples(head, texts))
    batches = Batches(len(rows), settings.batch_size, settings.seed)

    def loss(step: int) -> Tensor:
        chosen = torch.from_numpy(batches.at(step)).to(features.device)
        return head.training_loss(features[rows[chosen]], labels[chosen])

    return loss


def main(job: Job) -> None:
    """Read every text once, train the head on what was read, and save its averaged weights."""
    digest = Vocabulary.load(job.inputs["vocabulary"]).digest()
    training = TrainingSettings(**job.spec["training"])
    model = LanguageModel.load(job.inputs["language_model"], vocabulary=digest).to(device())
    texts = training_texts(job.inputs["corpus"], job.spec["most_words"])
    classes = [(field, value) for field, values in field_values(texts).items() for value in values]
    torch.manual_seed(training.seed)
    head = Head(job.spec["head"], classes, model.network.config.n_embd).to(device())
    with torch.autocast(device().type, torch.bfloat16, enabled=training.precision == "bf16"):
        features = mean_hidden(model, [text.tokens for text in texts])
    loss = head_loss(head, features, texts, training)
    train(head, loss, training, job.work, "attribute head", job.signature)
    head.save(job.outputs["model"], digest, model)


if __name__ == "__main__":
    command(
        main,
        inputs=("corpus", "vocabulary", "language_model"),
        outputs=("model",),
        section="properties/pplm_attribute",
    )
