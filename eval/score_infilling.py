"""Score infills: every text gets all of its numbers (:mod:`eval.infilling`).

python -m eval.score_infilling --spec SPEC \\
    --input targets=FILE corpus=FILE vocabulary=FILE encoder=FILE [teacher=FILE] \\
    samples/CELL=FILE selected/CELL=FILE ... --output scores/CELL=FILE ...

A CELL is ``method/seed0``; all cells are one job. ``corpus`` holds the stories, ``teacher`` is a
left-to-right language model of them, ``encoder`` the model of BERTScore (:mod:`eval.encoder`), whose
signature stands behind the metric's name: ``BERTScore|SIGNATURE``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from eval.encoder import Encoder, load
from eval.fluency import Teacher
from eval.guards import is_copy
from eval.infilling import BERT_SCORE, LOO, SIGNED, Cider, PairScores, rouge_l, score_texts
from eval.score import Key, check_coverage, chosen_keys, text_guards
from eval.select import cells, require, split_words
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.human import HUMAN
from pipeline.language_model import Row
from pipeline.records import Sample, Score, Target, Text, read_records, write_records


def key(record: Sample | Score) -> Key:
    """What tells a text, and the scores of it, from all others."""
    return record.method, record.task, record.target_id, record.sample_index, record.seed


def main(job: Job) -> None:
    """Score every cell with one encoder, on the targets that are reported."""
    targets = [target for target in read_records(job.inputs["targets"], Target) if target.reported]
    texts = read_records(job.inputs["corpus"], Text)
    training = {tuple(s) for text in texts if text.split == "train" for s in text.sentences or []}
    vocabulary, encoder = Vocabulary.load(job.inputs["vocabulary"]), load(job.inputs["encoder"])
    teacher = Teacher(job.inputs["teacher"], vocabulary) if "teacher" in job.inputs else None
    scorers = pair_scorers(encoder, targets, job.inputs["targets"])
    samples = cells(job.inputs, "samples")
    require("--input", job.inputs, "selected", samples)
    require("--output", job.outputs, "scores", samples)
    for cell, path in samples.items():
        found, chosen = read_records(path, Sample), read_records(job.inputs[f"selected/{cell}"], Sample)
        metrics = signed(infilling_metrics(found, targets, scorers, path), encoder.signature)
        scores = score_samples(found, chosen, metrics, targets, training, teacher, path)
        write_records(job.outputs[f"scores/{cell}"], scores)
        print(f"scored {cell}: {len(scores)} texts", file=sys.stderr)


def pair_scorers(encoder: Encoder, targets: Sequence[Target], where: str | Path) -> dict[str, PairScores]:
    """The metrics of a text and one reference, by name; CIDEr's weights are of these targets.

    Raises:
        InputError: a target without references.
    """
    cider = Cider([_references(where, target) for target in targets])
    return {"ROUGE-L": rouge_l, "CIDEr": cider, BERT_SCORE: encoder}


def infilling_metrics(
    samples: Sequence[Sample],
    targets: Sequence[Target],
    scorers: Mapping[str, PairScores],
    where: str | Path = "samples",
) -> list[dict[str, float]]:
    """:func:`eval.infilling.score_texts` of samples; a human sample is the reference of its index.

    Raises:
        InputError: the samples do not cover the targets evenly, a target without references, or a human
            sample that is not its reference.
    """
    check_coverage(samples, targets, where)
    by_target = {target.target_id: _references(where, target) for target in targets}
    references = [by_target[sample.target_id] for sample in samples]
    texts = [" ".join(sample.text.split()) for sample in samples]
    itself = [_itself(sample, group, where) for sample, group in zip(samples, references, strict=True)]
    return score_texts(texts, references, itself, scorers)


def signed(metrics: Sequence[Mapping[str, float]], signature: str) -> list[dict[str, float]]:
    """The metrics with the encoder's signature behind the names of BERTScore."""
    names = {name: f"{name}{SIGNED}{signature}" for name in (BERT_SCORE, BERT_SCORE + LOO)}
    return [{names.get(name, name): value for name, value in found.items()} for found in metrics]


def _references(where: str | Path, target: Target) -> list[str]:
    told = [" ".join(reference.split()) for reference in target.references or []]
    if not told or not all(told):
        what = f"target '{target.target_id}' has no reference, or an empty one"
        raise InputError(where, what, "give at least one sentence in references")
    return told


def _itself(sample: Sample, references: Sequence[str], where: str | Path) -> int | None:
    """The number of the reference that a human sample is."""
    if sample.method != HUMAN:
        return None
    index = sample.sample_index
    if not 0 <= index < len(references) or references[index] != " ".join(sample.text.split()):
        what = f"human sample {index} of target '{sample.target_id}' is not its reference of this number"
        raise InputError(where, what, "make the human samples from these targets")
    return index


def score_samples(
    samples: Sequence[Sample],
    selected: Sequence[Sample],
    metrics: Sequence[dict[str, float]],
    targets: Sequence[Target],
    training_sentences: Set[tuple[str, ...]] | None,
    teacher: Teacher | None = None,
    where: str | Path = "samples",
) -> list[Score]:
    """Scores in the order of the samples: ``metrics``, and the guards.

    Guards: ``length`` (words), ``doubled`` (:func:`eval.guards.doubled_words`), ``unk_rate`` (percent of
    words), ``copied`` (0 or 1: equals a training sentence, where these are known), and with a teacher
    ``lm_nll_sum`` (nats of the text's words after ``START left``; what follows cannot count in a
    left-to-right model) and ``lm_tokens``.

    Raises:
        InputError: the selection is not one sample of each target, or a text is too long for the teacher.
    """
    chosen = chosen_keys(samples, selected, where)
    texts = [split_words(sample.text) for sample in samples]
    lefts = {target.target_id: split_words(target.control["left"]) for target in targets}
    copies = [
        {} if training_sentences is None else {"copied": float(is_copy(words, training_sentences))}
        for words in texts
    ]
    fluency: list[dict[str, float]] = [{} for _ in samples]
    if teacher:
        fluency = infill_losses(teacher, [lefts[sample.target_id] for sample in samples], texts)
    return [
        Score(
            *key(sample),
            selected=key(sample) in chosen,
            metrics=values | losses | text_guards(words) | copied,
        )
        for sample, words, copied, values, losses in zip(
            samples, texts, copies, metrics, fluency, strict=True
        )
    ]


def infill_losses(
    teacher: Teacher, lefts: Sequence[list[str]], texts: Sequence[list[str]]
) -> list[dict[str, float]]:
    """Nats and number of each text's tokens under the teacher, after START and what stands left of it."""
    rows = [_row(teacher, left, text) for left, text in zip(lefts, texts, strict=True)]
    losses = teacher.model.token_losses(rows)
    return [{"lm_nll_sum": float(loss.sum()), "lm_tokens": float(len(loss))} for loss in losses]


def _row(teacher: Teacher, left: list[str], text: list[str]) -> Row:
    model = teacher.model
    known, words = ([w if w in teacher.vocabulary else "UNK" for w in part] for part in (left, text))
    return Row([model.start, *model.encode([*known, *words])], 1 + len(model.encode(known)))


if __name__ == "__main__":
    inputs = ("targets", "corpus", "vocabulary", "encoder")
    command(main, inputs=inputs, outputs=(), open_ended=True)
