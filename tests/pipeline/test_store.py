"""Stored results: what is kept, when it is used again, and what must never be."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import checkpoint
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.provenance import write_sidecar
from pipeline.records import Sample, Target, read_records, write_records
from pipeline.store import main, store
from pipeline.stored import INDEX, SIDECAR_KEYS, restore, signature, signature_of, stored_file

WEIGHTS = {"w": torch.tensor([0.1, 1 / 3, 2.0]), "ids": torch.tensor([1, 300])}
FOLDER, STORED = Path("results/x"), Path("results/stored/x")
MODEL, SAMPLES = FOLDER / "models/m.safetensors", FOLDER / "samples/length/m/seed0.jsonl"
CORPUS = FOLDER / "corpus.jsonl"
TEXT = '{"text": "£ 20 pub"}\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder of its own, with a corpus that nobody's job made."""
    monkeypatch.chdir(tmp_path)
    write_text(CORPUS, "corpus\n")


def finish(outputs: Mapping[Path, Callable[[Path], None]], spec: dict[str, Any], **inputs: Path) -> str:
    """Do what a command does when its job ends; returns the job's signature."""
    named = {path.stem: path for path in outputs}
    own = signature("some.command", spec, inputs)
    with write_sidecar(named, spec, inputs, own):
        for path, write in outputs.items():
            write(path)
    return own


def train(spec: dict[str, Any] | None = None, path: Path = MODEL) -> str:
    return finish(
        {path: lambda p: checkpoint.save(p, "toy", {"a": 1}, WEIGHTS)}, spec or {"steps": 5}, corpus=CORPUS
    )


def generate(text: str = TEXT) -> str:
    return finish({SAMPLES: lambda p: write_text(p, text)}, {"seed": 0}, model=MODEL)


