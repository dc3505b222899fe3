"""One resumable training loop for every model of the project.

All randomness of a step comes from (seed, step), and the order of the data from (seed, epoch), so the
state to save is weights, optimiser, average and step number: a run killed at any step and started again
ends with the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline import checkpoint
from pipeline.errors import InputError
from pipeline.files import atomic
from pipeline.preemption import termination
from pipeline.progress import Progress
from pipeline.seeding import seed_of

IN_A_LAYER = re.compile(r"\.(layers|h)\.\d+\.")  # weights of our encoder's and of GPT-2's Transformer layers
MUON_DECAY = 0.1  # Muon's steps have a fixed size, so its matrices need weight decay to stay bounded


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained; every key is described in the configuration schema."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    weight_decay: float
    clip: float
    ema: float
    muon_rate: float
    precision: str
    seed: int


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Share of the learning rate at ``step``: linear warm-up, then linear to zero (Appendix B)."""
    rising = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    return rising * (1 - step / settings.steps)


class Batches:
    """Rows of a corpus in an order that depends on (seed, epoch) alone.

    With ``lengths``, rows of similar length share a batch: an epoch is shuffled, sorted within windows
    of ``WINDOW`` batches, cut, and the batches are shuffled again. The last, short batch is kept.
    """

    WINDOW = 64

    def __init__(self, rows: int, batch_size: int, seed: int, lengths: Iterable[int] | None = None) -> None:
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.lengths = None if lengths is None else np.asarray(list(lengths))
        self.per_epoch = -(-rows // batch_size)
        self._epoch, self._batches = -1, [np.arange(0)]

    def at(self, step: int) -> np.ndarray:
        """Row numbers of the batch of training step ``step``."""
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._order(epoch)
        return self._batches[index]

    def _order(self, epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng(seed_of("batches", self.seed, epoch))
        order = random.permutation(self.rows)
        cuts = range(self.batch_size, self.rows, self.batch_size)
        if self.lengths is None:
            return np.split(order, cuts)
        window = self.WINDOW * self.batch_size
        windows = [order[i : i + window] for i in range(0, self.rows, window)]
        ordered = np.concatenate([w[np.argsort(self.lengths[w], kind="stable")] for w in windows])
        batches = np.split(ordered, cuts)
        return [random.permutation(batches[i]) for i in random.permutation(len(batches))]


class Trainer:
    """A model in training: optimisers, moving average and step number, saved and restored as one."""

    def __init__(self, model: nn.Module, settings: TrainingSettings) -> None:
        self.model, self.settings, self.step = model, settings, 0
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.optimizers = _optimizers(self.parameters, settings)
        self.rates = [group["lr"] for o in self.optimizers for group in o.param_groups]

    def update(self, loss: Callable[[int], Tensor]) -> float:
        """One step under the step's own seed: gradients, optimisers, average. Returns the loss."""
        settings = self.settings
        torch.manual_seed(seed_of("training step", settings.seed, self.step))
        device = next(iter(self.parameters.values())).device.type
        with torch.autocast(device, torch.bfloat16, enabled=settings.precision == "bf16"):
            value = loss(self.step)
        value.backward()
        if settings.clip:
            nn.utils.clip_grad_norm_(self.parameters.values(), settings.clip)
        share = learning_rate(self.step, settings)
        groups = [group for o in self.optimizers for group in o.param_groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate * share
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        update_average(self.average, self.parameters, settings.ema)
        self.step += 1
        return float(value.detach())

    def save(self, path: Path, fingerprint: str) -> None:
        """Write the whole state atomically; ``fingerprint`` names the run it belongs to."""
        tensors = {f"model.{n}": p.detach() for n, p in self.parameters.items()}
        tensors |= {f"average.{n}": p for n, p in self.average.items()}
        for index, optimizer in enumerate(self.optimizers):
            for number, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{index}.{number}.{k}": v for k, v in state.items()}
        with atomic(path) as temporary:
            header = {"step": str(self.step), "run": fingerprint}
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata=header)

    def load(self, path: Path, fingerprint: str) -> None:
        """Continue from a state that :meth:`save` wrote.

        Raises:
            InputError: it is damaged, or belongs to another run (other settings, model or data).
        """
        header, tensors = checkpoint.read(path, "delete the file to start afresh")
        if header.get("run") != fingerprint:
            raise InputError(
                path, "training state of another configuration", "delete the file to start afresh"
            )
        self.step = int(header["step"])
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"model.{name}"])
                self.average[name].copy_(tensors[f"average.{name}"])
        for index, optimizer in enumerate(self.optimizers):
            optimizer.load_state_dict(_optimizer_state(optimizer, tensors, f"optimizer.{index}."))


