"""The workflow: what it would run, what it makes in miniature, and what a change makes it run again."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

SYNTAX = ("parts_of_speech", "syntax_tree", "syntax_spans")
COMPOSITIONS = ("semantic_content+syntax_tree", "semantic_content+parts_of_speech")
JUDGED = (*SYNTAX, *COMPOSITIONS)  # their targets, their human row and their scores come from judges
CONTROLLED = ("unconditional", "semantic_content", "length", *JUDGED)
CHEATABLE = tuple(task for task in CONTROLLED if task != "unconditional")
TASKS = (*CONTROLLED, "infilling")
FINE_TUNED = ("semantic_content", "length", *SYNTAX)  # tasks with a fine-tuned model and a discriminator
METHODS = ("human", "unguided", "diffusion_lm", "fudge", "ft_sample", "ft_search")
CHEATERS = ("cheat_retrieval", "cheat_repeat", "cheat_source", "cheat_shuffle")
CHEATED = (
    "samples/length/cheat_retrieval/seed0.jsonl"  # the first of the cheaters' texts, which one job makes
)
INFILLING = ("human", "left_only", "delorean", "cold", "diffusion_lm", "diffuseq", "ar_infilling")

SIZES = {"hidden": 16, "layers": 1, "heads": 2}
SHAPE = {**SIZES, "intermediate": 32, "time_channels": 8}
FEW = {"steps": 5, "warmup": 0}
CLASSIFIER = {"model": SHAPE, "training": FEW}
JUDGE = {
    "tagger": {"model": {"width": 16, "depth": 1, "rows": 100, "steps": 10}},
    "parser": {  # trained until it finds spans, since targets are made from them
        "model": {"hidden": 32, "heads": 2, "characters": 8},
        "training": {"steps": 200, "learning_rate": 2.0e-2, "warmup": 0},
    },
}
MINIATURE: dict[str, Any] = {
    "use_stored": True,
    "samples": {**dict.fromkeys(TASKS, 2), "unconditional": 3},
    "lengths": {"first": 6, "last": 8},
    "syntax": {"targets": 3, "tuning": 2},
    "corpus": {"sizes": {"train": 400, "human": 60, "valid": 5, "test": 5}},
    "judges": {"judge1": JUDGE, "judge2": JUDGE},
    "teacher": {"model": SIZES, "training": FEW},
    "diffusion": {"model": {**SHAPE, "diffusion_steps": 20}, "training": FEW},
    "classifiers": dict.fromkeys(("semantic_content", "parts_of_speech", "syntax_tree"), CLASSIFIER),
    "language_model": {"model": SIZES, "training": FEW},
    "fine_tuning": {"training": FEW},
    "fudge_discriminators": {"model": SIZES, "training": FEW},
    "pplm_attribute": {"training": FEW},
    "stories": {"sizes": {"train": 150, "valid": 30, "test": 30}, "targets": 3, "tuning": 2},
    "story_diffusion": {"model": {**SHAPE, "diffusion_steps": 20}, "training": FEW},
    "story_diffuseq": {"model": {**SHAPE, "diffusion_steps": 20}, "training": FEW},
    "story_language_model": {"model": SIZES, "training": FEW},
    "ar_infilling": {"model": SIZES, "training": FEW},
    "story_encoder": {"model": SIZES, "training": FEW},
    "methods": {
        "unguided": {"sampling": {"steps": 3}},
        "diffusion_lm": {"sampling": {"steps": 3}, "infilling": {"sampling": {"steps": 3}}},
        "diffuseq": {"sampling": {"steps": 3}},
        "delorean": {"passes": 1, "iterations": 1},
        "cold": {"iterations": 2},
        "pplm": {"updates": 1, "longest": 8},
        "fudge": {"candidates": 5},
    },
}
MINI = ("--configfile", "mini.yaml")
COLUMNS = "task,method,target_set,selection,metric,value,low,high,targets,samples,seeds,paper,note".split(",")
RESULTS = ("control", "composition")  # tables of methods
TABLES = {f"tables/{name}.csv" for name in ("control", "judges")}  # composition.csv is of the first one's job
COST = {"tables/cost.csv", "tables/signatures.json"}  # of all texts
INFILLED = {"tables/infilling.csv", "tables/mbr_sizes.csv"}
SHOWN = {"examples.csv", "report.html"}  # of everything
PICTURES = (".svg", ".pdf", ".png")
FIGURES = {f"figures/{name}" for name in ("word_vectors.csv", "figure_3.svg", "figure_5.csv", "figure_5.svg")}
JUDGE_MODELS = {
    f"models/{judge}_{part}.safetensors" for judge in ("judge1", "judge2") for part in ("tagger", "parser")
}
CLASSIFIERS = {f"models/{task}_classifier.safetensors" for task in ("parts_of_speech", "syntax_tree")}
MODELS = {
    *("models/diffusion_lm.safetensors", "models/semantic_content_classifier.safetensors"),
    *("models/teacher.safetensors", "models/human_texts.safetensors"),
    *("models/language_model.safetensors", "models/pplm_attribute.safetensors"),
    *(f"models/{kind}_{task}.safetensors" for kind in ("fine_tuned", "fudge") for task in FINE_TUNED),
    *(*CLASSIFIERS, *JUDGE_MODELS, "models/ar_infilling.safetensors"),
    *(f"models/story_{kind}language_model.safetensors" for kind in ("", "backward_")),
    *(f"models/story_{kind}.safetensors" for kind in ("diffusion", "diffuseq", "encoder")),
}
TARGETS = "targets/parts_of_speech.jsonl"  # the first of the syntax tasks' targets, which one job makes

Snakemake = Callable[..., Any]


# --- what would run


@pytest.fixture(scope="module")
def fresh(copy_repository: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which nothing has been run."""
    return copy_repository(tmp_path_factory.mktemp("fresh"))


