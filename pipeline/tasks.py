"""The control tasks: what each asks for, and the targets it is measured on (paper Section 6.2, Table 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError, nearest
from pipeline.records import Target, Text

UNCONDITIONAL = "unconditional"
SEMANTIC_CONTENT = "semantic_content"
LENGTH = "length"
TUNED_EVERY = 3  # settings are chosen on every third target, with other seeds


class Task(NamedTuple):
    """A task's version (raised whenever its targets or scores change meaning) and its control keys."""

    version: int
    control: Mapping[str, type]


TASKS: dict[str, Task] = {
    UNCONDITIONAL: Task(1, {}),
    SEMANTIC_CONTENT: Task(1, {"field": str, "value": str}),
    LENGTH: Task(1, {"length": int}),
}


def require_task(name: str, where: str = "task") -> str:
    """``name`` if it is a task.

    Raises:
        InputError: at ``where``; names the nearest task.
    """
    if name not in TASKS:
        raise InputError(where, f"no such task as '{name}'", nearest(name, TASKS))
    return name


def field_values(texts: Iterable[Text]) -> dict[str, list[str]]:
    """Every field of a corpus with its values, both in order of first appearance."""
    values: dict[str, dict[str, None]] = {}
    for text in texts:
        for field, value in (text.fields or {}).items():
            values.setdefault(field, {})[value] = None
    return {field: list(found) for field, found in values.items()}


def make_targets(task: str, training: Sequence[Text], lengths: Mapping[str, int]) -> list[Target]:
    """The targets of a task: every field value of the training texts; every length from first to last.

    Args:
        lengths: ``first`` and ``last`` number of words asked for.

    Raises:
        InputError: unknown task.
    """
    if require_task(task) == UNCONDITIONAL:
        return [Target("any", task, {})]
    if task == LENGTH:
        controls: list[dict[str, Any]] = [{"length": n} for n in range(lengths["first"], lengths["last"] + 1)]
        names = [f"length-{c['length']}" for c in controls]
    else:
        values = field_values(training)
        controls = [{"field": f, "value": v} for f in sorted(values) for v in sorted(values[f])]
        names = [f"{c['field']}={c['value']}".replace(" ", "_") for c in controls]
    named = enumerate(zip(names, controls, strict=True))
    return [Target(n, task, c, tuned_on=i % TUNED_EVERY == 0) for i, (n, c) in named]


def check_targets(where: str, targets: Sequence[Target], vocabulary: Vocabulary, longest: int) -> None:
    """Check the controls of targets that anybody may have written.

    Args:
        where: the file they come from. longest: most words a text may have.

    Raises:
        InputError: unknown task or control key, repeated id, a value that the vocabulary cannot express,
            a length out of range.
    """
    seen: set[str] = set()
    for line, target in enumerate(targets, 1):
        place = f"{where}:{line}"
        if target.target_id in seen:
            raise InputError(place, f"target '{target.target_id}' stands in it twice", "keep one of them")
        seen.add(target.target_id)
        _check_control(place, target)
        if target.task == SEMANTIC_CONTENT:
            _check_words(place, target.control["value"], vocabulary)
        if target.task == LENGTH and not 1 <= target.control["length"] <= longest:
            what = f"length {target.control['length']} cannot be written"
            raise InputError(place, what, f"ask for 1 to {longest} words")


def _check_control(place: str, target: Target) -> None:
    wanted = TASKS[require_task(target.task, place)].control
    for key in target.control:
        if key not in wanted:
            how = nearest(key, wanted) if wanted else "leave it out"
            raise InputError(place, f"unknown control key '{key}'", how)
    for key, kind in wanted.items():
        if type(target.control.get(key)) is not kind:
            raise InputError(place, f"control key '{key}' is missing or wrong", f"give it as {kind.__name__}")


def _check_words(place: str, value: str, vocabulary: Vocabulary) -> None:
    for word in value.split():
        if word not in vocabulary:
            what = f"the vocabulary cannot express '{value}' ('{word}' is not in it)"
            raise InputError(place, what, "ask for a value whose words all occur in the training texts")
