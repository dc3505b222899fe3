# What all stages need: the resolved settings, the interpreter, and the words of a command line.
# Each stage passes `spec` (just the settings its stage reads) and `code` (a fingerprint of the modules it
# reaches) as parameters, so that Snakemake reruns exactly what a change concerns.
import atexit
import json
import re
import shlex
import shutil
import sys
import time
from pathlib import Path

from eval.layout import CHEATERS
from pipeline.command import exit_codes
from pipeline.errors import InputError, nearest
from pipeline.files import sha256
from pipeline.fingerprint import fingerprint
from pipeline.plan import print_totals
from pipeline.running import clear_stale_lock, errors, hold_lock, require_writable, rerun_incomplete
from pipeline.settings import guidance_presets, merged, resolve, tuning, unlike_paper
from pipeline.tasks import INFILLING, SEMANTIC_CONTENT, SYNTAX, UNCONDITIONAL, parts

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
# A rule without outputs whose benchmark exists would count as done, so theirs have names of their own.
STARTED = time.strftime("%Y-%m-%dT%H.%M.%S")
ENVIRONMENT = "../../environment.yml"
SEEDS = S["seeds"]
METHODS = S["methods"]
TUNING = tuning()
TASKS = sorted({task for method in METHODS.values() for task in method["tasks"]})
JUDGES = S["judges"]
# What is trained on stories alone: each model's command and settings.
STORY_MODELS = {
    "story_diffusion": ("diffusion_lm.train_stories", S["story_diffusion"]),
    "story_diffuseq": ("diffusion_lm.diffuseq", S["story_diffuseq"]),
    "story_language_model": ("baselines.story_language_model", {**S["story_language_model"], "direction": "forward"}),
    "story_backward_language_model": (
        "baselines.story_language_model",
        {**S["story_language_model"], "direction": "backward"},
    ),
    "ar_infilling": ("baselines.ar_infilling.train", S["ar_infilling"]),
    "story_encoder": ("eval.train_encoder", S["story_encoder"]),
    "story_teacher": ("pipeline.teacher", S["story_teacher"]),
}
CONTROL_TASKS = [task for task in TASKS if task != INFILLING]
CHEATED_TASKS = [task for task in CONTROL_TASKS if task != UNCONDITIONAL]
NOT_METHODS = ("human", *CHEATERS)  # rows of the tables that rules of their own make, once
# What judges have read, by sentence, for all scales and runs; a rehearsal reads everything itself.
READINGS = f"{RESULTS if S['scale'] == 'rehearsal' else 'results'}/cache/readings.sqlite"


# `python` on PATH may be any; stages run under the interpreter that runs Snakemake. They end with it, however it
# ends: else a run that is killed and started again would have two jobs that make the same file.
WITH_US = "setpriv --pdeathsig TERM " if shutil.which("setpriv") else ""
# The log goes on until they do: a cluster that stops a job sends SIGTERM to every process of it.
shell.prefix(
    f'run_python() {{{{ exec {WITH_US}{shlex.quote(sys.executable)} "$@"; }}}}; python=run_python; '
    """log() {{ trap '' INT TERM; exec tee "$1" >&2; }}; """
)

if workflow.is_main_process:
    clear_stale_lock()
    rerun_incomplete(workflow)


def start_run():
    """Check that there is a place to write to, and tell other runs in this folder of this one."""
    with exit_codes():
        require_writable(Path(RESULTS))
    hold_lock()


def show_errors():
    """Repeat at the end what ended jobs: Snakemake's own report of them is long."""
    for line in errors(Path(RESULTS)):
        print(line, file=sys.stderr)


if workflow.output_settings.dryrun:
    atexit.register(print_totals, workflow)  # Snakemake has no hook at the end of a dry run


wildcard_constraints:
    task="|".join(map(re.escape, TASKS)),
    judge="|".join(JUDGES),
    story_model="|".join(STORY_MODELS),
    method="[a-z][a-z0-9_]*",
    seed="[0-9]+",


def spec(**settings):
    """A stage's settings as JSON; threads and the use of stored results belong to all stages."""
    common = {"threads": S["threads"], "use_stored": S["use_stored"]}
    return json.dumps({**common, **settings}, ensure_ascii=False, sort_keys=True)


def code_of(*modules):
    """The fingerprint of the code that a rule runs, taken only where one of its jobs is in the plan."""
    return lambda wildcards: fingerprint(*modules)


def growing(amount):
    """What a job asks for, and again as much with every new attempt."""
    return lambda wildcards, attempt: amount * attempt


