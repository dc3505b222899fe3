"""The table of infilling (paper Table 5): tidy rows for machines, and Markdown.

python -m eval.infilling_table --spec SPEC \\
    --input targets/infilling=FILE samples/CELL=FILE scores/CELL=FILE ... [refusals=FILE] \\
    --output csv=FILE markdown=FILE

A CELL is ``infilling/method/seed0``. A method's one text per context is its MBR choice, or its first sample.
Every reference counts in the human row, which exists in the leave-one-out metrics only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from eval.cost import sampling_costs
from eval.csv_tables import table_csv
from eval.guards import distinct_n, self_bleu
from eval.infilling import (
    BERT_SCORE,
    LOO,
    METRICS,
    SIGNED,
    STATISTICS,
    bleu_resamples,
    corpus_bleu,
    signature,
)
from eval.infilling_markdown import EVERY, SELECTIONS, infilling_markdown, paper_scale
from eval.layout import INFILLING_METHODS, ordered
from eval.paper import published
from eval.score import Key, check_coverage, frame
from eval.score_infilling import key
from eval.select import cells, require, split_words
from eval.statistics import is_degenerate
from eval.tables import COLUMNS, NAN, NOT_RUN, Cell, Estimate, estimate, explain, target_sets
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.human import HUMAN
from pipeline.records import Sample, Score, Target, read_records
from pipeline.refusals import read_refusals
from pipeline.tasks import INFILLING


class Scored(NamedTuple):
    """Every text with its metrics, and what makes their BERTScore comparable."""

    scores: list[Score]
    texts: dict[Key, str]
    signature: str


class Measured(NamedTuple):
    """A number with its interval, and the texts it is made from."""

    estimate: Estimate
    texts: pd.DataFrame


def read_scored(job: Job, targets: Sequence[Target]) -> Scored:
    """The samples and scores of every cell among a job's inputs.

    Raises:
        InputError: scores of other samples, samples that do not cover the targets, or BERTScore of two
            encoders.
    """
    samples = cells(job.inputs, "samples")
    require("--input", job.inputs, "scores", samples)
    scores: list[Score] = []
    texts: dict[Key, str] = {}
    signatures: dict[str, Path] = {}
    for cell, path in samples.items():
        found, file = read_records(path, Sample), job.inputs[f"scores/{cell}"]
        check_coverage(found, targets, path)
        scored = read_records(file, Score)
        if list(map(key, found)) != list(map(key, scored)):
            raise InputError(file, f"not the scores of {path}", "score the samples again")
        scores += [_unsigned(score, signatures, file) for score in scored]
        texts |= {key(sample): sample.text for sample in found}
    return Scored(scores, texts, next(iter(signatures), ""))


def _unsigned(score: Score, signatures: dict[str, Path], file: Path) -> Score:
    """The score with the plain name of its BERTScore, whose signature must be that of the ones before."""
    for name in score.metrics:
        if SIGNED in name:
            signatures.setdefault(name.partition(SIGNED)[2], file)
    if len(signatures) > 1:
        (first, before), (other, _) = signatures.items()
        what = f"{BERT_SCORE} of {other}, but that of {before} is of {first}"
        raise InputError(file, what, "score both with one encoder")
    return plain(score)


def plain(score: Score) -> Score:
    """The score with the name of its BERTScore alone, without the encoder's signature."""
    return replace(score, metrics={name.partition(SIGNED)[0]: v for name, v in score.metrics.items()})


def text_frame(scored: Scored, target_set: str, members: Sequence[str]) -> pd.DataFrame:
    """One row per text about one of the targets ``members``, with its words (:func:`eval.score.frame`)."""
    wanted = set(members)
    scores = [score for score in scored.scores if score.target_id in wanted]
    words = [split_words(scored.texts[key(score)]) for score in scores]
    return frame(scores, target_set).assign(words=pd.Series(words, dtype=object))


def quality(texts: pd.DataFrame, seed: int) -> dict[str, Measured]:
    """The metrics of Table 5 and their leave-one-out forms, as far as the texts have them.

    A target counts once: means are over targets of means over its texts, and BLEU adds up the mean
    statistics of each target's texts, so that each of R references in the human row has the weight 1/R.

    Args:
        seed: of the bootstrap over targets.
    """
    found = {}
    for suffix in ("", LOO):
        columns = [name + suffix for name in STATISTICS]
        if not set(columns) <= set(texts):
            continue
        having = texts.dropna(subset=columns)
        if having.empty:
            continue
        found[f"BLEU-4{suffix}"] = Measured(_bleu(having, columns, seed), having)
        groups = having["target_id"].to_numpy()
        for name in METRICS[1:]:
            largest = 100.0 if name == "ROUGE-L" else None
            mean = estimate(having[name + suffix], groups, seed, largest=largest)
            found[name + suffix] = Measured(mean, having)
    return found


