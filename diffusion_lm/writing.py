"""What all methods of this package share: they fill canvases, those of similar length in one batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.sampling import FREE, Canvas, Guide, SamplingSettings, sample
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.methods import Method, Request
from pipeline.progress import Progress


class CanvasMethod(Method):
    """Writes each text into the free places of a row that holds what is known of it beforehand.

    A subclass reads ``model`` and says what a request's row is; the setting ``batch_size`` changes no text.
    """

    model: DiffusionLM

    @abstractmethod
    def canvas(self, request: Request, generator: torch.Generator) -> list[int]:
        """What is known of a text: word ids, FREE where one is to be written."""

    @abstractmethod
    def sampling_of(self, task: str) -> SamplingSettings:
        """How texts of a task are drawn."""

    @abstractmethod
    def in_bf16(self, task: str) -> bool:
        """Whether texts of a task are sampled under bf16 autocast (which may tell batches apart)."""

    def barred(self, task: str) -> tuple[int, ...] | None:
        """Words that fill no free place (:class:`Canvas`)."""
        return None

    def guide(self, requests: Sequence[Request], canvas: Canvas) -> Guide | None:
        """The gradient guide of a batch, or None where nothing is steered by gradients."""
        return None

    def cost(self, request: Request, length: int) -> tuple[int, int]:
        """Forward tokens of all networks and backward passes of one text."""
        return length * self.sampling_of(request.target.task).steps, 0

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Texts of similar length share a batch; every text has its own generator, the row drawn first."""
        generators = [self.generator(request, seed) for request in requests]
        rows = [
            self.canvas(request, generator) for request, generator in zip(requests, generators, strict=True)
        ]
        written: dict[int, tuple[list[str], int, int]] = {}
        progress = Progress(f"{self.name} {requests[0].target.task}", len(rows))
        for chosen in self.batches(requests, rows):
            filled = self.fill(
                [requests[i] for i in chosen], [rows[i] for i in chosen], [generators[i] for i in chosen]
            )
            for i, ids in zip(chosen, filled.tolist(), strict=True):
                words = [word for word, known in zip(ids, rows[i], strict=False) if known == FREE]
                written[i] = (self.vocabulary.decode(words), *self.cost(requests[i], len(rows[i])))
            progress.update(len(written))
        yield from (written[i] for i in range(len(rows)))

    def batches(self, requests: Sequence[Request], rows: Sequence[list[int]]) -> Iterator[list[int]]:
        """Numbers of requests to be sampled together: of one task, and of similar length."""
        places = sorted(range(len(rows)), key=lambda i: (requests[i].target.task, len(rows[i])))
        size = self.settings["batch_size"]
        for _, same in groupby(places, key=lambda i: requests[i].target.task):
            order = list(same)
            yield from (order[start : start + size] for start in range(0, len(order), size))

    def fill(
        self, requests: Sequence[Request], rows: Sequence[list[int]], generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The rows of one batch with their free places filled, [B, L]."""
        task = requests[0].target.task
        canvas = Canvas.of(rows, self.barred(task)).to(device())
        guide = self.guide(requests, canvas)
        with torch.autocast(device().type, torch.bfloat16, enabled=self.in_bf16(task)):
            return sample(self.model, canvas, generators, self.sampling_of(task), guide)

    def check_steps(self, sampling: SamplingSettings, where: str) -> SamplingSettings:
        """Check that the model has as many steps as are to be taken.

        Raises:
            InputError: at the settings ``where`` of this method.
        """
        if sampling.steps > len(self.model.process):
            what = f"{sampling.steps} steps, but the model has {len(self.model.process)}"
            raise InputError(f"methods.{self.name}.{where}.steps", what, "take fewer")
        return sampling
