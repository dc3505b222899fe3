"""Annotate a corpus: a judge's tags, tree and spans for every text.

python -m eval.oracles.annotate --spec SPEC \\
    --input corpus=FILE tagger=FILE parser=FILE --output annotated=FILE

With ``released_targets`` in SPEC the sentences of the released target files (in ``data_dir``) are annotated
too, in splits of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from eval.oracles.judge import Judge
from eval.oracles.load import load_judge
from pipeline.command import Job, command
from pipeline.corpora.released import Released, read_composition_targets, read_syntax_targets, target_folder
from pipeline.records import Text, read_records, write_records
from pipeline.tasks import COMPOSED, RELEASED
from pipeline.trees import spans


def main(job: Job) -> None:
    """Write the annotated corpus."""
    texts = read_records(job.inputs["corpus"], Text)
    if job.spec["released_targets"]:
        data = target_folder(job.spec["data_dir"])
        texts += [
            *_texts(RELEASED, read_syntax_targets(data)),
            *_texts(COMPOSED, read_composition_targets(data)),
        ]
    judge = load_judge("judge1", job.inputs["tagger"], job.inputs["parser"], Path(job.spec["cache"]))
    write_records(job.outputs["annotated"], annotate(texts, judge))
    print(f"annotated {len(texts)} texts", file=sys.stderr)


def annotate(texts: list[Text], judge: Judge) -> Iterable[Text]:
    """The texts with what the judge reads in them."""
    sentences = [text.tokens for text in texts]
    for text, tags, tree in zip(texts, judge.tags(sentences), judge.trees(sentences), strict=True):
        yield replace(text, tags=tags, tree=tree, spans=[list(span) for span in spans(tree)])


def _texts(split: str, targets: Iterable[Released]) -> Iterable[Text]:
    """Released sentences as texts; ``fields`` is the field and value that a composition asks for."""
    for index, target in enumerate(targets):
        fields = dict([target.attribute]) if target.attribute else None
        yield Text(f"{split}-{index:03d}", split, " ".join(target.words), target.words, fields)


if __name__ == "__main__":
    command(main, inputs=("corpus", "tagger", "parser"), outputs=("annotated",))
