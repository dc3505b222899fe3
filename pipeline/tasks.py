"""The control tasks: what each asks for, and the targets it is measured on (paper Section 6.2, Table 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError, nearest
from pipeline.records import Target, Text
from pipeline.trees import read_tree

UNCONDITIONAL = "unconditional"
SEMANTIC_CONTENT = "semantic_content"
PARTS_OF_SPEECH = "parts_of_speech"
SYNTAX_TREE = "syntax_tree"
SYNTAX_SPANS = "syntax_spans"
LENGTH = "length"
INFILLING = "infilling"
COMPOSITIONS = {  # a composition asks for both parts at once (paper Section 7.2)
    f"{SEMANTIC_CONTENT}+{SYNTAX_TREE}": (SEMANTIC_CONTENT, SYNTAX_TREE),
    f"{SEMANTIC_CONTENT}+{PARTS_OF_SPEECH}": (SEMANTIC_CONTENT, PARTS_OF_SPEECH),
}
SYNTAX = (PARTS_OF_SPEECH, SYNTAX_TREE, SYNTAX_SPANS, *COMPOSITIONS)  # their targets come from judged texts
TUNED_EVERY = 3  # settings are chosen on every third target, with other seeds
RELEASED, COMPOSED = "released", "composed"  # splits of the released targets' sentences
TUNING = "tuning"  # the set of targets that settings are chosen on where there is one; never reported
UNIVERSAL_TAGS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT"),
    *("SCONJ", "SYM", "VERB", "X"),
)


class Task(NamedTuple):
    """A task's version (raised whenever its targets or scores change meaning) and its control keys."""

    version: int
    control: Mapping[str, type]


TASKS: dict[str, Task] = {
    UNCONDITIONAL: Task(1, {}),
    SEMANTIC_CONTENT: Task(1, {"field": str, "value": str}),
    LENGTH: Task(1, {"length": int}),
    PARTS_OF_SPEECH: Task(1, {"tags": list}),
    SYNTAX_TREE: Task(1, {"tree": str}),  # its words masked by "*"
    SYNTAX_SPANS: Task(1, {"first": int, "last": int, "label": str}),
    INFILLING: Task(1, {"left": str, "right": str}),  # the sentences before and after; words joined by spaces
}
TASKS |= {
    name: Task(1, {key: kind for part in parts for key, kind in TASKS[part].control.items()})
    for name, parts in COMPOSITIONS.items()
}


def parts(task: str) -> tuple[str, ...]:
    """The single tasks that a task asks for: itself, or the two of a composition."""
    return COMPOSITIONS.get(task, (task,))


def part_control(control: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What a composition's control asks of one of its parts."""
    return {key: control[key] for key in TASKS[part].control}


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
            a length out of range, an unknown tag, a tree that does not parse, a span outside every text, an
            infilling target without references.
    """
    seen: set[str] = set()
    for line, target in enumerate(targets, 1):
        place = f"{where}:{line}"
        if target.target_id in seen:
            raise InputError(place, f"target '{target.target_id}' stands in it twice", "keep one of them")
        seen.add(target.target_id)
        _check_control(place, target)
        for part in parts(target.task):
            if part == SEMANTIC_CONTENT:
                _check_words(place, target.control["value"], vocabulary)
            elif part in _LENGTHS:
                _check_length(place, _LENGTHS[part](place, target.control), longest)
        if target.task == INFILLING and not (target.references and all(map(str.split, target.references))):
            what = "no reference, or an empty one"
            raise InputError(place, what, "give at least one sentence in references")


def _check_length(place: str, words: int, longest: int) -> None:
    if not 1 <= words <= longest:
        raise InputError(place, f"length {words} cannot be written", f"ask for 1 to {longest} words")


def _tags_length(place: str, control: Mapping[str, Any]) -> int:
    for tag in control["tags"]:
        if tag not in UNIVERSAL_TAGS:
            raise InputError(place, f"unknown tag '{tag}'", nearest(str(tag), UNIVERSAL_TAGS))
    return len(control["tags"])


def _span_length(place: str, control: Mapping[str, Any]) -> int:
    first, last = control["first"], control["last"]
    if not 0 <= first <= last:
        raise InputError(place, f"no span from {first} to {last}", "count words from 0, both included")
    return int(last) + 1


_LENGTHS: dict[str, Callable[[str, Mapping[str, Any]], int]] = {  # fewest words that can meet a control
    LENGTH: lambda place, control: int(control["length"]),
    PARTS_OF_SPEECH: _tags_length,
    SYNTAX_TREE: lambda place, control: len(read_tree(control["tree"], place).words),
    SYNTAX_SPANS: _span_length,
    INFILLING: lambda place, control: len(control["left"].split()) + 1 + len(control["right"].split()),
}


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
