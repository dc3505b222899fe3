"""Select one text per target by MBR (paper Section 5.2).

python -m eval.select --spec SPEC --input samples/CELL=FILE ... --output selected/CELL=FILE ...

A CELL is ``method/seed0``; all cells of one task are one job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from eval.mbr import Rule, choose, utility_matrices
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.records import Sample, read_records, write_records


def main(job: Job) -> None:
    """Write the choice of every cell."""
    samples = cells(job.inputs, "samples")
    require("--output", job.outputs, "selected", samples)
    for cell, path in samples.items():
        chosen = select_samples(read_records(path, Sample), job.spec["mbr_rule"])
        write_records(job.outputs[f"selected/{cell}"], chosen)


def cells(files: dict[str, Path], kind: str) -> dict[str, Path]:
    """The files named ``kind/CELL``, by cell."""
    return {
        name.removeprefix(f"{kind}/"): path for name, path in files.items() if name.startswith(f"{kind}/")
    }


def require(option: str, files: Mapping[str, Path], kind: str, wanted: Iterable[str]) -> None:
    """Check that ``files``, given under ``option``, hold one of this kind for every cell.

    Raises:
        InputError: names the first cell without.
    """
    for cell in wanted:
        if (name := f"{kind}/{cell}") not in files:
            raise InputError(option, f"'{name}' is missing", f"add {name}=FILE")


def split_words(text: str) -> list[str]:
    """The words of a text that was joined by single spaces; a newline word stays a word."""
    return [word for word in text.split(" ") if word]


def select_samples(samples: Sequence[Sample], rule: Rule = "paper") -> list[Sample]:
    """The MBR choice (:mod:`eval.mbr`) of each method, task, target and seed.

    Candidates are taken in the order of their sample index, whatever their order in the file; groups come in
    the order of their first sample.
    """
    groups: dict[tuple[str, str, str, int], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.method, sample.task, sample.target_id, sample.seed), []).append(sample)
    candidates = [sorted(group, key=lambda sample: sample.sample_index) for group in groups.values()]
    utilities = utility_matrices([[split_words(sample.text) for sample in group] for group in candidates])
    return [group[choose(utility, rule)] for group, utility in zip(candidates, utilities, strict=True)]


if __name__ == "__main__":
    command(main, outputs=(), open_ended=True)