def minutes(amount):
    """A growing time limit; no job asks for more than the longest that a cluster runs."""
    return lambda wildcards, attempt: min(amount * attempt, S["longest_job"])


def model(name):
    return f"{RESULTS}/models/{name}.safetensors"


def cells(kind, task):
    """All files of a kind for one task: every method that runs it, every seed, the human row, the cheaters."""
    running = ["human", *(name for name, method in METHODS.items() if task in method["tasks"])]
    return {
        f"{kind}/{name}/seed{seed}": f"{RESULTS}/{kind}/{task}/{name}/seed{seed}.jsonl"
        for name in (*running, *(CHEATERS if task in CHEATED_TASKS else ()))
        for seed in (SEEDS[:1] if name in NOT_METHODS else SEEDS)
    }


def cheater_files():
    """The samples of every cheater, named for the command."""
    return {
        f"samples/{task}/{name}/seed{SEEDS[0]}": f"{RESULTS}/samples/{task}/{name}/seed{SEEDS[0]}.jsonl"
        for task in CHEATED_TASKS
        for name in CHEATERS
    }


def named(files):
    """NAME=FILE words of a command line."""
    return " ".join(shlex.quote(f"{name}={path}") for name, path in files.items())


def corpus_of(task):
    """The corpus of a task: stories for infilling; for syntax with the judge's tags and trees."""
    name = "stories" if task == INFILLING else "annotated" if task in SYNTAX else "corpus"
    return f"{RESULTS}/{name}.jsonl"


def vocabulary_of(task):
    """The words of a task's corpus."""
    return f"{RESULTS}/{'stories_vocabulary' if task == INFILLING else 'vocabulary'}.json"


def most_words(task):
    """The longest text of a task, in words; START and END are positions too."""
    return S["story_diffusion" if task == INFILLING else "diffusion"]["model"]["positions"] - 2


def treebank_corpus(judge, part):
    """The corpus that an embedded treebank is made from; other treebanks lie in the data folder."""
    settings = JUDGES[judge][part]
    embedded = settings["source"] == "train" and settings["treebank"].startswith("embedded")
    return {"corpus": f"{RESULTS}/corpus.jsonl"} if embedded else {}


def judges_of(task):
    """The files of the judges that score a task."""
    parts = [f"{judge}_{part}" for judge in JUDGES for part in ("tagger", "parser")]
    return {name: model(name) for name in parts} if task in SYNTAX else {}


def inputs_option(files):
    """The option that gives files to a command that may need none."""
    return f"--input {named(files)}" if files else ""


def check_cell(method, task):
    """End the run if the method does not exist or is not configured for the task."""
    try:
        if method not in METHODS:
            raise InputError(f"method '{method}'", "no such method", nearest(method, METHODS))
        if task not in METHODS[method]["tasks"]:
            how = f"it runs {', '.join(METHODS[method]['tasks'])}"
            raise InputError(f"method '{method}'", f"not configured for {task}", how)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def models_of(wildcards):
    """The trained files that a method reads for a task, by the names its configuration gives them."""
    if wildcards.method in NOT_METHODS:
        return {}
    check_cell(wildcards.method, wildcards.task)
    named_models = METHODS[wildcards.method]["tasks"][wildcards.task]
    return {name: model(file) for name, file in named_models.items()}


def for_task(method, task):
    """A method's settings as one task reads them: another task's guidance, say, reruns nothing."""
    unread = {"tasks", *({INFILLING} - {task})}
    kept = {key: value for key, value in method.items() if key not in unread}
    read = {"guidance": (task,), "strength": (task, *parts(task))}
    for key in read.keys() & kept.keys():
        kept[key] = {name: value for name, value in kept[key].items() if name in read[key]}
    return kept


def settings_of(wildcards):
    """What a method needs to write the texts of a cell."""
    method = for_task(METHODS[wildcards.method], wildcards.task)
    return spec(
        name=wildcards.method,
        method=method,
        samples=method.get("samples", S["samples"][wildcards.task]),
        seed=int(wildcards.seed),
        most_words=most_words(wildcards.task),
    )


def classifier_settings(wildcards):
    """A guidance classifier's settings, with the task where it is one of syntax."""
    task = {"task": wildcards.task} if wildcards.task in SYNTAX else {}
    return spec(**S["classifiers"][wildcards.task], **task)


TABLES = ("control", "composition", "infilling", "mbr_sizes", "judges", "cost")
REFUSALS = f"{RESULTS}/refusals.json"  # which method cannot do which task, and why
KINDS = ("samples", "selected", "scores")