def update_average(average: Mapping[str, Tensor], parameters: Mapping[str, Tensor], rate: float) -> None:
    """Exponential moving average in place: average <- rate * average + (1 - rate) * parameter."""
    with torch.no_grad():
        values = [p.detach() for p in parameters.values()]
        torch._foreach_lerp_(list(average.values()), values, 1 - rate)


def train(
    model: nn.Module, loss: Callable[[int], Tensor], settings: TrainingSettings, work: Path, name: str,
    run_id: str = "", save_every: float = 120.0,
) -> None:  # fmt: skip
    """Train ``model`` in place and leave the averaged weights in it.

    SIGTERM and Ctrl-C end it after the step that is being made, with its state saved.

    Args:
        loss: the loss of a step, a scalar; it draws from torch's global generator only.
        work: folder of the resumable state; the command that calls removes it once its outputs stand.
        run_id: names settings and data (the job's signature), so that a state continues only its own run.
        save_every: seconds between saved states.
    """
    run = json.dumps([asdict(settings), run_id, form(model)], sort_keys=True)
    trainer, path = Trainer(model, settings), work / "state.safetensors"
    if path.exists():
        trainer.load(path, run)
    progress, saved = Progress(name, settings.steps, trainer.step), time.monotonic()
    model.train()
    with termination() as status:
        while trainer.step < settings.steps and not status():
            value = trainer.update(loss)
            progress.update(trainer.step, loss=value, rate=learning_rate(trainer.step - 1, settings))
            if time.monotonic() - saved > save_every:
                trainer.save(path, run)
                saved = time.monotonic()
        trainer.save(path, run)
        if trainer.step < settings.steps:
            sys.stderr.write(f"{name}: stopped at step {trainer.step}, saved in {path}; run again to go on\n")
            raise SystemExit(status())
    with torch.no_grad():
        for parameter_name, parameter in trainer.parameters.items():
            parameter.copy_(trainer.average[parameter_name])
    model.eval()


def form(model: nn.Module) -> str:
    """Hash of a model's modules and the shapes of its weights, in hexadecimal."""
    shapes = [(name, tuple(weight.shape)) for name, weight in model.state_dict().items()]
    return hashlib.sha256(f"{model!r}\n{shapes}".encode()).hexdigest()


def _optimizers(
    parameters: Mapping[str, nn.Parameter], settings: TrainingSettings
) -> list[torch.optim.Optimizer]:
    """AdamW, or Muon on the matrices of the Transformer layers and AdamW on the rest."""
    muon = [p for n, p in parameters.items() if settings.muon_rate and IN_A_LAYER.search(n) and p.dim() == 2]
    chosen = {id(p) for p in muon}
    rest = [p for p in parameters.values() if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    ]
    if muon:
        optimizers.append(torch.optim.Muon(muon, lr=settings.muon_rate, weight_decay=MUON_DECAY))
    return optimizers


def _optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str
) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key in (key for key in tensors if key.startswith(prefix)):
        number, name = key.removeprefix(prefix).split(".")
        state.setdefault(int(number), {})[name] = tensors[key]
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
