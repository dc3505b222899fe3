"""Several variants of one method in one process: whose texts are whose, and what they start from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpora.vocabulary import Vocabulary
from pipeline.methods import Method, Request
from pipeline.records import Sample, Target, read_records, write_records


class Counting(Method):
    """Writes its setting ``word``, and a number that its generator draws."""

    tasks = frozenset({"length"})

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        for request in requests:
            yield [self.settings["word"], str(self.generator(request, seed).initial_seed())], 7, 1


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.setattr("pipeline.methods.method_class", lambda name, module: Counting)
    Vocabulary.build([["a"]], more_than=0).save(tmp_path / "vocabulary.json")
    targets = [Target(f"length-{n}", "length", {"length": n}) for n in (2, 3)]
    write_records(tmp_path / "targets.jsonl", targets)
    return {"targets": tmp_path / "targets.jsonl", "vocabulary": tmp_path / "vocabulary.json"}


def run(
    run_command: Callable[..., Any], inputs: dict[str, Path], folder: Path, **variants: int
) -> list[Sample]:
    own = [
        {"label": label, "method": {"module": "m", "word": label}, "samples": count}
        for label, count in variants.items()
    ]
    spec = {"name": "counting", "variants": own, "seed": 4, "most_words": 9}
    outputs = {"samples": folder / "s.jsonl", "seconds": folder / "s.json"}
    done = run_command("pipeline.variants", spec, inputs, outputs)
    assert done.code == 0, done.stderr
    assert set(json.loads(outputs["seconds"].read_text())) == set(variants)
    return read_records(outputs["samples"], Sample)


def test_each_variant_writes_its_own_number_of_texts_under_its_label(
    run_command: Callable[..., Any], inputs: dict[str, Path], tmp_path: Path
) -> None:
    samples = run(run_command, inputs, tmp_path, one=1, two=2)
    assert [(s.method, s.target_id, s.sample_index) for s in samples] == [
        ("one", "length-2", 0), ("one", "length-3", 0),
        ("two", "length-2", 0), ("two", "length-2", 1), ("two", "length-3", 0), ("two", "length-3", 1),
    ]  # fmt: skip
    assert {(s.method, s.text.split()[0], s.seed, s.forward_tokens) for s in samples} == {
        ("one", "one", 4, 7),
        ("two", "two", 4, 7),
    }


def test_all_variants_start_from_the_same_noise(
    run_command: Callable[..., Any], inputs: dict[str, Path], tmp_path: Path
) -> None:
    samples = run(run_command, inputs, tmp_path, one=2, two=2)
    noise = {label: [s.text.split()[1] for s in samples if s.method == label] for label in ("one", "two")}
    assert noise["one"] == noise["two"] and len(set(noise["one"])) == 4
