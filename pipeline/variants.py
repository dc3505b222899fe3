"""Write one task's texts with several variants of a method's settings, in one process.

python -m pipeline.variants --spec SPEC --input targets=FILE vocabulary=FILE MODEL=FILE ... \\
    --output samples=FILE seconds=FILE

SPEC is that of :mod:`pipeline.generate`, but has ``variants`` in the place of ``method`` and ``samples``: a
list of ``label``, the ``method``'s settings and the number of ``samples``. A text has its variant as
``method``. All variants draw under the method's name, so that they start from the same noise. ``seconds`` are
each one's.
"""

from __future__ import annotations

import time
from dataclasses import replace

from pipeline.command import Job, command
from pipeline.files import write_json
from pipeline.generate import read_job
from pipeline.methods import load_method
from pipeline.records import Sample, write_records


def main(job: Job) -> None:
    """Write the samples of every variant, one variant after the other."""
    targets, vocabulary, models = read_job(job)
    spec, written, seconds = job.spec, list[Sample](), dict[str, float]()
    for variant in spec["variants"]:
        method = load_method(spec["name"], variant["method"], vocabulary, models)
        began = time.monotonic()
        texts = method.generate(targets, variant["samples"], spec["seed"])
        written += [replace(sample, method=variant["label"]) for sample in texts]
        seconds[variant["label"]] = round(time.monotonic() - began, 3)
    write_records(job.outputs["samples"], written)
    write_json(job.outputs["seconds"], seconds)


if __name__ == "__main__":
    command(main, inputs=("targets", "vocabulary"), outputs=("samples", "seconds"), open_ended=True)
