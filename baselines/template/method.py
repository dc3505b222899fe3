"""Rejection sampling: draw texts from a language model until one does what the control asks.

Not a method of the paper: the simplest honest one, and a template for others (README.md beside this file).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch

from pipeline.decoding import sample
from pipeline.device import device
from pipeline.language_model import LanguageModel
from pipeline.methods import Method, Request
from pipeline.progress import Progress
from pipeline.records import Target
from pipeline.tasks import INFILLING, LENGTH, SEMANTIC_CONTENT, SYNTAX, UNCONDITIONAL


class RejectionSampling(Method):
    """Settings: ``draws`` (texts drawn at most for one, 16 if absent), ``longest`` (words).

    Its only model is ``language_model``, the shared one, which reads no controls.
    """

    tasks = frozenset({SEMANTIC_CONTENT, LENGTH})
    refusals: ClassVar = {
        UNCONDITIONAL: "nothing is asked for, so no text would be rejected",
        INFILLING: "it does not look at what stands around a text",
        **dict.fromkeys(SYNTAX, "only a judge could say which texts to reject, and judges do not write"),
    }

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Words and costs in the order of the requests: the first draw that satisfies, else the last.

        Each round draws once more for all texts that are still rejected, together.

        Raises:
            InputError: the model is missing, of another vocabulary, or too short.
        """
        path, longest, draws = self.models["language_model"], self.settings["longest"], self.draws
        model = LanguageModel.load(path, vocabulary=self.vocabulary.digest()).to(device())
        seeds = [self.seeds(request, seed) for request in requests]
        texts: list[list[str]] = [[] for _ in requests]
        tokens = [0 for _ in requests]  # read by the model for each text, all draws together
        rejected, progress = list(range(len(requests))), Progress(self.name, draws)
        for draw in range(draws):
            generators = [torch.Generator().manual_seed(seeds[i][draw]) for i in rejected]
            drawn = sample(model, [[]] * len(rejected), generators, longest, temperature=1.0)
            for i, new in zip(rejected, drawn, strict=True):
                texts[i] = model.decode(new)[:longest]
                tokens[i] += 1 + len(new)  # START and what was written
            rejected = [i for i in rejected if not satisfies(texts[i], requests[i].target)]
            progress.update(draw + 1)
        for words, forward in zip(texts, tokens, strict=True):
            yield words, forward, 0  # no gradients are taken

    @property
    def draws(self) -> int:
        """How many texts are drawn at most for one."""
        return int(self.settings.get("draws", 16))

    def seeds(self, request: Request, seed: int) -> list[int]:
        """A seed for every draw of a request, from the request's own generator.

        A text may use more numbers than it has words, if others of its batch are longer; so its next draw
        must not go on where it stopped, or it would depend on its batch.
        """
        found: list[int] = torch.randint(
            2**62, (self.draws,), generator=self.generator(request, seed)
        ).tolist()
        return found


def satisfies(words: Sequence[str], target: Target) -> bool:
    """Whether a text has exactly as many words as asked for, or contains the value as a string."""
    if target.task == LENGTH:
        return len(words) == target.control["length"]
    return target.control["value"] in " ".join(words)


METHOD = RejectionSampling
