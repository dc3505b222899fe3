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

SIZES = {"hidden": 16, "layers": 1, "heads": 2}
SHAPE = {**SIZES, "intermediate": 32, "time_channels": 8}
FEW = {"steps": 5, "warmup": 0}
MINIATURE: dict[str, Any] = {
    "use_stored": True,
    "samples": {"unconditional": 3, "semantic_content": 2, "length": 2},
    "lengths": {"first": 6, "last": 8},
    "corpus": {"sizes": {"train": 400, "human": 60, "valid": 5, "test": 5}},
    "teacher": {"model": SIZES, "training": FEW},
    "diffusion": {"model": {**SHAPE, "diffusion_steps": 20}, "training": FEW},
    "classifiers": {"semantic_content": {"model": SHAPE, "training": FEW}},
    "fine_tuning": {"model": SIZES, "training": FEW},
    "methods": {"unguided": {"sampling": {"steps": 3}}, "diffusion_lm": {"sampling": {"steps": 3}}},
}
MINI = ("--configfile", "mini.yaml")
COLUMNS = "task,method,target_set,selection,metric,value,low,high,targets,samples,seeds,paper,note".split(",")
METHODS = ("human", "unguided", "diffusion_lm", "ft_sample", "ft_search")
MODELS = {
    *("models/diffusion_lm.safetensors", "models/semantic_content_classifier.safetensors"),
    *("models/teacher.safetensors", "models/fine_tuned_length.safetensors"),
    "models/fine_tuned_semantic_content.safetensors",
}

Snakemake = Callable[..., Any]


# --- what would run


