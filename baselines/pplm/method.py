"""PPLM as a method: semantic content by gradients of an attribute model (paper Section 6.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar

import torch

from baselines.pplm.attribute import AttributeModel, BagOfWords, Discriminator, Head
from baselines.pplm.perturbation import PerturbationSettings
from baselines.pplm.writing import WritingSettings, cost, write
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.language_model import LanguageModel
from pipeline.methods import Method, Request
from pipeline.progress import Progress
from pipeline.tasks import (
    COMPOSITIONS,
    INFILLING,
    LENGTH,
    PARTS_OF_SPEECH,
    SEMANTIC_CONTENT,
    SYNTAX_SPANS,
    SYNTAX_TREE,
    UNCONDITIONAL,
)

ATTRIBUTES = ("discriminator", "words")
NO_POSITIONS = "its attribute is one of the whole text and has no positions; the paper does not run it either"


class PPLM(Method):
    """Settings: ``attribute`` (``discriminator`` or ``words``), ``updates``, ``step``, ``kl_scale``,
    ``gamma``, ``window``, ``fusion``, ``top_k``, ``horizon`` (of the discriminator, at least 1), ``longest``
    (words), ``batch_size``.

    Models: ``language_model``, and ``attribute`` for the discriminator.
    """

    tasks = frozenset({SEMANTIC_CONTENT})
    refusals: ClassVar[dict[str, str]] = {
        UNCONDITIONAL: "there is nothing to steer towards",
        INFILLING: "a sentence to come is no attribute; DELOREAN is this idea for it",
        LENGTH: "its attribute does not see where a text ends; the paper does not run it either",
        **dict.fromkeys((PARTS_OF_SPEECH, SYNTAX_TREE, SYNTAX_SPANS), NO_POSITIONS),
        **dict.fromkeys(COMPOSITIONS, f"of its syntactic half: {NO_POSITIONS}"),
    }

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Words and costs, batch by batch; every token that the language model reads counts.

        Raises:
            InputError: a model is of another vocabulary or too short, or a value is unknown to the head.
        """
        wanted, size, progress = (
            self.wanted(requests),
            self.settings["batch_size"],
            Progress(self.name, len(requests)),
        )
        for first in range(0, len(requests), size):
            rows = range(first, min(first + size, len(requests)))
            generators = [self.generator(requests[i], seed) for i in rows]
            chosen = wanted.select(torch.tensor(rows, device=device()))
            for ids in write(self.model, chosen, generators, self.writing, self.settings["longest"]):
                words = self.model.decode(ids)[: self.settings["longest"]]
                yield words, *cost(len(ids), self.settings["updates"], wanted.horizon)
            progress.update(rows.stop)

    @cached_property
    def model(self) -> LanguageModel:
        """The language model, frozen."""
        model = LanguageModel.load(self.models["language_model"], vocabulary=self.vocabulary.digest())
        return model.to(device()).requires_grad_(False)

    @cached_property
    def head(self) -> Head:
        """The discriminator's head on this very language model."""
        return Head.load(self.models["attribute"], self.vocabulary.digest(), self.model).to(device())

    @property
    def writing(self) -> WritingSettings:
        """How texts are written."""
        names = ("updates", "step", "kl_scale", "gamma", "window")
        perturbation = PerturbationSettings(**{name: self.settings[name] for name in names})
        return WritingSettings(perturbation, self.settings["fusion"], self.settings["top_k"])

    def wanted(self, requests: Sequence[Request]) -> AttributeModel:
        """The attribute that each request asks for.

        Raises:
            InputError: unknown kind of attribute model, or a value that the head has not learned.
        """
        if (kind := self.settings["attribute"]) not in ATTRIBUTES:
            raise InputError(
                f"methods.{self.name}.attribute",
                f"no such attribute model as '{kind}'",
                nearest(kind, ATTRIBUTES),
            )
        if kind == "words":
            return BagOfWords.of(self.model, [request.target.control["value"] for request in requests])
        classes = [self.head.class_of(request.target) for request in requests]
        return Discriminator(self.head, torch.tensor(classes, device=device()), self.settings["horizon"])


METHOD = PPLM
