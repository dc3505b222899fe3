"""The human row: held-out texts that mean what a target asks for, or the sentence a target was made from.

For infilling it is every reference, to be scored against the others.

python -m pipeline.human --spec SPEC --input corpus=FILE targets=FILE --output samples=FILE
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.records import Sample, Target, Text, read_records, write_records
from pipeline.tasks import INFILLING, LENGTH, SEMANTIC_CONTENT, SYNTAX

HUMAN = "human"


def human_samples(texts: Sequence[Text], targets: Sequence[Target], seed: int) -> Iterator[Sample]:
    """Every held-out text under every target that its meaning representation (or its length) satisfies.

    Targets differ in how many texts they get; a target that no text satisfies gets none. Texts come in a
    random order, since neighbours in a corpus share their meaning and would look less diverse than they are.
    """
    shuffled = sorted(texts, key=lambda text: hashlib.sha256(f"{seed} {text.id}".encode()).digest())
    for target in targets:
        fitting = [text for text in shuffled if means(text, target)]
        for index, text in enumerate(fitting):
            yield Sample(HUMAN, target.task, target.target_id, index, seed, " ".join(text.tokens), 0, 0)


def source_samples(texts: Sequence[Text], targets: Sequence[Target], seed: int) -> Iterator[Sample]:
    """The sentence that each reported target was made from.

    Raises:
        InputError: a target's sentence is not among the texts.
    """
    by_id = {text.id: text for text in texts}
    for target in (target for target in targets if target.reported):
        if target.source_id not in by_id:
            what = f"no text '{target.source_id}' for target '{target.target_id}'"
            raise InputError("targets", what, "make the targets from this corpus")
        text = by_id[target.source_id]
        yield Sample(HUMAN, target.task, target.target_id, 0, seed, " ".join(text.tokens), 0, 0)


def reference_samples(targets: Sequence[Target], seed: int) -> Iterator[Sample]:
    """Every reference of each reported target; the index of a sample is that of its reference."""
    for target in (target for target in targets if target.reported):
        for index, told in enumerate(target.references or []):
            words = " ".join(told.split())
            yield Sample(HUMAN, target.task, target.target_id, index, seed, words, 0, 0)


def means(text: Text, target: Target) -> bool:
    """Whether a text is an answer to a target, by its annotation and not by its words."""
    control = target.control
    if target.task == SEMANTIC_CONTENT:
        return (text.fields or {}).get(control["field"]) == control["value"]
    if target.task == LENGTH:
        return len(text.tokens) == int(control["length"])
    return True


def main(job: Job) -> None:
    """Write the human samples of a task."""
    texts, targets = read_records(job.inputs["corpus"], Text), read_records(job.inputs["targets"], Target)
    seed = job.spec["seed"]
    if targets[0].task == INFILLING:
        samples = list(reference_samples(targets, seed))
    elif targets[0].task in SYNTAX:
        samples = list(source_samples(texts, targets, seed))
    else:
        samples = list(human_samples([text for text in texts if text.split == HUMAN], targets, seed))
    if not samples:
        raise InputError(job.inputs["corpus"], "no human text fits any target", "hold out more texts")
    write_records(job.outputs["samples"], samples)


if __name__ == "__main__":
    command(main, inputs=("corpus", "targets"), outputs=("samples",))
