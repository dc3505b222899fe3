"""Prepare a corpus: text records, vocabulary, and the targets of every task.

python -m pipeline.corpora.prepare --spec SPEC --output corpus=FILE vocabulary=FILE TASK=FILE ...

Splits: ``train``; ``human``, held out of the training split by meaning representation, the reference row
of every table; ``valid`` and ``test``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.command import Job, command
from pipeline.corpora.e2e import download_e2e, hold_out, read_e2e
from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.released import read_syntax_targets, target_folder
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.records import Text, write_records
from pipeline.tasks import make_targets


def read_texts(spec: dict[str, Any]) -> tuple[list[Text], Vocabulary]:
    """All texts of the corpus that the settings name, and the vocabulary of its training split."""
    if spec["name"] == "embedded":
        try:
            texts = restaurant_texts(spec["seed"], spec["sizes"])
        except ValueError as error:
            raise InputError("corpus.sizes", str(error), "lower them") from None
        training = [text for text in texts if text.split == "train"]
        return texts, Vocabulary.build((text.tokens for text in training), spec["vocabulary_more_than"])
    return _read_e2e(spec)


def _read_e2e(spec: dict[str, Any]) -> tuple[list[Text], Vocabulary]:
    """E2E from a folder, or downloaded. The vocabulary counts the newline word even where texts drop it."""
    folder, form = Path(spec["data_dir"]), spec["form"]
    if not spec["data_dir"]:
        folder, form = Path(spec["download_dir"]), "csv"
        download_e2e(folder)
    splits = read_e2e(folder, form, keep_newline=spec["keep_newline"])
    newline = [] if spec["keep_newline"] else ["\n"]
    words = ([*text.tokens, *newline] for text in splits["train"])
    vocabulary = Vocabulary.build(words, spec["vocabulary_more_than"])
    if spec["exclude_targets"]:
        splits["train"] = without_targets(splits["train"], target_folder(spec["data_dir"]))
    training, human = hold_out(splits["train"], spec["human"], spec["seed"])
    return [*training, *human, *splits["valid"], *splits["test"]], vocabulary


def without_targets(texts: list[Text], data: Path) -> list[Text]:
    """The texts that are no sentence of a released target, however it was tokenised."""
    targets = {"".join(target.words) for target in read_syntax_targets(data)}
    return [text for text in texts if "".join(text.text.split()) not in targets]


def main(job: Job) -> None:
    """Write the corpus, its vocabulary and one file of targets per task."""
    texts, vocabulary = read_texts(job.spec)
    training = [text for text in texts if text.split == "train"]
    if not training:
        raise InputError(job.spec["name"], "no training texts", "check the data folder or the sizes")
    targets = {task: make_targets(task, training, job.spec["lengths"]) for task in job.spec["tasks"]}
    for task, found in targets.items():
        if not found:
            raise InputError(
                f"task '{task}'", "no targets", "check the corpus' fields and the setting lengths"
            )
        if task not in job.outputs:
            raise InputError("--output", f"'{task}' is missing", f"add {task}=FILE")
    for task, found in targets.items():
        write_records(job.outputs[task], found)
    vocabulary.save(job.outputs["vocabulary"])
    write_records(job.outputs["corpus"], texts)
    _tell(texts, vocabulary)


def _tell(texts: Sequence[Text], vocabulary: Vocabulary) -> None:
    counts = Counter(text.split for text in texts)
    splits = ", ".join(f"{split} {count}" for split, count in counts.items())
    print(f"corpus: {splits} texts; vocabulary {len(vocabulary)} entries", file=sys.stderr)


if __name__ == "__main__":
    command(main, outputs=("corpus", "vocabulary"), open_ended=True, section="properties/corpus")
