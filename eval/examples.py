"""Examples: the paper's Tables 1, 3, 6 and 8 to 12, with this run's texts and settings.

python -m eval.examples --spec SPEC --input targets/TASK=FILE samples/TASK/CELL=FILE scores/TASK/CELL=FILE \\
    ... judge1_tagger=FILE judge1_parser=FILE --output csv=FILE markdown=FILE

A CELL is ``method/seed0``. SPEC holds ``decoding`` (:func:`eval.decoding_settings.settings_rows`) and the
judge's ``cache``. Neither targets nor texts are picked: the targets are the first in order on which no
setting was chosen, the texts the first that each method wrote for them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from eval.decoding_settings import settings_table
from eval.drawing import FAILED, asked, drawn, grid
from eval.layout import ALL_METHODS, CHEATERS, ordered, success_metrics
from eval.oracles.judge import Judge
from eval.oracles.load import load_judge
from eval.render import fenced
from eval.select import cells, split_words
from eval.success import ENOUGH
from pipeline.command import Job, command
from pipeline.files import write_text
from pipeline.records import Sample, Score, Target, read_records
from pipeline.tasks import (
    COMPOSITIONS,
    INFILLING,
    LENGTH,
    PARTS_OF_SPEECH,
    SEMANTIC_CONTENT,
    SYNTAX_SPANS,
    SYNTAX_TREE,
    UNCONDITIONAL,
    parts,
)

SHOWN = {  # the title of a task's examples, with the paper's table, and how many targets (or texts) it shows
    SYNTAX_TREE: ("Table 3: syntax trees", 2),
    UNCONDITIONAL: ("Table 8: texts without control beside human texts", 5),
    SYNTAX_SPANS: ("Table 9: syntax spans", 6),
    PARTS_OF_SPEECH: ("Table 10: parts of speech", 9),
    LENGTH: ("Table 11: length", 7),
    SEMANTIC_CONTENT: ("Table 12: semantic content", 7),
    **{task: (f"Composition: {' and '.join(halves)}", 2) for task, halves in COMPOSITIONS.items()},
    INFILLING: ("Infilling", 3),
}
FIRST_TABLE = ("diffusion_lm", "unguided")  # the methods of Table 1
RULE = (
    "Nothing here is picked: targets are the first in order on which no setting was chosen, texts the first "
    "that a method wrote for each. Numbers are control success in percent; ✗: what was asked for is not met."
)
LEGEND = {
    SEMANTIC_CONTENT: "[value]: where the text states it.",
    PARTS_OF_SPEECH: "✗word/TAG: the judge's tag, not the one above; (word): more words than tags.",
    SYNTAX_TREE: "(✗NP ...): a constituent that was not asked for; lacks: those that are missing.",
    SYNTAX_SPANS: "[NP ...]: the words that should be the constituent; ✗: they are not.",
    LENGTH: "In brackets the number of words; two more or less are allowed.",
}


class Example(NamedTuple):
    """A text with its drawing; ``success`` by metric, nothing where success is not defined."""

    sample: Sample
    success: dict[str, float]
    cells: list[str]

    @property
    def mark(self) -> str:
        """Success in percent, marked where the control is not met."""
        failed = any(value < ENOUGH for value in self.success.values())
        return FAILED * failed + "/".join(f"{value:.0f}" for value in self.success.values())


class Block(NamedTuple):
    """A target with its texts."""

    target: Target
    examples: list[Example]


Texts = dict[str, list[tuple[Sample, Score]]]


def first_texts(task: str, files: Mapping[str, Path], count: int) -> Texts:
    """The first ``count`` texts of every method for each target, by target; cheaters are no methods.

    Args:
        files: those of the job, by name.
    """
    found: Texts = {}
    cell_of = {cell.split("/")[0]: cell for cell in cells(dict(files), f"samples/{task}")}
    for method in ordered(cell_of.keys() - {*CHEATERS}, ALL_METHODS):
        scores = read_records(files[f"scores/{task}/{cell_of[method]}"], Score)
        score_of = {(score.target_id, score.sample_index): score for score in scores}
        samples = read_records(files[f"samples/{task}/{cell_of[method]}"], Sample)
        for sample in sorted(samples, key=lambda sample: sample.sample_index):
            of_target = found.setdefault(sample.target_id, [])
            if sum(other.method == method for other, _ in of_target) < count:
                of_target.append((sample, score_of[sample.target_id, sample.sample_index]))
    return found


def blocks(task: str, files: Mapping[str, Path], judge: Judge) -> list[Block]:
    """The first targets of a task on which no setting was chosen, with the first text of every method.

    Texts without control have one target, and several texts of it are shown.
    """
    free, count = task == UNCONDITIONAL, SHOWN[task][1]
    texts = first_texts(task, files, count if free else 1)
    targets = read_records(files[f"targets/{task}"], Target)
    fitting = [t for t in targets if t.reported and not t.tuned_on and t.target_id in texts]
    return [
        Block(target, _drawn(target, texts[target.target_id], judge))
        for target in fitting[: 1 if free else count]
    ]


def _drawn(target: Target, texts: Sequence[tuple[Sample, Score]], judge: Judge) -> list[Example]:
    task, words = target.task, [split_words(sample.text) for sample, _ in texts]
    tags = judge.tags(words) if PARTS_OF_SPEECH in parts(task) else [[] for _ in words]
    trees = judge.trees(words) if SYNTAX_TREE in parts(task) else ["" for _ in words]
    metrics = [metric for metric in success_metrics(task) if metric != "joint"]
    return [
        Example(
            sample,
            {metric: score.metrics[metric] for metric in metrics if metric in score.metrics},
            drawn(task, own, target.control, tag, tree),
        )
        for (sample, score), own, tag, tree in zip(texts, words, tags, trees, strict=True)
    ]


def drawing(block: Block, methods: Container[str] | None = None) -> str:
    """A target and its texts (of all methods if None) as a fenced block of Markdown."""
    rows = [["asked for", "", *asked(block.target.task, block.target.control)]]
    rows += [
        [example.sample.method, example.mark, *example.cells]
        for example in block.examples
        if methods is None or example.sample.method in methods
    ]
    return fenced(grid(rows))


def examples_markdown(shown: Mapping[str, Sequence[Block]], settings: str) -> str:
    """All tables of examples in the paper's order, Table 6 (``settings``) among them."""
    first = [drawing(found[0], FIRST_TABLE) for found in shown.values() if found]
    told = ["### Table 1: one input and one output for each task", RULE, *first]
    for task, found in shown.items():
        if task == UNCONDITIONAL:
            told.append(settings)
        told += [f"### {SHOWN[task][0]}", *(LEGEND[part] for part in parts(task) if part in LEGEND)]
        told += map(drawing, found)
    return "\n\n".join(told) + "\n"


def examples_csv(shown: Mapping[str, Sequence[Block]]) -> str:
    """One row for each text."""
    rows = [
        {
            "table": SHOWN[task][0],
            "task": task,
            "target_id": block.target.target_id,
            "asked_for": " ".join(asked(task, block.target.control)),
            "method": example.sample.method,
            "text": example.sample.text,
            "success": example.mark,
            "drawn": " ".join(example.cells).strip(),
        }
        for task, found in shown.items()
        for block in found
        for example in block.examples
    ]
    return str(pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


def main(job: Job) -> None:
    """Write the tables."""
    spec, files = job.spec, job.inputs
    judge = load_judge("judge1", files["judge1_tagger"], files["judge1_parser"], Path(spec["cache"]))
    shown = {task: blocks(task, files, judge) for task in SHOWN if f"targets/{task}" in files}
    settings = settings_table(spec["decoding"])
    write_text(job.outputs["csv"], examples_csv(shown))
    write_text(job.outputs["markdown"], examples_markdown(shown, settings))


if __name__ == "__main__":
    command(main, inputs=("judge1_tagger", "judge1_parser"), outputs=("csv", "markdown"), open_ended=True)
