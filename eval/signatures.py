"""Signatures: what must be equal for two numbers of a task to be comparable.

python -m eval.signatures --spec '{"mbr_rule": "paper"}' \\
    --input targets/TASK=FILE ... samples/TASK/METHOD/seed0=FILE ... models/NAME=FILE ... \\
    --output signatures=FILE

A signature is a flat mapping: ``task`` and its ``version`` (:data:`pipeline.tasks.TASKS`, raised whenever
its targets or metrics change meaning), a hash of every set of reported targets (``targets_all``), ``samples``
of a target and seed, ``mbr_rule`` and ``mbr_candidates``, every model that scores the task's texts by name
(the signature of the job that trained it, since a stored copy has other bits), the metrics' own signatures,
and the version of this ``project``.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from eval.infilling import signature as metric_signature
from eval.mbr import Rule
from eval.select import cells
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.files import write_json
from pipeline.human import HUMAN
from pipeline.records import Sample, Target, json_lines, read_records
from pipeline.schema import read_checked
from pipeline.stored import signature_of
from pipeline.tasks import INFILLING, SYNTAX, TASKS
from pipeline.version import VERSION
from pipeline.withheld import withhold

Signature = Mapping[str, str | int]
TARGETS = "targets_"  # begins the keys of the target sets
INFILLING_METRICS = ("BLEU-4", "ROUGE-L", "CIDEr")
SOFTWARE = ("mbr_bleu", *INFILLING_METRICS, "project")  # keys that tell versions, and nothing about files
_WRITTEN = {
    "additionalProperties": {"required": ["signature"], "properties": {"signature": {"type": "object"}}}
}
_JUDGE = re.compile(r"judge\d+_\w+")


def task_signature(
    targets: Sequence[Target], samples: int, mbr_rule: Rule, models: Mapping[str, str]
) -> dict[str, str | int]:
    """The signature of the numbers of one task.

    Args:
        targets: of the task; those that are not reported do not count.
        samples: texts of a target and seed, among which MBR chooses.
        models: what scores texts, of any task, by name: :func:`pipeline.stored.signature_of` each.
    """
    task = targets[0].task
    return {
        "task": task,
        "version": TASKS[task].version,
        **target_hashes(targets),
        "samples": samples,
        "mbr_rule": mbr_rule,
        "mbr_candidates": samples,
        **{name: model for name, model in sorted(models.items()) if _scores(name, task)},
        **_metrics(task),
        "project": VERSION,
    }


def target_hashes(targets: Sequence[Target]) -> dict[str, str]:
    """The hash of every set of reported targets, whatever their order; sentences count by their hashes."""
    sets: dict[str, list[Target]] = defaultdict(list)
    for target in sorted(withhold(targets), key=lambda target: target.target_id):
        if target.reported:
            sets[TARGETS + target.target_set].append(target)
    lines = {key: json_lines(found).encode() for key, found in sorted(sets.items())}
    return {key: hashlib.sha256(line).hexdigest() for key, line in lines.items()}


def _scores(model: str, task: str) -> bool:
    """Whether a model has a say in the scores of a task."""
    if task == INFILLING:
        return model == "story_encoder"
    return model in ("teacher", "human_texts") or (task in SYNTAX and bool(_JUDGE.fullmatch(model)))


def _metrics(task: str) -> dict[str, str]:
    """The signatures of the metrics that libraries compute; BERTScore's is its encoder."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(tokenize="none", effective_order=True, force=True)  # which :mod:`eval.mbr` computes
    bleu.sentence_score("one", ["one"])  # without a score it has no signature
    of_infills = INFILLING_METRICS if task == INFILLING else ()
    return {"mbr_bleu": str(bleu.get_signature()), **{name: metric_signature(name) for name in of_infills}}


def sample_counts(samples: Iterable[Sample]) -> dict[str, int]:
    """The number of texts of a target and seed, by method; human texts are as many as there are."""
    counts = Counter((s.method, s.target_id, s.seed) for s in samples if s.method != HUMAN)
    most: dict[str, int] = {}
    for (method, _, _), count in counts.items():
        most[method] = max(count, most.get(method, 0))
    return most


def require_alike(ours: Signature, theirs: Signature, allow: Collection[str] = ()) -> set[str]:
    """Check that two signatures of a task agree; sets of targets that ours has no texts of do not count.

    Args:
        allow: keys that may differ.

    Returns:
        The keys that do differ, so that the numbers can be marked.

    Raises:
        InputError: names the first key that differs and is not allowed to, and both values.
    """
    keys = [key for key in {**theirs, **ours} if key in ours or not key.startswith(TARGETS)]
    differing = [key for key in keys if ours.get(key) != theirs.get(key)]
    if refused := [key for key in differing if key not in allow]:
        mine, other = (signature.get(refused[0], "absent") for signature in (ours, theirs))
        what = f"{refused[0]} is {mine} here, but {other} there"
        how = f"compare like with like, or {' '.join(f'--allow {key}' for key in refused)} to mark the cells"
        raise InputError(f"signature of {theirs.get('task')}", what, how)
    return set(differing)


def read_signatures(path: Path) -> dict[str, dict[str, str | int]]:
    """The signature of every task in a file that this command wrote.

    Raises:
        InputError: it is not of that form.
    """
    return {task: found["signature"] for task, found in read_checked(path, _WRITTEN).items()}


def main(job: Job) -> None:
    """Write ``{task: {"signature": {...}, "samples": {method: number}}}``."""
    models = {name: signature_of(path) for name, path in cells(job.inputs, "models").items()}
    samples: dict[str, list[Path]] = defaultdict(list)
    for cell, path in cells(job.inputs, "samples").items():
        samples[cell.split("/")[0]].append(path)
    found = {}
    for task, path in cells(job.inputs, "targets").items():
        counts = sample_counts(sample for file in samples[task] for sample in read_records(file, Sample))
        targets, most = read_records(path, Target), max(counts.values(), default=0)
        of_task = task_signature(targets, most, job.spec["mbr_rule"], models)
        found[task] = {"signature": of_task, "samples": dict(sorted(counts.items()))}
    write_json(job.outputs["signatures"], dict(sorted(found.items())))


if __name__ == "__main__":
    command(main, outputs=("signatures",), open_ended=True)