def _bleu(texts: pd.DataFrame, columns: Sequence[str], seed: int) -> Estimate:
    statistics = texts.groupby("target_id")[list(columns)].mean().to_numpy()
    value = float(corpus_bleu(statistics.sum(axis=0)))
    resampled = bleu_resamples(statistics, seed)
    if is_degenerate(resampled):
        return Estimate(value, note="no interval: all resamples equal")
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def guards(texts: pd.DataFrame, seed: int) -> dict[str, Measured]:
    """What shows texts going wrong while their main scores look good."""
    groups = texts["target_id"].to_numpy()
    percent = {"copy_rate": 100 * texts["copied"]} if "copied" in texts else {}
    percent["unk_rate"] = texts["unk_rate"]
    percent["doubled_rate"] = 100.0 * (texts["doubled"] > 0)
    found = {name: estimate(values, groups, seed, largest=100.0) for name, values in percent.items()}
    found["mean_length"] = estimate(texts["length"], groups, seed)
    words = texts.sort_values(["seed", "sample_index", "target_id"])["words"].tolist()
    of_set = {f"distinct_{n}": distinct_n(words, n) for n in (1, 2, 4)} | {"self_bleu": self_bleu(words)}
    if "lm_tokens" in texts and (tokens := texts["lm_tokens"].sum()):
        of_set["lm_score_token"] = float(np.exp(texts["lm_nll_sum"].sum() / tokens))
    found |= {name: Estimate(value, note="no interval: of the whole set") for name, value in of_set.items()}
    return {name: Measured(estimate, texts) for name, estimate in found.items()}


def choice(texts: pd.DataFrame, selection: str) -> pd.DataFrame:
    """The texts that a selection takes."""
    if selection == EVERY:
        return texts
    return texts[texts["selected"] if selection == "mbr" else texts["sample_index"] == 0]


def result_table(texts: pd.DataFrame, encoder: str, seed: int = 0) -> pd.DataFrame:
    """The tidy table of one target set, in the columns of :data:`eval.tables.COLUMNS`.

    Methods of :data:`eval.layout.INFILLING_METHODS` without samples have rows without values. Published
    values stand beside the MBR choice.

    Args:
        texts: :func:`text_frame` of any number of methods.
        encoder: signature of their BERTScore.
    """
    target_set, rows = texts["target_set"].iloc[0], []
    for method in ordered([*INFILLING_METHODS, *texts["method"]], INFILLING_METHODS):
        written = texts[texts["method"] == method]
        for selection in (EVERY,) if method == HUMAN else SELECTIONS:
            chosen = choice(written, selection)
            cell = Cell(INFILLING, method, target_set, selection)
            if chosen.empty:
                missing = [name + (LOO if method == HUMAN else "") for name in METRICS]
                measured = {name: Measured(Estimate(NAN, note=NOT_RUN), chosen) for name in missing}
            else:
                measured = quality(chosen, seed) | guards(chosen, seed)
            rows += [_row(cell, metric, *found, encoder) for metric, found in measured.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(
    cell: Cell, metric: str, estimate: Estimate, texts: pd.DataFrame, encoder: str
) -> tuple[Any, ...]:  # fmt: skip
    counts = (texts["target_id"].nunique(), len(texts), texts["seed"].nunique())
    value, low, high, note = estimate
    if metric.removesuffix(LOO) in METRICS and note != NOT_RUN:
        note = "; ".join(filter(None, (signature(metric, encoder), note)))
    paper = published(*cell[:2], metric) if cell.selection == "mbr" else None
    if metric == BERT_SCORE and not paper_scale(cell.method, encoder):
        paper = None
    return (*cell, metric, value, low, high, *counts, NAN if paper is None else paper, note)


def tabulate(scored: Scored, targets: Sequence[Target], seed: int) -> pd.DataFrame:
    """The table over every set that some of the targets are in (:func:`eval.tables.target_sets`)."""
    members: dict[str, list[str]] = {}
    for (_, target_id), sets in target_sets(targets).items():
        for target_set in sets:
            members.setdefault(target_set, []).append(target_id)
    frames = [text_frame(scored, name, ids) for name, ids in sorted(members.items())]
    return pd.concat([result_table(texts, scored.signature, seed) for texts in frames])


def main(job: Job) -> None:
    """Write the table over all contexts, and over those that no setting was chosen on."""
    targets = [t for t in read_records(job.inputs["targets/infilling"], Target) if t.reported]
    scored = read_scored(job, targets)
    table = tabulate(scored, targets, job.spec["seed"])
    table = explain(table, read_refusals(job.inputs["refusals"]) if "refusals" in job.inputs else {})
    costs = sampling_costs(cells(job.inputs, "samples").values(), {})
    write_text(job.outputs["csv"], table_csv(table))
    write_text(job.outputs["markdown"], infilling_markdown(table, {c.method: c.seconds for c in costs}))


if __name__ == "__main__":
    command(main, inputs=("targets/infilling",), outputs=("csv", "markdown"), open_ended=True)
