"""The human row: held-out texts that mean what a target asks for.

python -m pipeline.human --spec SPEC --input corpus=FILE targets=FILE --output samples=FILE
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.records import Sample, Target, Text, read_records, write_records
from pipeline.tasks import LENGTH, SEMANTIC_CONTENT

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
    texts = [text for text in read_records(job.inputs["corpus"], Text) if text.split == HUMAN]
    samples = list(human_samples(texts, read_records(job.inputs["targets"], Target), job.spec["seed"]))
    if not samples:
        raise InputError(job.inputs["corpus"], "no human text fits any target", "hold out more texts")
    write_records(job.outputs["samples"], samples)


if __name__ == "__main__":
    command(main, inputs=("corpus", "targets"), outputs=("samples",))
