"""The exact -log p of held-out texts under a left-to-right language model, beside which a bound is read.

python -m pipeline.likelihood --spec SPEC --input corpus=FILE vocabulary=FILE model=FILE \\
    --output likelihood=FILE

SPEC holds ``texts`` (how many; the first ones in order), ``split`` and ``most_words``.
"""

from __future__ import annotations

from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel
from pipeline.records import Likelihood, Text, read_records, write_records


def held_out(job: Job) -> list[Text]:
    """The texts that a job asks the likelihood of: the same ones for every model of the same corpus.

    Raises:
        InputError: none is of the split and short enough.
    """
    spec, path = job.spec, job.inputs["corpus"]
    found = [
        text
        for text in read_records(path, Text)
        if text.split == spec["split"] and len(text.tokens) <= spec["most_words"]
    ]
    if not found:
        what = f"no text of split '{spec['split']}' with at most {spec['most_words']} words"
        raise InputError(path, what, "ask for another split")
    return found[: spec["texts"]]


def main(job: Job) -> None:
    """Write one likelihood per text; words that the vocabulary lacks count as UNK."""
    vocabulary, texts = Vocabulary.load(job.inputs["vocabulary"]), held_out(job)
    model = LanguageModel.load(job.inputs["model"], vocabulary=vocabulary.digest()).to(device())
    losses = model.token_losses([model.row(text.tokens) for text in texts])
    write_records(
        job.outputs["likelihood"],
        [
            Likelihood(text.id, len(text.tokens) + 1, {"exact": float(loss.sum())})
            for text, loss in zip(texts, losses, strict=True)
        ],
    )


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary", "model"), outputs=("likelihood",))
