"""Score samples: every text gets all of its numbers.

python -m eval.score --spec SPEC --input targets=FILE corpus=FILE vocabulary=FILE teacher=FILE \\
    samples/CELL=FILE selected/CELL=FILE ... --output scores/CELL=FILE ...

A CELL is ``method/seed0``; all cells of one task are one job, so that the judges are loaded once.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from eval.fluency import Teacher
from eval.guards import distinct_n, doubled_words, is_copy, require_same_length, self_bleu, unk_rate
from eval.select import cells, require, split_words
from eval.success import SCORERS
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError, nearest
from pipeline.human import HUMAN
from pipeline.records import Sample, Score, Target, Text, read_records, write_records

TokenLosses = Callable[[list[list[str]]], list[np.ndarray]]
Key = tuple[str, str, str, int, int]


def main(job: Job) -> None:
    """Score every cell of a task with one teacher."""
    targets = read_records(job.inputs["targets"], Target)
    texts = read_records(job.inputs["corpus"], Text)
    training = {tuple(text.tokens) for text in texts if text.split == "train"}
    teacher = Teacher(job.inputs["teacher"], Vocabulary.load(job.inputs["vocabulary"]))
    selected = cells(job.inputs, "selected")
    require("--input", job.inputs, "selected", cells(job.inputs, "samples"))
    require("--output", job.outputs, "scores", cells(job.inputs, "samples"))
    for cell, path in cells(job.inputs, "samples").items():
        samples, chosen = read_records(path, Sample), read_records(selected[cell], Sample)
        scores = score_samples(samples, chosen, targets, training, teacher.token_losses, path)
        write_records(job.outputs[f"scores/{cell}"], scores)
        print(f"scored {cell}: {len(scores)} texts", file=sys.stderr)


def score_samples(
    samples: Sequence[Sample],
    selected: Sequence[Sample],
    targets: Sequence[Target],
    training_texts: Set[tuple[str, ...]],
    token_losses: TokenLosses,
    where: str | Path = "samples",
) -> list[Score]:
    """Every per-text metric of every sample, in the order of the samples.

    Metrics: those of the task's scorer (percent); ``lm_nll`` (mean nats per predicted token, END included),
    ``lm_nll_sum``, ``lm_tokens``; ``length`` (words), ``doubled`` (:func:`eval.guards.doubled_words`),
    ``unk_rate`` (percent of words), ``copied`` (0 or 1).

    Args:
        samples: the texts of one or more methods on one task.
        selected: the MBR choice of each method, target and seed.
        targets: all targets of the task.
        training_texts: the training texts, as tuples of words.
        token_losses: nats of each predicted token of each text: its words and END.
        where: file named in errors.

    Raises:
        InputError: the samples do not cover the targets evenly, or the selection is not one of them each.
        ValueError: ``token_losses`` returned something else than one finite number per predicted token.
    """
    controls = {target.target_id: target.control for target in targets}
    check_coverage([sample for sample in samples if sample.method != HUMAN], targets, where)
    chosen = _chosen_keys(samples, selected, where)
    texts = [split_words(sample.text) for sample in samples]
    losses = token_losses(texts)
    require_same_length(texts, losses, "texts and their token losses")
    scores = []
    for sample, words, loss in zip(samples, texts, losses, strict=True):
        success = _scorer(sample.task, where)(words, controls[sample.target_id])
        metrics = success | _fluency(words, loss) | _guards(words, training_texts)
        scores.append(Score(*_key(sample), selected=_key(sample) in chosen, metrics=metrics))
    return scores


def check_coverage(samples: Sequence[Sample], targets: Sequence[Target], where: str | Path) -> None:
    """Each method must have the same number of samples for each target and seed, none twice.

    Raises:
        InputError: naming the file and the first target at fault.
    """
    known = {target.target_id for target in targets}
    for (method, _, target_id, index, seed), times in Counter(map(_key, samples)).items():
        if target_id not in known:
            raise InputError(where, f"{method}: unknown target '{target_id}'", nearest(target_id, known))
        if times > 1:
            what = f"{method}: {times} times target '{target_id}', sample {index}, seed {seed}"
            raise InputError(where, what, "delete the repeats")
    cells = Counter((sample.method, sample.seed, sample.target_id) for sample in samples)
    for method, seed in dict.fromkeys((sample.method, sample.seed) for sample in samples):
        most = max(count for cell, count in cells.items() if cell[0] == method)
        for target in targets:
            if (found := cells[method, seed, target.target_id]) != most:
                what = f"{method}: {found} samples of target '{target.target_id}', seed {seed}, others {most}"
                raise InputError(where, what, "generate the same number for every target and seed")


def frame(scores: Sequence[Score], target_set: str) -> pd.DataFrame:
    """One row per text: the keys of its score, ``target_set``, and one column per metric.

    A metric that a score does not have is NaN in its row, so a score must not hold NaN itself.

    Raises:
        ValueError: a metric is not finite.
    """
    for score in scores:
        for name, value in score.metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"{score.method}, target '{score.target_id}': {name} is {value}")
    keys = pd.DataFrame([{k: v for k, v in asdict(score).items() if k != "metrics"} for score in scores])
    metrics = pd.DataFrame([score.metrics for score in scores], dtype=float)
    return pd.concat([keys.assign(target_set=target_set), metrics], axis=1)


def corpus_guards(samples: Sequence[Sample], selected: Sequence[Sample], target_set: str) -> pd.DataFrame:
    """Diversity of the texts of each method and task: those guards that no single text has.

    Returns:
        Columns ``task, method, target_set, selection, metric, value``; ``selection`` is ``mbr`` or ``all``;
        metrics ``distinct_1 distinct_2 distinct_4 self_bleu``. Texts are ordered by seed, sample index and
        target, so that a block of :func:`eval.guards.distinct_n` holds as many targets as it can.
    """
    rows = []
    for selection, chosen in (("mbr", selected), ("all", samples)):
        cells: dict[tuple[str, str], list[Sample]] = {}
        for sample in chosen:
            cells.setdefault((sample.task, sample.method), []).append(sample)
        for (task, method), cell in cells.items():
            cell.sort(key=lambda sample: (sample.seed, sample.sample_index, sample.target_id))
            for metric, value in _diversity([split_words(sample.text) for sample in cell]).items():
                rows.append((task, method, target_set, selection, metric, value))
    return pd.DataFrame(rows, columns=["task", "method", "target_set", "selection", "metric", "value"])


def _diversity(texts: list[list[str]]) -> dict[str, float]:
    return {f"distinct_{n}": distinct_n(texts, n) for n in (1, 2, 4)} | {"self_bleu": self_bleu(texts)}


def _key(sample: Sample) -> Key:
    return sample.method, sample.task, sample.target_id, sample.sample_index, sample.seed


def _scorer(task: str, where: str | Path) -> Callable[[list[str], Mapping[str, object]], dict[str, float]]:
    if task not in SCORERS:
        raise InputError(where, f"no scorer for task '{task}'", nearest(task, SCORERS))
    return SCORERS[task]


def _chosen_keys(samples: Sequence[Sample], selected: Sequence[Sample], where: str | Path) -> set[Key]:
    chosen, known = set(map(_key, selected)), set(map(_key, samples))
    if strangers := sorted(chosen - known):
        raise InputError(where, f"selected sample {strangers[0]} is not among the samples", "select again")
    cells = Counter((s.method, s.task, s.target_id, s.seed) for s in selected)
    for cell in dict.fromkeys((s.method, s.task, s.target_id, s.seed) for s in samples):
        if cells[cell] != 1:
            raise InputError(where, f"{cells[cell]} selected samples for {cell}, not one", "select again")
    return chosen


def _fluency(words: list[str], loss: np.ndarray) -> dict[str, float]:
    if not len(loss) or not np.isfinite(loss).all():
        raise ValueError(f"no token losses, or not finite ones, for: {' '.join(words)}")
    total = float(np.sum(loss, dtype=np.float64))
    return {"lm_nll": total / len(loss), "lm_nll_sum": total, "lm_tokens": float(len(loss))}


def _guards(words: list[str], training_texts: Set[tuple[str, ...]]) -> dict[str, float]:
    return {
        "length": float(len(words)),
        "doubled": float(doubled_words(words)),
        "unk_rate": unk_rate(words),
        "copied": float(is_copy(words, training_texts)),
    }


if __name__ == "__main__":
    command(main, inputs=("targets", "corpus", "vocabulary", "teacher"), outputs=(), open_ended=True)
