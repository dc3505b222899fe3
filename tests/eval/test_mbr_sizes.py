"""Quality against the number of candidates: which texts are chosen, and what the command writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.mbr import select
from eval.mbr_sizes import COLUMNS, choices
from pipeline.records import Sample, Score, Target, write_records

CONTEXT = {"left": "l", "right": "r"}
TARGETS = [Target(name, "infilling", CONTEXT, ["The dog ran home ."]) for name in ("a", "b")]
WORDS = "the dog ran home . it was sad".split()


def texts_of(target: str, count: int = 12) -> list[list[str]]:
    random = np.random.default_rng(ord(target))
    return [[WORDS[i] for i in random.integers(len(WORDS), size=6)] for _ in range(count)]


def of_method(method: str, count: int) -> tuple[list[Sample], list[Score]]:
    """Samples whose ROUGE-L is their index, and statistics of BLEU that are those of a perfect text."""
    samples, scores = [], []
    perfect = {f"bleu_{kind}_{n}": float(9 - n) for kind in ("matches", "ngrams") for n in range(1, 5)}
    perfect |= {"bleu_length": 8.0, "bleu_reference_length": 8.0}
    for target in TARGETS:
        for index, words in enumerate(texts_of(target.target_id, count)):
            key = (method, "infilling", target.target_id, index, 0)
            samples.append(Sample(*key, " ".join(words), 1, 0))
            metrics = {"ROUGE-L": float(index), "CIDEr": 1.0 + index, "BERTScore|x_L1": 50.0 + index}
            scores.append(Score(*key, selected=index == 0, metrics=metrics | perfect))
    return samples, scores


@pytest.fixture
def sizes(run_command: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def run(spec: dict[str, Any], **counts: int) -> Any:
        inputs = {"targets/infilling": tmp_path / "targets.jsonl"}
        write_records(inputs["targets/infilling"], TARGETS)
        for method, count in counts.items():
            for kind, records in zip(("samples", "scores"), of_method(method, count), strict=True):
                inputs[f"{kind}/infilling/{method}/seed0"] = tmp_path / kind / f"{method}.jsonl"
                write_records(inputs[f"{kind}/infilling/{method}/seed0"], records)
        outputs = {"csv": tmp_path / "mbr_sizes.csv", "markdown": tmp_path / "mbr_sizes.md"}
        return run_command("eval.mbr_sizes", {"seed": 0, "threads": 1, **spec}, inputs, outputs)

    return run


SPEC = {"mbr_rule": "paper", "sizes": [1, 5, 10, 25]}


def test_each_size_sees_the_first_candidates_only(sizes: Callable[..., Any], tmp_path: Path) -> None:
    done = sizes(SPEC, ar_infilling=12)
    assert done.code == 0, done.stderr
    table = pd.read_csv(tmp_path / "mbr_sizes.csv")
    assert tuple(table.columns) == COLUMNS
    assert table["candidates"].unique().tolist() == [1, 5, 10]
    for size in (1, 5, 10):
        chosen = [select(texts_of(target.target_id)[:size]) for target in TARGETS]
        values = table.query("candidates == @size").set_index("metric")["value"]
        assert values["ROUGE-L"] == pytest.approx(np.mean(chosen))
        assert values["CIDEr"] == pytest.approx(1 + np.mean(chosen))
        assert values["BERTScore"] == pytest.approx(50 + np.mean(chosen))
        assert values["BLEU-4"] == pytest.approx(100)
    assert len({tuple(v) for _, v in table.groupby("candidates")["value"]}) > 1


def test_methods_with_fewer_samples_have_fewer_rows_and_human_none(
    sizes: Callable[..., Any], tmp_path: Path
) -> None:
    assert sizes(SPEC, diffusion_lm=5, left_only=1).code == 0
    table = pd.read_csv(tmp_path / "mbr_sizes.csv")
    found = table.groupby("method")["candidates"].unique().map(list).to_dict()
    assert found == {"left_only": [1], "diffusion_lm": [1, 5]}
    lines = [line for line in (tmp_path / "mbr_sizes.md").read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["method", "candidates", "BLEU-4", "ROUGE-L", "CIDEr", "BERTScore"]
    assert [line[:2] for line in cells[2:]] == [
        ["left_only", "1"],
        ["diffusion_lm", "1"],
        ["diffusion_lm", "5"],
    ]


def test_the_order_of_the_texts_does_not_matter() -> None:
    rows = [
        {"target_id": "a", "seed": 0, "sample_index": i, "words": words}
        for i, words in enumerate(texts_of("a", 6))
    ]
    forward, backward = (choices(pd.DataFrame(r), [3, 6, 7], "paper") for r in (rows, rows[::-1]))
    assert list(forward) == [3, 6]
    for size in forward:
        assert forward[size]["sample_index"].tolist() == backward[size]["sample_index"].tolist()
        assert forward[size]["sample_index"].tolist() == [select(texts_of("a", 6)[:size])]


def test_a_setting_that_is_missing_is_named(sizes: Callable[..., Any]) -> None:
    done = sizes({"mbr_rule": "paper"}, left_only=1)
    assert done.code == 2 and "'sizes' is missing" in done.stderr