def table_files():
    """Every file the table is made of, named for the command."""
    files = {f"targets/{task}": f"{RESULTS}/targets/{task}.jsonl" for task in CONTROL_TASKS}
    for kind in KINDS:
        for task in CONTROL_TASKS:
            for name, path in cells(kind, task).items():
                files[name.replace(kind, f"{kind}/{task}", 1)] = path
    return files


def infilling_files():
    """Targets, texts and scores of infilling, named for the commands."""
    files = {f"targets/{INFILLING}": f"{RESULTS}/targets/{INFILLING}.jsonl"}
    for kind in ("samples", "scores"):
        for name, path in cells(kind, INFILLING).items():
            files[name.replace(kind, f"{kind}/{INFILLING}", 1)] = path
    return files


def cost_files():
    """The texts of every method, and every model that a method or a judge reads."""
    samples = {
        f"samples/{task}/{name.removeprefix('samples/')}": path
        for task in TASKS
        for name, path in cells("samples", task).items()
        if name.split("/")[1] not in NOT_METHODS
    }
    read = {file for method in METHODS.values() for files in method["tasks"].values() for file in files.values()}
    reports = sorted(Path("results/slurm").glob("efficiency*.csv"))  # of earlier runs on a cluster
    return {
        **samples,
        **{f"models/{name}": model(name) for name in sorted(read | scoring_models())},
        **{f"efficiency/{report.stem}": str(report) for report in reports},
    }


def scoring_models():
    """The names of the models that score texts."""
    return {"teacher", "human_texts", "story_encoder", *judges_of(SYNTAX[0])}


def signature_files():
    """What a number depends on: the targets, the texts, and the models that score them."""
    files = {f"targets/{task}": f"{RESULTS}/targets/{task}.jsonl" for task in TASKS}
    for task in TASKS:
        for name, path in cells("samples", task).items():
            files[name.replace("samples", f"samples/{task}", 1)] = path
    return files | {f"models/{name}": model(name) for name in sorted(scoring_models())}


def trial_counts():
    """How many settings of each method were tried, by task."""
    return {
        task: {method: len(found) for method, found in by_method.items()}
        for task, by_method in TUNING["trials"].items()
    }


def show_table():
    """Print the tables at the end of a run."""
    folder = Path(RESULTS) / "tables"
    for table in (folder / f"{name}.md" for name in ("control", "composition", "infilling")):
        if table.is_file():
            print(table.read_text(encoding="utf-8"))
    print(f"Report: {RESULTS}/report.html. Tables: {folder}. Texts: {RESULTS}/samples.")
    if S["scale"] == "demo":
        print("This was the demo. The full reproduction: snakemake --cores all --config scale=paper")


def trials(task):
    """Every trial of a task by name, as overrides of the method it belongs to."""
    return {
        f"{method}_trial{number}": {method: overrides}
        for method, found in TUNING["trials"][task].items()
        for number, overrides in enumerate(found, 1)
    }


def trial_labels(task):
    """What each trial of a task varies, as printed beside its numbers."""
    return {name: json.dumps(next(iter(trial.values()))) for name, trial in trials(task).items()}


def trial_settings(wildcards):
    """The resolved settings of the method that a trial varies."""
    ((method, overrides),) = trials(wildcards.task)[wildcards.trial].items()
    resolved = merged(METHODS[method], overrides)
    return spec(
        name=wildcards.trial,
        method=for_task(resolved, wildcards.task),
        samples=resolved.get("samples", TUNING["samples"]),
        seed=TUNING["seed"],
        most_words=most_words(wildcards.task),
        tuned_on=True,
    )


def trial_models(wildcards):
    (method,) = trials(wildcards.task)[wildcards.trial]
    return {name: model(file) for name, file in METHODS[method]["tasks"][wildcards.task].items()}


def trial_files(task):
    return {f"samples/{name}": f"{RESULTS}/tuning/samples/{task}/{name}.jsonl" for name in trials(task)}


def fine_tuning(task):
    """The settings of a task's fine-tuning: the common ones, with its own merged in."""
    common = {key: value for key, value in S["fine_tuning"].items() if key != "by_task"}
    return merged(common, S["fine_tuning"]["by_task"].get(task, {}))


# The shared language model is an input of fine-tuning only where fine-tuning starts from it.
START = {"language_model": model("language_model")} if S["fine_tuning"]["model"]["source"] == "shared" else {}
