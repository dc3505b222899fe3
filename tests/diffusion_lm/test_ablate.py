"""One cell of a grid: it trains and writes in one command, and goes on where it broke off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from diffusion_lm import ablate, train
from pipeline.command import Job, Spec
from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.records import Sample, read_records, write_records
from pipeline.settings import resolve

MODEL = {
    "hidden": 16, "layers": 1, "heads": 2, "intermediate": 32, "time_channels": 8, "dropout": 0,
    "dimension": 4, "positions": 24, "diffusion_steps": 20,
}  # fmt: skip
TRAINING = {"steps": 4, "batch_size": 8, "learning_rate": 0.01, "ema": 0.5}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpus")
    texts = restaurant_texts(0, {"train": 40, "valid": 5})
    write_records(folder / "corpus.jsonl", texts)
    Vocabulary.build([t.tokens for t in texts], more_than=1).save(folder / "vocabulary.json")
    return {"corpus": folder / "corpus.jsonl", "vocabulary": folder / "vocabulary.json"}


def spec(**model: Any) -> dict[str, Any]:
    own = {"model": {**MODEL, **model}, "training": TRAINING, "sampling": {"steps": 3}}
    settings = resolve("demo", {"ablations": own})["ablations"]
    kept = {key: settings[key] for key in ("model", "training", "sampling")}
    return {**kept, "name": "baseline", "texts": 5, "seed": 3}


def outputs(folder: Path) -> dict[str, Path]:
    return {"model": folder / "seed3.safetensors", "samples": folder / "seed3.jsonl"}


@pytest.mark.parametrize("predict", ["x0", "eps"])
def test_a_cell_keeps_its_model_and_writes_texts_of_its_own_seed(
    run_command: Callable[..., Any], inputs: Mapping[str, Path], tmp_path: Path, predict: str
) -> None:
    done = run_command("diffusion_lm.ablate", spec(predict=predict), inputs, outputs(tmp_path))
    assert done.code == 0, done.stderr
    model, _ = train.load(outputs(tmp_path)["model"], Vocabulary.load(inputs["vocabulary"]))
    assert (model.settings.predict, model.settings.layout) == (predict, "pad")
    samples = read_records(outputs(tmp_path)["samples"], Sample)
    assert [(s.method, s.task, s.sample_index, s.seed) for s in samples] == [
        ("baseline", "unconditional", index, 3) for index in range(5)
    ]
    assert len({sample.text for sample in samples}) > 1


def test_a_cell_that_broke_off_while_writing_does_not_train_again(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    job = Job(Spec(spec()), inputs, outputs(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("diffusion_lm.ablate.write_records", broken)
        with pytest.raises(KeyboardInterrupt):
            ablate.main(job)
    steps: list[int] = []
    monkeypatch.setattr("pipeline.training.Trainer.update", lambda self, loss: steps.append(self.step))
    ablate.main(job)
    assert not steps and len(read_records(job.outputs["samples"], Sample)) == 5
