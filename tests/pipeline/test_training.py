"""The training loop: the original's rate and average, the order of the data, and runs that are killed.

Run as a program, this file trains the tiny model of these tests and waits for a signal.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.training import Batches, Trainer, TrainingSettings, learning_rate, train, update_average

ROOT = Path(__file__).resolve().parents[2]
ARRAYS = ROOT / "tests" / "reference" / "diffusion_lm_reference.npz"
SETTINGS = TrainingSettings(
    steps=40, batch_size=8, learning_rate=1e-2, warmup=5, weight_decay=0.01, clip=1.0, ema=0.9,
    muon_rate=0.0, precision="fp32", seed=1,
)  # fmt: skip
ROWS = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))


class Tiny(nn.Module):
    """Two layers and a head, with dropout; the layers' matrices are Muon's where it is used."""

    def __init__(self, width: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.body = nn.ModuleDict(
            {"layers": nn.ModuleList([nn.Linear(8, width), nn.Linear(width, 8, bias=False)])}
        )
        self.head = nn.Linear(8, 8)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        layers = self.body["layers"]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            x = x + self.dropout(layer(x)).tanh()
        return torch.as_tensor(self.head(x))


def loss_of(model: nn.Module, steps: list[int] | None = None) -> Callable[[int], Tensor]:
    """Denoising, with noise from the global generator; notes the steps it was asked for."""
    batches = Batches(len(ROWS), 8, 1)

    def loss(step: int) -> Tensor:
        if steps is not None:
            steps.append(step)
        x = ROWS[torch.as_tensor(batches.at(step))]
        return (model(x + torch.randn_like(x)) - x).square().mean()

    return loss


def trained(settings: TrainingSettings, work: Path, steps: list[int] | None = None) -> dict[str, Tensor]:
    """The weights that a run leaves."""
    model = Tiny()
    train(model, loss_of(model, steps), settings, work, "tiny", save_every=0.0)
    return model.state_dict()


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Equal to the last bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def reference() -> Mapping[str, np.ndarray]:
    with np.load(ARRAYS) as arrays:
        return {name: arrays[name] for name in arrays if name.startswith("trainer/")}


def test_rates_of_the_original(reference: Mapping[str, np.ndarray]) -> None:
    settings = replace(SETTINGS, warmup=0, steps=200_000)
    rates = [1e-4 * learning_rate(int(step), settings) for step in reference["trainer/lr_step"]]
    np.testing.assert_allclose(rates, reference["trainer/lr"], rtol=1e-9)


def test_average_of_the_original(reference: Mapping[str, np.ndarray]) -> None:
    average = {"w": torch.as_tensor(reference["trainer/ema_before"]).clone()}
    update_average(average, {"w": torch.as_tensor(reference["trainer/ema_source"])}, 0.9999)
    torch.testing.assert_close(
        average["w"], torch.as_tensor(reference["trainer/ema_after"]), atol=1e-7, rtol=0
    )


def test_the_rate_rises_then_falls() -> None:
    """Warm-up starts above zero and meets the falling line; the last update still moves."""
    settings = replace(SETTINGS, steps=100, warmup=10)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert np.argmax(rates) == 9 and rates[9] == pytest.approx(0.91)
    assert rates[99] == pytest.approx(0.01)
    without = [learning_rate(step, replace(settings, warmup=0)) for step in range(100)]
    assert rates[9:] == without[9:] and without[0] == 1


@pytest.mark.parametrize("warmup", [0, 10])
def test_updates_follow_the_rate(warmup: int) -> None:
    """The first update of Adam moves every weight by its rate, whatever the gradient."""
    model = Tiny(dropout=0.0)
    trainer = Trainer(model, replace(SETTINGS, warmup=warmup, weight_decay=0.0, clip=0.0))
    before = model.head.weight.detach().clone()
    trainer.update(loss_of(model))
    moved = (model.head.weight.detach() - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 1e-3 if warmup else 1e-2), rtol=1e-2, atol=0)


@pytest.mark.parametrize("rows", [1, 7, 8, 50])
@pytest.mark.parametrize("by_length", [False, True])
def test_every_row_once_per_epoch(rows: int, by_length: bool) -> None:
    """Also those of the last, short batch."""
    batches = Batches(rows, 8, 3, range(rows) if by_length else None)
    assert batches.per_epoch == -(-rows // 8)
    for epoch in range(3):
        drawn = [batches.at(epoch * batches.per_epoch + i) for i in range(batches.per_epoch)]
        assert sorted(np.concatenate(drawn)) == list(range(rows))
        assert sorted(map(len, drawn))[1:] == [8] * (batches.per_epoch - 1)
        assert min(map(len, drawn)) == (rows - 1) % 8 + 1


@pytest.mark.parametrize("lengths", [None, [i % 7 for i in range(50)]])
def test_the_order_belongs_to_seed_and_epoch(lengths: list[int] | None) -> None:
    """A resumed run that starts at any step goes on with the same rows; epochs and seeds differ."""
    steps = range(4 * 7)
    whole = Batches(50, 8, 3, lengths)
    order = [whole.at(step).tolist() for step in steps]
    for step in reversed(steps):
        assert Batches(50, 8, 3, lengths).at(step).tolist() == order[step]
    assert order[:7] != order[7:14]
    assert Batches(50, 8, 4, lengths).at(0).tolist() != order[0]


def test_rows_of_similar_length_share_a_batch() -> None:
    """Little padding, though long and short batches come in no order: each says nothing of the next."""
    lengths = np.random.default_rng(0).integers(5, 60, 20_000)
    batches = Batches(len(lengths), 8, 3, lengths)
    drawn = [lengths[batches.at(step)] for step in range(batches.per_epoch)]
    spread = np.mean([np.ptp(batch) for batch in drawn])
    assert spread < 3  # of 40 without grouping
    means = np.array([batch.mean() for batch in drawn])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.1


@pytest.mark.parametrize("steps", [1, 13])
def test_a_run_makes_just_its_steps(steps: int, tmp_path: Path) -> None:
    asked: list[int] = []
    trained(replace(SETTINGS, steps=steps), tmp_path, asked)
    assert asked == list(range(steps))


def test_a_run_leaves_its_average_in_evaluation_mode(tmp_path: Path) -> None:
    """With rate 1 the average never leaves the start; with rate 0 it is the last weights."""
    model, modes = Tiny(), set[bool]()
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    inner = loss_of(model)

    def loss(step: int) -> Tensor:
        modes.add(model.training)
        return inner(step)

    train(model, loss, replace(SETTINGS, ema=1.0), tmp_path / "still", "tiny")
    assert same(model.state_dict(), start)
    assert modes == {True} and not model.training
    last = Trainer(Tiny(), replace(SETTINGS, ema=0.0))
    for _ in range(SETTINGS.steps):
        last.update(loss_of(last.model))
    assert same(trained(replace(SETTINGS, ema=0.0), tmp_path / "last"), last.model.state_dict())


def test_frozen_weights_stay(tmp_path: Path) -> None:
    model = Tiny()
    model.head.requires_grad_(False)
    before = model.head.weight.clone()
    train(model, loss_of(model), SETTINGS, tmp_path, "tiny")
    assert torch.equal(model.head.weight, before)


def test_training_learns(tmp_path: Path) -> None:
    for name, rate in (("adamw", 0.0), ("muon", 0.02)):
        model = Tiny(dropout=0.0)
        before = loss_of(model)(0)
        train(model, loss_of(model), replace(SETTINGS, steps=150, muon_rate=rate), tmp_path / name, "tiny")
        assert loss_of(model)(0) < 0.7 * before


def test_muon_takes_the_matrices_of_the_layers() -> None:
    """Everything else, biases of layers included, stays with AdamW; nothing is left out or taken twice."""
    trainer = Trainer(Tiny(), replace(SETTINGS, muon_rate=0.02))
    names = {id(weight): name for name, weight in trainer.parameters.items()}
    taken = {
        type(optimizer).__name__: [names[id(w)] for group in optimizer.param_groups for w in group["params"]]
        for optimizer in trainer.optimizers
    }
    assert taken == {
        "Muon": ["body.layers.0.weight", "body.layers.1.weight"],
        "AdamW": ["body.layers.0.bias", "head.weight", "head.bias"],
    }
    assert [type(optimizer).__name__ for optimizer in Trainer(Tiny(), SETTINGS).optimizers] == ["AdamW"]


def test_the_randomness_of_a_step_is_its_own() -> None:
    """Whatever the global generator did before, a step draws the same; other steps and seeds draw others."""
    drawn = []
    for seed, noise in ((1, 0), (1, 99), (2, 0)):
        torch.manual_seed(noise)
        trainer = Trainer(Tiny(), replace(SETTINGS, seed=seed))

        def loss(step: int, model: nn.Module = trainer.model) -> Tensor:
            drawn.append(torch.rand(1).item())
            return torch.as_tensor(model(ROWS).sum())

        trainer.update(loss)
        trainer.update(loss)
    first, second, *rest = drawn
    assert rest[:2] == [first, second]
    assert len({first, second, *rest[2:]}) == 4


def test_large_gradients_are_clipped() -> None:
    """Their direction stays and their norm is the bound: what Adam remembers of them tells."""
    norms = []
    for clip in (0.0, 0.5):
        model = Tiny(dropout=0.0)
        trainer, loud = Trainer(model, replace(SETTINGS, clip=clip)), 1000 * model(ROWS).square().mean()
        trainer.update(lambda step, loss=loud: loss)  # type: ignore[misc]
        remembered = [state["exp_avg"] for state in trainer.optimizers[0].state.values()]
        norms.append(10 * float(torch.cat([m.flatten() for m in remembered]).norm()))  # 1 - beta_1 is 0.1
    assert norms[0] > 100 and norms[1] == pytest.approx(0.5, rel=1e-3)


def test_half_precision_is_for_the_computation_only() -> None:
    model = Tiny()
    trainer = Trainer(model, replace(SETTINGS, precision="bf16"))
    kinds = []

    def loss(step: int) -> Tensor:
        out = model(ROWS)
        kinds.append(out.dtype)
        return out.float().square().mean()

    trainer.update(loss)
    assert kinds == [torch.bfloat16]
    assert {weight.dtype for weight in (*model.parameters(), *trainer.average.values())} == {torch.float32}


@pytest.mark.parametrize("muon_rate", [0.0, 0.02])
def test_a_restored_trainer_is_the_saved_one(muon_rate: float, tmp_path: Path) -> None:
    """Weights, average, both optimisers and the step number: all that later updates depend on."""
    settings, path = replace(SETTINGS, muon_rate=muon_rate), tmp_path / "state.safetensors"
    trainer = Trainer(Tiny(), settings)
    for _ in range(9):
        trainer.update(loss_of(trainer.model))
    trainer.save(path, "run")
    restored = Trainer(Tiny(width=8), settings)
    restored.load(path, "run")
    for _ in range(9):
        trainer.update(loss_of(trainer.model))
        restored.update(loss_of(restored.model))
    assert restored.step == trainer.step == 18
    assert same(restored.model.state_dict(), trainer.model.state_dict())
    assert same(restored.average, trainer.average)
    for ours, theirs in zip(restored.optimizers, trainer.optimizers, strict=True):
        states = zip(ours.state_dict()["state"].items(), theirs.state_dict()["state"].items(), strict=True)
        assert all(a == b and same(x, y) for (a, x), (b, y) in states)


@pytest.mark.parametrize("muon_rate", [0.0, 0.02])
def test_a_killed_run_ends_with_the_same_weights(muon_rate: float, tmp_path: Path) -> None:
    """Killed at a random step, at a random moment of it, and started again: equal to the last bit."""
    status, told = interrupted(tmp_path / "killed", muon_rate, signal.SIGKILL)
    assert status == -signal.SIGKILL, told
    goes_on(tmp_path, muon_rate, told)


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_terminated_run_saves_its_state_at_once(
    number: signal.Signals, expected: int, tmp_path: Path
) -> None:
    """No state has been due yet: what is there was written because the signal came."""
    status, told = interrupted(tmp_path / "killed", 0.02, number)
    assert status == expected and "Traceback" not in told, told
    reached = goes_on(tmp_path, 0.02, told)
    assert f"tiny: stopped at step {reached}, saved in {tmp_path / 'killed'}" in told


def interrupted(work: Path, muon_rate: float, number: signal.Signals) -> tuple[int, str]:
    """Exit status of a training that a signal hit at a random moment, and what was done and said."""
    kill_at, delay = random.randrange(3, 25), random.random() * 0.02
    terminated = number != signal.SIGKILL
    arguments = [str(work), str(muon_rate), str(kill_at), "1e9" if terminated else "0", str(int(terminated))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None and child.stderr is not None
        line = child.stdout.readline()
        time.sleep(delay)
        child.send_signal(number)
        told = f"signal {delay:.4f} s into step {kill_at}\n{child.stderr.read().decode()}"
        assert line, told
        return child.wait(), told


def goes_on(folder: Path, muon_rate: float, told: str) -> int:
    """Finish the interrupted run, and see that it ends as a whole one; returns the step it was stopped at."""
    with safe_open(folder / "killed" / "state.safetensors", "pt") as state:
        reached = int(state.metadata()["step"])
    settings, asked = replace(SETTINGS, muon_rate=muon_rate), list[int]()
    resumed = trained(settings, folder / "killed", asked)
    assert 3 <= reached <= 35 and asked == list(range(reached, SETTINGS.steps)), told
    assert same(resumed, trained(settings, folder / "whole")), told
    return reached


@pytest.mark.parametrize("change", ["settings", "data", "width", "dropout"])
def test_the_state_of_another_run_is_refused(change: str, tmp_path: Path) -> None:
    """Other settings, data or model: one line that names the file, and the state stays as it is."""
    model = Tiny()
    train(model, loss_of(model), SETTINGS, tmp_path, "tiny", "data")
    (state,) = tmp_path.iterdir()
    before = state.read_bytes()
    settings = replace(SETTINGS, learning_rate=2e-2) if change == "settings" else SETTINGS
    model = Tiny(width=9 if change == "width" else 8, dropout=0.3 if change == "dropout" else 0.2)
    with pytest.raises(InputError, match=r"state\.safetensors: training state of another configuration; \w+"):
        train(model, loss_of(model), settings, tmp_path, "tiny", "other" if change == "data" else "data")
    assert state.read_bytes() == before


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    asked: list[int] = []
    first = trained(SETTINGS, tmp_path)
    assert same(trained(SETTINGS, tmp_path, asked), first) and asked == []


def wait_for_a_signal(work: Path, muon_rate: float, kill_at: int, save_every: float, seconds: float) -> None:
    """Train; tell when step ``kill_at`` begins, and linger ten steps later."""
    model = Tiny()
    inner = loss_of(model)

    def loss(step: int) -> Tensor:
        if step == kill_at:
            print(step, flush=True)
        if step == kill_at + 10:
            time.sleep(seconds)
        return inner(step)

    train(model, loss, replace(SETTINGS, muon_rate=muon_rate), work, "tiny", save_every=save_every)


if __name__ == "__main__":
    folder, muon_rate, kill_at, save_every, terminated = sys.argv[1:]
    seconds = 1.0 if int(terminated) else 600.0
    wait_for_a_signal(Path(folder), float(muon_rate), int(kill_at), float(save_every), seconds)
