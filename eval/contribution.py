"""Texts that somebody else's method wrote: JSON Lines with a ``target_id`` and a ``text`` in each line.

Tasks are found by the targets' ids. Where an id is one of several tasks, as those of the syntax tasks are,
the line's ``task`` decides, or that of the whole file. ``sample_index`` is counted up by target and seed
where it is not given; ``seed``, ``method``, ``forward_tokens`` and ``backward_passes`` may be given, so that
our own samples can be read too.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, nearest
from pipeline.files import parse_json, read_lines
from pipeline.records import Sample, Target
from pipeline.tasks import require_task

KEYS: dict[str, type] = {  # every key that a line may have
    **dict.fromkeys(("target_id", "text", "task", "method", "schema"), str),
    **dict.fromkeys(("sample_index", "seed", "forward_tokens", "backward_passes"), int),
}
NEEDED = ("target_id", "text")
Line = tuple[str, dict[str, Any]]  # the place of a line, and its values
Known = Mapping[str, Mapping[str, Target]]  # targets by task and id


def read_contribution(
    path: Path, targets: Mapping[str, Sequence[Target]], method: str | None = None, task: str | None = None
) -> list[Sample]:
    """The samples of a contributed file, which must cover every set of targets that it has texts for.

    Args:
        targets: that texts may be for, by task.
        method: name for the file's texts, instead of the one in their lines or the file's own name.
        task: of all lines that do not name one.

    Raises:
        InputError: a line that is not JSON or lacks a key, a target that does not exist, is only for choosing
            settings or may be of several tasks, two texts of one number, targets without texts or with
            another number of texts than the others, or several methods.
    """
    known = {name: {target.target_id: target for target in found} for name, found in targets.items()}
    for name in filter(None, [task]):
        _require(known, "--task", name)
    lines = list(_lines(path))
    having = [_tasks_of(where, values, known, task) for where, values in lines]
    _check_known(lines, having, known)
    tasks = [_task(where, v["target_id"], h, known) for (where, v), h in zip(lines, having, strict=True)]
    samples = list(_samples(lines, tasks, method or _method(path, lines)))
    for name in dict.fromkeys(tasks):
        _check_coverage(path, [sample for sample in samples if sample.task == name], known[name])
    return samples


def _lines(path: Path) -> Iterator[Line]:
    lines = read_lines(path)
    if not lines:
        raise InputError(path, "empty", "write one JSON object with target_id and text in each line")
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if number == len(lines) and line.startswith("{") and not line.rstrip().endswith("}"):
            raise InputError(where, "the last line is cut off", "write the line again, whole")
        values = parse_json(line, where)
        _check_keys(where, values)
        yield where, values


def _check_keys(where: str, values: Any) -> None:
    if not isinstance(values, dict):
        raise InputError(where, "not a JSON object", 'write {"target_id": "...", "text": "..."}')
    for key in NEEDED:
        if key not in values:
            raise InputError(where, f"key '{key}' is missing", "give target_id and text in each line")
    for key, value in values.items():
        if key not in KEYS:
            raise InputError(where, f"unknown key '{key}'", nearest(key, KEYS))
        if type(value) is not KEYS[key]:
            raise InputError(where, f"key '{key}' has the wrong type", f"give it as {KEYS[key].__name__}")


def _tasks_of(where: str, values: Mapping[str, Any], known: Known, given: str | None) -> list[str]:
    """The tasks that a line may be of: those that have its target."""
    said = values.get("task", given)
    asked = list(known) if said is None else [_require(known, where, said)]
    return [task for task in asked if values["target_id"] in known[task]]


def _task(where: str, target_id: str, having: Sequence[str], known: Known) -> str:
    """The only task of a line's target, if it is reported on."""
    if len(having) > 1:
        how = f"give task in each line, or --task with one of {', '.join(having)}"
        raise InputError(where, f"target '{target_id}' may be of {len(having)} tasks", how)
    if not known[having[0]][target_id].reported:
        what = f"target '{target_id}' is for choosing settings, so nothing is reported on it"
        raise InputError(where, what, "leave out the targets of the set 'tuning'")
    return having[0]


def _check_known(lines: Sequence[Line], having: Sequence[Sequence[str]], known: Known) -> None:
    """Every line's target must be one that texts may be for."""
    strangers = [line for line, tasks in zip(lines, having, strict=True) if not tasks]
    if strangers:
        first, *others = dict.fromkeys(values["target_id"] for _, values in strangers)
        where, values = strangers[0]
        of = f" of {values['task']}" if "task" in values else ""
        more = f", and none of {len(others)} others" if others else ""
        close = difflib.get_close_matches(first, [name for found in known.values() for name in found], n=1)
        how = "write texts for the targets that it is compared on"
        how = f"did you mean '{close[0]}'?" if close and not others and not of else how
        raise InputError(where, f"no target '{first}'{of}{more}", how)


def _require(known: Known, where: str, task: str) -> str:
    """``task`` if there are targets of it."""
    if require_task(task, where) not in known:
        raise InputError(where, f"there are no targets of {task} here", nearest(task, known))
    return task


def _method(path: Path, lines: Iterable[Line]) -> str:
    """The method that the lines name, or else the file's own name."""
    names = sorted({values.get("method", path.name.split(".")[0]) for _, values in lines})
    if len(names) > 1:
        what = f"texts of several methods: {', '.join(names[:3])}"
        raise InputError(path, what, "give one file for each method, or one name with --method NAME")
    return names[0]


def _samples(lines: Sequence[Line], tasks: Sequence[str], method: str) -> Iterator[Sample]:
    """The lines as samples, numbered; no two of a target and seed have one number."""
    counted: Counter[tuple[str, str, int]] = Counter()
    places: dict[tuple[str, str, int, int], str] = {}
    for (where, values), task in zip(lines, tasks, strict=True):
        cell = (task, values["target_id"], values.get("seed", 0))
        index = values.get("sample_index", counted[cell])
        counted[cell] += 1
        if (first := places.setdefault((*cell, index), where)) != where:
            what = f"sample {index} of target '{cell[1]}' stands in line {first.rpartition(':')[2]} too"
            raise InputError(where, what, "keep one of them, or number them 0, 1, ...")
        passes = [values.get(key, 0) for key in ("forward_tokens", "backward_passes")]
        yield Sample(method, task, cell[1], index, cell[2], values["text"], *passes)


def _check_coverage(path: Path, samples: Sequence[Sample], known: Mapping[str, Target]) -> None:
    """Of every set of targets that there are texts for, each target has as many with each seed."""
    counts = Counter((sample.target_id, sample.seed) for sample in samples)
    usual = Counter(counts.values()).most_common(1)[0][0]
    touched = {known[target_id].target_set for target_id, _ in counts}
    members = [target.target_id for target in known.values() if target.target_set in touched]
    for seed in sorted({sample.seed for sample in samples}):
        having = {target_id: counts[target_id, seed] for target_id in members}
        if missing := [target_id for target_id, count in having.items() if not count]:
            told = ", ".join(f"'{name}'" for name in missing[:3]) + ", ..." * (len(missing) > 3)
            what = f"{len(missing)} of {len(members)} targets of {samples[0].task} have no text: {told}"
            raise InputError(path, what, "write texts for every target")
        for target_id, count in having.items():
            if count != usual:
                what = f"target '{target_id}' of {samples[0].task} has {count} texts, others {usual}"
                raise InputError(path, what, "write the same number for every target")
