# What all stages need: the resolved settings, the interpreter, and the words of a command line.
# Each stage passes `spec` (just the settings its stage reads) and `code` (a fingerprint of the modules it
# reaches) as parameters, so that Snakemake reruns exactly what a change concerns.
import json
import shlex
import sys
from pathlib import Path

from pipeline.errors import InputError
from pipeline.fingerprint import fingerprint
from pipeline.settings import merged, resolve, tuning

if not Path("Snakefile").is_file():
    sys.exit("error: run snakemake in the repository's root folder; results go to results/")

try:
    S = resolve(
        config.get("scale", "demo"), {key: value for key, value in config.items() if key != "scale"}
    )
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

RESULTS = f"results/{S['scale']}"
ENVIRONMENT = "../../environment.yml"
SEEDS = S["seeds"]
METHODS = S["methods"]
TUNING = tuning()
TASKS = sorted({task for method in METHODS.values() for task in method["tasks"]})


# `python` on PATH may be any; stages run under the interpreter that runs Snakemake.
shell.prefix(f"python={shlex.quote(sys.executable)}; ")


wildcard_constraints:
    task="|".join(TASKS),
    method="[a-z][a-z0-9_]*",
    seed="[0-9]+",


def spec(**settings):
    """A stage's settings as JSON; threads and the use of stored results belong to all stages."""
    common = {"threads": S["threads"], "use_stored": S["use_stored"]}
    return json.dumps({**settings, **common}, ensure_ascii=False, sort_keys=True)


def model(name):
    return f"{RESULTS}/models/{name}.safetensors"


def cells(kind, task):
    """All files of a kind for one task: every method that runs it, every seed, and the human row."""
    running = ["human", *(name for name, method in METHODS.items() if task in method["tasks"])]
    return {
        f"{kind}/{name}/seed{seed}": f"{RESULTS}/{kind}/{task}/{name}/seed{seed}.jsonl"
        for name in running
        for seed in (SEEDS[:1] if name == "human" else SEEDS)
    }


def named(files):
    """NAME=FILE words of a command line."""
    return " ".join(shlex.quote(f"{name}={path}") for name, path in files.items())


def models_of(wildcards):
    """The trained files that a method reads for a task, by the names its configuration gives them."""
    if wildcards.method not in METHODS:
        return {}
    named_models = METHODS[wildcards.method]["tasks"][wildcards.task]
    return {name: model(file) for name, file in named_models.items()}


def settings_of(wildcards):
    """A method's own settings, with guidance for this task only: other tasks' guidance reruns nothing."""
    method = {key: value for key, value in METHODS[wildcards.method].items() if key != "tasks"}
    if "guidance" in method:
        method["guidance"] = {
            task: value for task, value in method["guidance"].items() if task == wildcards.task
        }
    return spec(
        name=wildcards.method,
        method=method,
        samples=method.get("samples", S["samples"][wildcards.task]),
        seed=int(wildcards.seed),
        most_words=S["diffusion"]["model"]["positions"] - 2,
    )


KINDS = ("samples", "selected", "scores")


def table_files():
    """Every file the table is made of, named for the command."""
    files = {f"targets/{task}": f"{RESULTS}/targets/{task}.jsonl" for task in TASKS}
    for kind in KINDS:
        for task in TASKS:
            for name, path in cells(kind, task).items():
                files[name.replace(kind, f"{kind}/{task}", 1)] = path
    return files


def show_table():
    """Print the table at the end of a run."""
    table = Path(RESULTS) / "tables" / "control.md"
    if table.is_file():
        sections = table.read_text(encoding="utf-8").split("### ")
        print("\n".join(f"### {section}" for section in sections if "(all targets)" in section[:80]))
        print(f"Tables, also over the targets that no setting was chosen on: {table.parent}.")
        print(f"Texts: {RESULTS}/samples.")
    if S["scale"] == "demo":
        print("This was the demo. The full reproduction: snakemake --cores all --config scale=paper")


def trials(task):
    """Every trial of a task by name, as overrides of the method it belongs to."""
    return {
        f"{method}_trial{number}": {method: overrides}
        for method, found in TUNING["trials"][task].items()
        for number, overrides in enumerate(found, 1)
    }


def trial_settings(wildcards):
    """The resolved settings of the method that a trial varies."""
    ((method, overrides),) = trials(wildcards.task)[wildcards.trial].items()
    resolved = merged(METHODS[method], overrides)
    return spec(
        name=wildcards.trial,
        method={key: value for key, value in resolved.items() if key != "tasks"},
        samples=resolved.get("samples", TUNING["samples"]),
        seed=TUNING["seed"],
        most_words=S["diffusion"]["model"]["positions"] - 2,
        tuned_on=True,
    )


def trial_models(wildcards):
    (method,) = trials(wildcards.task)[wildcards.trial]
    return {name: model(file) for name, file in METHODS[method]["tasks"][wildcards.task].items()}


def trial_files(task):
    return {f"samples/{name}": f"{RESULTS}/tuning/samples/{task}/{name}.jsonl" for name in trials(task)}
