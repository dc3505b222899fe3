"""Train the language model that PPLM and FUDGE steer and that fine-tuning starts from (paper Section 6.3).

python -m baselines.language_model --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE
"""

from __future__ import annotations

from pipeline.command import Job, command
from pipeline.language_model import train_on_corpus


def main(job: Job) -> None:
    """Train on the training texts."""
    train_on_corpus(job, "language_model")


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary"), outputs=("model",), section="properties/language_model")
