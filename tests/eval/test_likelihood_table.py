"""Table 7: numbers by hand, equal texts for all models, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.likelihood_table import per_token, published, verdict
from eval.verdicts import FAILS, HOLDS, UNDECIDED
from pipeline.records import Likelihood, write_records

SPEC = {"published": "nll_E2E", "seed": 0}


def exact(nats: list[float], tokens: int = 4) -> list[Likelihood]:
    return [Likelihood(f"t{number}", tokens, {"exact": value}) for number, value in enumerate(nats)]


def bound(nats: list[float], tokens: int = 4) -> list[Likelihood]:
    """Terms that add up to these numbers; the first is negative."""
    return [
        Likelihood(
            f"t{number}", tokens, {"prior": 0.0, "diffusion": value + 1, "first": -2.0, "rounding": 1.0}
        )
        for number, value in enumerate(nats)
    ]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    generator = np.random.default_rng(0)
    nats = list(generator.uniform(4, 8, 20))
    made = {
        "language_model": exact(nats),
        "simple": bound([4 * value for value in nats]),
        "vlb": bound([2 * value for value in nats]),
    }
    paths = {f"likelihood/{name}": tmp_path / f"{name}.jsonl" for name in made}
    for name, found in made.items():
        write_records(paths[f"likelihood/{name}"], found)
    return paths


def run(run_command: Callable[..., Any], files: dict[str, Path], folder: Path, **spec: Any) -> Any:
    outputs = {"csv": folder / "t.csv", "markdown": folder / "t.md"}
    return run_command("eval.likelihood_table", {**SPEC, **spec}, files, outputs)


def test_long_texts_count_as_much_as_they_have_tokens() -> None:
    one, other = exact([2.0], tokens=1), exact([3.0], tokens=9)
    value, resampled = per_token([*one, *other], seed=0)
    assert value == pytest.approx(5 / 10)
    assert set(resampled.round(6)) <= {2.0, 0.5, round(3 / 9, 6)}


def test_the_table_tells_bounds_from_likelihoods(
    run_command: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    done = run(run_command, files, tmp_path)
    assert done.code == 0, done.stderr
    table = pd.read_csv(tmp_path / "t.csv").set_index("model")
    assert list(table.index) == ["language_model", "simple", "vlb"]
    assert table["bound"].tolist() == [False, True, True]
    nats = table["nats_per_token"]
    assert nats["simple"] == pytest.approx(4 * nats["language_model"], rel=1e-4)
    sums = table.loc["simple":, ["prior", "diffusion", "first", "rounding"]].sum(axis=1)
    np.testing.assert_allclose(sums, nats["simple":], rtol=1e-4)
    text = (tmp_path / "t.md").read_text()
    lines = {line.split(" | ")[0].strip("| ").split(",")[0]: line for line in text.splitlines()}
    assert "<=" in lines["Diffusion-LM"] and "<=" not in lines["language model"]
    assert table["paper"]["language_model"] == 1.77 and table["paper"]["vlb"] == 2.28
    assert "Table 7): holds." in text


def test_without_a_published_corpus_nothing_is_published(
    run_command: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    assert run(run_command, files, tmp_path, published="").code == 0
    assert pd.read_csv(tmp_path / "t.csv")["paper"].isna().all()
    assert published("") == {}


@pytest.mark.parametrize(
    ("ratio", "noise", "expected"), [(2.0, 0.1, HOLDS), (0.5, 0.1, FAILS), (1.0, 1.0, UNDECIDED)]
)
def test_models_are_compared_text_by_text(ratio: float, noise: float, expected: str) -> None:
    generator = np.random.default_rng(1)
    nats = generator.uniform(1, 100, 30)  # texts differ much more than the models do
    own = nats * ratio + noise * generator.standard_normal(30)
    found = {"language_model": exact(list(nats)), "vlb": bound(list(own))}
    assert verdict(found, seed=0).outcome == expected


def test_other_texts_than_the_language_model_s_are_bad_input(
    run_command: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    write_records(files["likelihood/vlb"], bound([1.0, 2.0]))
    done = run(run_command, files, tmp_path)
    assert done.code == 2 and "other texts than those of language_model" in done.stderr
    del files["likelihood/language_model"]
    assert run(run_command, files, tmp_path).code == 2
