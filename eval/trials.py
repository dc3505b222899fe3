"""Compare trials of method settings on the targets that settings are chosen on.

python -m eval.trials --spec SPEC \\
    --input targets=FILE corpus=FILE vocabulary=FILE teacher=FILE samples/TRIAL=FILE ... \\
    --output table=FILE

Tasks of syntax need the judges that :mod:`eval.score` takes, and take its setting ``cache``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from eval.fluency import Teacher
from eval.guards import distinct_n
from eval.layout import success_metrics
from eval.markdown import markdown_table
from eval.score import frame, load_judges, score_samples
from eval.select import cells, select_samples, split_words
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.records import Sample, Target, read_records


def columns(task: str) -> list[str]:
    """The titles of the table: each success metric of the task over all texts and over the selected ones."""
    success = [title for name in success_metrics(task) for title in (name, f"{name} mbr")]
    return ["trial", *success, "lm", "lm mbr", "length", "distinct-4", "doubled %", "settings"]


def main(job: Job) -> None:
    """Write one row per trial, in the order of the configuration."""
    targets = [target for target in read_records(job.inputs["targets"], Target) if target.tuned_on]
    if not targets:
        what = "no target that settings may be chosen on"
        raise InputError(job.inputs["targets"], what, "mark some with tuned_on")
    teacher = Teacher(job.inputs["teacher"], Vocabulary.load(job.inputs["vocabulary"]))
    judges, task, rows = load_judges(job), targets[0].task, []
    for trial, path in cells(job.inputs, "samples").items():
        samples = read_records(path, Sample)
        selected = select_samples(samples, job.spec["mbr_rule"])
        scores = score_samples(samples, selected, targets, None, teacher.token_losses, judges, path)
        numbers = _numbers(frame(scores, "tuned on"), samples, list(success_metrics(task)))
        rows.append([trial, *numbers, job.spec["trials"][trial]])
    title = f"### Trials on {len(targets)} targets: {task}"
    write_text(job.outputs["table"], f"{title}\n\n{markdown_table(columns(task), rows)}\n")


def _numbers(texts: pd.DataFrame, samples: list[Sample], success: list[str]) -> list[str]:
    chosen = texts[texts["selected"]]
    values = (
        *(part[name].mean() for name in success for part in (texts, chosen)),
        *(np.exp(texts["lm_nll"].mean()), np.exp(chosen["lm_nll"].mean())),
        *(texts["length"].mean(), distinct_n([split_words(sample.text) for sample in samples], 4)),
        100 * (texts["doubled"] > 0).mean(),
    )
    return [f"{value:.2f}" for value in values]


if __name__ == "__main__":
    command(main, inputs=("targets", "corpus", "vocabulary", "teacher"), outputs=("table",), open_ended=True)
