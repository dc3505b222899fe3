"""The bound on -log p of held-out texts under a Diffusion-LM (:mod:`diffusion_lm.bound`; paper Table 7).

python -m diffusion_lm.likelihood --spec SPEC --input corpus=FILE vocabulary=FILE model=FILE \\
    --output likelihood=FILE

SPEC holds ``texts``, ``split`` and ``most_words`` (:mod:`pipeline.likelihood`), ``steps`` that are drawn for
each text (T or more: all of them) and ``seed`` of their noise. The padding behind a text is part of its row,
so its cost is part of the bound, as p(row) = p(text).
"""

from __future__ import annotations

from diffusion_lm.bound import bound_terms
from diffusion_lm.layout import pad_layout
from diffusion_lm.train import load
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.likelihood import held_out
from pipeline.progress import Progress
from pipeline.records import Likelihood, write_records
from pipeline.seeding import generator


def main(job: Job) -> None:
    """Write the terms of every text's bound."""
    spec, vocabulary = job.spec, Vocabulary.load(job.inputs["vocabulary"])
    texts = held_out(job)
    model, _ = load(job.inputs["model"], vocabulary)
    if model.settings.layout != "pad":
        what = f"layout '{model.settings.layout}' has no likelihood of whole texts"
        raise InputError(job.inputs["model"], what, "train a model with layout 'pad'")
    rows = pad_layout([vocabulary.encode(text.tokens) for text in texts], model.settings.positions)
    progress, found = Progress("likelihood", len(texts)), []
    for number, (text, row) in enumerate(zip(texts, rows.to(device()), strict=True), 1):
        terms = bound_terms(model, row, generator("likelihood", spec["seed"], text.id), spec["steps"])
        found.append(Likelihood(text.id, len(text.tokens) + 1, terms))
        progress.update(number)
    write_records(job.outputs["likelihood"], found)


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary", "model"), outputs=("likelihood",))
