"""FUDGE steers a language model that knows no control by discriminators of the future (paper Section 6.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import ClassVar

from baselines.fudge.controls import Asked
from baselines.fudge.discriminator import Discriminator
from baselines.fudge.processor import FudgeProcessor, Part
from baselines.fudge.train import DISCRIMINATED
from pipeline.decoding import Processor, sample
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel
from pipeline.methods import Method, Request
from pipeline.progress import Progress
from pipeline.tasks import COMPOSITIONS, INFILLING, UNCONDITIONAL, parts

CHUNK = 1024  # texts between two progress lines

Discriminators = Mapping[str, Discriminator]


class Fudge(Method):
    """Samples from the ``top_k`` best words after steering, which are among the model's ``candidates`` best.

    Settings: ``candidates``, ``top_k``, ``strength`` (lambda by task; a composition's own by part, or those
    of its parts), ``precision`` of the discriminators (in bf16 a text may depend on its batch in the last
    bit), ``longest`` (words).
    """

    tasks = frozenset((*DISCRIMINATED, *COMPOSITIONS))
    refusals: ClassVar = {
        UNCONDITIONAL: "there is nothing to steer towards",
        INFILLING: "its discriminators tell controls of restaurant texts; the paper does not run it either",
    }

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Words and costs, chunk by chunk.

        Raises:
            InputError: a model is of another task or vocabulary or too short, a discriminator has not
                learned what a target asks for, or a strength is missing.
        """
        model, progress, done = self.language_model(), Progress(self.name, len(requests)), 0
        for task, same in groupby(requests, key=lambda request: request.target.task):
            discriminators, asked = self.discriminators(task), list(same)
            for first in range(0, len(asked), CHUNK):
                chunk = asked[first : first + CHUNK]
                for new in self.texts(model, discriminators, chunk, seed):
                    yield model.decode(new), self.cost(len(new), task), 0
                progress.update(done := done + len(chunk))

    def texts(
        self, model: LanguageModel, discriminators: Discriminators, requests: Sequence[Request], seed: int
    ) -> list[list[int]]:
        """New token ids of requests of one task."""
        from transformers import TopKLogitsWarper

        settings, task = self.settings, requests[0].target.task
        targets = [request.target for request in requests]
        asked = {part: d.encoding.asked(targets, device()) for part, d in discriminators.items()}

        def steering(rows: Sequence[int]) -> list[Processor]:
            told = [
                Part(d, self.strength(task, part), Asked(*(column[list(rows)] for column in asked[part])))
                for part, d in discriminators.items()
            ]
            words, precision = len(self.vocabulary), settings["precision"]
            fudge = FudgeProcessor(told, settings["candidates"], words, precision)
            return [fudge, TopKLogitsWarper(settings["top_k"])]

        generators = [self.generator(request, seed) for request in requests]
        prompts: list[list[int]] = [[] for _ in requests]
        return sample(model, prompts, generators, settings["longest"], temperature=1.0, steering=steering)

    def cost(self, words: int, task: str) -> int:
        """Tokens read for a text: by the language model once each, START included; and by each discriminator
        with a strength at every step the whole prefix and all candidates.
        """
        steps = min(words + 1, self.settings["longest"])  # the last one writes END, unless the text is cut
        prefixes = steps * (steps + 1) // 2
        candidates = steps * min(self.settings["candidates"], len(self.vocabulary))
        steering = sum(bool(self.strength(task, part)) for part in parts(task))
        return steps + steering * (prefixes + candidates)

    def language_model(self) -> LanguageModel:
        """The model that is steered; the discriminators read its words, so it must be word level."""
        path = self.models["language_model"]
        model = LanguageModel.load(path, vocabulary=self.vocabulary.digest())
        if not model.word_level:
            how = "set language_model.model.source to train"
            raise InputError(path, "FUDGE's discriminators cannot read sub-word tokens", how)
        return model.to(device())

    def discriminators(self, task: str) -> Discriminators:
        """The discriminator of each part of a task."""
        names = {
            part: f"discriminator_{part}" if task in COMPOSITIONS else "discriminator" for part in parts(task)
        }
        digest = self.vocabulary.digest()
        found = {
            part: Discriminator.load(self.models[name], task=part, vocabulary=digest).to(device())
            for part, name in names.items()
        }
        for part, discriminator in found.items():
            if self.settings["longest"] > (most := discriminator.encoding.most_words):
                what = f"knows texts of at most {most} words, but longest is {self.settings['longest']}"
                raise InputError(
                    self.models[names[part]], what, "train it on longer texts, or write shorter ones"
                )
        return found

    def strength(self, task: str, part: str) -> float:
        """Lambda of a task's part: the task's own, or that of the part as a task.

        Raises:
            InputError: neither is set.
        """
        given = self.settings["strength"]
        own = given.get(task, {})
        found = own.get(part, given.get(part)) if isinstance(own, Mapping) else own
        if found is None:
            raise InputError(f"methods.{self.name}.strength", f"none for {part}", f"add {part}: 20, say")
        return float(found)


METHOD = Fudge
