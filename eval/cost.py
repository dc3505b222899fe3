"""What the results cost: time, passes and tuning of every method, and the training of every model.

python -m eval.cost --spec SPEC --input samples/CELL=FILE ... models/NAME=FILE ... \\
    [efficiency/NAME=FILE ...] --output csv=FILE training_csv=FILE markdown=FILE

A CELL is ``task/method/seed0``; ``efficiency`` are reports of SLURM runs. SPEC holds ``trials``: how many
settings were tried, by task and method. Times and memory are those in the files' sidecars: of the run that
made a file, also where it came from the store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from eval.efficiency import Efficiency, efficiencies
from eval.layout import METHOD_ORDER, TASKS, ordered
from eval.markdown import markdown_table
from eval.select import cells
from pipeline.command import Job, command
from pipeline.files import write_text
from pipeline.human import HUMAN
from pipeline.records import Sample, read_records
from pipeline.stored import read_sidecar

NAN = float("nan")
MEMORY = ("MB", "MB of GPU")
_SAMPLING = (
    "seconds: per text, with loading the model; tokens, passes: mean per text;\n"
    "trials: settings that `snakemake tune` tries; MB: the most that a job held; –: nobody wrote it down."
)
_TRAINING = "texts: steps times batch; seconds: of the job (since its last start); –: not trained here."
_EFFICIENCY = (
    "Asked of the cluster and used by jobs: cores on average, memory of the job that came closest to its\n"
    "limit. Too much asked means waiting longer, too little means being killed."
)
_HEADERS = (
    ["task", "method", "texts", "seconds", "forward tokens", "backward passes", "trials", *MEMORY, "device"],
    ["model", "steps", "batch", "texts", "seconds", *MEMORY, "device"],
    ["rule", "jobs", "hours", "cores asked", "used", "MB asked", "used"],
)


class Cost(NamedTuple):
    """What the texts of one method on one task cost, over all seeds; ``seconds`` are of one text."""

    task: str
    method: str
    texts: int
    seconds: float
    forward_tokens: float
    backward_passes: float
    tuning_trials: int
    peak_memory_mb: int | None
    peak_gpu_memory_mb: int | None
    device: str


class Made(NamedTuple):
    """A file's samples and the sidecar of the job that made them."""

    samples: list[Sample]
    run: dict[str, Any]


class Training(NamedTuple):
    """What a model cost; ``texts`` were seen in training, and a model without ``steps`` was not trained."""

    model: str
    steps: int | None
    batch_size: int | None
    texts: int | None
    seconds: float
    peak_memory_mb: int | None
    peak_gpu_memory_mb: int | None
    device: str


def sampling_costs(files: Iterable[Path], trials: Mapping[str, Mapping[str, int]]) -> list[Cost]:
    """One row per task and method, in the order of the other tables, without the human one.

    Args:
        files: sample records, each of one task, method and seed.
        trials: number of settings tried, by task and method.
    """
    jobs: dict[str, dict[str, list[Made]]] = {}
    for path in files:
        samples = read_records(path, Sample)
        of_task = jobs.setdefault(samples[0].task, {})
        of_task.setdefault(samples[0].method, []).append(Made(samples, _run(path)))
    return [
        _cost(task, method, jobs[task][method], trials.get(task, {}).get(method, 0))
        for task in ordered(jobs, TASKS)
        for method in ordered(jobs[task], METHOD_ORDER)
        if method != HUMAN
    ]


def _cost(task: str, method: str, jobs: Sequence[Made], trials: int) -> Cost:
    samples = [sample for job in jobs for sample in job.samples]
    return Cost(
        task=task,
        method=method,
        texts=len(samples),
        seconds=sum(job.run["seconds"] for job in jobs) / len(samples),
        forward_tokens=sum(sample.forward_tokens for sample in samples) / len(samples),
        backward_passes=sum(sample.backward_passes for sample in samples) / len(samples),
        tuning_trials=trials,
        peak_memory_mb=_most(jobs, "peak_memory_mb"),
        peak_gpu_memory_mb=_most(jobs, "peak_gpu_memory_mb"),
        device=", ".join(sorted({job.run["device"] for job in jobs} - {""})),
    )


def _most(jobs: Sequence[Made], key: str) -> int | None:
    """The largest value of all jobs; None: one of them does not tell."""
    found = [value for job in jobs if (value := job.run.get(key)) is not None]
    return max(found) if len(found) == len(jobs) else None


def training_cost(name: str, path: Path) -> Training:
    """What a model file cost; a tagger has its training settings among those of its shape."""
    run = _run(path)
    settings = run["settings"]
    trained = settings.get("source", "train") == "train"
    given = settings.get("training", settings.get("model", {})) if trained else {}
    steps, batch_size = given.get("steps"), given.get("batch_size")
    texts = None if steps is None or batch_size is None else steps * batch_size
    peaks = run.get("peak_memory_mb"), run.get("peak_gpu_memory_mb")
    return Training(name, steps, batch_size, texts, run["seconds"], *peaks, run["device"])


def _run(path: Path) -> dict[str, Any]:
    """What the sidecar of a file tells; a file from elsewhere has none."""
    sidecar = path.with_name(path.name + ".run.json")
    absent = {"settings": {}, "seconds": NAN, "device": ""}
    return absent | read_sidecar(sidecar) if sidecar.is_file() else absent


def cost_markdown(
    costs: Sequence[Cost], trainings: Sequence[Training], used: Sequence[Efficiency] = ()
) -> str:
    """The tables with their legends; that of the cluster where something ran on one."""
    sampling, training, cluster = (
        markdown_table(header, [[*map(told, row)] for row in rows])
        for header, rows in zip(_HEADERS, (costs, trainings, used), strict=True)
    )
    parts = ["### Cost of the texts", _SAMPLING, sampling, "### Cost of training", _TRAINING, training]
    parts += ["### Use of the cluster", _EFFICIENCY, cluster] if used else []
    return "\n\n".join(parts) + "\n"


def told(value: Any) -> str:
    """A measure with three significant digits, a count or a name as it is, – for what is absent."""
    if value is None or value == "" or value != value:
        return "–"
    if not isinstance(value, float):
        return str(value)
    decimals = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{round(value, decimals):.{max(decimals, 0)}f}"


def _csv(rows: Sequence[Cost] | Sequence[Training], columns: Sequence[str]) -> str:
    table = pd.DataFrame(
        rows, columns=list(columns)
    ).convert_dtypes()  # whole counts, where one is absent too
    return str(table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def main(job: Job) -> None:
    """Write the tables."""
    costs = sampling_costs(cells(job.inputs, "samples").values(), job.spec["trials"])
    models = sorted(cells(job.inputs, "models").items())
    trainings = [training_cost(name, path) for name, path in models]
    write_text(job.outputs["csv"], _csv(costs, Cost._fields))
    write_text(job.outputs["training_csv"], _csv(trainings, Training._fields))
    used = efficiencies(path for _, path in sorted(cells(job.inputs, "efficiency").items()))
    write_text(job.outputs["markdown"], cost_markdown(costs, trainings, used))


if __name__ == "__main__":
    command(main, outputs=("csv", "training_csv", "markdown"), open_ended=True)
