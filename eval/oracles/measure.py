"""Measure the judges on gold data that none of them was trained on.

python -m eval.oracles.measure --spec SPEC \\
    --input corpus=FILE judge1_tagger=FILE judge1_parser=FILE judge2_tagger=FILE judge2_parser=FILE \\
    --output csv=FILE markdown=FILE

Taggers: percent of words with the right universal tag; parsers: labelled bracket F1 over all sentences
(evalb's conventions). ``released`` are the released targets: share of their tags, and of their spans, that a
judge finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from eval.markdown import markdown_table
from eval.oracles.judge import Judge
from eval.oracles.load import load_judge
from eval.oracles.treebanks import Bracketed, Tagged, read_bracketed, read_tagged
from eval.success.syntax_tree import brackets
from pipeline import checkpoint
from pipeline.command import Job, command
from pipeline.corpora.released import read_composition_targets, read_syntax_targets, target_folder
from pipeline.files import write_text
from pipeline.trees import read_tree, spans

JUDGES = ("judge1", "judge2")
LONGEST = 100  # words; longer sentences of treebanks are lists


class Measured(NamedTuple):
    """One number: ``value`` in percent, of ``sentences`` with ``words``."""

    judge: str
    part: str
    trained_on: str
    measured_on: str
    metric: str
    value: float
    sentences: int
    words: int


def main(job: Job) -> None:
    """Write the table as CSV and Markdown."""
    rows = [row for name in JUDGES for row in measure(name, job)]
    table = pd.DataFrame(rows, columns=list(Measured._fields))
    write_text(job.outputs["csv"], str(table.to_csv(index=False, float_format="%.4f", lineterminator="\n")))
    titles = ["judge", "part", "trained on", "measured on", "metric", "value", "sentences", "words"]
    cells = [[*row[:5], f"{row.value:.1f}", str(row.sentences), str(row.words)] for row in rows]
    write_text(job.outputs["markdown"], f"### Judges\n\n{markdown_table(titles, cells)}\n")


def measure(name: str, job: Job) -> Iterator[Measured]:
    """All numbers of one judge."""
    files = {part: job.inputs[f"{name}_{part}"] for part in ("tagger", "parser")}
    judge = load_judge(name, files["tagger"], files["parser"], Path(job.spec["cache"]))
    trained = {part: _trained_on(part, path) for part, path in files.items()}
    data, corpus = Path(job.spec["data_dir"]), job.inputs["corpus"]
    embedded = job.spec["embedded"]
    for treebank in ("embedded_first",) if embedded else ("ewt", "gum_open", "gum_nc"):
        told = "embedded" if embedded else treebank
        tagged = read_tagged(treebank, "test", data, corpus)
        yield _row(name, "tagger", trained, told, "accuracy", tag_accuracy(judge, tagged), tagged)
    for treebank in ("embedded_first",) if embedded else ("gum_open", "gum_nc", "craft", "wsj"):
        told = "embedded" if embedded else treebank
        trees = [s for s in read_bracketed(treebank, "test", data, corpus) if len(s.words) <= LONGEST]
        yield _row(name, "parser", trained, told, "bracket F1", bracket_f1(judge, trees), trees)
    if job.spec["released_targets"]:
        yield from _released(name, judge, trained, target_folder(job.spec["data_dir"]))


def tag_accuracy(judge: Judge, sentences: Sequence[Tagged]) -> float:
    """Percent of words with the right tag."""
    found = judge.tags([sentence.words for sentence in sentences])
    right = sum(
        a == b for s, tags in zip(sentences, found, strict=True) for a, b in zip(s.tags, tags, strict=True)
    )
    return 100 * right / sum(len(sentence.words) for sentence in sentences)


def bracket_f1(judge: Judge, sentences: Sequence[Bracketed]) -> float:
    """Labelled bracket F1 in percent, counted over all sentences together."""
    found = judge.trees([sentence.words for sentence in sentences])
    common = total = 0
    for sentence, text in zip(sentences, found, strict=True):
        gold, tree = read_tree(sentence.tree), read_tree(text)
        wanted, given = brackets(gold, gold.tags), brackets(tree, gold.tags)
        common += (wanted & given).total()
        total += wanted.total() + given.total()
    return 200 * common / total


def _released(name: str, judge: Judge, trained: dict[str, str], data: Path) -> Iterator[Measured]:
    targets = read_syntax_targets(data)
    tagged = [Tagged(target.words, target.tags) for target in [*targets, *read_composition_targets(data)]]
    yield _row(name, "tagger", trained, "released", "agreement", tag_accuracy(judge, tagged), tagged)
    trees = judge.trees([target.words for target in targets])
    hits = sum(target.span in spans(tree) for target, tree in zip(targets, trees, strict=True))
    yield _row(name, "parser", trained, "released", "spans found", 100 * hits / len(targets), targets)


def _row(
    name: str, part: str, trained: dict[str, str], measured_on: str, metric: str, value: float,
    sentences: Sequence[Any],
) -> Measured:  # fmt: skip
    words = sum(len(sentence.words) for sentence in sentences)
    return Measured(name, part, trained[part], measured_on, metric, value, len(sentences), words)


def _trained_on(part: str, path: Path) -> str:
    from eval.oracles import parser, tagger

    settings, _ = checkpoint.load(path, tagger.KIND if part == "tagger" else parser.KIND)
    return str(settings.get("trained_on", settings.get("source")))


if __name__ == "__main__":
    inputs = ("corpus", *(f"{judge}_{part}" for judge in JUDGES for part in ("tagger", "parser")))
    command(main, inputs=inputs, outputs=("csv", "markdown"))
