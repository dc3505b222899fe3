"""The doctor: what each check finds, what it advises, and that it writes and fetches nothing."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.oracles.treebanks import BRACKETED, TAGGED, read_bracketed, read_tagged
from pipeline import doctor
from pipeline.checks import FAIL, OK, WARN, Finding, cluster, data, machine, models, packages
from pipeline.errors import InputError
from pipeline.files import sha256, write_json, write_text
from pipeline.schema import full_schema
from pipeline.settings import resolve

ROOT = Path(__file__).resolve().parents[2]
GB = 1024**3


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (data, models):
        monkeypatch.setattr(module, "reachable", lambda url: False)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (data, models):
        monkeypatch.setattr(module, "reachable", lambda url: True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def levels(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.what: finding.level for finding in findings}


# --- what is printed


def test_lines_are_aligned_and_only_what_is_not_well_has_a_repair_beneath() -> None:
    found = [Finding(OK, "disk", "enough", "buy one"), Finding(FAIL, "model gpt2", "absent", "fetch it")]
    assert list(doctor.told(found)) == [
        "ok    disk        enough",
        "FAIL  model gpt2  absent",
        "                  -> fetch it",
    ]


@pytest.mark.parametrize(("given", "code"), [([OK], 0), ([OK, WARN, OK], 1), ([FAIL, WARN], 2)])
def test_the_exit_code_is_that_of_the_worst_finding(
    monkeypatch: pytest.MonkeyPatch, given: list[str], code: int
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(doctor, "findings", lambda *_: iter(Finding(level, "x", "y") for level in given))
    assert doctor.main(["--scale", "demo"]) == code


def test_the_demo_lacks_nothing_here(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(ROOT)
    assert doctor.main(["--scale", "demo"]) < 2
    told = capsys.readouterr().out
    assert FAIL not in told.replace(f"0 {FAIL}", "") and "Traceback" not in told
    assert "pretrained models  none needed: all are trained in the run" in told


@pytest.mark.parametrize("words", [["--scale", "papper"], ["--set", "lenghts=1"], ["--sett"]])
def test_bad_words_are_bad_input(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError):
        doctor.main(words)


def test_it_works_in_the_repository_only(folder: Path) -> None:
    with pytest.raises(InputError, match="repository's root folder"):
        doctor.main([])


# --- the machine


@pytest.mark.parametrize(("free", "level"), [(59, FAIL), (61, OK)])
def test_disk_is_measured_against_the_scale(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    usage = namedtuple("usage", "free")(free * GB)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found = next(iter(machine.machine({"scale": "paper"}, True)))
    assert (found.level, found.detail) == (level, f"{free} GB free in ., about 60 needed")


def test_a_read_only_folder_stops_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dir: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    found = machine._writable(Path("results"))
    assert found.level == FAIL and "Read-only file system" in found.detail


def test_looking_leaves_nothing_behind(folder: Path, offline: None) -> None:
    list(machine.machine(resolve("paper"), False))
    list(data.data(resolve("paper")))
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("gpus", "cluster_has", "level"),
    [(0, None, OK), (1, None, FAIL), (1, "(null)", FAIL), (1, "(null)\ngpu:a100:4,license:1", OK)],
)
def test_a_gpu_is_missed_only_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, gpus: int, cluster_has: str | None, level: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(cluster, "_sinfo", lambda: cluster_has)
    found = machine._gpu({"scale": "paper", "gpus": gpus}, cluster_has is not None)
    assert found.level == level and "nvidia-smi" in found.detail


# --- packages


def test_the_tested_versions_are_installed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert set(levels(packages.packages()).values()) == {OK}


def test_what_runs_need_stops_them_and_another_version_does_not(folder: Path) -> None:
    write_text(
        folder / "pyproject.toml",
        '[project]\nrequires-python = ">=3.99"\n'
        'dependencies = ["numpy>=99", "no_such_package_of_ours", "PyYAML"]\n',
    )
    write_text(folder / "requirements.lock", "no_such_package_of_ours==1\nPyYAML==0.0.1\n")
    found = {finding.what: finding for finding in packages.packages()}
    assert [found[what].level for what in ("Python", "packages", "requirements.lock")] == [FAIL, FAIL, WARN]
    assert "no_such_package_of_ours missing" in found["packages"].detail
    assert "numpy" in found["packages"].detail and "PyYAML" not in found["packages"].detail
    assert "(0.0.1)" in found["requirements.lock"].detail


# --- corpora


def test_all_treebanks_that_are_read_are_looked_for(tmp_path: Path) -> None:
    """Reading from an empty folder tells the file that it wants."""
    asked = set()
    for read, names in ((read_tagged, TAGGED), (read_bracketed, BRACKETED)):
        for name in names:
            for split in ("train", "test"):
                if not name.startswith("embedded") and (name, split) != ("wsj", "train"):
                    with pytest.raises(InputError) as caught:
                        read(name, split, tmp_path)
                    asked.add(str(caught.value).split(": no such file")[0])
    assert asked == {str(tmp_path / "treebanks" / name) for name in data.TREEBANKS}


def test_without_a_folder_and_a_network_every_corpus_of_the_paper_is_missed(
    folder: Path, offline: None
) -> None:
    found = {finding.what: finding for finding in data.data(resolve("paper"))}
    missed = {"E2E", "treebanks", "released targets", "ROCStories", "aNLG"}
    assert {what for what, finding in found.items() if finding.level == FAIL} == missed
    assert all(found[what].repair for what in missed)


def test_with_a_network_only_what_nobody_may_download_is_missed(folder: Path, online: None) -> None:
    found = levels(data.data(resolve("paper")))
    assert {what for what, level in found.items() if level == FAIL} == {"ROCStories", "treebanks"}


def test_embedded_corpora_need_no_data(folder: Path, offline: None) -> None:
    assert levels(data.data(resolve("demo"))) == {"stored results": OK}


CONTENT = {"a.json": b"one", "b.json": b"two"}
SUMS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


def check(folder: str) -> Finding:
    return data._published("things", folder, "things", "https://home.example/things/", SUMS)


def test_published_files_are_known_by_their_checksums(folder: Path, offline: None) -> None:
    assert check("").level == FAIL and "home.example does not answer" in check("").detail
    for name, content in CONTENT.items():
        write_text(folder / "own/things" / name, content.decode())
    assert check("own").level == OK
    write_text(folder / "own/things/b.json", "changed")
    assert (check("own").level, check("own").detail) == (WARN, "not as published: b.json in own/things")
    (folder / "own/things/a.json").unlink()
    assert check("own").level == FAIL and "a.json" in check("own").detail


def test_e2e_is_found_in_either_form(folder: Path, offline: None) -> None:
    paper, csv = resolve("paper"), resolve("paper", {"corpus": {"form": "csv"}})
    for settings in (paper, csv):
        settings["data_dir"] = "own"
    for name in ("src1_train.txt", "src1_valid.txt", "src1_test.txt"):
        write_text(folder / "own/e2e/src1" / name, "x")
    assert levels(data.data(paper))["E2E"] == OK
    assert levels(data.data(csv))["E2E"] == FAIL
    for name in ("trainset.csv", "devset.csv", "testset_w_refs.csv"):
        write_text(folder / "own/e2e" / name, "x")
    assert levels(data.data(csv))["E2E"] == WARN  # not what was published


def test_stories_are_found_in_the_data_folder(folder: Path, offline: None) -> None:
    write_text(folder / "own/rocstories/stories.csv", "x")
    assert levels(data.data(resolve("paper", {"data_dir": "own"})))["ROCStories"] == OK


def test_damaged_stored_results_are_told_and_withheld_ones_are_not_read(folder: Path, offline: None) -> None:
    stored = folder / "results/stored/small"
    write_text(stored / "tables/judges.csv", "x")
    run = {"signature": "s", "settings": {}, "seconds": 1.0, "device": "cpu"}
    entries = {"tables/judges.csv": {**run, "sha256": sha256(stored / "tables/judges.csv")}}
    entries["targets/infilling.jsonl"] = {**run, "sha256": "other", "withheld": True}
    write_json(stored / "signatures.json", entries)
    found = levels(data.data(resolve("small")))
    assert (found["stored results"], found["treebanks"]) == (OK, WARN)  # stored judges need no treebank
    write_text(stored / "tables/judges.csv", "y")
    assert levels(data.data(resolve("small")))["stored results"] == FAIL
    write_text(stored / "signatures.json", "[]")
    assert levels(data.data(resolve("small")))["stored results"] == FAIL


# --- pretrained models


def test_the_pretrained_models_of_the_paper_are_found_wherever_they_stand() -> None:
    assert dict(models.pretrained(resolve("paper"))) == {
        "judges.judge1.tagger.source": "en_core_web_sm",
        "judges.judge1.parser.source": "benepar_en3",
        "teacher.model.source": "gpt2",
        "fine_tuning.model.source": "gpt2",
        "story_encoder.model.source": "roberta-large",
        "story_teacher.model.source": "gpt2",
    }
    ranked = resolve("demo", {"methods": {"cold": {"ranking": "some-bert"}}})
    assert dict(models.pretrained(ranked)) == {"methods.cold.ranking": "some-bert"}


def described(schema: Any) -> Iterator[tuple[str, str]]:
    """Every string setting of the schema with its description."""
    for key, part in schema.items() if isinstance(schema, dict) else ():
        if isinstance(part, dict) and part.get("type") == "string" and "description" in part:
            yield key, part["description"]
        yield from described(part)


def test_no_setting_that_names_a_model_is_overlooked() -> None:
    named = {
        key
        for key, told in described(full_schema())
        if any(word in told for word in ("hub name or", "hub name, or", "or a local path", "or a folder of"))
    }
    assert named == set(models.KEYS)


def test_missing_models_are_told_with_their_settings_and_commands(folder: Path, offline: None) -> None:
    settings = {"a": {"model": {"source": "no/such-model"}}, "b": {"source": "no/such-model"}}
    settings["judge"] = {"tagger": {"source": "no_such_tagger"}, "parser": {"source": "no_such_parser"}}
    found = {finding.what: finding for finding in models.models(settings)}
    assert {finding.level for finding in found.values()} == {FAIL} and len(found) == 3
    assert "(a.model.source, b.source)" in found["model no/such-model"].detail
    assert "hf download no/such-model" in found["model no/such-model"].repair
    assert found["tagger no_such_tagger"].repair.startswith("python -m spacy download no_such_tagger")
    assert "benepar.download('no_such_parser')" in found["parser no_such_parser"].repair


def test_a_model_that_can_be_fetched_is_a_warning(folder: Path, online: None) -> None:
    (found,) = models.models({"source": "no/such-model"})
    assert found.level == WARN and "perhaps not on compute nodes" in found.detail


def test_a_cached_model_needs_no_network(
    folder: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    snapshot = folder / "models--some--model/snapshots/abc"
    write_text(folder / "models--some--model/refs/main", "abc")
    write_text(snapshot / "config.json", "{}")
    (found,) = models.models({"source": "some/model"})
    assert found.level == FAIL  # no weights
    write_text(snapshot / "model.safetensors", "x")
    (found,) = models.models({"source": "some/model"})
    assert found.level == OK


def test_a_local_folder_must_hold_configuration_and_weights(folder: Path, offline: None) -> None:
    write_text(folder / "own/config.json", "{}")
    (found,) = models.models({"source": "own"})
    assert found.level == FAIL and "a folder without model.safetensors" in found.detail
    write_text(folder / "own/model.safetensors", "x")
    (found,) = models.models({"source": "own"})
    assert found.level == OK


# --- SLURM

Commands = Callable[..., None]


@pytest.fixture
def slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Puts commands that end with a code alone on PATH."""

    def install(*names: str, code: int = 0) -> None:
        for name in names:
            write_text(folder / "bin" / name, f"#!/bin/sh\nexit {code}\n")
            (folder / "bin" / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder / "bin"))

    return install


