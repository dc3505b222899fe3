"""Compare a file of texts with stored baselines: scores, a row in every table, differences and tests.

python -m eval.compare my_samples.jsonl --against results/stored/demo

Each line of the file is an object with at least ``target_id`` and ``text`` (:mod:`eval.contribution`); the
tasks are found by the targets. Nothing is trained: the stored folder has the targets, the judges and every
baseline's texts and scores. ``results/compared/<method>/`` gets the comparison as Markdown, LaTeX and a page,
the rows of the tables and the differences as CSV, and every text with its scores.
"""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from eval.comparison_report import EXAMPLES, Example, comparison_report
from eval.contribution import read_contribution
from eval.csv_tables import table_csv
from eval.differences import differences
from eval.layout import ALL_METHODS, CHEATERS, ordered
from eval.render import Report, latex, markdown, page
from eval.score_stored import Evaluated, Folder, evaluate
from eval.tables import COLUMNS
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.records import Sample, write_records
from pipeline.tasks import INFILLING

COMPARED = Path("results/compared")
NAME = re.compile(r"[A-Za-z][\w-]*")
SEED = 0  # of the draws of intervals and tests


class Comparison(NamedTuple):
    """A method's results on every task, the stored rows beside its own, and how they differ."""

    evaluated: Mapping[str, Evaluated]
    table: pd.DataFrame
    differences: pd.DataFrame


def compare(folder: Folder, samples: Sequence[Sample], allow: Sequence[str]) -> Comparison:
    """Score the texts of one method, and set them beside everything that is stored of their targets.

    Raises:
        InputError: the texts and the stored ones do not compare.
    """
    evaluated: dict[str, Evaluated] = {}
    for task in dict.fromkeys(sample.task for sample in samples):
        evaluated[task] = evaluate(folder, [s for s in samples if s.task == task], allow, SEED)
        print(f"scored {task}: {len(evaluated[task].scores)} texts", file=sys.stderr)
    own = pd.concat([found.table for found in evaluated.values()])
    stored = folder.table()
    sets = own[["task", "target_set"]].drop_duplicates()
    beside = stored.merge(sets, on=["task", "target_set"])
    beside = beside[beside["method"] != samples[0].method]
    table = pd.concat([beside[list(COLUMNS)], own[list(COLUMNS)]], ignore_index=True)
    return Comparison(evaluated, table, pd.concat(_differences(folder, evaluated), ignore_index=True))


def _differences(folder: Folder, evaluated: Mapping[str, Evaluated]) -> Iterator[pd.DataFrame]:
    for task, found in evaluated.items():
        selections = ("mbr", "first") if task == INFILLING else ("mbr", "all")
        for target_set, ours in found.frames.items():
            others = folder.frame(task, target_set, set(ours["target_id"]))
            methods = others[~others["method"].isin((*CHEATERS, ours["method"].iloc[0]))]
            order = {method: i for i, method in enumerate(ordered(methods["method"], ALL_METHODS))}
            in_order = methods.sort_values("method", key=lambda names: names.map(order), kind="stable")
            yield differences(ours, in_order, SEED, selections)


def report_of(comparison: Comparison, folder: Folder, method: str) -> Report:
    """The comparison as a report."""
    examples = [
        Example(target, sample, score)
        for found in comparison.evaluated.values()
        for target in found.targets[:EXAMPLES]
        for sample, score in zip(found.samples, found.scores, strict=True)
        if sample.target_id == target.target_id and sample.sample_index == 0
    ]
    facts = {
        f"{task}: {key}": str(value)
        for task, found in comparison.evaluated.items()
        for key, value in found.signature.items()
    }
    marks = {task: sorted(found.marks) for task, found in comparison.evaluated.items()}
    return comparison_report(
        method, str(folder.path), comparison.table, comparison.differences, examples, facts, marks
    )


def write(output: Path, comparison: Comparison, report: Report) -> None:
    """Write everything; records first, so that the report stands only where they do."""
    for task, found in comparison.evaluated.items():
        for kind, records in (
            ("samples", found.samples),
            ("selected", found.selected),
            ("scores", found.scores),
        ):
            write_records(output / kind / f"{task}.jsonl", records)
    write_text(output / "results.csv", table_csv(comparison.table))
    write_text(output / "differences.csv", comparison.differences.to_csv(index=False, lineterminator="\n"))
    for suffix, form in (("md", markdown), ("tex", latex), ("html", page)):
        write_text(output / f"comparison.{suffix}", form(report))


def main(words: Sequence[str]) -> None:
    """Compare one file."""
    options = _options(words)
    folder = Folder(options.against)
    samples = read_contribution(options.samples, folder.targets, options.method, options.task)
    method = samples[0].method
    if not NAME.fullmatch(method):
        raise InputError(
            options.samples, f"'{method}' cannot name a method", "use letters, digits, - and _: --method NAME"
        )
    comparison = compare(folder, samples, options.allow)
    report = report_of(comparison, folder, method)
    output = options.output or COMPARED / method
    write(output, comparison, report)
    print(markdown(report))
    print(f"Page: {output / 'comparison.html'}. Tables: {output}/*.csv", file=sys.stderr)


def _options(words: Sequence[str]) -> Namespace:
    from pipeline.command import Parser

    parser = Parser(prog="eval.compare", description=__doc__)
    parser.add_argument("samples", type=Path, help="JSON Lines with target_id and text")
    parser.add_argument("--against", type=Path, required=True, help="a stored folder: results/stored/demo")
    parser.add_argument("--method", help="the method's name, where the lines do not have it")
    parser.add_argument("--task", help="the task, where a target's id is of several")
    parser.add_argument("--output", type=Path, help="folder to write to (results/compared/<method>)")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="KEY", help="a key of the signature that may differ"
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    from pipeline.command import exit_codes

    with exit_codes():
        main(sys.argv[1:])
