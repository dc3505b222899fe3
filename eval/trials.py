"""Compare trials of method settings on the targets that settings are chosen on.

python -m eval.trials --spec SPEC \\
    --input targets=FILE corpus=FILE vocabulary=FILE teacher=FILE samples/TRIAL=FILE ... \\
    --output table=FILE
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from eval.fluency import Teacher
from eval.guards import distinct_n
from eval.score import frame, score_samples
from eval.select import cells, select_samples, split_words
from eval.tables import markdown_table
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.records import Sample, Target, read_records

COLUMNS = ("trial", "ctrl", "ctrl mbr", "lm", "lm mbr", "length", "distinct-4", "doubled %", "settings")


def main(job: Job) -> None:
    """Write one row per trial, in the order of the configuration."""
    targets = [target for target in read_records(job.inputs["targets"], Target) if target.tuned_on]
    if not targets:
        what = "no target that settings may be chosen on"
        raise InputError(job.inputs["targets"], what, "mark some with tuned_on")
    teacher = Teacher(job.inputs["teacher"], Vocabulary.load(job.inputs["vocabulary"]))
    rows = []
    for trial, path in cells(job.inputs, "samples").items():
        samples = read_records(path, Sample)
        selected = select_samples(samples, job.spec["mbr_rule"])
        scores = score_samples(samples, selected, targets, set(), teacher.token_losses, path)
        rows.append([trial, *_numbers(frame(scores, "tuned on"), samples), job.spec["trials"][trial]])
    title = f"### Trials on {len(targets)} targets: {targets[0].task}"
    write_text(job.outputs["table"], f"{title}\n\n{markdown_table(list(COLUMNS), rows)}\n")


def _numbers(texts: pd.DataFrame, samples: list[Sample]) -> list[str]:
    chosen = texts[texts["selected"]]
    values = (
        *(texts["ctrl"].mean(), chosen["ctrl"].mean()),
        *(np.exp(texts["lm_nll"].mean()), np.exp(chosen["lm_nll"].mean())),
        *(texts["length"].mean(), distinct_n([split_words(sample.text) for sample in samples], 4)),
        100 * (texts["doubled"] > 0).mean(),
    )
    return [f"{value:.2f}" for value in values]


if __name__ == "__main__":
    command(main, inputs=("targets", "corpus", "vocabulary", "teacher"), outputs=("table",), open_ended=True)
