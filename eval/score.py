"""Score samples: every text gets all of its numbers.

python -m eval.score --spec SPEC --input targets=FILE vocabulary=FILE teacher=FILE human_texts=FILE \\
    samples/CELL=FILE selected/CELL=FILE ... --output scores/CELL=FILE ...

A CELL is ``method/seed0``; all cells of one task are one job, so that the judges are loaded once. Tasks of
syntax also need ``judge1_tagger=FILE judge1_parser=FILE``, and may have ``judge2_tagger judge2_parser``; the
optional setting ``cache`` is a file in which the judges keep their parses.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from eval.fluency import Teacher
from eval.guards import (
    distinct_n,
    doubled_words,
    duplicate_rate,
    is_repetitive,
    require_same_length,
    self_bleu,
    unk_rate,
)
from eval.human_texts import HumanTexts
from eval.oracles.judge import Judge
from eval.select import cells, require, split_words
from eval.success import PAPER, SCORERS, satisfied, success
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError, nearest
from pipeline.human import HUMAN
from pipeline.records import Sample, Score, Target, read_records, write_records

JUDGES = ("judge1", "judge2")
TokenLosses = Callable[[list[list[str]]], list[np.ndarray]]
Key = tuple[str, str, str, int, int]


def main(job: Job) -> None:
    """Score every cell of a task with one teacher and the same judges, on the targets that are reported."""
    targets = [target for target in read_records(job.inputs["targets"], Target) if target.reported]
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    teacher = Teacher(job.inputs["teacher"], vocabulary)
    human_texts = HumanTexts.load(job.inputs["human_texts"], vocabulary)
    judges = load_judges(job)
    selected = cells(job.inputs, "selected")
    require("--input", job.inputs, "selected", cells(job.inputs, "samples"))
    require("--output", job.outputs, "scores", cells(job.inputs, "samples"))
    for cell, path in cells(job.inputs, "samples").items():
        samples, chosen = read_records(path, Sample), read_records(selected[cell], Sample)
        scores = score_samples(samples, chosen, targets, human_texts, teacher.token_losses, judges, path)
        write_records(job.outputs[f"scores/{cell}"], scores)
        print(f"scored {cell}: {len(scores)} texts", file=sys.stderr)


def load_judges(job: Job) -> list[Judge]:
    """The judges of syntax whose files are among the inputs: none, the first, or both.

    Raises:
        InputError: half a judge, or the second without the first.
    """
    given = [name for name in JUDGES if any(key.startswith(f"{name}_") for key in job.inputs)]
    if not given:
        return []
    from eval.oracles.load import load_judge  # most tasks have no use for it

    names = JUDGES[: JUDGES.index(given[-1]) + 1]
    files = [(_input(job, f"{name}_tagger"), _input(job, f"{name}_parser")) for name in names]
    cache = Path(job.spec["cache"]) if job.spec.get("cache") else None
    return [load_judge(name, *pair, cache) for name, pair in zip(names, files, strict=True)]


def _input(job: Job, name: str) -> Path:
    if name not in job.inputs:
        raise InputError("--input", f"'{name}' is missing", f"add {name}=FILE")
    return job.inputs[name]


def score_samples(
    samples: Sequence[Sample],
    selected: Sequence[Sample],
    targets: Sequence[Target],
    human_texts: HumanTexts | None,
    token_losses: TokenLosses,
    judges: Sequence[Judge] = (),
    where: str | Path = "samples",
) -> list[Score]:
    """Every per-text metric of every sample, in the order of the samples.

    Metrics: those of :func:`eval.success.success` (percent); ``lm_nll`` (mean nats per predicted token, END
    included), ``lm_nll_sum``, ``lm_tokens``; ``length`` (words), ``doubled``
    (:func:`eval.guards.doubled_words`), ``unk_rate`` (percent of words); and beside human texts ``copied``,
    ``near_copy``, ``fluent`` and ``repetitive`` (0 or 1) and ``joint_success`` (0 or 100), see
    :func:`beside_people`.

    Args:
        samples: the texts of one or more methods on one task.
        selected: the MBR choice of each method, target and seed.
        targets: all targets of the task that the samples should cover.
        human_texts: what is known of training and held-out texts; None: nothing is held against them.
        token_losses: nats of each predicted token of each text: its words and END.
        judges: of syntax; the first one's word counts, a second one's stands beside it.
        where: file named in errors.

    Raises:
        InputError: the samples do not cover the targets evenly, or the selection is not one of them each;
            unknown task, or a task of syntax without a judge.
        ValueError: ``token_losses`` returned something else than one finite number per predicted token.
    """
    check_coverage(samples, targets, where)
    chosen = chosen_keys(samples, selected, where)
    texts = [split_words(sample.text) for sample in samples]
    losses = token_losses(texts)
    require_same_length(texts, losses, "texts and their token losses")
    successes = _successes(samples, texts, {target.target_id: target for target in targets}, judges, where)
    found = [
        succeeded | _fluency(words, loss) | text_guards(words)
        for words, loss, succeeded in zip(texts, losses, successes, strict=True)
    ]
    if human_texts is not None:
        found = beside_people(samples, found, human_texts)
    return [
        Score(*_key(sample), selected=_key(sample) in chosen, metrics=metrics)
        for sample, metrics in zip(samples, found, strict=True)
    ]


def beside_people(
    samples: Sequence[Sample], scores: Sequence[Mapping[str, float]], human_texts: HumanTexts
) -> list[dict[str, float]]:
    """The scores of each text with those that need human texts.

    - ``copied``: word for word a training text.
    - ``near_copy``: within two word edits of a training or held-out text. The target's own source sentence
      is one of these, and so is whatever else an answer could be looked up in. The human row is held-out
      text itself, so it is held against training texts alone.
    - ``fluent``: ``lm_nll`` lies between the 2.5th and 97.5th percentile of held-out texts.
    - ``repetitive``: the same words again and again (:func:`eval.guards.is_repetitive`), which a teacher that
      never saw the like may find as likely as people's texts.
    - ``joint_success``: 100 if the text satisfies its control (:func:`eval.success.satisfied`) and is fluent,
      not repetitive and no near copy; else 0.
    """
    texts = [split_words(sample.text) for sample in samples]
    people = [sample.method == HUMAN for sample in samples]
    found = []
    for words, near, metrics in zip(texts, _near_copies(texts, people, human_texts), scores, strict=True):
        fluent, repetitive = human_texts.is_fluent(metrics["lm_nll"]), is_repetitive(words)
        good = satisfied(metrics) and fluent and not repetitive and not near
        own = {
            "copied": float(human_texts.is_copy(words)),
            "near_copy": float(near),
            "fluent": float(fluent),
            "repetitive": float(repetitive),
            "joint_success": 100.0 * good,
        }
        found.append({**metrics, **own})
    return found


def _near_copies(texts: list[list[str]], people: list[bool], human_texts: HumanTexts) -> list[bool]:
    """Whether each text is a near copy; what people wrote is held against training texts alone."""
    found = dict.fromkeys(range(len(texts)), False)
    for own in set(people):
        places = [i for i, is_human in enumerate(people) if is_human == own]
        near = human_texts.near_copies([texts[i] for i in places], heldout=not own)
        found |= zip(places, near, strict=True)
    return list(found.values())


def check_coverage(samples: Sequence[Sample], targets: Sequence[Target], where: str | Path) -> None:
    """Each method but human must have the same number of samples for each target and seed; none twice.

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
    for method, seed in dict.fromkeys((s.method, s.seed) for s in samples if s.method != HUMAN):
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
        metrics ``distinct_1 distinct_2 distinct_4 self_bleu duplicate_rate``. Texts are ordered by seed,
        sample index and target, so that a block of :func:`eval.guards.distinct_n` holds as many targets as it
        can.
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
    distinct = {f"distinct_{n}": distinct_n(texts, n) for n in (1, 2, 4)}
    return distinct | {"self_bleu": self_bleu(texts), "duplicate_rate": duplicate_rate(texts)}


