"""FT-PoE: a product of two fine-tuned language models, each behind its own control (paper Section 7.2).

p(word) is proportional to the product over the parts of p_part(word | control of the part)^weight. The paper
gives neither weights nor decoding: weights of 1 and ancestral sampling here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import ClassVar

from baselines.fine_tuning.method import CHUNK
from baselines.fine_tuning.prompts import SERIALISATIONS, prompt_ids
from pipeline.decoding import sample_product
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.language_model import LanguageModel
from pipeline.methods import Method, Request
from pipeline.progress import Progress
from pipeline.tasks import COMPOSITIONS, INFILLING, UNCONDITIONAL, parts


class ProductOfExperts(Method):
    """Settings: ``weights`` (of the parts, 1 where absent), ``temperature``, ``longest`` (words)."""

    tasks = frozenset(COMPOSITIONS)
    refusals: ClassVar = {
        UNCONDITIONAL: "its models have learned texts under a control only",
        INFILLING: "one thing is asked for, not two",
        **dict.fromkeys(SERIALISATIONS, "a product of one model is ft_sample"),
    }

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Words and costs, chunk by chunk: every token that either model reads counts.

        Raises:
            InputError: a model is of another task or vocabulary, cannot say its control, or is too short.
        """
        progress = Progress(self.name, len(requests))
        done = 0
        for task, same in groupby(requests, key=lambda request: request.target.task):
            experts, weights, asked = self.experts(task), self.weights(task), list(same)
            for first in range(0, len(asked), CHUNK):
                yield from self.texts(experts, weights, asked[first : first + CHUNK], seed)
                progress.update(done := done + len(asked[first : first + CHUNK]))

    def texts(
        self, experts: dict[str, LanguageModel], weights: list[float], requests: Sequence[Request], seed: int
    ) -> Iterator[tuple[list[str], int, int]]:
        """Words and costs of requests of one task."""
        prompts = [[prompt_ids(model, r.target, part) for r in requests] for part, model in experts.items()]
        generators = [self.generator(request, seed) for request in requests]
        models, settings = list(experts.values()), self.settings
        written = sample_product(
            models, prompts, weights, generators, settings["longest"], settings["temperature"]
        )
        for new, *given in zip(written, *prompts, strict=True):
            words = models[0].decode(new)[: settings["longest"]]
            yield words, sum(len(ids) + 1 + len(new) for ids in given), 0

    def experts(self, task: str) -> dict[str, LanguageModel]:
        """The model of each part of a composition."""
        digest = self.vocabulary.digest()
        return {
            part: LanguageModel.load(self.models[f"language_model_{part}"], task=part, vocabulary=digest).to(
                device()
            )
            for part in parts(task)
        }

    def weights(self, task: str) -> list[float]:
        """The weight of each part's log-probabilities."""
        known = {part for composed in COMPOSITIONS.values() for part in composed}
        for part in (given := self.settings.get("weights", {})):
            if part not in known:
                raise InputError(f"methods.{self.name}.weights", f"no part '{part}'", nearest(part, known))
        return [given.get(part, 1.0) for part in parts(task)]


METHOD = ProductOfExperts
