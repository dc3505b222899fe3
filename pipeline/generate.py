"""Run any method on any task.

python -m pipeline.generate --spec SPEC --input targets=FILE vocabulary=FILE MODEL=FILE ... \\
    --output samples=FILE

SPEC holds ``method`` (the instance's settings), ``name``, ``samples`` per target, ``seed``, ``most_words``;
with ``tuned_on`` only the targets that settings are chosen on are used.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.methods import load_method
from pipeline.records import Target, read_records, write_records
from pipeline.tasks import check_targets


def read_job(job: Job) -> tuple[list[Target], Vocabulary, dict[str, Path]]:
    """The targets that a job is about, the vocabulary, and the trained files of the method.

    Raises:
        InputError: targets that are malformed, or none of them to be used.
    """
    spec = job.spec
    targets = read_records(job.inputs["targets"], Target)
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    check_targets(str(job.inputs["targets"]), targets, vocabulary, spec["most_words"])
    chosen = "tuned_on" if spec.get("tuned_on") else "reported"
    targets = [target for target in targets if getattr(target, chosen)]
    if not targets:
        what = f"no target with '{chosen}'"
        raise InputError(job.inputs["targets"], what, "see tuned_on and target_set of the target records")
    models = {name: path for name, path in job.inputs.items() if name not in ("targets", "vocabulary")}
    return targets, vocabulary, models


def main(job: Job) -> None:
    """Write the samples of every target."""
    targets, vocabulary, models = read_job(job)
    spec = job.spec
    method = load_method(spec["name"], spec["method"], vocabulary, models)
    write_records(job.outputs["samples"], method.generate(targets, spec["samples"], spec["seed"]))


if __name__ == "__main__":
    command(main, inputs=("targets", "vocabulary"), outputs=("samples",), open_ended=True)
