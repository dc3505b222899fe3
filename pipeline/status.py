"""Where a run is: its cells (method x task x seed), the trainings they wait for, what failed, what is left.

python -m pipeline.status --scale demo [--set key.path=value ...] [--configfile FILE]

It asks Snakemake what it would do, takes no lock, and works while a run is going on. A cell or model is

- done: made, and nothing that it depends on has changed;
- runs: a process of this folder makes it, or a job that was handed to a cluster and has not been heard of;
- stale: made, but it would be made again;
- FAILED: its log is newer than anything it made, and nobody makes it;
- missing: not made yet.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import InputError
from pipeline.plan import Planned, planned, total, totals
from pipeline.schema import Settings, load
from pipeline.settings import merged, parse_override, resolve
from pipeline.tasks import TASKS

DONE, RUNS, STALE, FAILED, MISSING = STATES = ("done", "runs", "stale", "FAILED", "missing")
IN_A_CELL = {MISSING: "-"}  # the others as they are
LEGEND = f"{', '.join(STATES[:4])}; -: missing; nothing: not configured"

Table = Mapping[str, Mapping[str, str]]  # what stands in each cell, by task and method


class Seen(NamedTuple):
    """A job and where it is."""

    job: Planned
    state: str

    @property
    def name(self) -> str:
        """Its rule and what is special about it."""
        return " ".join((self.job.rule, *self.job.wildcards.values()))


def see(job: Planned, being_made: set[str]) -> Seen:
    """Where a job is; ``being_made`` are the outputs of the processes that work in this folder."""
    if job.cluster_job or any(str(path) in being_made for path in job.outputs):
        return Seen(job, RUNS)
    if not job.needed:
        return Seen(job, DONE)
    made = [path.stat().st_mtime for path in (*job.outputs, job.benchmark) if path and path.exists()]
    if job.log and job.log.exists() and job.log.stat().st_mtime > max(made, default=0):
        return Seen(job, FAILED)
    return Seen(job, STALE if all(path.exists() for path in job.outputs) else MISSING)


def outputs_being_made() -> set[str]:
    """The files after ``--output`` of every command that runs in this folder."""
    import psutil

    found: set[str] = set()
    for process in psutil.process_iter(["cwd", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.info["cwd"] == str(Path.cwd()) and "--output" in words:
            found |= {word.partition("=")[2] for word in words[words.index("--output") + 1 :]}
    return found


def plan(config: Settings) -> list[Planned]:
    """What Snakemake would do; it takes no lock, writes no log and says nothing.

    Raises:
        InputError: it cannot tell, for the reason that it gives.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import RuleException, WorkflowError
    from snakemake.settings import types

    quiet = types.OutputSettings(quiet={types.Quietness.ALL}, enable_file_logging=False)
    incomplete = types.DAGSettings(force_incomplete=True)  # the outputs of running jobs are no mistake here
    try:
        with SnakemakeApi(quiet) as api:
            workflow = api.workflow(
                types.ResourceSettings(cores=1), types.ConfigSettings(config), snakefile=Path("Snakefile")
            )
            workflow.dag(incomplete).execute_workflow("dryrun")
            return planned(workflow._workflow.dag)
    except (RuleException, WorkflowError) as error:
        raise InputError("Snakefile", str(error), "see snakemake -n") from None


def cells(seen: Iterable[Seen], methods: Iterable[str]) -> Table:
    """What to write in each cell, tasks and methods in their usual order: one word, or one for each seed."""
    found: dict[str, dict[str, list[str]]] = {task: {method: [] for method in methods} for task in TASKS}
    for job, state in sorted(seen, key=lambda one: int(one.job.wildcards.get("seed", 0))):
        if job.rule == "generate":
            found[job.wildcards["task"]][job.wildcards["method"]].append(IN_A_CELL.get(state, state))
    return {
        task: {m: " ".join(words if len(set(words)) > 1 else words[:1]) for m, words in row.items() if words}
        for task, row in found.items()
        if any(row.values())
    }


def tables(found: Table, width: int) -> Iterator[str]:
    """Tasks as rows, methods as columns; several tables where they do not fit into ``width``."""
    methods = list(dict.fromkeys(method for row in found.values() for method in row))
    label = max(map(len, found), default=0)
    sizes = {m: max(len(m), *(len(row.get(m, "")) for row in found.values())) for m in methods}
    while methods:
        count = 1
        while count < len(methods) and label + sum(sizes[m] + 2 for m in methods[: count + 1]) <= width:
            count += 1
        block, methods = methods[:count], methods[count:]
        rows = {"": {m: m for m in block}} | {t: row for t, row in found.items() if row.keys() & set(block)}
        for task, row in rows.items():
            yield "  ".join([f"{task:<{label}}", *(f"{row.get(m, ''):<{sizes[m]}}" for m in block)]).rstrip()
        yield ""


def listed(title: str, names: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Names by state, several of one name as a count."""
    yield f"{title}:"
    for state in STATES:
        counts = Counter(name for name, its in names if its == state)
        told = (f"{count} {name}" if count > 1 else name for name, count in sorted(counts.items()))
        if counts:
            text = f"{state} ({counts.total()}): {', '.join(told)}"
            yield from textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ")
    yield ""


def told(seen: Sequence[Seen], methods: Iterable[str], width: int) -> Iterator[str]:
    """Everything, line by line."""
    yield from tables(cells(seen, methods), width)
    yield from (LEGEND, "")
    models = [(job.outputs[0].stem, state) for job, state in seen if _makes_model(job)]
    others = [(job.rule, state) for job, state in seen if job.rule != "generate" and not _makes_model(job)]
    yield from listed("trainings", models, width)
    yield from listed("other jobs", others, width)
    failed = [one for one in seen if one.state == FAILED]
    for one in failed:
        yield f"{FAILED}  {one.name}: {one.job.log}"
        yield f"        {_last_line(one.job.log)}"
    yield from [""] * bool(failed)
    yield totals(total([job for job, _ in seen]))


def _makes_model(job: Planned) -> bool:
    return bool(job.outputs) and job.outputs[0].parent.name == "models"


def _last_line(log: Path | None) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log else ""
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
    return lines[-1][:200] if lines else "(it said nothing)"


def main(words: Sequence[str]) -> None:
    """Print where a run is."""
    from pipeline.command import Parser

    parser = Parser(prog="pipeline.status", description=__doc__)
    parser.add_argument("--scale", help="name of the scale, e.g. paper")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="override a setting")
    parser.add_argument("--configfile", type=Path, help="as of snakemake")
    options = parser.parse_args(words)
    if not Path("Snakefile").is_file():
        raise InputError(Path.cwd(), "no Snakefile", "run this in the repository's root folder")
    config = merged({}, load(str(options.configfile.absolute())) if options.configfile else {})
    for word in options.set:
        config = merged(config, parse_override(word))
    scale = options.scale or config.pop("scale", "demo")
    methods = resolve(scale, config)["methods"]
    being_made = outputs_being_made()
    seen = [see(job, being_made) for job in plan({**config, "scale": scale})]
    print(*told(seen, methods, shutil.get_terminal_size((110, 24)).columns), sep="\n")


if __name__ == "__main__":
    from pipeline.command import exit_codes

    with exit_codes():
        main(sys.argv[1:])
