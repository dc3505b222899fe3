"""The interface of every method, from Diffusion-LM to a newcomer's.

A method is named in the configuration by its module, which defines ``METHOD``, a subclass of
:class:`Method`. Training is a command of its own that makes model files; generation reads them here.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from pipeline.command import Spec
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError, nearest
from pipeline.fingerprint import method_modules
from pipeline.records import Sample, Target
from pipeline.seeding import generator
from pipeline.tasks import INFILLING, TASKS

ONLY_INFILLING = dict.fromkeys(TASKS.keys() - {INFILLING}, "it only writes a sentence between two others")
"""The refusals of a method for infilling alone."""


@dataclass(frozen=True)
class Request:
    """One text to write: sample ``index`` of a target."""

    target: Target
    index: int


class Method(ABC):
    """Writes texts under control.

    Args:
        name: the instance's name in the configuration; it keys all randomness.
        settings: the instance's own settings.
        vocabulary: the corpus vocabulary; texts are written in its words.
        models: the trained files that the configuration names for the task.
    """

    tasks: ClassVar[frozenset[str]]
    refusals: ClassVar[Mapping[str, str]] = {}  # task -> why this method cannot do it

    def __init__(
        self, name: str, settings: Mapping[str, Any], vocabulary: Vocabulary, models: Mapping[str, Path]
    ) -> None:
        self.name, self.vocabulary, self.models = name, vocabulary, models
        self.settings = Spec(settings)  # one that is missing is bad input where it is used

    @abstractmethod
    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Words, forward tokens and backward passes of each request, in the order given."""

    def generate(self, targets: Sequence[Target], samples_per_target: int, seed: int) -> Iterator[Sample]:
        """All samples of all targets, target by target.

        Raises:
            InputError: a task that this method does not support, with the reason.
        """
        for task in {target.task for target in targets}:
            self.require(task)
        requests = [Request(target, index) for target in targets for index in range(samples_per_target)]
        written = self.write(requests, seed) if requests else iter(())
        for request, (words, forward, backward) in zip(requests, written, strict=True):
            target = request.target
            yield Sample(
                self.name,
                target.task,
                target.target_id,
                request.index,
                seed,
                " ".join(words),
                forward,
                backward,
            )

    def require(self, task: str) -> None:
        """Check that the method supports ``task``."""
        if task not in self.tasks:
            raise InputError(f"method '{self.name}'", f"not applicable to {task}", self.refusal(task))

    @classmethod
    def refusal(cls, task: str) -> str:
        """Why the method cannot do ``task``, which it does not support."""
        return cls.refusals.get(task, f"it supports {', '.join(sorted(cls.tasks))}")

    def generator(self, request: Request, seed: int) -> torch.Generator:
        """The request's own randomness, whatever batch it is in."""
        target = request.target
        return generator(self.name, target.task, seed, target.target_id, request.index)


def load_method(
    name: str, settings: Mapping[str, Any], vocabulary: Vocabulary, models: Mapping[str, Path]
) -> Method:
    """Make the method instance ``name`` from its module.

    Raises:
        InputError: as :func:`method_class`.
    """
    return method_class(name, settings["module"])(name, settings, vocabulary, models)


def method_class(name: str, module: str) -> type[Method]:
    """The class that the module of the method instance ``name`` defines (our only dynamic import).

    Raises:
        InputError: the module is missing, or its METHOD is missing, no Method or of unknown tasks.
    """
    where = f"methods.{name}.module"
    try:
        kind = getattr(importlib.import_module(module), "METHOD", None)
    except ModuleNotFoundError as error:
        itself = f"{module}.".startswith(f"{error.name}.")  # or else a module that it imports
        how = nearest(module, method_modules()) if itself else f"install {error.name}, or correct its name"
        raise InputError(where, f"cannot import '{module}' ({error})", how) from None
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        how = "set METHOD = YourMethod in it, a subclass of pipeline.methods.Method"
        raise InputError(where, f"'{module}' defines no METHOD", how)
    for task in sorted(kind.tasks):
        if task not in TASKS:
            raise InputError(where, f"METHOD names the unknown task '{task}'", nearest(task, TASKS))
    return kind
