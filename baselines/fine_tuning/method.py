"""FT-sample draws from a fine-tuned language model behind the control; FT-search takes the best of a beam
(paper Section 6.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from baselines.fine_tuning.prompts import SERIALISATIONS, prompt_ids
from pipeline.decoding import sample, search
from pipeline.device import device
from pipeline.language_model import LanguageModel
from pipeline.methods import Method, Request
from pipeline.progress import Progress
from pipeline.tasks import COMPOSITIONS, INFILLING, UNCONDITIONAL

CHUNK = 1024  # texts between two progress lines
ONE_CONTROL = "a fine-tuned model reads one control; ft_poe multiplies two"


class FineTuned(Method):
    """Settings: ``decoding`` (``sample`` or ``search``), ``temperature``, ``beams``, ``longest`` (words).

    The search draws nothing, so all its samples of a target are equal: ask for one.
    """

    tasks = frozenset(SERIALISATIONS)
    refusals: ClassVar = {
        UNCONDITIONAL: "it has learned texts under a control only",
        INFILLING: "ar_infilling is this method for stories",
        **dict.fromkeys(COMPOSITIONS, ONE_CONTROL),
    }

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
            return search(model, prompts, settings["beams"], settings["longest"])
        generators = [self.generator(request, seed) for request in requests]
        return sample(model, prompts, generators, settings["longest"], settings["temperature"])


METHOD = FineTuned