def methods(task: str) -> tuple[str, ...]:
    if task == "infilling":
        return INFILLING
    if task == "unconditional":
        return METHODS[:2]
    if task in COMPOSITIONS:
        return (*METHODS[:4], "ft_poe")
    return (*METHODS, "pplm") if task == "semantic_content" else METHODS


def cells(*tasks: str) -> set[str]:
    return {f"samples/{task}/{method}/seed0.jsonl" for task in tasks for method in methods(task)}


def first(kind: str, task: str) -> str:
    """The first output of the job that selects from, or scores, a task's texts."""
    return f"{kind}/{task}/human/seed0.jsonl"


SAMPLES = cells(*TASKS)


@pytest.mark.parametrize("scale", ["", "small", "paper"])
def test_every_scale_has_a_job_for_every_model_and_cell(
    snakemake: Snakemake, fresh: Path, scale: str
) -> None:
    """The demo is the default."""
    done = snakemake(fresh, "-n", *(["--config", f"scale={scale}"] if scale else []))
    assert done.code == 0, done.told
    once = {"corpus.jsonl", "stories.jsonl", "annotated.jsonl", TARGETS, CHEATED, "refusals.json"}
    assert set(done.jobs) >= once | TABLES | INFILLED | COST | MODELS | SAMPLES | SHOWN | FIGURES
    assert set(done.jobs) >= {first(kind, task) for kind in ("selected", "scores") for task in TASKS}
    assert len(done.jobs) <= 116
    assert f"results/{scale or 'demo'}/tables/control.csv" in done.told


