"""One cell of an ablation grid (paper Section 7, Figures 4 and 6): train a Diffusion-LM, write its texts.

python -m diffusion_lm.ablate --spec SPEC --input corpus=FILE vocabulary=FILE [language_model=FILE] \\
    --output model=FILE samples=FILE

SPEC holds ``model`` and ``training`` as :mod:`diffusion_lm.train` reads them, then the cell's ``name``,
``sampling``, the number of ``texts`` and the ``seed`` that they are drawn with.
"""

from __future__ import annotations

from dataclasses import replace

from diffusion_lm import train
from diffusion_lm.method import DiffusionLMMethod
from pipeline.command import Job, Spec, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.records import Target, write_records
from pipeline.tasks import UNCONDITIONAL, make_targets

TOGETHER = 256  # texts sampled together; changes no text


def main(job: Job) -> None:
    """Train, unless the training had ended before; then write texts without control."""
    spec = job.spec
    train.main(replace(job, spec=Spec(model=spec["model"], training=spec["training"])))
    settings = {"sampling": spec["sampling"], "guidance": {}, "batch_size": TOGETHER}
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    method = DiffusionLMMethod(spec["name"], settings, vocabulary, {"diffusion": job.outputs["model"]})
    targets: list[Target] = make_targets(UNCONDITIONAL, [], {})
    write_records(job.outputs["samples"], method.generate(targets, spec["texts"], spec["seed"]))


if __name__ == "__main__":
    command(
        main,
        inputs=("corpus", "vocabulary"),
        outputs=("model", "samples"),
        open_ended=True,
        section="$defs/ablation",
    )
