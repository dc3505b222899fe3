"""Train the teacher, whose perplexity is the lm-score (paper Section 6.2). It never generates.

python -m pipeline.teacher --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE
"""

from __future__ import annotations

from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.language_model import LanguageModelSettings, build, fit
from pipeline.records import Text, read_records
from pipeline.training import TrainingSettings


def main(job: Job) -> None:
    """Train on the training texts, words outside the vocabulary as UNK."""
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    settings, training = LanguageModelSettings(**job.spec["model"]), TrainingSettings(**job.spec["training"])
    model = build(settings, vocabulary, [], training.seed)
    texts = [text.tokens for text in read_records(job.inputs["corpus"], Text) if text.split == "train"]
    known = [[word if word in vocabulary else "UNK" for word in tokens] for tokens in texts]
    rows = [row for row in map(model.row, known) if len(row.ids) <= settings.positions]
    if not rows:
        raise InputError(
            job.inputs["corpus"], f"no text fits {settings.positions} positions", "raise teacher.positions"
        )
    fit(model, rows, training, job.work, "teacher", job.signature)
    model.save(job.outputs["model"], settings, vocabulary=vocabulary.digest())


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary"), outputs=("model",))