def again(spec: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Delete the model, then ask the store for one of this specification."""
    MODEL.unlink(missing_ok=True)
    return restore({"m": MODEL}, signature("some.command", spec or {"steps": 5}, {"corpus": CORPUS}))


# --- the round trip


def test_samples_come_back_byte_by_byte_and_weights_rounded_to_bf16() -> None:
    train()
    own = generate()
    assert store("x") == [STORED / "models/m.safetensors", STORED / "samples/length/m/seed0.jsonl.gz"]
    SAMPLES.unlink()
    assert restore({"seed0": SAMPLES}, own)
    assert SAMPLES.read_text() == TEXT
    assert again()
    settings, weights = checkpoint.load(MODEL, "toy")
    assert settings == {"a": 1}
    assert torch.equal(weights["w"], WEIGHTS["w"].to(torch.bfloat16).float())
    assert torch.equal(weights["ids"], WEIGHTS["ids"])
    assert checkpoint.digest(weights["w"]) == checkpoint.digest(WEIGHTS["w"])


def test_the_jobs_behind_a_restored_model_keep_their_signatures() -> None:
    """The restored weights differ in bits, so a hash of them would make everything after them worthless."""
    own, samples = train(), generate()
    before = signature_of(MODEL)
    store("x")
    MODEL.with_name(MODEL.name + ".run.json").unlink()
    with write_sidecar({"m": MODEL}, {"steps": 5}, {"corpus": CORPUS}, own):
        assert again()
    assert signature_of(MODEL) == before
    assert signature("some.command", {"seed": 0}, {"model": MODEL}) == samples


def test_other_settings_other_inputs_and_other_commands_are_not_restored() -> None:
    own = train()
    store("x")
    assert not again({"steps": 6})
    assert signature("other.command", {"steps": 5}, {"corpus": CORPUS}) != own
    write_text(CORPUS, "another corpus\n")
    assert not again()
    assert not MODEL.exists()
    write_text(CORPUS, "corpus\n")
    assert again()


def test_a_corpus_counts_by_its_content_wherever_it_was_made() -> None:
    """Another folder of the same data, or a download, must not make stored models worthless."""
    signatures = set()
    for place in ("here", "there"):
        finish({CORPUS: lambda p: write_text(p, "corpus\n")}, {"data_dir": place})
        signatures.add(train())
    assert len(signatures) == 1


def test_folders_of_one_machine_are_not_stored() -> None:
    local = dict.fromkeys(("data_dir", "download_dir", "cache"), "here")
    finish({FOLDER / "vocabulary.json": lambda p: write_text(p, "[]")}, {**local, "seed": 0})
    store("x")
    assert json.loads((STORED / INDEX).read_text())["vocabulary.json"]["settings"] == {"seed": 0}


def test_an_input_counts_under_its_name() -> None:
    other = FOLDER / "other.jsonl"
    write_text(other, "other\n")
    one, two = ({"a": CORPUS, "b": other}, {"a": other, "b": CORPUS})
    assert signature("some.command", {}, one) != signature("some.command", {}, two)


def test_a_model_that_was_changed_by_hand_counts_by_its_content() -> None:
    train()
    before = signature_of(MODEL)
    checkpoint.save(MODEL, "toy", {"a": 2}, WEIGHTS)
    assert signature_of(MODEL) not in (before, "")
    assert len(signature_of(MODEL)) == 64


def test_outputs_are_restored_all_or_none() -> None:
    first, second = FOLDER / "selected/a.jsonl", FOLDER / "corpus_of_jobs.jsonl"  # the second is never kept
    own = finish({p: lambda path: write_text(path, TEXT) for p in (first, second)}, {}, corpus=CORPUS)
    store("x")
    for path in (first, second):
        path.unlink()
    assert not restore({"a": first, "corpus_of_jobs": second}, own)
    assert not first.exists()
    assert restore({"a": first}, own)


def test_an_output_takes_the_place_of_no_other_one_of_its_job() -> None:
    first, second = FOLDER / "selected/a.jsonl", FOLDER / "selected/b.jsonl"
    own = finish({p: lambda path: write_text(path, path.stem) for p in (first, second)}, {}, corpus=CORPUS)
    store("x")
    assert not restore({"b": first, "a": second}, own)
    assert restore({"a": first, "b": second}, own)
    assert (first.read_text(), second.read_text()) == ("a", "b")


def test_results_elsewhere_are_never_restored() -> None:
    own = train()
    store("x")
    for path in (
        Path("m.safetensors"),
        Path("results/y/models/m.safetensors"),
        Path("results/m.safetensors"),
    ):
        assert not restore({"m": path}, own)


# --- annotations, which a network makes

ANNOTATED = FOLDER / "annotated.jsonl"


def annotate(content: str, spec: dict[str, Any] | None = None) -> str:
    """Annotate the corpus; returns what the annotated file is."""
    finish({ANNOTATED: lambda p: write_text(p, content)}, spec or {"seed": 0}, corpus=CORPUS)
    return signature_of(ANNOTATED)


def test_annotations_count_by_their_job_and_not_by_their_bytes() -> None:
    """Machines may round a judge's scores differently, and break a tie differently."""
    own = annotate("one tree")
    assert annotate("another tree") == own
    assert annotate("one tree", {"seed": 1}) != own
    write_text(CORPUS, "another corpus")
    assert annotate("one tree") != own


def test_annotations_changed_by_hand_count_by_their_content() -> None:
    own = annotate("one tree")
    write_text(ANNOTATED, "by hand")
    assert signature_of(ANNOTATED) == hashlib.sha256(b"by hand").hexdigest() != own
    ANNOTATED.with_name("annotated.jsonl.run.json").unlink()
    write_text(ANNOTATED, "one tree")
    assert signature_of(ANNOTATED) == hashlib.sha256(b"one tree").hexdigest()


def test_other_record_files_count_by_their_bytes() -> None:
    train()
    generate("one")
    before = signature_of(SAMPLES)
    generate("another")
    assert signature_of(SAMPLES) != before


# --- what is stored


def test_only_what_later_stages_or_readers_need_is_kept() -> None:
    paths = [FOLDER / name for name in ("corpus.jsonl", "tuning/a.md", "vocabulary.json", "tables/a.csv")]
    for path in paths:
        finish({path: lambda p: write_text(p, "a")}, {"of": path.name})
    assert store("x") == [STORED / "tables/a.csv", STORED / "vocabulary.json"]
    assert {p.name for p in STORED.rglob("*") if p.is_file()} == {"a.csv", "vocabulary.json", INDEX}


JUDGES = ("judge1_tagger", "judge2_parser", "teacher", "story_encoder", "human_texts")


@pytest.mark.parametrize("name", JUDGES)
def test_what_scores_texts_is_stored_apart_and_as_it_is(name: str) -> None:
    """Rounded, it would score the stored texts a little differently."""
    path = FOLDER / f"models/{name}.safetensors"
    own = train(path=path)
    made, before = path.read_bytes(), signature_of(path)
    assert store("x") == [STORED / f"judges/{name}.safetensors"]
    path.unlink()
    assert restore({name: path}, own)
    assert path.read_bytes() == made
    assert signature_of(STORED / f"judges/{name}.safetensors") == before == f"{own}/{name}"


def test_a_judge_in_a_stored_folder_that_is_not_what_was_stored_counts_by_its_content() -> None:
    train(path=FOLDER / "models/teacher.safetensors")
    store("x")
    stored = STORED / "judges/teacher.safetensors"
    checkpoint.save(stored, "toy", {"a": 2}, WEIGHTS)
    assert signature_of(stored) == hashlib.sha256(stored.read_bytes()).hexdigest()


def test_a_scale_that_uses_no_stored_results_stores_no_weights_but_those_of_judges() -> None:
    judge = FOLDER / "models/teacher.safetensors"
    for path in (MODEL, judge):
        train({"steps": 5, "use_stored": False}, path)
    assert store("x") == [STORED / "judges/teacher.safetensors"]


def test_the_index_has_the_hash_of_what_is_stored() -> None:
    train()
    generate()
    store("x")
    index = json.loads((STORED / INDEX).read_text())
    model, samples = "models/m.safetensors", "samples/length/m/seed0.jsonl"
    rounded = stored_file(STORED, model).read_bytes()
    assert rounded != MODEL.read_bytes()
    assert index[model]["sha256"] == hashlib.sha256(rounded).hexdigest()
    assert index[samples]["sha256"] == hashlib.sha256(SAMPLES.read_bytes()).hexdigest()


HUMAN = [f"{kind}/infilling/human/seed0.jsonl" for kind in ("samples", "selected")]
LEFT, TOLD, RIGHT = "Tom saw a bird .", "It had no food .", "He got some milk ."


def infill(story_settings: dict[str, str]) -> dict[Path, str]:
    """Targets and human texts of infilling, and a method's; returns their jobs' signatures."""
    target = Target("c1", "infilling", {"left": LEFT, "right": RIGHT}, [TOLD], "source")
    files: dict[str, Any] = {"targets/infilling.jsonl": [target]}
    files |= {name: [Sample("human", "infilling", "c1", 0, 0, TOLD, 0, 0)] for name in HUMAN}
    files["samples/infilling/cold/seed0.jsonl"] = [Sample("cold", "infilling", "c1", 0, 0, "A bird .", 9, 1)]
    finish({FOLDER / "stories.jsonl": lambda p: write_text(p, "stories")}, story_settings)
    return {
        FOLDER / name: finish({FOLDER / name: lambda p, r=found: write_records(p, r)}, {})
        for name, found in files.items()
    }


def told() -> str:
    """Everything that is stored, as text."""
    return "".join(gzip.decompress(path.read_bytes()).decode() for path in sorted(STORED.rglob("*.gz")))


@pytest.mark.parametrize("stories", [{"name": "rocstories"}, {}])
def test_hashes_stand_for_sentences_that_nobody_may_republish(stories: dict[str, str]) -> None:
    infill(stories)
    assert len(store("x")) == 4
    assert "A bird ." in told()
    assert not any(sentence in told() for sentence in (LEFT, TOLD, RIGHT))
    (target,) = read_records(stored_file(STORED, "targets/infilling.jsonl"), Target)
    (human,) = read_records(stored_file(STORED, HUMAN[0]), Sample)
    hashes = ["sha256:" + hashlib.sha256(sentence.encode()).hexdigest() for sentence in (LEFT, RIGHT, TOLD)]
    assert [target.control["left"], target.control["right"], human.text] == hashes
    assert target.references == [human.text] and target.target_id == human.target_id == "c1"


def test_hashes_never_come_back_as_sentences() -> None:
    for path, own in infill({"name": "rocstories"}).items():
        store("x")
        path.unlink()
        assert bool(restore({path.stem: path}, own)) == (path.parent.name == "cold")


def test_our_own_stories_are_stored_as_they_are() -> None:
    made = infill({"name": "embedded"})
    store("x")
    for path, own in made.items():
        before = path.read_bytes()
        path.unlink()
        assert restore({path.stem: path}, own)
        assert path.read_bytes() == before


def test_a_file_that_is_not_what_its_job_made_is_not_stored() -> None:
    train()
    generate()
    SAMPLES.write_text("by hand")
    assert store("x") == [STORED / "models/m.safetensors"]


def test_unfinished_work_is_not_stored() -> None:
    train()
    generate()
    write_text(FOLDER / "samples/length/m/.seed1.jsonl.7.partial", TEXT)
    write_text(FOLDER / "samples/length/m/seed2.jsonl", TEXT)  # no sidecar: the job did not end
    write_text(FOLDER / "models/n.work/state.safetensors", "state")
    SAMPLES.unlink()  # a sidecar without its output
    assert store("x") == [STORED / "models/m.safetensors"]


def test_what_somebody_wrote_elsewhere_is_not_stored(tmp_path: Path) -> None:
    train()
    finish({FOLDER / "models/a.json": lambda p: write_text(p, "a")}, {})
    sidecar = FOLDER / "models/a.json.run.json"
    sidecar.write_text(sidecar.read_text().replace(str(FOLDER), str(tmp_path / "elsewhere")))
    assert store("x") == [STORED / "models/m.safetensors"]


def test_storing_again_changes_no_byte() -> None:
    def stored() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in STORED.rglob("*") if p.is_file()}

    train()
    generate()
    store("x")
    before = stored()
    store("x")
    assert stored() == before
    own = signature("some.command", {"steps": 5}, {"corpus": CORPUS})
    with write_sidecar({"m": MODEL}, {"steps": 5}, {"corpus": CORPUS}, own):
        assert again()
    store("x")
    model = str(STORED / "models/m.safetensors")
    assert stored()[model] == before[model]


