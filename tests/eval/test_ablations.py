"""Scoring the grids: what the table says of each cell, and what the figures draw of it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.ablation_figures import PANELS, figure_data, read_ablations
from eval.ablations import UNTRAINED, Measured, ablation_markdown, ablation_table
from eval.figures import KINDS
from eval.fluency import Teacher
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.records import Sample, Text, write_records

BASE = {
    "corpus": "run", "network": "transformer", "embedding": "learned", "predict": "x0",
    "dimension": 16, "schedule": "sqrt",
}  # fmt: skip
WORDS = ["The Mill serves Thai food .".split(), "Aromi is a pub .".split(), "The Mill is a pub .".split()]


def cell(**changes: Any) -> dict[str, Any]:
    return {**BASE, **changes}


def measured(nats: float, seed: int = 0, texts: int = 40) -> Measured:
    """Texts of about so many nats per token."""
    random = np.random.default_rng(seed)
    return Measured(random.normal(nats, 0.3, texts), [WORDS[i % 3] for i in range(texts)])


CELLS = {
    "baseline": cell(), "random": cell(embedding="random"), "wide": cell(dimension=128),
    "eps": cell(predict="eps"), "eps_wide": cell(predict="eps", dimension=128),
    "cosine": cell(schedule="cosine"), "unet": cell(network="unet"),
}  # fmt: skip
NATS = {**dict.fromkeys(CELLS, 2.0), "random": 3.0, "eps_wide": 7.0}


@pytest.fixture(scope="module")
def table() -> Any:
    own = {name: {"0": measured(NATS[name]), "1": measured(NATS[name], 1)} for name in CELLS}
    return ablation_table(own, CELLS)


def value(table: Any, name: str, metric: str, seed: str = "") -> Any:
    found = table[(table["cell"] == name) & (table["metric"] == metric) & (table["seed"] == seed)]
    assert len(found) == 1
    return found.iloc[0]


def test_the_lm_score_is_the_perplexity_of_the_mean_text(table: Any) -> None:
    seeds = [value(table, "baseline", "lm_score", seed).value for seed in "01"]
    whole = value(table, "baseline", "lm_score")
    assert whole.value == pytest.approx(np.sqrt(np.prod(seeds)))
    assert seeds[0] == pytest.approx(np.exp(measured(2.0).losses.mean()))
    assert whole.low < whole.value < whole.high and whole.texts == 80


def test_an_untrained_cell_is_marked_in_all_its_rows(table: Any) -> None:
    assert np.exp(7.0) > UNTRAINED
    marked = set(table[table["note"].str.startswith("untrained")]["cell"])
    assert marked == {"eps_wide"}
    assert table[table["cell"] == "eps_wide"]["note"].str.startswith("untrained").all()


def test_diversity_and_length_stand_beside_every_score(table: Any) -> None:
    for name in CELLS:
        assert value(table, name, "mean_length").value == pytest.approx(np.mean([6, 5, 6]), abs=0.05)
        assert 0 < value(table, name, "distinct_4").value < 1


def test_the_markdown_ends_with_the_verdicts(table: Any) -> None:
    markdown = ablation_markdown(table)
    line = next(line for line in markdown.splitlines() if line.startswith("| eps_wide"))
    assert "untrained" in line
    assert "**Learned embeddings beat random ones (run): holds.** lm of random over learned: 2.7" in markdown
    assert "**x0 stays steady over dimensions while epsilon collapses: undecided.**" in markdown


@pytest.fixture(scope="module")
def files(judges: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Samples of all cells and what judges them, as the command reads them."""
    folder = tmp_path_factory.mktemp("cells")
    found = {f"{kind}/run": judges.inputs[kind] for kind in ("vocabulary", "teacher")}
    found["corpus/run"] = folder / "corpus.jsonl"
    splits = ("train", "human", "human", "test")
    write_records(found["corpus/run"], [Text(f"t{i}", s, "", WORDS[i % 3]) for i, s in enumerate(splits)])
    for name in CELLS:
        for seed in (0, 1):
            texts = [" ".join(words) for words in WORDS]
            samples = [Sample(name, "unconditional", "any", i, seed, t, 9, 0) for i, t in enumerate(texts)]
            found[f"samples/{name}/seed{seed}"] = folder / f"{name}{seed}.jsonl"
            write_records(found[f"samples/{name}/seed{seed}"], samples)
    return found


@pytest.fixture(scope="module")
def made(
    run_command: Callable[..., Any], files: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("table")
    outputs = {"csv": folder / "ablations.csv", "markdown": folder / "ablations.md"}
    done = run_command("eval.ablations", {"cells": CELLS, "seed": 0}, files, outputs)
    assert done.code == 0, done.stderr
    return folder


def test_the_command_scores_all_cells_beside_the_human_row(made: Path, judges: Any) -> None:
    with (made / "ablations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["cell"] for row in rows} == {*CELLS, "human"}
    teacher = Teacher(judges.teacher, Vocabulary.load(judges.vocabulary))
    expected = np.exp(np.mean([loss.mean() for loss in teacher.token_losses(WORDS)]))
    scores = {(row["cell"], row["seed"]): float(row["value"]) for row in rows if row["metric"] == "lm_score"}
    assert scores["baseline", ""] == scores["baseline", "1"] == pytest.approx(expected, abs=1e-3)
    assert {row["texts"] for row in rows if row["cell"] == "human"} == {"2"}  # those of the human split


def test_samples_of_a_cell_that_nobody_describes_are_bad_input(
    run_command: Callable[..., Any], files: Mapping[str, Path], tmp_path: Path
) -> None:
    described = {name: own for name, own in CELLS.items() if name != "unet"}
    outputs = {"csv": tmp_path / "a.csv", "markdown": tmp_path / "a.md"}
    done = run_command("eval.ablations", {"cells": described, "seed": 0}, files, outputs)
    assert done.code == 2 and "no cell 'unet' in the settings" in done.stderr


@pytest.mark.parametrize("figure", PANELS)
def test_a_figure_is_drawn_from_the_table_with_its_data_beside_it(
    run_command: Callable[..., Any], made: Path, tmp_path: Path, figure: str
) -> None:
    outputs = {kind: tmp_path / f"{figure}.{kind}" for kind in (*KINDS, "csv", "caption")}
    inputs = {"table": made / "ablations.csv"}
    done = run_command("eval.ablation_figures", {"figure": figure, "recipe": "fast"}, inputs, outputs)
    assert done.code == 0, done.stderr
    assert all(outputs[kind].stat().st_size > 500 for kind in KINDS)
    told = outputs["caption"].read_text()
    assert told.startswith(f"### {figure.replace('_', ' ').title()}") and "Muon trains" in told
    assert ("U-Net" in told) == (figure == "figure_6") and ("epsilon" in told) == (figure == "figure_4")


def test_a_figure_shows_each_panel_s_cells_and_the_human_row(made: Path) -> None:
    data = figure_data(read_ablations(made / "ablations.csv"), "figure_6")
    shown = {name: set(rows["cell"]) - {"human"} for name, rows in data.groupby("panel")}
    assert shown == {
        "embedding, run": {"baseline", "random"},
        "schedule, run": {"baseline", "wide", "eps", "eps_wide", "cosine"},
        "network, run": {"baseline", "unet"},
    }
    assert all("human" in set(rows["cell"]) for _, rows in data.groupby("panel"))