BAD = {
    "unknown key": (["lenghts=3"], "error: override: unknown key 'lenghts'; did you mean 'lengths'?"),
    "unknown scale": (["scale=smal"], "error: scale 'smal': no such scale; did you mean 'small'?"),
    "wrong type": (["threads=two"], "error: threads: 'two' is not of type 'integer'"),
    "unknown method": (
        ["methods={fugde: {}}"],
        "error: methods.fugde: unknown method 'fugde'; did you mean 'fudge'?",
    ),
    "unknown module": (
        ["methods={mine: {module: baselines.fugde.method, tasks: {length: {}}}}"],
        "error: methods.mine.module: no method in 'baselines.fugde.method'; did you mean 'baselines.fudge.",
    ),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_bad_configuration_is_one_line(
    snakemake: Snakemake, fresh: Path, words: list[str], message: str
) -> None:
    done = snakemake(fresh, "-n", "--config", *words)
    assert done.code == 2
    assert done.told.startswith(message) and done.told.count("\n") == 1


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("length/fugde", "error: method 'fugde': no such method; did you mean 'fudge'?"),
        ("length/pplm", "error: method 'pplm': not configured for length; it runs semantic_content"),
    ],
)
def test_a_cell_that_no_method_makes_is_told(
    snakemake: Snakemake, fresh: Path, cell: str, message: str
) -> None:
    done = snakemake(fresh, "-n", f"results/demo/samples/{cell}/seed0.jsonl")
    assert done.code == 2 and message in done.told and "Traceback" not in done.told


def test_the_workflow_runs_in_the_repository_only(snakemake: Snakemake, fresh: Path, tmp_path: Path) -> None:
    done = snakemake(tmp_path, "-n", "-s", str(fresh / "Snakefile"))
    assert done.code != 0
    assert "run snakemake in the repository's root folder" in done.told
    assert not (tmp_path / "results").exists()


# --- a miniature run


class Finished(NamedTuple):
    """A folder with a finished miniature run, and what Snakemake said."""

    folder: Path
    told: str

    @property
    def results(self) -> Path:
        return self.folder / "results/demo"


def run_miniature(folder: Path, snakemake: Snakemake, cores: int = 2) -> Finished:
    (folder / "mini.yaml").write_text(yaml.safe_dump(MINIATURE))
    done = snakemake(folder, "--cores", str(cores), *MINI, timeout=1800)
    assert done.code == 0, done.told[-5000:]
    return Finished(folder, done.told)


