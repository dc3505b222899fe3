"""Table 6: the decoding settings that the paper chose, those of its released code, and this run's.

The workflow imports this module in every job, so pandas is loaded only where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.tasks import LENGTH, PARTS_OF_SPEECH, SEMANTIC_CONTENT, SYNTAX_SPANS, SYNTAX_TREE

Settings = Mapping[str, Any]

METHODS = {"pplm": "PPLM", "fudge": "FUDGE", "diffusion_lm": "Diffusion-LM"}
TASKS = (SEMANTIC_CONTENT, PARTS_OF_SPEECH, SYNTAX_TREE, SYNTAX_SPANS, LENGTH)
ABSENT = "–"
_LEGEND = (
    "PPLM: updates for each word / step size; FUDGE: strength; Diffusion-LM: weight of fluency / step size, "
    "and the form of the step where it is not the paper's Adagrad; step sizes of different forms cannot be "
    "compared. The released code has no baselines."
)


def settings_rows(methods: Mapping[str, Settings], released: Settings) -> list[list[str]]:
    """Task, method, published, released and own settings, for every row of the paper's table.

    Args:
        methods: this run's settings by method; one that was not run may be absent.
        released: guidance of Diffusion-LM by task, as the released code has it.
    """
    return [
        [
            *(task, method, printed),
            _guidance(released.get(task)) if method == "diffusion_lm" else ABSENT,
            _ours(method, task, methods.get(method, {})),
        ]
        for (task, method), printed in _published().items()
    ]


def settings_table(rows: Sequence[Sequence[str]]) -> str:
    """The rows as Markdown."""
    from eval.markdown import markdown_table

    table = markdown_table(["task", "method", "published", "released", "ours"], rows)
    return "\n\n".join(["### Table 6: decoding settings, published, released and ours", _LEGEND, table])


def _published() -> dict[tuple[str, str], str]:
    """The printed settings by task and method, without the cells that hold a dash."""
    from eval.paper import read_table

    values: dict[tuple[str, str], list[str]] = {(task, method): [] for task in TASKS for method in METHODS}
    names = {theirs: ours for ours, theirs in METHODS.items()}
    for row in read_table("table6_hyperparameters").itertuples():
        values[row.task, names[row.method]] += filter(None, [row.value])
    return {key: " / ".join(found) for key, found in values.items() if found}


def _ours(method: str, task: str, settings: Settings) -> str:
    if task not in settings.get("tasks", {}):
        return ABSENT
    if method == "pplm":
        return f"{settings['updates']} / {settings['step']:g}"
    if method == "fudge":
        return f"{settings['strength'][task]:g}"
    return _guidance(settings["guidance"].get(task))


def _guidance(settings: Settings | None) -> str:
    """``0.01 / 0.1``, with the form of the step if it is not the paper's."""
    if settings is None:
        return ABSENT
    if settings.get("form") == "hold":
        return "words held in place"
    form = settings.get("optimizer", "adagrad")
    told = f"{settings['fluency']:g} / {settings['rate']:g}"
    return told if form == "adagrad" else f"{told} ({form})"
