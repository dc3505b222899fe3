"""Select one text per target by MBR (paper Section 5.2).

python -m eval.select --spec SPEC --input samples/CELL=FILE ... --output selected/CELL=FILE ...

A CELL is ``method/seed0``; all cells of one task are one job.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.mbr import Rule, choose, utility_matrices
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.records import Sample, read_records, write_records


def main(job: Job) -> None:
    """Write the choice of every cell."""
    for cell, path in cells(job.inputs, "samples").items():
        output = job.outputs.get(f"selected/{cell}")
        if output is None:
            raise InputError("--output", f"'selected/{cell}' is missing", f"add selected/{cell}=FILE")
        write_records(output, select_samples(read_records(path, Sample), job.spec["mbr_rule"]))


def cells(files: dict[str, Path], kind: str) -> dict[str, Path]:
    """The files named ``kind/CELL``, by cell."""
    return {
        name.removeprefix(f"{kind}/"): path for name, path in files.items() if name.startswith(f"{kind}/")
    }


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