def test_a_cluster_is_missed_only_where_it_is_wanted(slurm: Commands) -> None:
    slurm("sbatch")
    assert not cluster.answers()
    assert levels(cluster.cluster(False, False)) == {"SLURM": WARN}
    assert levels(cluster.cluster(True, False)) == {"SLURM": FAIL, "SLURM profile": FAIL}
    slurm(*cluster.COMMANDS, code=1)
    assert not cluster.answers()
    (found,) = cluster.cluster(False, False)
    assert "controller does not answer" in found.detail


@pytest.mark.parametrize(
    ("lines", "level"),
    [
        ("  slurm_account: ACCOUNT\n  slurm_partition: gpu", FAIL),
        ("  slurm_account: LAB7\n  slurm_partition: GPU", OK),
        ("  slurm_account: <account>\n  slurm_partition: gpu", FAIL),
        ("  slurm_partition: gpu", FAIL),
        ("  slurm_account: nlp\n  slurm_partition: gpu", OK),
        ("  - slurm_account=nlp\n  - slurm_partition=gpu", OK),
    ],
)
def test_both_lines_of_the_profile_must_be_filled_in(slurm: Commands, lines: str, level: str) -> None:
    slurm(*cluster.COMMANDS)
    write_text(cluster.PROFILE, f"executor: slurm\ndefault-resources:\n{lines}\n")
    assert cluster.answers()
    assert levels(cluster.cluster(True, True)) == {"SLURM": OK, "SLURM profile": level}
