"""Score the sampling ablations: what each setting of drawing and steering does to success, fluency and cost.

python -m eval.sampling_ablations --spec SPEC --input vocabulary=FILE teacher=FILE targets/TASK=FILE ... \\
    samples/GROUP=FILE seconds/GROUP=FILE ... [run/samples/TASK=FILE run/scores/TASK=FILE ...] \\
    --output csv=FILE markdown=FILE

SPEC holds ``groups`` (by name their task), ``mbr_rule``, ``mbr_sizes`` and the ``seed`` of the bootstrap. The
run's own samples and scores of a task are there for MBR. Tasks of syntax need the judges that
:mod:`eval.score` takes, and take its setting ``cache``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from eval.csv_tables import table_csv
from eval.fluency import Teacher
from eval.guards import distinct_n
from eval.layout import success_metrics
from eval.markdown import interval_text, markdown_table
from eval.mbr_sizes import choices
from eval.sampling_verdicts import COLUMNS, enough_steps
from eval.score import frame, load_judges, score_samples
from eval.select import cells, require, select_samples, split_words
from eval.statistics import NAN
from eval.tables import Estimate, estimate
from eval.verdicts import verdict_lines
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.records import Sample, Score, Target, read_records
from pipeline.schema import read_checked
from pipeline.tasks import UNCONDITIONAL

SECONDS = {"type": "object", "additionalProperties": {"type": "number"}}  # by variant
COST = ["forward_tokens", "backward_passes"]
LEGEND = (
    "Cells: value [95 % interval over targets, or over texts where nothing is asked for]. lm: perplexity\n"
    "under the teacher, lower is better. Per text: tokens that networks read, backward passes, seconds in\n"
    "its batch on the machine that ran it, with what else ran beside it."
)


def scored_texts(job: Job) -> dict[str, pd.DataFrame]:
    """The texts of every group with their metrics, words and cost; ``method`` is the variant."""
    files, groups = cells(job.inputs, "samples"), job.spec["groups"]
    require("--input", job.inputs, "samples", groups)
    require("--input", job.inputs, "targets", groups.values())
    teacher = Teacher(job.inputs["teacher"], Vocabulary.load(job.inputs["vocabulary"]))
    judges, found = load_judges(job), {}
    for group, path in files.items():
        if group not in groups:
            raise InputError(path, f"no group '{group}' in the settings", "describe it in --spec")
        task = groups[group]
        targets = [t for t in read_records(job.inputs[f"targets/{task}"], Target) if t.reported]
        samples = read_records(path, Sample)
        selected = select_samples(samples, job.spec["mbr_rule"])
        scores = score_samples(samples, selected, targets, None, teacher.token_losses, judges, path)
        found[group] = joined(samples, scores)
    return found


def joined(samples: list[Sample], scores: list[Score]) -> pd.DataFrame:
    """Scores with the words and the cost of their samples."""
    key = ["method", "target_id", "sample_index", "seed"]
    texts = pd.DataFrame(
        [(s.method, s.target_id, s.sample_index, s.seed, split_words(s.text), s.forward_tokens,
          s.backward_passes) for s in samples],
        columns=[*key, "words", *COST],
    )  # fmt: skip
    return frame(scores, "all").merge(texts, on=key, validate="one_to_one")


def mbr_texts(job: Job) -> dict[str, pd.DataFrame]:
    """For each task whose samples the run has: its MBR choices, whose ``method`` is the number of candidates.

    The cost of a choice is that of all its candidates.
    """
    samples, found = cells(job.inputs, "run/samples"), {}
    require("--input", job.inputs, "run/scores", samples)
    for task, path in samples.items():
        scores = read_records(job.inputs[f"run/scores/{task}"], Score)
        texts = joined(read_records(path, Sample), scores)
        chosen = choices(texts, job.spec["mbr_sizes"], job.spec["mbr_rule"])
        parts = [
            part.assign(method=str(size), **{cost: part[cost] * size for cost in COST})
            for size, part in chosen.items()
        ]
        found[task] = pd.concat(parts)
    return found


def group_rows(group: str, task: str, texts: pd.DataFrame, seed: int) -> Iterator[tuple[Any, ...]]:
    """The rows of a group, variant by variant, in :data:`COLUMNS`."""
    for variant, part in texts.groupby("method", sort=False):
        counts = (part["target_id"].nunique(), len(part), *part[COST].mean())
        for metric, (value, low, high, note) in measures(task, part, seed).items():
            yield group, task, variant, metric, value, low, high, *counts, note


def measures(task: str, texts: pd.DataFrame, seed: int) -> dict[str, Estimate]:
    """Success, lm-score, diversity and length of the texts of one variant."""
    units = np.arange(len(texts)) if task == UNCONDITIONAL else texts["target_id"].to_numpy()
    success = [name for name in success_metrics(task) if name in texts]
    found = {name: estimate(texts[name], units, seed, largest=100.0) for name in success}
    nats = estimate(texts["lm_nll"], units, seed, transform=np.exp)
    diversity = Estimate(distinct_n(list(texts["words"]), 4), note="no interval: of the whole set")
    length = estimate(texts["length"], units, seed)
    lm = nats._replace(value=math.exp(nats.value))
    return found | {"lm_score": lm, "distinct_4": diversity, "mean_length": length}


def markdown(table: pd.DataFrame, seconds: Mapping[str, Mapping[str, float]]) -> str:
    """One small table per group, then the verdict."""
    parts = ["### Sampling ablations", LEGEND]
    for (group, task), rows in table.groupby(["group", "task"], sort=False):
        metrics = list(dict.fromkeys(rows["metric"]))
        header = [group, *metrics, "tokens", "backward", "seconds"]
        body = []
        for variant, own in rows.groupby("variant", sort=False):
            shown = {row.metric: interval_text(row) for row in own.itertuples(index=False)}
            first = own.iloc[0]
            per_text = seconds.get(group, {}).get(variant, NAN) / first["texts"]
            cost = [f"{first[name]:.0f}" for name in COST]
            took = "–" if math.isnan(per_text) else f"{per_text:.3f}"
            body.append([variant, *(shown[metric] for metric in metrics), *cost, took])
        parts += [f"#### {group}: {task}", markdown_table(header, body)]
    return "\n\n".join([*parts, verdict_lines([enough_steps(table)])]) + "\n"


def main(job: Job) -> None:
    """Write the table and its Markdown."""
    seed, groups = job.spec["seed"], job.spec["groups"]
    named = [(group, groups[group], texts) for group, texts in scored_texts(job).items()]
    named += [("mbr", task, texts) for task, texts in mbr_texts(job).items()]
    rows = [row for group, task, texts in named for row in group_rows(group, task, texts, seed)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    seconds = {group: read_checked(path, SECONDS) for group, path in cells(job.inputs, "seconds").items()}
    text = markdown(table, seconds)
    write_text(job.outputs["csv"], table_csv(table))
    write_text(job.outputs["markdown"], text)


if __name__ == "__main__":
    command(main, inputs=("vocabulary", "teacher"), outputs=("csv", "markdown"), open_ended=True)