def test_a_later_run_takes_the_place_of_an_earlier_one_and_leaves_the_others() -> None:
    train()
    generate()
    store("x")
    train({"steps": 6})
    store("x")
    assert not again({"steps": 5})
    assert again({"steps": 6})
    assert gzip.decompress((STORED / "samples/length/m/seed0.jsonl.gz").read_bytes()).decode() == TEXT
    index = json.loads((STORED / INDEX).read_text())
    assert index["models/m.safetensors"]["settings"] == {"steps": 6}


def test_a_stored_file_that_is_gone_is_made_again() -> None:
    """Weights may be left out of a checkout."""
    train()
    store("x")
    (STORED / "models/m.safetensors").unlink()
    assert not again()


def test_nothing_to_store_is_bad_input() -> None:
    with pytest.raises(InputError, match="results/x: nothing to store; run snakemake .* --config scale=x"):
        store("x")
    with pytest.raises(InputError, match="results/smal: nothing to store"):
        main(["--scale", "smal"])


# --- commands use the store


def run(monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any]) -> tuple[int, str]:
    """Run a command that counts its runs; returns that number and what it told."""
    runs = []

    def work(job: Job) -> None:
        runs.append(job)
        write_text(job.outputs["samples"], f"{job.spec['seed']}\n")

    words = [
        "toy",
        "--spec",
        json.dumps(spec),
        "--input",
        f"corpus={CORPUS}",
        "--output",
        f"samples={SAMPLES}",
    ]
    monkeypatch.setattr(sys, "argv", words)
    with contextlib.redirect_stderr(io.StringIO()) as told:
        command(work, inputs=("corpus",), outputs=("samples",))
    return len(runs), told.getvalue()


