"""The targets of the syntax tasks and the compositions, from annotated texts.

python -m pipeline.corpora.syntax_targets --spec SPEC --input annotated=FILE --output TASK=FILE ...

What is asked for is what the judge finds in a sentence. Target sets: ``released``, the sentences of the
released target files; ``heldout``, sentences of the validation and test splits that no training text
repeats; ``tuning``, held-out sentences on which settings are chosen and nothing is reported.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pipeline.command import Job, command
from pipeline.corpora.released import Released, read_composition_targets, read_syntax_targets, target_folder
from pipeline.errors import InputError
from pipeline.human import HUMAN
from pipeline.records import Target, Text, read_records, write_records
from pipeline.tasks import (
    COMPOSED,
    COMPOSITIONS,
    PARTS_OF_SPEECH,
    RELEASED,
    SEMANTIC_CONTENT,
    SYNTAX_SPANS,
    SYNTAX_TREE,
    TUNING,
    parts,
)
from pipeline.trees import masked

HELDOUT = "heldout"


def main(job: Job) -> None:
    """Write one file of targets per task."""
    spec, texts = job.spec, read_records(job.inputs["annotated"], Text)
    released: list[Released] = []
    composed: list[Released] = []
    if spec["released_targets"]:
        data = target_folder(spec["data_dir"])
        released, composed = read_syntax_targets(data), read_composition_targets(data)
    sets = target_sets(texts, spec)
    for task in spec["tasks"]:
        if task not in job.outputs:
            raise InputError("--output", f"'{task}' is missing", f"add {task}=FILE")
        own = composed if task in COMPOSITIONS else released
        wanted = {**sets, RELEASED: _of_split(texts, COMPOSED if task in COMPOSITIONS else RELEASED)}
        if task in COMPOSITIONS and wanted[RELEASED]:
            wanted[HELDOUT] = []  # the released ones are held-out sentences already
        targets = list(make_targets(task, wanted, own, spec["seed"]))
        write_records(job.outputs[task], targets)
        _tell(task, targets)


def target_sets(texts: Sequence[Text], spec: dict[str, Any]) -> dict[str, list[Text]]:
    """The sentences of the sets ``heldout`` and ``tuning``, in a random order that the seed fixes.

    Raises:
        InputError: there are too few of them.
    """
    training = {text.text for text in texts if text.split == "train"}
    fitting = [t for t in texts if t.text not in training and len(t.tokens) <= spec["most_words"]]
    fitting = sorted(fitting, key=lambda text: _key(spec["seed"], text.id))
    found: dict[str, list[Text]] = {}
    for name, splits, count in (
        (HELDOUT, ("valid", "test"), spec["targets"]),
        (TUNING, (HUMAN,), spec["tuning"]),
    ):
        distinct = {text.text: text for text in fitting if text.split in splits and text.spans}
        found[name] = list(distinct.values())[:count]
        if len(found[name]) < count:
            what = f"{len(found[name])} sentences for the set '{name}', {count} wanted"
            raise InputError("annotated corpus", what, "lower syntax.targets or syntax.tuning")
    return found


def make_targets(
    task: str, sets: dict[str, list[Text]], released: Sequence[Released], seed: int
) -> Iterator[Target]:
    """What a task asks of each sentence of each set.

    ``released`` belongs, row by row, to the sentences of the set ``released``.
    """
    for name, texts in sets.items():
        for index, text in enumerate(texts):
            row = released[index] if name == RELEASED else None
            control: dict[str, Any] = {}
            for part in parts(task):
                control |= _CONTROLS[part](text, row, seed)
            yield Target(
                f"{name}-{index:03d}", task, control, source_id=text.id, tuned_on=name == TUNING,
                target_set=name, released=_as_released(task, row),
            )  # fmt: skip


def nearest_span(wanted: tuple[int, int, str], found: Sequence[Sequence[Any]]) -> list[Any]:
    """The span found that stands for a wanted one: itself, else the one of its label that overlaps it most.

    Without one of its label that overlaps, spans of any label are taken; among equals the first.
    """
    first, last, label = wanted

    def overlap(span: Iterable[Any]) -> int:
        begin, end, _ = span
        return min(last, int(end)) - max(first, int(begin)) + 1

    if list(wanted) in [list(span) for span in found]:
        return list(wanted)
    same = [span for span in found if span[2] == label and overlap(span) > 0]
    return list(max(same or found, key=overlap))


def _semantic(text: Text, row: Released | None, seed: int) -> dict[str, Any]:
    """A field of the sentence and its value, drawn if there are several."""
    fields = sorted((text.fields or {}).items())
    if not fields:
        raise InputError(f"text '{text.id}'", "no field to ask for", "compositions need a corpus with fields")
    field, value = min(fields, key=lambda pair: _key(seed, f"{text.id} {pair[0]}"))
    return {"field": field, "value": value}


def _span(text: Text, row: Released | None, seed: int) -> dict[str, Any]:
    """The span that the judge has for the released one, or one of its spans, drawn."""
    found = text.spans or []
    if not found:
        what = "the judge finds no constituent in it"
        raise InputError(
            f"text '{text.id}'", what, "leave the sentence out, or train the judge's parser longer"
        )
    if row and row.span:
        first, last, label = nearest_span(row.span, found)
    else:
        first, last, label = min(found, key=lambda span: _key(seed, f"{text.id} {span}"))
    return {"first": first, "last": last, "label": label}


_CONTROLS: dict[str, Callable[[Text, Released | None, int], dict[str, Any]]] = {
    SEMANTIC_CONTENT: _semantic,
    PARTS_OF_SPEECH: lambda text, row, seed: {"tags": text.tags},
    SYNTAX_TREE: lambda text, row, seed: {"tree": masked(text.tree or "")},
    SYNTAX_SPANS: _span,
}


def _as_released(task: str, row: Released | None) -> dict[str, Any] | None:
    """The released file's own tags or span."""
    if row is None:
        return None
    if PARTS_OF_SPEECH in parts(task):
        return {"tags": row.tags}
    if task == SYNTAX_SPANS and row.span:
        return dict(zip(("first", "last", "label"), row.span, strict=True))
    return None


def _of_split(texts: Iterable[Text], split: str) -> list[Text]:
    return [text for text in texts if text.split == split]


def _key(seed: int, name: str) -> str:
    return hashlib.sha256(f"targets {seed} {name}".encode()).hexdigest()


def _tell(task: str, targets: Sequence[Target]) -> None:
    sets = list(dict.fromkeys(target.target_set for target in targets))
    counts = ", ".join(f"{name} {sum(t.target_set == name for t in targets)}" for name in sets)
    told = f"targets of {task}: {counts}"
    spans = [t for t in targets if t.released and t.task == SYNTAX_SPANS]
    if replaced := sum(t.released != t.control for t in spans):
        told += f"; {replaced} of {len(spans)} released spans replaced by the judge's nearest"
    print(told, file=sys.stderr)


if __name__ == "__main__":
    command(main, inputs=("annotated",), outputs=(), open_ended=True, section="properties/syntax")
