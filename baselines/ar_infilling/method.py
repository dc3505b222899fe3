"""AR infilling: draws the middle behind both contexts (paper Section 6.4; released code: anlg.py:62-103)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from baselines.ar_infilling.train import context_ids
from baselines.left_only import continuations
from pipeline import checkpoint
from pipeline.device import device
from pipeline.language_model import KIND, LanguageModel
from pipeline.methods import ONLY_INFILLING, Method, Request
from pipeline.tasks import INFILLING


class ARInfilling(Method):
    """Settings: ``temperature`` (1: ancestral samples; 0: greedy), ``longest`` (words).

    The contexts are laid out as in the model's training.
    """

    tasks = frozenset({INFILLING})
    refusals = ONLY_INFILLING

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Words and costs of each request; a text ends where the model ends it.

        Raises:
            InputError: the model is of another task or vocabulary, or too short for a context.
        """
        path, digest = self.models["language_model"], self.vocabulary.digest()
        model = LanguageModel.load(path, task=INFILLING, vocabulary=digest).to(device())
        model.barred.append(model.unknown)
        layout = checkpoint.load(path, KIND)[0]["layout"]
        controls = [request.target.control for request in requests]
        begun = [context_ids(model, layout, c["left"].split(), c["right"].split()) for c in controls]
        return continuations(self, model, begun, requests, seed)


METHOD = ARInfilling