@pytest.fixture(scope="module")
def fresh(copy_repository: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which nothing has been run."""
    return copy_repository(tmp_path_factory.mktemp("fresh"))


def cells(task: str) -> set[str]:
    methods = ("human", "unguided") if task == "unconditional" else METHODS
    return {f"samples/{task}/{method}/seed0.jsonl" for method in methods}


TASKS = ("semantic_content", "length", "unconditional")
SAMPLES = set.union(*map(cells, TASKS))


@pytest.mark.parametrize("scale", ["", "small", "paper"])
def test_every_scale_has_a_job_for_every_model_and_cell(
    snakemake: Snakemake, fresh: Path, scale: str
) -> None:
    """The demo is the default."""
    done = snakemake(fresh, "-n", *(["--config", f"scale={scale}"] if scale else []))
    assert done.code == 0, done.told
    assert set(done.jobs) >= {"corpus.jsonl", "tables/control.csv"} | MODELS | SAMPLES
    assert len(done.jobs) <= 70
    assert f"results/{scale or 'demo'}/tables/control.csv" in done.told


BAD = {
    "unknown key": (["lenghts=3"], "error: override: unknown key 'lenghts'; did you mean 'lengths'?"),
    "unknown scale": (["scale=smal"], "error: scale 'smal': no such scale; did you mean 'small'?"),
    "wrong type": (["threads=two"], "error: threads: 'two' is not of type 'integer'"),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_bad_configuration_is_one_line(
    snakemake: Snakemake, fresh: Path, words: list[str], message: str
) -> None:
    done = snakemake(fresh, "-n", "--config", *words)
    assert done.code == 2
    assert done.told.startswith(message) and done.told.count("\n") == 1


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
    done = snakemake(folder, "--cores", str(cores), *MINI)
    assert done.code == 0, done.told[-5000:]
    return Finished(folder, done.told)


@pytest.fixture(scope="module")
def finished(
    copy_repository: Callable[[Path], Path], snakemake: Snakemake, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    return run_miniature(copy_repository(tmp_path_factory.mktemp("finished")), snakemake)


def table(finished: Finished) -> list[dict[str, str]]:
    with (finished.results / "tables/control.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_every_row_that_was_run(finished: Finished) -> None:
    rows = table(finished)
    assert list(rows[0]) == COLUMNS
    measured = {
        (r["task"], r["method"], r["selection"]) for r in rows if r["metric"] == "lm_score" and r["value"]
    }
    controlled = {(task, method) for task in TASKS[:2] for method in METHODS}
    wanted = {(*cell, selection) for cell in controlled for selection in ("all", "mbr")}
    wanted |= {("unconditional", method, "all") for method in ("human", "unguided")}
    assert measured == wanted
    success = {(r["task"], r["method"]) for r in rows if r["metric"] == "ctrl" and r["value"]}
    assert success == controlled
    assert {r["target_set"] for r in rows} == {"all", "untouched"}


def test_counts_are_those_of_the_settings(finished: Finished) -> None:
    count = {
        (r["task"], r["method"]): (int(r["targets"]), int(r["samples"]))
        for r in table(finished)
        if (r["selection"], r["metric"], r["target_set"]) == ("all", "lm_score", "all")
    }
    assert count["length", "diffusion_lm"] == count["length", "ft_sample"] == (3, 6)
    assert count["length", "ft_search"] == (3, 3)
    assert count["unconditional", "unguided"] == (1, 3)


def test_a_held_length_is_met_and_human_texts_fulfil_their_controls(finished: Finished) -> None:
    """True of untrained models too, so the texts that are scored are those that were asked for."""
    success = {
        (r["task"], r["method"]): r["value"]
        for r in table(finished)
        if (r["selection"], r["metric"], r["target_set"]) == ("all", "ctrl", "all")
    }
    assert success["length", "diffusion_lm"] == success["length", "human"] == "100.0000"
    assert success["semantic_content", "human"] == "100.0000"


def test_the_table_is_printed_at_the_end(finished: Finished) -> None:
    """That over all targets, whole; the file has the one over untouched targets too."""
    markdown = (finished.results / "tables/control.md").read_text(encoding="utf-8")
    sections = [f"### {section.strip()}" for section in markdown.split("### ")[1:]]
    printed = [section for section in sections if "(all targets)" in section.splitlines()[0]]
    assert (len(printed), len(sections)) == (2, 4)
    assert all(section in finished.told for section in printed)
    assert finished.told.index("This was the demo.") > finished.told.index(printed[-1])
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
        if path.suffix in (".jsonl", ".safetensors", ".csv", ".md", ".json")
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
    """What follows new samples of tasks: selection, scores and the table."""
    firsts = {f"{kind}/{task}/human/seed0.jsonl" for kind in ("selected", "scores") for task in tasks}
    return firsts | {"tables/control.csv"}


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


def test_a_finished_run_has_nothing_to_do(snakemake: Snakemake, finished: Finished) -> None:
    assert not again(snakemake, finished)


def test_a_guidance_setting_concerns_one_task_of_one_method(snakemake: Snakemake, finished: Finished) -> None:
    other = {"methods": {"diffusion_lm": {"guidance": {"semantic_content": {"rate": 0.11}}}}}
    (finished.folder / "other.yaml").write_text(yaml.safe_dump(other))
    sampled = {"samples/semantic_content/diffusion_lm/seed0.jsonl"}
    assert again(snakemake, finished, "other.yaml") == sampled | follow("semantic_content")


def test_the_number_of_samples_of_a_task_concerns_its_methods(
    snakemake: Snakemake, finished: Finished
) -> None:
    """But not a method with a number of its own."""
    (finished.folder / "other.yaml").write_text(yaml.safe_dump({"samples": {"length": 3}}))
    sampled = cells("length") - {f"samples/length/{name}/seed0.jsonl" for name in ("human", "ft_search")}
    assert again(snakemake, finished, "other.yaml") == sampled | follow("length")


def test_an_edited_module_concerns_whoever_can_reach_it(snakemake: Snakemake, finished: Finished) -> None:
    """The guidance is part of both diffusion rows, and of no training."""
    with edited(finished.folder / "diffusion_lm/guidance.py", lambda source: source + "\nEDITED = 1\n"):
        sampled = {name for name in SAMPLES if "unguided" in name or "diffusion_lm" in name}
        assert again(snakemake, finished) == sampled | follow(*TASKS)


def test_an_edited_baseline_concerns_its_models_and_cells(snakemake: Snakemake, finished: Finished) -> None:
    with edited(finished.folder / "baselines/fine_tuning.py", lambda source: source + "\nEDITED = 1\n"):
        made = {name for name in SAMPLES | MODELS if "/ft_" in name or "fine_tuned" in name}
        assert again(snakemake, finished) == made | follow(*TASKS[:2])


def test_words_about_the_code_concern_nobody(snakemake: Snakemake, finished: Finished) -> None:
    def reworded(source: str) -> str:
        return re.sub('^"""', '"""Reworded: ', source, count=1) + "\n# and a comment\n"

    with edited(finished.folder / "diffusion_lm/guidance.py", reworded):
        assert not again(snakemake, finished)


def test_a_new_seed_leaves_the_old_one_alone(snakemake: Snakemake, finished: Finished) -> None:
    (finished.folder / "other.yaml").write_text(yaml.safe_dump({"seeds": [0, 1]}))
    sampled = {name.replace("seed0", "seed1") for name in SAMPLES if "human" not in name}
    assert again(snakemake, finished, "other.yaml") == sampled | follow(*TASKS)


def test_trials_see_their_own_targets_and_leave_the_reported_rows_alone(
    snakemake: Snakemake, finished: Finished
) -> None:
    done = snakemake(finished.folder, "-n", "tune", *MINI)
    assert done.code == 0, done.told
    jobs = {name: rule for name, rule in done.jobs.items() if name.startswith("tuning/")}
    assert set(jobs.values()) == {"trial", "trial_table"}
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
    """Signatures go through restored models: the classifier and the samples behind them are found too."""
    wanted = [
        "results/demo/models/semantic_content_classifier.safetensors",
        "results/demo/samples/semantic_content/diffusion_lm/seed0.jsonl",
    ]
    done = snakemake(stored.folder, "--cores", "2", *MINI, "--", *wanted)
    assert done.code == 0, done.told[-5000:]
    restored = re.findall(r"^using stored (\S+)$", done.told, re.MULTILINE)
    assert set(restored) == {"results/demo/models/diffusion_lm.safetensors", *wanted}
    log = stored.results / "logs/diffusion_lm.log"
    assert log.read_text() == "using stored results/demo/models/diffusion_lm.safetensors\n"
    samples = "samples/semantic_content/diffusion_lm/seed0.jsonl"
    assert (stored.results / samples).read_bytes() == (finished.results / samples).read_bytes()


def test_what_was_stored_is_what_was_made_without_its_paths(stored: Finished) -> None:
    folder = stored.folder / "results/stored/demo"
    kinds = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}
    assert kinds == {
        *(
            "models",
            "targets",
            "samples",
            "selected",
            "scores",
            "tables",
            "vocabulary.json",
            "signatures.json",
        ),
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
        if not path.name.endswith(".run.json")
    }


@pytest.mark.slow
def test_a_second_run_from_scratch_makes_the_same_bytes(
    copy_repository: Callable[[Path], Path], snakemake: Snakemake, finished: Finished, tmp_path: Path
) -> None:
    """On one core, so in another order."""
    second = run_miniature(copy_repository(tmp_path / "copy"), snakemake, cores=1)
    assert digests(second) == digests(finished)