def _key(sample: Sample) -> Key:
    return sample.method, sample.task, sample.target_id, sample.sample_index, sample.seed


def _successes(
    samples: Sequence[Sample],
    texts: list[list[str]],
    targets: dict[str, Target],
    judges: Sequence[Judge],
    where: str | Path,
) -> list[dict[str, float]]:
    """The success of each text; all texts of a task go to the judges at once."""
    found: list[dict[str, float]] = [{} for _ in samples]
    for task in dict.fromkeys(sample.task for sample in samples):
        if task not in SCORERS:
            raise InputError(where, f"no scorer for task '{task}'", nearest(task, SCORERS))
        if task in PAPER and not judges:
            raise InputError("--input", f"{task} needs a judge", "add judge1_tagger=FILE judge1_parser=FILE")
        places = [i for i, sample in enumerate(samples) if sample.task == task]
        asked = [targets[samples[i].target_id] for i in places]
        for i, scores in zip(places, success(task, [texts[i] for i in places], asked, judges), strict=True):
            found[i] = scores
    return found


def chosen_keys(samples: Sequence[Sample], selected: Sequence[Sample], where: str | Path) -> set[Key]:
    """The keys of the selected samples.

    Raises:
        InputError: they are not one of the samples of each method, target and seed.
    """
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


def text_guards(words: list[str]) -> dict[str, float]:
    """The guards of a single text, as in :func:`score_samples`."""
    return {
        "length": float(len(words)),
        "doubled": float(doubled_words(words)),
        "unk_rate": unk_rate(words),
    }


if __name__ == "__main__":
    command(main, inputs=("targets", "vocabulary", "teacher", "human_texts"), outputs=(), open_ended=True)
