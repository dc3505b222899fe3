"""Train the encoder of BERTScore on the stories' sentences, or take a pretrained one.

python -m eval.train_encoder --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE

SPEC holds ``model`` (:class:`eval.encoder.EncoderSettings`) and ``training``, which a pretrained model does
not read. The objective is BERT's masked words (Devlin et al., 2019), without its pairs of sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from eval.encoder import TRAIN, EncoderSettings, bert_config, read_scale, refer, save
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import END, PAD, SPECIALS, START, Vocabulary
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.language_model import padded
from pipeline.records import Text, read_records
from pipeline.training import Batches, TrainingSettings, train

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

ASKED = 0.15  # share of the words that the model has to tell
POSITIONS = 0.1  # size of the vectors of positions against those of words in a new model
MASKED, SWAPPED = 0.8, 0.1  # shares of these that are hidden, and that another word stands for


def hide(ids: Tensor, mask: int) -> tuple[Tensor, Tensor]:
    """What the model sees of sentences, and which of their words it has to tell, [B, L] each.

    Args:
        ids: word ids. mask: the id that hides a word; the words are those between the specials and it.
    """
    chance = torch.rand(ids.shape)
    asked = (chance < ASKED) & (ids >= len(SPECIALS))
    others = torch.randint(len(SPECIALS), mask, ids.shape)
    hidden = asked & (chance < ASKED * MASKED)
    swapped = asked & ~hidden & (chance < ASKED * (MASKED + SWAPPED))
    return torch.where(hidden, mask, torch.where(swapped, others, ids)), asked


def masked_loss(model: BertForMaskedLM, ids: Tensor) -> Tensor:
    """Mean cross-entropy of the words asked for, a scalar; ``ids`` [B, L]."""
    seen, asked = (tensor.to(device()) for tensor in hide(ids, model.config.vocab_size - 1))
    ids = ids.to(device())
    states = model.bert(seen, attention_mask=(ids != PAD).long()).last_hidden_state
    losses = nn.functional.cross_entropy(model.cls(states[asked]).float(), ids[asked], reduction="sum")
    return losses / asked.sum().clamp(min=1)


def sentence_rows(corpus: Path, vocabulary: Vocabulary, positions: int) -> list[list[int]]:
    """``START sentence END`` of every sentence of the training stories that fits.

    Raises:
        InputError: there is none.
    """
    stories = (text for text in read_records(corpus, Text) if text.split == "train")
    rows = [[START, *vocabulary.encode(words), END] for words in _sentences(stories)]
    fitting = [row for row in rows if len(row) <= positions]
    if not fitting:
        how = f"give a corpus of stories; the model has {positions} positions"
        raise InputError(corpus, "no sentence to learn from", how)
    return fitting


def _sentences(stories: Iterator[Text]) -> Iterator[list[str]]:
    return (sentence for story in stories for sentence in story.sentences or [])


def new_model(settings: EncoderSettings, counts: Tensor) -> BertForMaskedLM:
    """An untrained model that already knows how frequent words are.

    All vectors of BERT's input begin equally large. Here positions begin smaller and the type of a sentence,
    of which there is one, with nothing: sentences then differ by their words from the start. Where the
    frequencies stand in the bias of the output, states need not learn them, which makes all states alike. A
    long training would bring all that about; one of a minute does not.

    Args:
        counts: how often each word of the vocabulary occurs, [words].
    """
    from transformers import BertForMaskedLM

    model = BertForMaskedLM(bert_config(settings, len(counts)))
    with torch.no_grad():
        model.bert.embeddings.position_embeddings.weight.mul_(POSITIONS)
        model.bert.embeddings.token_type_embeddings.weight.zero_()
        model.cls.predictions.bias[: len(counts)] = (counts + 1.0).log()
    return model


def fit(
    rows: Sequence[list[int]], settings: EncoderSettings, words: int, training: TrainingSettings, work: Path,
    signature: str,
) -> BertForMaskedLM:  # fmt: skip
    """A model trained on the rows; ``words`` is the size of the vocabulary."""
    torch.manual_seed(training.seed)
    counts = torch.bincount(torch.tensor([i for row in rows for i in row]), minlength=words)
    model = new_model(settings, counts)
    nn.Module.to(model, device())
    batches = Batches(len(rows), training.batch_size, training.seed, [len(row) for row in rows])

    def loss(step: int) -> Tensor:
        return masked_loss(model, padded([rows[i] for i in batches.at(step)], PAD))

    train(model, loss, training, work, "encoder", signature)
    return model


def main(job: Job) -> None:
    """Write the encoder."""
    settings = EncoderSettings(**job.spec["model"]).resolved()
    if settings.source != TRAIN:
        refer(job.outputs["model"], settings)
        return
    read_scale(settings)  # a baseline that cannot be read must not cost a training
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    rows = sentence_rows(job.inputs["corpus"], vocabulary, settings.positions)
    training = TrainingSettings(**job.spec["training"])
    model = fit(rows, settings, len(vocabulary), training, job.work, job.signature)
    save(job.outputs["model"], settings, vocabulary, model)


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary"), outputs=("model",), section="properties/story_encoder")
