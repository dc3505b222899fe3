# What every rule needs: the resolved settings, the interpreter, and the command line of a stage.
# Each rule passes `spec` (just the settings its stage reads) and `code` (a fingerprint of the modules it
# reaches) as parameters, so that Snakemake reruns exactly what a change concerns.
import json
import shlex
import sys
from pathlib import Path

from pipeline.errors import InputError
from pipeline.fingerprint import fingerprint
from pipeline.settings import parse_override, resolve

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
PYTHON = shlex.quote(sys.executable)
ENVIRONMENT = "../../environment.yml"
SEEDS = S["seeds"]
METHODS = S["methods"]
TASKS = sorted({task for method in METHODS.values() for task in method["tasks"]})
STATED = "2> >(tee {log} >&2)"  # progress on the screen and in the log


wildcard_constraints:
    task="|".join(TASKS),
    method="[a-z][a-z0-9_]*",
    seed="[0-9]+",


def spec(**settings):
    """A stage's settings as JSON; the number of threads belongs to every stage."""
    return json.dumps({**settings, "threads": S["threads"]}, ensure_ascii=False, sort_keys=True)


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