def test_a_command_uses_what_is_stored_only_if_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether stored results may be used is no property of a result."""
    assert run(monkeypatch, {"seed": 3, "use_stored": False})[0] == 1
    store("x")
    assert run(monkeypatch, {"seed": 3, "use_stored": False})[0] == 1
    SAMPLES.unlink()
    assert run(monkeypatch, {"seed": 3, "use_stored": True}) == (0, f"using stored {SAMPLES}\n")
    assert SAMPLES.read_text() == "3\n"
    assert run(monkeypatch, {"seed": 4, "use_stored": True}) == (1, "")
    assert SAMPLES.read_text() == "4\n"


def test_a_restored_result_has_a_sidecar_as_if_it_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    sidecar = SAMPLES.with_name("seed0.jsonl.run.json")
    run(monkeypatch, {"seed": 3})
    store("x")
    made = json.loads(sidecar.read_text())
    sidecar.unlink()
    run(monkeypatch, {"seed": 3, "use_stored": True})
    restored = json.loads(sidecar.read_text())
    assert all(made[key] == restored[key] for key in ("signature", "inputs", "outputs"))
    assert set(made) == set(restored)


def spent(path: Path) -> dict[str, Any]:
    """Which run a sidecar is of, by what a copy would change."""
    run = json.loads(path.with_name(path.name + ".run.json").read_text())
    return {key: run[key] for key in (*SIDECAR_KEYS, "restored")}


def long_ago(sidecar: Path) -> dict[str, Any]:
    """Make it the sidecar of a long run elsewhere."""
    other = {"seconds": 4321.5, "device": "another", "packages": {"torch": "1.0"}}
    other |= {"peak_memory_mb": 9876, "peak_gpu_memory_mb": 543}
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | other))
    return other


def test_a_restored_result_keeps_the_time_device_and_packages_of_the_run_that_made_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the tables of costs would tell how long copying takes."""
    sidecar = SAMPLES.with_name("seed0.jsonl.run.json")
    run(monkeypatch, {"seed": 3, "use_stored": True})
    assert spent(SAMPLES)["restored"] is False
    other = long_ago(sidecar)
    store("x")
    index = (STORED / INDEX).read_bytes()
    for _ in range(2):  # a copy of a copy tells the same
        sidecar.unlink()
        assert run(monkeypatch, {"seed": 3, "use_stored": True})[0] == 0
        assert spent(SAMPLES) == other | {"restored": True}
        store("x")
        assert (STORED / INDEX).read_bytes() == index
    assert run(monkeypatch, {"seed": 3, "use_stored": False})[0] == 1
    assert spent(SAMPLES)["seconds"] < 60 and not spent(SAMPLES)["restored"]


