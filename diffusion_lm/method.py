"""Diffusion-LM as a method: canvases and guides for each task, many targets in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from diffusion_lm import train, train_classifier
from diffusion_lm.classifiers import FieldClassifier, WordsClassifier, times
from diffusion_lm.controls import SYNTAX_LOSSES, NoisyLoss, fewest_words, tells_length
from diffusion_lm.guidance import ControlLoss, GuidanceSettings, frame_loss, gradient_guide, weighted_sum
from diffusion_lm.infilling import SLOTS_FIRST, InfillingSettings, infilling_row
from diffusion_lm.sampling import FREE, Canvas, Guide, SamplingSettings
from diffusion_lm.syntax_classifiers import SpanClassifier
from diffusion_lm.writing import CanvasMethod
from pipeline.corpora.vocabulary import END, PAD, START, Vocabulary
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.methods import Request
from pipeline.tasks import (
    COMPOSITIONS,
    INFILLING,
    LENGTH,
    PARTS_OF_SPEECH,
    SEMANTIC_CONTENT,
    SYNTAX_SPANS,
    SYNTAX_TREE,
    UNCONDITIONAL,
    parts,
)

NOT_OF_AN_UPDATE = ("form", "weights", "precision")  # guidance settings that say what is steered, not how


class DiffusionLMMethod(CanvasMethod):
    """Samples of a Diffusion-LM, steered by the ``guidance`` that the settings give for the task.

    Without guidance for a task its texts are unguided: that is the ``unguided`` row of every table.
    """

    tasks = frozenset(
        {
            *(UNCONDITIONAL, SEMANTIC_CONTENT, LENGTH, PARTS_OF_SPEECH, SYNTAX_TREE, SYNTAX_SPANS),
            *(*COMPOSITIONS, INFILLING),
        }
    )

    def __init__(
        self, name: str, settings: Mapping[str, Any], vocabulary: Vocabulary, models: Mapping[str, Path]
    ) -> None:
        super().__init__(name, settings, vocabulary, models)
        self.model, header = train.load_kind(models["diffusion"], train.KIND, vocabulary)
        self.lengths: list[int] = header["lengths"]
        self.slots_first: bool = header.get(SLOTS_FIRST, False)
        self.sampling = self.check_steps(SamplingSettings(**settings["sampling"]), "sampling")
        self.process = self.model.process.strided(self.sampling.steps, self.sampling.as_released)
        self.classifiers: dict[tuple[str, str], nn.Module] = {}

    def in_bf16(self, task: str) -> bool:
        """As the task's settings say; texts that nothing steers are in float32."""
        if task == INFILLING:
            return self.infilling.precision == "bf16"
        return (self.guidance(task) or {}).get("precision") == "bf16"

    def sampling_of(self, task: str) -> SamplingSettings:
        """Infilling may change some of the settings of ``sampling``."""
        if task != INFILLING:
            return self.sampling
        own = self.settings["infilling"].get("sampling", {})
        return self.check_steps(replace(self.sampling, **own), "infilling.sampling")

    def barred(self, task: str) -> tuple[int, ...] | None:
        """The slots of infilling have rules of their own."""
        return self.infilling.barred if task == INFILLING else None

    @cached_property
    def infilling(self) -> InfillingSettings:
        """The settings of infilling but for its ``sampling``."""
        given = self.settings["infilling"]
        return InfillingSettings(**{key: value for key, value in given.items() if key != "sampling"})

    def canvas(self, request: Request, generator: torch.Generator) -> list[int]:
        """What is known of a text beforehand: its length, in layout ``canvas`` or if it is to be held."""
        task, guidance = request.target.task, self.guidance(request.target.task)
        if task == INFILLING:
            own, shape = self.infilling, self.model.settings
            return infilling_row(request.target, self.vocabulary, own, shape, self.slots_first)
        form = guidance["form"] if guidance is not None and task == LENGTH else None
        positions = self.model.settings.positions
        asked = 0 if guidance is None else fewest_words(request.target, positions - 2)
        if self.model.settings.layout != "canvas":
            row = [START, *[FREE] * asked, END] if form == "hold" else [FREE] * positions
            return [*row, *[PAD] * (positions - len(row))]
        if form == "gradient":
            what = "a canvas has its length beforehand, so no gradient can change it"
            raise InputError(f"methods.{self.name}.guidance.length.form", what, "choose 'hold'")
        told = guidance is not None and tells_length(task)
        words = asked if told else draw_length(self.length_counts(request), generator, asked)
        return [START, *[FREE] * words, END]

    def length_counts(self, request: Request) -> Sequence[int]:
        """Training texts by number of words: all, or those that have the span that is asked for.

        A canvas' length cannot follow the guidance, so it is drawn from p(length | label, last word).
        """
        control = request.target.control
        if request.target.task != SYNTAX_SPANS or self.guidance(SYNTAX_SPANS) is None:
            return self.lengths
        classifier = self.classifier([request], SYNTAX_SPANS)
        assert isinstance(classifier, SpanClassifier)
        label = classifier.labels.get(control["label"])
        counts = [] if label is None else classifier.lengths[label, control["last"]].tolist()
        return counts if any(counts) else self.lengths

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
        settings = GuidanceSettings(**{k: v for k, v in guidance.items() if k not in NOT_OF_AN_UPDATE})
        weights = self.weights(task, guidance)
        terms = [(weights[part], self.part_loss(part, requests, canvas)) for part in parts(task)]
        return gradient_guide(weighted_sum(terms), settings, len(self.process))

    def weights(self, task: str, guidance: Mapping[str, Any]) -> dict[str, float]:
        """The weight of each part of a task in the control loss; 1 where the guidance gives none."""
        given = guidance.get("weights", {})
        for part in given:
            if part not in parts(task):
                where = f"methods.{self.name}.guidance.{task}.weights"
                raise InputError(where, f"'{part}' is no part of {task}", nearest(part, parts(task)))
        return {part: given.get(part, 1.0) for part in parts(task)}

    def part_loss(self, part: str, requests: Sequence[Request], canvas: Canvas) -> ControlLoss:
        """The control loss of a single task, or of one part of a composition."""
        if part == LENGTH:
            return self.length_loss(requests, canvas)
        if part == SEMANTIC_CONTENT:
            return self.semantic_loss(requests, canvas)
        targets = [request.target for request in requests]
        return self.at_level(SYNTAX_LOSSES[part](self.classifier(requests, part), targets, canvas.mask))

    def semantic_loss(self, requests: Sequence[Request], canvas: Canvas) -> ControlLoss:
        """-log p(field = value | x) under the classifier."""
        classifier, vocabulary = self.classifier(requests, SEMANTIC_CONTENT), self.vocabulary
        controls = [(r.target.control["field"], r.target.control["value"]) for r in requests]
        if isinstance(classifier, FieldClassifier):
            for field, value in controls:
                if (field, value) not in classifier.columns:
                    what = f"the classifier does not know '{field}: {value}'"
                    raise InputError(self.name, what, "ask for a field and value of the training texts")

        def loss(x: Tensor, time: Tensor) -> Tensor:
            if isinstance(classifier, FieldClassifier):
                return classifier.control_loss(x, time, canvas.mask, controls)
            rows = train_classifier.value_rows(vocabulary, controls)
            return cast(WordsClassifier, classifier).label_loss(x, time, canvas.mask, *rows)

        return self.at_level(loss)

    def at_level(self, loss: NoisyLoss) -> ControlLoss:
        """A classifier's loss at points x and network times, at the noise level of x_{t-1}."""

        def at(x: Tensor, index: int) -> Tensor:
            return loss(x, times(self.process, torch.full((len(x),), max(index - 1, 0), device=x.device)))

        return at

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
        task = request.target.task
        guidance, steps = self.guidance(task), self.sampling_of(task).steps
        passes = 0  # of the network that is differentiated: the denoiser, or each part's classifier
        if guidance is not None and guidance["form"] != "hold":
            guided = sum(index >= guidance["idle"] * steps and index > 0 for index in range(steps))
            passes = guidance["updates"] * guided * len(parts(task))
        return length * (steps + passes), passes

    def classifier(self, requests: Sequence[Request], part: str) -> nn.Module:
        """The trained guidance classifier for one part of the requests' task; spans ask that of trees."""
        kind = SYNTAX_TREE if part == SYNTAX_SPANS else part
        name = f"classifier_{kind}" if requests[0].target.task in COMPOSITIONS else "classifier"
        if name not in self.models:
            where = f"methods.{self.name}.tasks.{requests[0].target.task}"
            raise InputError(
                where, f"guidance needs a '{name}'", f"name the model file of a {kind} classifier"
            )
        if (name, kind) not in self.classifiers:
            self.classifiers[name, kind] = train_classifier.load(self.models[name], self.model, kind)
        return self.classifiers[name, kind]


def draw_length(counts: Sequence[int], generator: torch.Generator, fewest: int = 0) -> int:
    """A number of words, drawn as often as the training texts of at least ``fewest`` words have it.

    Where there are none, it is ``fewest``.
    """
    cumulative = torch.tensor([0] * fewest + list(counts[fewest:])).cumsum(0)
    if not cumulative[-1]:
        return fewest
    draw = torch.randint(int(cumulative[-1]), (1,), generator=generator)
    return int(torch.searchsorted(cumulative, draw, right=True))


METHOD = DiffusionLMMethod
