"""How much faster PPLM writes in batches: seconds per text at several batch sizes, for the same texts.

python -m baselines.pplm.batching --spec SPEC --input targets=FILE vocabulary=FILE language_model=FILE \\
    attribute=FILE --output csv=FILE markdown=FILE

SPEC has ``sizes``, ``texts`` (how many are written at each size), ``method`` (settings), ``name``, ``seed``.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence

from baselines.pplm.method import PPLM
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.methods import Request
from pipeline.records import Target, read_records

COLUMNS = ("batch_size", "texts", "seconds_per_sample", "times_faster", "percent_same")
FEWEST_SAME = 0.9  # rounding differs with the batch, and steps of fixed length magnify it now and then


def requests(targets: Sequence[Target], texts: int) -> list[Request]:
    """The first ``texts`` samples, one of each target in turn."""
    return [Request(targets[i % len(targets)], i // len(targets)) for i in range(texts)]


def measure(method: PPLM, asked: Sequence[Request], seed: int) -> tuple[list[list[str]], float]:
    """The texts, and seconds for each; the first is written twice, so that loading is not measured."""
    list(method.write(asked[:1], seed))
    began = time.perf_counter()
    texts = [words for words, _, _ in method.write(asked, seed)]
    return texts, (time.perf_counter() - began) / len(asked)


def main(job: Job) -> None:
    """Write the same texts at every batch size, 1 included, and compare the times.

    Raises:
        InputError: the sizes do not begin with 1.
        RuntimeError: a batch size gives other texts: more than rounding explains.
    """
    spec, vocabulary = job.spec, Vocabulary.load(job.inputs["vocabulary"])
    if (sizes := spec["sizes"])[:1] != [1]:
        raise InputError("--spec", f"sizes are {sizes}", "begin with 1, which the others are compared with")
    asked = requests(read_records(job.inputs["targets"], Target), spec["texts"])
    models = {name: job.inputs[name] for name in ("language_model", "attribute")}
    found = []
    for size in sizes:
        method = PPLM(spec["name"], {**spec["method"], "batch_size": size}, vocabulary, models)
        found.append(measure(method, asked, spec["seed"]))
        if (same := share_equal(found[-1][0], found[0][0])) < FEWEST_SAME:
            raise RuntimeError(f"of the texts of batches of 1, batches of {size} give only {same:.0%}")
    rows = table(sizes, found)
    write_text(job.outputs["csv"], as_csv(rows))
    write_text(job.outputs["markdown"], as_markdown(rows))


def share_equal(texts: Sequence[list[str]], others: Sequence[list[str]]) -> float:
    """Share of texts that are equal."""
    return sum(text == other for text, other in zip(texts, others, strict=True)) / len(texts)


def table(sizes: Sequence[int], found: Sequence[tuple[list[list[str]], float]]) -> list[list[str]]:
    """One row per batch size, in the order of ``COLUMNS``; the last two compare with the first size."""
    first, slowest = found[0]
    return [
        [
            str(size),
            str(len(texts)),
            f"{each:.3f}",
            f"{slowest / each:.1f}",
            f"{100 * share_equal(texts, first):.1f}",
        ]
        for size, (texts, each) in zip(sizes, found, strict=True)
    ]


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    """Comma-separated, with a header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue()


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Columns of numbers under spelled-out names, aligned on the right."""
    lines = [[column.replace("_", " ") for column in COLUMNS], *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * (width - 1) + ":" for width in widths])
    padded = (" | ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"| {line} |\n" for line in padded)


if __name__ == "__main__":
    command(
        main,
        inputs=("targets", "vocabulary", "language_model", "attribute"),
        outputs=("csv", "markdown"),
    )