def test_an_entry_from_before_memory_was_noted_is_restored_without() -> None:
    own = train()
    store("x")
    index = json.loads((STORED / INDEX).read_text())
    for entry in index.values():
        del entry["peak_memory_mb"], entry["peak_gpu_memory_mb"]
    (STORED / INDEX).write_text(json.dumps(index))
    MODEL.unlink()
    restored = restore({MODEL.stem: MODEL}, own)
    assert restored and restored["seconds"] is not None and restored["peak_memory_mb"] is None


def test_several_outputs_of_one_job_keep_its_time() -> None:
    first, second = FOLDER / "selected/a.jsonl", FOLDER / "selected/b.jsonl"
    own = finish({p: lambda path: write_text(path, path.stem) for p in (first, second)}, {}, corpus=CORPUS)
    other = long_ago(first.with_name("a.jsonl.run.json"))
    store("x")
    assert restore({"a": first, "b": second}, own) == restore({"b": second}, own) == other
    index = json.loads((STORED / INDEX).read_text())
    assert {index[f"selected/{name}.jsonl"]["seconds"] for name in "ab"} == {4321.5}


def test_the_line_about_stored_results_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line and newline apart would let another job's line in between."""
    written: list[str] = []
    own = train()
    store("x")
    with monkeypatch.context() as patch:
        patch.setattr(sys.stderr, "write", written.append)
        restore({"m": MODEL}, own)
    assert written == [f"using stored {MODEL}\n"]
