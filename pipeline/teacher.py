"""Train the teacher, whose perplexity is the lm-score (paper Section 6.2). It never generates.

python -m pipeline.teacher --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE
"""

from __future__ import annotations

from pipeline.command import Job, command
from pipeline.language_model import train_on_corpus


def main(job: Job) -> None:
    """Train on the training texts."""
    train_on_corpus(job, "teacher")


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary"), outputs=("model",), section="properties/teacher")
