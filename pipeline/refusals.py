"""What methods cannot do, and why: the cells of a table that are empty for a reason.

python -m pipeline.refusals --spec '{"methods": {NAME: {"module": MODULE}, ...}}' --output refusals=FILE
"""

from __future__ import annotations

from pathlib import Path

from pipeline.command import Job, command
from pipeline.files import write_json
from pipeline.methods import method_class
from pipeline.schema import read_checked
from pipeline.tasks import TASKS

_WRITTEN = {
    "additionalProperties": {"type": "object", "additionalProperties": {"type": "string"}},
}


def refusals(name: str, module: str) -> dict[str, str]:
    """Every task that a method does not support, with the reason.

    Raises:
        InputError: the module defines no method (:func:`pipeline.methods.method_class`).
    """
    kind = method_class(name, module)
    return {task: kind.refusal(task) for task in TASKS if task not in kind.tasks}


def read_refusals(path: Path) -> dict[str, dict[str, str]]:
    """What the command wrote.

    Raises:
        InputError: it is not of that form.
    """
    return read_checked(path, _WRITTEN)


def main(job: Job) -> None:
    """Write ``{method: {task: reason}}``; a method that does every task has an empty mapping."""
    methods = job.spec["methods"]
    write_json(
        job.outputs["refusals"],
        {name: refusals(name, settings["module"]) for name, settings in methods.items()},
    )


if __name__ == "__main__":
    command(main, outputs=("refusals",))
