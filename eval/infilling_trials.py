"""Compare trials of infilling settings on the contexts that settings are chosen on.

python -m eval.infilling_trials --spec SPEC \\
    --input targets=FILE corpus=FILE encoder=FILE samples/TRIAL=FILE ... --output table=FILE

SPEC holds ``mbr_rule`` and ``trials``: the settings of each trial as they shall be printed.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from eval.encoder import load
from eval.guards import distinct_n
from eval.infilling import METRICS
from eval.infilling_table import quality
from eval.markdown import markdown_table
from eval.score import frame
from eval.score_infilling import infilling_metrics, pair_scorers, score_samples
from eval.select import cells, select_samples, split_words
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.records import Sample, Target, Text, read_records

TITLES = (
    "trial",
    *(title for name in METRICS for title in (name, f"{name} mbr")),
    *("length", "distinct-4", "doubled %", "copied %", "settings"),
)


def main(job: Job) -> None:
    """Write one row per trial, in the order of the configuration."""
    where = job.inputs["targets"]
    targets = [target for target in read_records(where, Target) if target.tuned_on]
    if not targets:
        raise InputError(where, "no context that settings may be chosen on", "mark some with tuned_on")
    corpus = read_records(job.inputs["corpus"], Text)
    training = {tuple(words) for text in corpus if text.split == "train" for words in text.sentences or []}
    scorers, rows = pair_scorers(load(job.inputs["encoder"]), targets, where), []
    for trial, path in cells(job.inputs, "samples").items():
        samples = read_records(path, Sample)
        selected = select_samples(samples, job.spec["mbr_rule"])
        metrics = infilling_metrics(samples, targets, scorers, path)
        scores = score_samples(samples, selected, metrics, targets, training, where=path)
        rows.append([trial, *_numbers(frame(scores, "tuned on"), samples), job.spec["trials"][trial]])
    table = markdown_table(TITLES, rows)
    write_text(job.outputs["table"], f"### Trials on {len(targets)} contexts: infilling\n\n{table}\n")


def _numbers(texts: pd.DataFrame, samples: Sequence[Sample]) -> list[str]:
    of_all, of_chosen = quality(texts, seed=0), quality(texts[texts["selected"]], seed=0)
    values = (
        *(found[name].estimate.value for name in METRICS for found in (of_all, of_chosen)),
        *(texts["length"].mean(), distinct_n([split_words(sample.text) for sample in samples], 4)),
        *(100 * (texts["doubled"] > 0).mean(), 100 * texts["copied"].mean()),
    )
    return [f"{value:.2f}" for value in values]


if __name__ == "__main__":
    command(main, inputs=("targets", "corpus", "encoder"), outputs=("table",), open_ended=True)
