"""What PPLM maximises: the probability that an attribute model gives to the wanted attribute.

Two attribute models (Dathathri et al., 2020, Sections 4.2 and 4.3): a discriminator, which is one linear
layer on the mean of the language model's hidden states, and a bag of words, which reads the next word only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import checkpoint
from pipeline.errors import InputError, nearest
from pipeline.language_model import LanguageModel, padded
from pipeline.progress import Progress
from pipeline.records import Target

KIND = "PPLM attribute head"
HEADS = ("sigmoids", "softmax")
TEXTS_AT_ONCE = 128  # that the language model reads for their hidden states

Class = tuple[str, str]
"""A field with a value."""


class Head(nn.Module):
    """p(field has value | text) from the mean hidden state of a text.

    Args:
        form: ``sigmoids``, one per class, since a text states several values; or ``softmax``, one over all
            classes, as in the original code (run_pplm_discrim_train.py:31).
        classes: the field values it tells apart. hidden: width of the language model.

    Raises:
        InputError: unknown form.
    """

    def __init__(self, form: str, classes: Sequence[Class], hidden: int) -> None:
        super().__init__()
        if form not in HEADS:
            raise InputError(f"head '{form}'", "no such form", nearest(form, HEADS))
        self.form, self.classes = form, {pair: i for i, pair in enumerate(classes)}
        self.linear = nn.Linear(hidden, len(classes))

    def log_probabilities(self, features: Tensor) -> Tensor:
        """log p(class | text) [B, C] of mean hidden states [B, d]."""
        logits = self.linear(features)
        return F.logsigmoid(logits) if self.form == "sigmoids" else logits.log_softmax(-1)

    def training_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, a scalar; ``labels`` [B, C] are 1 at what is stated (softmax: at one class)."""
        logits = self.linear(features)
        if self.form == "sigmoids":
            return F.binary_cross_entropy_with_logits(logits, labels)
        return F.cross_entropy(logits, labels)

    def class_of(self, target: Target) -> int:
        """The class that a target asks for.

        Raises:
            InputError: the head has not learned it.
        """
        field, value = target.control["field"], target.control["value"]
        if (field, value) not in self.classes:
            hint = nearest(f"{field} = {value}", (f"{f} = {v}" for f, v in self.classes))
            what = f"the attribute head has not learned '{field} = {value}'"
            raise InputError(f"target '{target.target_id}'", what, hint)
        return self.classes[field, value]

    def save(self, path: Path, vocabulary: str, model: LanguageModel) -> None:
        """Write it with the digests of its vocabulary and of the language model it was trained on."""
        header = {"head": self.form, "classes": list(self.classes)}
        checkpoint.save(path, KIND, header | _made_for(vocabulary, model), self.state_dict())

    @classmethod
    def load(cls, path: Path, vocabulary: str, model: LanguageModel) -> Self:
        """Read what :meth:`save` wrote, frozen.

        Raises:
            InputError: missing, damaged, or made for another vocabulary or language model.
        """
        header, weights = checkpoint.load(path, KIND)
        checkpoint.require(path, header, _made_for(vocabulary, model))
        head = cls(header["head"], [(f, v) for f, v in header["classes"]], model.network.config.n_embd)
        checkpoint.restore(head, path, weights)
        return head.eval().requires_grad_(False)


class AttributeModel(ABC):
    """What is wanted of each text of a batch.

    ``horizon`` is how many places ahead it reads; ``running_norm`` says that gradients are divided by their
    largest norm so far instead of their own (run_pplm.py:273-281).
    """

    horizon: int
    running_norm: ClassVar[bool]

    @abstractmethod
    def loss(self, log_p: Tensor, features: Tensor) -> Tensor:
        """-log p(attribute) [B] of next-token log-probabilities [B, V] and a mean hidden state [B, d]."""

    @abstractmethod
    def select(self, rows: Tensor) -> AttributeModel:
        """The same for some texts of the batch."""


class Discriminator(AttributeModel):
    """-log p(class | text) under a head; ``classes`` [B] are wanted, ``horizon`` is at least 1."""

    running_norm = False

    def __init__(self, head: Head, classes: Tensor, horizon: int) -> None:
        self.head, self.classes, self.horizon = head, classes, horizon

    def loss(self, log_p: Tensor, features: Tensor) -> Tensor:
        """It reads the features only."""
        return -self.head.log_probabilities(features).gather(1, self.classes[:, None])[:, 0]

    def select(self, rows: Tensor) -> Discriminator:
        """The same for some texts."""
        return Discriminator(self.head, self.classes[rows], self.horizon)


class BagOfWords(AttributeModel):
    """-log sum_w p(w) over the words of the wanted value; ``bags`` [B, V] is True at them."""

    horizon = 0
    running_norm = True

    def __init__(self, bags: Tensor) -> None:
        self.bags = bags

    @classmethod
    def of(cls, model: LanguageModel, values: Sequence[str]) -> BagOfWords:
        """The words of each value as its bag."""
        bags = torch.zeros(len(values), model.network.config.vocab_size, dtype=torch.bool)
        for row, value in zip(bags, values, strict=True):
            row[model.encode(value.split())] = True
        return cls(bags.to(model.network.device))

    def loss(self, log_p: Tensor, features: Tensor) -> Tensor:
        """It reads the next token's probabilities only."""
        return -log_p.masked_fill(~self.bags, -torch.inf).logsumexp(-1)

    def select(self, rows: Tensor) -> BagOfWords:
        """The same for some texts."""
        return BagOfWords(self.bags[rows])


@torch.no_grad()
def mean_hidden(model: LanguageModel, texts: Sequence[Sequence[str]]) -> Tensor:
    """Mean over START and the words of each text of the last hidden states, after the final LayerNorm [N, d].

    END is left out: the language model never reads it. Nor does padding enter.

    Raises:
        InputError: a text is longer than the model's positions.
    """
    rows = [[model.start, *model.encode(words)] for words in texts]
    model.check_length(max(map(len, rows)))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found = torch.empty(len(rows), model.network.config.n_embd, device=model.network.device)
    progress = Progress("hidden states", len(rows))
    for first in range(0, len(rows), TEXTS_AT_ONCE):
        chosen = order[first : first + TEXTS_AT_ONCE]
        ids = padded([rows[i] for i in chosen], model.pad).to(found.device)
        lengths = torch.tensor([len(rows[i]) for i in chosen], device=found.device)[:, None]
        hidden = model.network.transformer(input_ids=ids, use_cache=False).last_hidden_state
        read = torch.arange(ids.shape[1], device=found.device) < lengths
        found[chosen] = (hidden * read[:, :, None]).sum(1) / lengths
        progress.update(first + len(chosen))
    return found


def _made_for(vocabulary: str, model: LanguageModel) -> dict[str, str]:
    """What a head fits: a vocabulary's digest, and the digest of the model's word vectors."""
    embedding = checkpoint.digest(model.network.transformer.wte.weight)
    return {"vocabulary": vocabulary, "language_model": embedding}