@pytest.fixture(scope="module")
def finished(
    copy_repository: Callable[[Path], Path], snakemake: Snakemake, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    return run_miniature(copy_repository(tmp_path_factory.mktemp("finished")), snakemake)


def table(finished: Finished, name: str = "control") -> list[dict[str, str]]:
    with (finished.results / f"tables/{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "tasks", "success"),
    [
        ("control", ("semantic_content", "length", *SYNTAX), ("ctrl",)),
        ("composition", COMPOSITIONS, ("joint", "semantic_ctrl")),
    ],
)
def test_a_table_has_every_row_that_was_run(
    finished: Finished, name: str, tasks: tuple[str, ...], success: tuple[str, ...]
) -> None:
    rows = table(finished, name)
    assert list(rows[0]) == COLUMNS
    valued = [row for row in rows if row["value"]]
    controlled = {(task, method) for task in tasks for method in (*methods(task), *CHEATERS)}
    wanted = {(*cell, selection) for cell in controlled for selection in ("all", "mbr")}
    if name == "control":
        wanted |= {("unconditional", method, "all") for method in ("human", "unguided")}
    measured = {(r["task"], r["method"], r["selection"]) for r in valued if r["metric"] == "lm_score"}
    assert measured == wanted
    for metric in success:
        assert {(r["task"], r["method"]) for r in valued if r["metric"] == metric} == controlled


def test_a_target_that_settings_were_chosen_on_is_reported_as_such_or_not_at_all(finished: Finished) -> None:
    sets = {(r["task"], r["target_set"]) for name in RESULTS for r in table(finished, name)}
    plain = {(task, name) for task in set(CONTROLLED) - set(JUDGED) for name in ("all", "untouched")}
    assert sets == plain | {(task, "heldout") for task in JUDGED}


def test_both_parts_of_both_judges_are_measured(finished: Finished) -> None:
    rows = table(finished, "judges")
    found = {
        (r["judge"], r["part"], r["trained_on"], r["measured_on"]) for r in rows if float(r["value"]) > 0
    }
    trained = {"judge1": "embedded_first", "judge2": "embedded_second"}
    assert len(rows) == 4
    assert found == {(j, part, t, "embedded") for j, t in trained.items() for part in ("tagger", "parser")}
    assert "| judge2 | parser | embedded_second |" in (finished.results / "tables/judges.md").read_text()


def measured(finished: Finished, metric: str) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of a metric over all samples of all targets, by task and method."""
    return {
        (r["task"], r["method"]): r
        for name in RESULTS
        for r in table(finished, name)
        if (r["selection"], r["metric"]) == ("all", metric) and r["target_set"] in ("all", "heldout")
    }


def test_counts_are_those_of_the_settings(finished: Finished) -> None:
    rows = measured(finished, "lm_score")
    count = {cell: (int(row["targets"]), int(row["samples"])) for cell, row in rows.items()}
    assert (
        count["length", "diffusion_lm"] == count["length", "ft_sample"] == count["length", "fudge"] == (3, 6)
    )
    assert count["length", "ft_search"] == (3, 3)
    assert count["unconditional", "unguided"] == (1, 3)
    assert {count[task, name] for task in CHEATABLE for name in CHEATERS} == {
        *((count[task, "diffusion_lm"]) for task in CHEATABLE)
    }
    for task in JUDGED:
        assert (count[task, "diffusion_lm"], count[task, "human"]) == ((3, 6), (3, 3))


def test_a_held_length_is_met_and_human_texts_fulfil_their_controls(finished: Finished) -> None:
    """True of untrained models too, so the texts that are scored are those that were asked for.

    The first judge finds again what it found when the targets were made; the second one has its own mind.
    """
    success, second = measured(finished, "ctrl"), measured(finished, "ctrl_judge2")
    assert success["length", "diffusion_lm"]["value"] == "100.0000"
    for task in ("semantic_content", "length", *SYNTAX):
        assert success[task, "human"]["value"] == "100.0000"
    assert all(second[task, "human"]["value"] != "100.0000" for task in ("parts_of_speech", "syntax_tree"))
    for task, metric in zip(COMPOSITIONS, ("syntax_ctrl", "pos_ctrl"), strict=True):
        assert measured(finished, metric)[task, "human"]["value"] == "100.0000"


def test_the_tables_are_printed_at_the_end(finished: Finished) -> None:
    for name, sets in (("control", ("all", "untouched", "heldout")), ("composition", ("heldout",))):
        markdown = (finished.results / f"tables/{name}.md").read_text(encoding="utf-8")
        assert markdown.count("### ") - markdown.count("#### ") == 2 * len(sets)  # of two selections
        assert all(f"({target_set} targets)" in markdown for target_set in sets)
        assert finished.told.index("This was the demo.") > finished.told.index(markdown)
    assert "snakemake --cores all --config scale=paper" in finished.told


def test_every_file_has_a_sidecar_and_every_job_a_log(finished: Finished) -> None:
    covered = set()
    for sidecar in finished.results.rglob("*.run.json"):
        run = json.loads(sidecar.read_text())
        assert run["network_calls"] == 0 and run["settings"]["threads"] == 1
        for output in run["outputs"].values():
            path = finished.folder / output["path"]
            assert hashlib.sha256(path.read_bytes()).hexdigest() == output["sha256"]
            covered.add(path)
    made = {
        path
        for path in finished.results.rglob("*")
        if path.suffix in (".jsonl", ".safetensors", ".csv", ".md", ".json", ".html", *PICTURES)
        and not path.name.endswith(".run.json")
        and "benchmarks" not in path.parts
    }
    assert made == covered
    assert not list(finished.results.rglob("*.work"))
    assert (finished.results / "logs/diffusion_lm.log").read_text().count("diffusion_lm: 5/5") == 1


# --- what runs again


def again(snakemake: Snakemake, finished: Finished, *more: str) -> set[str]:
    """The first outputs of what Snakemake would run now."""
    done = snakemake(finished.folder, "-n", *MINI, *more)
    assert done.code == 0, done.told
    assert bool(done.jobs) != ("Nothing to be done" in done.told)
    return set(done.jobs) - {"all"}


def follow(*tasks: str) -> set[str]:
    """What follows new samples of tasks: selection, scores, the tables and what shows them."""
    tables = INFILLED if "infilling" in tasks else set()
    if set(tasks) & set(CONTROLLED):
        tables = tables | {"tables/control.csv"}
    return {first(kind, task) for kind in ("selected", "scores") for task in tasks} | tables | COST | SHOWN


@contextmanager
def edited(path: Path, change: Callable[[str], str]) -> Iterator[None]:
    """A file with another content for a while."""
    before = path.read_text(encoding="utf-8")
    after = change(before)
    assert after != before
    try:
        path.write_text(after, encoding="utf-8")
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def test_the_report_shows_tables_figures_and_examples(finished: Finished) -> None:
    html = (finished.results / "report.html").read_text(encoding="utf-8")
    assert html.count('<img src="data:image/svg+xml') == 2 and "<script" not in html
    for shown in ("Control (the paper", "Table 10: parts of speech", "Settings that differ", "diffusion_lm"):
        assert shown in html
    figures = finished.results / "figures"
    assert {path.suffix for path in figures.glob("figure_[35].*")} >= {".svg", ".pdf", ".png", ".csv", ".md"}


def test_another_figure_that_was_made_comes_into_the_report(snakemake: Snakemake, finished: Finished) -> None:
    other = finished.results / "figures/figure_4.svg"
    other.write_text("<svg/>")
    other.with_suffix(".md").write_text("### Figure 4\n")
    assert again(snakemake, finished) == {"report.html"}
    other.unlink()
    other.with_suffix(".md").unlink()
    assert not again(snakemake, finished)


def test_a_finished_run_has_nothing_to_do(snakemake: Snakemake, finished: Finished) -> None:
    assert not again(snakemake, finished)


def changed(snakemake: Snakemake, finished: Finished, settings: dict[str, Any]) -> set[str]:
    """The first outputs of what other settings would make Snakemake run."""
    (finished.folder / "other.yaml").write_text(yaml.safe_dump(settings))
    return again(snakemake, finished, "other.yaml")


@pytest.mark.parametrize("task", ["semantic_content", "syntax_spans"])
def test_a_guidance_setting_concerns_one_task_of_one_method(
    snakemake: Snakemake, finished: Finished, task: str
) -> None:
    guidance = {"methods": {"diffusion_lm": {"guidance": {task: {"rate": 0.11}}}}}
    sampled = {f"samples/{task}/diffusion_lm/seed0.jsonl"}
    assert changed(snakemake, finished, guidance) == sampled | follow(task)


def test_the_number_of_samples_of_a_task_concerns_its_methods(
    snakemake: Snakemake, finished: Finished
) -> None:
    """But not a method with a number of its own; and the cheaters, whose texts of all tasks are one job."""
    sampled = cells("length") - {f"samples/length/{name}/seed0.jsonl" for name in ("human", "ft_search")}
    found = changed(snakemake, finished, {"samples": {"length": 3}})
    assert found == sampled | {CHEATED} | follow(*CHEATABLE)


def test_a_classifier_concerns_the_tasks_that_it_guides(snakemake: Snakemake, finished: Finished) -> None:
    """Spans are guided by the classifier of trees."""
    guided = ("syntax_tree", "syntax_spans", "semantic_content+syntax_tree")
    sampled = {f"samples/{task}/diffusion_lm/seed0.jsonl" for task in guided}
    made = {"models/syntax_tree_classifier.safetensors"} | sampled | follow(*guided)
    settings = {"classifiers": {"syntax_tree": {"training": {"steps": 6}}}}
    assert changed(snakemake, finished, settings) == made


def test_the_second_judge_concerns_nothing_but_scores(snakemake: Snakemake, finished: Finished) -> None:
    settings = {"judges": {"judge2": {"parser": {"training": {"steps": 201}}}}}
    scored = {first("scores", task) for task in JUDGED}
    made = {"models/judge2_parser.safetensors"} | scored | TABLES | COST | SHOWN
    assert changed(snakemake, finished, settings) == made


@pytest.mark.parametrize(
    ("part", "settings"), [("tagger", {"model": {"steps": 11}}), ("parser", {"training": {"steps": 201}})]
)
def test_the_first_judge_concerns_annotation_and_what_follows(
    snakemake: Snakemake, finished: Finished, part: str, settings: dict[str, Any]
) -> None:
    """That is everything of syntax, and of other tasks the cheaters, who look things up in the annotation."""
    made = {
        f"models/judge1_{part}.safetensors",
        "annotated.jsonl",
        TARGETS,
        "figures/figure_3.svg",
    } | CLASSIFIERS
    made |= {f"models/{kind}_{task}.safetensors" for kind in ("fine_tuned", "fudge") for task in SYNTAX}
    found = changed(snakemake, finished, {"judges": {"judge1": {part: settings}}})
    assert found == made | cells(*JUDGED) | {CHEATED} | follow(*CHEATABLE) | TABLES


def test_an_edited_module_concerns_whoever_can_reach_it(snakemake: Snakemake, finished: Finished) -> None:
    """The guidance is part of both diffusion rows and of what they refuse, and of no training."""
    with edited(finished.folder / "diffusion_lm/guidance.py", lambda source: source + "\nEDITED = 1\n"):
        sampled = {name for name in SAMPLES if "unguided" in name or "diffusion_lm" in name}
        assert again(snakemake, finished) == sampled | {"refusals.json"} | follow(*TASKS)


def test_an_edited_baseline_concerns_its_models_and_cells(snakemake: Snakemake, finished: Finished) -> None:
    prompts = finished.folder / "baselines/fine_tuning/prompts.py"
    with edited(prompts, lambda source: source + "\nEDITED = 1\n"):
        made = {name for name in SAMPLES | MODELS if "/ft_" in name or "fine_tuned" in name}
        refused = {"refusals.json", "tables/infilling.csv"}  # the table tells who cannot fill in
        assert again(snakemake, finished) == made | refused | follow(*FINE_TUNED, *COMPOSITIONS)


def test_the_shared_language_model_concerns_every_baseline(snakemake: Snakemake, finished: Finished) -> None:
    """But no discriminator of FUDGE, which reads words itself, and not Diffusion-LM."""
    found = changed(snakemake, finished, {"language_model": {"training": {"steps": 6}}})
    models = {name for name in MODELS if "fine_tuned" in name or "pplm" in name or "/language_model" in name}
    baselines = ("/ft_", "/fudge/", "/pplm/")
    sampled = {name for name in SAMPLES if any(method in name for method in baselines)}
    assert found == models | sampled | follow(*FINE_TUNED, *COMPOSITIONS)


def test_a_setting_of_one_fine_tuned_model_concerns_its_task(
    snakemake: Snakemake, finished: Finished
) -> None:
    settings = {"fine_tuning": {"by_task": {"length": {"training": {"steps": 6}}}}}
    made = {"models/fine_tuned_length.safetensors"}
    made |= {f"samples/length/{name}/seed0.jsonl" for name in ("ft_sample", "ft_search")}
    assert changed(snakemake, finished, settings) == made | follow("length")


def test_words_about_the_code_concern_nobody(snakemake: Snakemake, finished: Finished) -> None:
    def reworded(source: str) -> str:
        return re.sub('^"""', '"""Reworded: ', source, count=1) + "\n# and a comment\n"

    with edited(finished.folder / "diffusion_lm/guidance.py", reworded):
        assert not again(snakemake, finished)


def test_a_new_seed_leaves_the_old_one_alone(snakemake: Snakemake, finished: Finished) -> None:
    sampled = {name.replace("seed0", "seed1") for name in SAMPLES if "human" not in name}
    assert changed(snakemake, finished, {"seeds": [0, 1]}) == sampled | follow(*TASKS)


def test_trials_see_their_own_targets_and_leave_the_reported_rows_alone(
    snakemake: Snakemake, finished: Finished
) -> None:
    done = snakemake(finished.folder, "-n", "tune", *MINI)
    assert done.code == 0, done.told
    jobs = {name: rule for name, rule in done.jobs.items() if name.startswith("tuning/")}
    assert set(jobs.values()) == {"trial", "trial_table", "infilling_trial_table"}
    assert set(done.jobs) == {*jobs, "tune"}


# --- stored results


@pytest.fixture(scope="module")
def stored(snakemake: Snakemake, finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The same run, stored, and then deleted."""
    folder = tmp_path_factory.mktemp("stored") / "copy"
    shutil.copytree(finished.folder, folder)
    done = snakemake(folder, "store", "--cores", "1", *MINI)
    assert done.code == 0, done.told
    shutil.rmtree(folder / "results/demo")
    return Finished(folder, done.told)


def test_stored_results_are_used_instead_of_training(
    snakemake: Snakemake, finished: Finished, stored: Finished
) -> None:
    """Signatures go through restored models: the classifier and the samples behind them are found too.

    The annotated corpus is not stored; what follows it is found by the signature of its job.
    """
    samples = [f"samples/{task}/diffusion_lm/seed0.jsonl" for task in ("semantic_content", "syntax_spans")]
    models = [f"models/{task}_classifier.safetensors" for task in ("semantic_content", "syntax_tree")]
    wanted = [f"results/demo/{name}" for name in (*models, *samples)]
    done = snakemake(stored.folder, "--cores", "2", *MINI, "--", *wanted)
    assert done.code == 0, done.told[-5000:]
    restored = re.findall(r"^using stored (.+)$", done.told, re.MULTILINE)
    needed = ("models/diffusion_lm", "models/judge1_tagger", "models/judge1_parser")
    targets = ", ".join(f"results/demo/targets/{task}.jsonl" for task in sorted(JUDGED))
    assert set(restored) == {*(f"results/demo/{name}.safetensors" for name in needed), targets, *wanted}
    log = stored.results / "logs/diffusion_lm.log"
    assert log.read_text() == "using stored results/demo/models/diffusion_lm.safetensors\n"
    for name in samples:
        assert (stored.results / name).read_bytes() == (finished.results / name).read_bytes()


def test_what_was_stored_is_what_was_made_without_its_paths(stored: Finished) -> None:
    folder = stored.folder / "results/stored/demo"
    kinds = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}
    assert kinds == {
        *("judges", "models", "targets", "samples", "selected", "scores", "tables"),
        *("vocabulary.json", "stories_vocabulary.json", "refusals.json", "signatures.json"),
    }
    assert str(stored.folder.parent) not in (folder / "signatures.json").read_text()
    assert not (folder / "corpus.jsonl.gz").exists()


# --- the same run twice


def digests(finished: Finished) -> dict[str, str]:
    """Hashes of everything that must not depend on the machine or the clock."""
    kinds = ("samples", "selected", "scores", "tables", "targets", "models")
    found = [path for kind in kinds for path in (finished.results / kind).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(finished.results)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if not path.name.endswith(".run.json") and path.stem not in ("cost", "training")  # times
    }


@pytest.mark.slow
def test_a_second_run_from_scratch_makes_the_same_bytes(
    copy_repository: Callable[[Path], Path], snakemake: Snakemake, finished: Finished, tmp_path: Path
) -> None:
    """On one core, so in another order."""
    second = run_miniature(copy_repository(tmp_path / "copy"), snakemake, cores=1)
    assert digests(second) == digests(finished)
