"""Diffusion-LM as a method: canvases and guides for each task, many targets in one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffusion_lm import train, train_classifier
from diffusion_lm.classifiers import FieldClassifier, times
from diffusion_lm.guidance import ControlLoss, GuidanceSettings, frame_loss, gradient_guide
from diffusion_lm.sampling import FREE, Canvas, Guide, SamplingSettings, sample
from pipeline.corpora.vocabulary import END, PAD, START, Vocabulary
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.methods import Method, Request
from pipeline.progress import Progress
from pipeline.tasks import LENGTH, SEMANTIC_CONTENT, UNCONDITIONAL


class DiffusionLMMethod(Method):
    """Samples of a Diffusion-LM, steered by the ``guidance`` that the settings give for the task.

    Without guidance for a task its texts are unguided: that is the ``unguided`` row of every table.
    """

    tasks = frozenset({UNCONDITIONAL, SEMANTIC_CONTENT, LENGTH})

    def __init__(
        self, name: str, settings: Mapping[str, Any], vocabulary: Vocabulary, models: Mapping[str, Path]
    ) -> None:
        super().__init__(name, settings, vocabulary, models)
        self.model, self.lengths = train.load(models["diffusion"], vocabulary)
        self.sampling = SamplingSettings(**settings["sampling"])
        if self.sampling.steps > len(self.model.process):
            what = f"{self.sampling.steps} steps, but the model has {len(self.model.process)}"
            raise InputError(f"methods.{name}.sampling.steps", what, "take fewer")
        self.process = self.model.process.strided(self.sampling.steps, self.sampling.as_released)

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Texts of similar length share a batch; every text has its own generator, length drawn first."""
        generators = [self.generator(request, seed) for request in requests]
        rows = [
            self.canvas(request, generator) for request, generator in zip(requests, generators, strict=True)
        ]
        written: dict[int, tuple[list[str], int, int]] = {}
        progress = Progress(f"{self.name} {requests[0].target.task}", len(rows))
        for chosen in self.batches(requests, rows):
            canvas = Canvas.of([rows[i] for i in chosen]).to(device())
            guide = self.guide([requests[i] for i in chosen], canvas)
            ids = sample(self.model, canvas, [generators[i] for i in chosen], self.sampling, guide)
            for i, row in zip(chosen, ids.tolist(), strict=True):
                words = self.vocabulary.decode(row[: len(rows[i])])
                written[i] = (words, *self.cost(requests[i], len(rows[i])))
            progress.update(len(written))
        yield from (written[i] for i in range(len(rows)))

    def batches(self, requests: Sequence[Request], rows: Sequence[list[int]]) -> Iterator[list[int]]:
        """Numbers of requests to be sampled together: of one task, and of similar length."""
        places = sorted(range(len(rows)), key=lambda i: (requests[i].target.task, len(rows[i])))
        size = self.settings["batch_size"]
        for _, same in groupby(places, key=lambda i: requests[i].target.task):
            order = list(same)
            yield from (order[start : start + size] for start in range(0, len(order), size))

    def canvas(self, request: Request, generator: torch.Generator) -> list[int]:
        """What is known of a text beforehand: its length, in layout ``canvas`` or if the task asks for it."""
        control, guidance = request.target.control, self.guidance(request.target.task)
        form = guidance["form"] if guidance is not None and request.target.task == LENGTH else None
        positions = self.model.settings.positions
        if form and control["length"] > positions - 2:
            what = f"a text of {control['length']} words does not fit"
            raise InputError(f"target '{request.target.target_id}'", what, f"ask for at most {positions - 2}")
        if self.model.settings.layout != "canvas":
            row = [START, *[FREE] * control["length"], END] if form == "hold" else [FREE] * positions
            return [*row, *[PAD] * (positions - len(row))]
        if form == "gradient":
            what = "a canvas has its length beforehand, so no gradient can change it"
            raise InputError(f"methods.{self.name}.guidance.length.form", what, "choose 'hold'")
        words = control["length"] if form == "hold" else draw_length(self.lengths, generator)
        return [START, *[FREE] * words, END]

    def guide(self, requests: Sequence[Request], canvas: Canvas) -> Guide | None:
        """The gradient guide of a batch, or None where nothing is steered by gradients."""
        task = requests[0].target.task
        guidance = self.guidance(task)
        if guidance is None or (task == LENGTH and guidance["form"] == "hold"):
            return None
        if guidance["form"] == "hold":
            what = f"no words of {task} are known beforehand"
            raise InputError(f"methods.{self.name}.guidance.{task}.form", what, "choose 'gradient'")
        if self.sampling.eta == 0:
            what = "without noise no step can be steered by gradients"
            raise InputError(f"methods.{self.name}.sampling.eta", what, "give more than 0")
        settings = GuidanceSettings(**{key: value for key, value in guidance.items() if key != "form"})
        losses = {SEMANTIC_CONTENT: self.semantic_loss, LENGTH: self.length_loss}
        return gradient_guide(losses[task](requests, canvas), settings, len(self.process))

    def semantic_loss(self, requests: Sequence[Request], canvas: Canvas) -> ControlLoss:
        """-log p(field = value | x) under the classifier, at the noise level of x_{t-1}."""
        classifier, vocabulary = self.classifier, self.vocabulary
        controls = [(r.target.control["field"], r.target.control["value"]) for r in requests]
        if isinstance(classifier, FieldClassifier):
            for field, value in controls:
                if (field, value) not in classifier.columns:
                    what = f"the classifier does not know '{field}: {value}'"
                    raise InputError(self.name, what, "ask for a field and value of the training texts")

        def loss(x: torch.Tensor, index: int) -> torch.Tensor:
            time = times(self.process, torch.full((len(x),), max(index - 1, 0), device=x.device))
            if isinstance(classifier, FieldClassifier):
                return classifier.control_loss(x, time, canvas.mask, controls)
            rows = train_classifier.value_rows(vocabulary, controls)
            return classifier.label_loss(x, time, canvas.mask, *rows)

        return loss

    def length_loss(self, requests: Sequence[Request], canvas: Canvas) -> ControlLoss:
        """The released length control: the x_0 estimate is pulled to START and END at their places."""
        positions = canvas.words.shape[1]
        ends = torch.tensor([r.target.control["length"] + 1 for r in requests], device=device())
        place = torch.arange(positions, device=device())
        words = torch.where(place == ends[:, None], END, START)
        free = (place != 0) & (place != ends[:, None])
        known = self.model.embedding(words).detach()

        def loss(x: torch.Tensor, index: int) -> torch.Tensor:
            t = torch.full((len(x),), index)
            sigma = float(np.sqrt(self.process.posterior_variance[index]))
            return frame_loss(lambda point: self.model(point, t, self.process).x0, known, free, sigma)(x)

        return loss

    def guidance(self, task: str) -> dict[str, Any] | None:
        """The settings that steer ``task``, or None."""
        found: dict[str, Any] | None = self.settings["guidance"].get(task)
        return found

    def cost(self, request: Request, length: int) -> tuple[int, int]:
        """Forward tokens of all networks and backward passes of one text."""
        guidance, steps = self.guidance(request.target.task), len(self.process)
        updates = 0
        if guidance is not None and guidance["form"] != "hold":
            guided = sum(index >= guidance["idle"] * steps and index > 0 for index in range(steps))
            updates = guidance["updates"] * guided
        return length * (steps + updates), updates

    @cached_property
    def classifier(self) -> train_classifier.SemanticClassifier:
        """The trained guidance classifier of the task."""
        return train_classifier.load(self.models["classifier"], self.model)


def draw_length(counts: Sequence[int], generator: torch.Generator) -> int:
    """A number of words, drawn as often as the training texts have it."""
    cumulative = torch.tensor(counts).cumsum(0)
    draw = torch.randint(int(cumulative[-1]), (1,), generator=generator)
    return int(torch.searchsorted(cumulative, draw, right=True))


METHOD = DiffusionLMMethod
