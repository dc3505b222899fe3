"""The one command that runs any method on any task, with tiny models that their own commands trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpora.vocabulary import Vocabulary
from pipeline.records import Sample, Target, Text, read_records, write_records
from pipeline.settings import Settings, resolve
from pipeline.tasks import SYNTAX
from pipeline.trees import spans

SIZES = {"hidden": 16, "layers": 1, "heads": 2, "dropout": 0}
SHAPE = {**SIZES, "intermediate": 32, "time_channels": 8}
FEW = {"steps": 2, "batch_size": 16, "learning_rate": 0.01, "ema": 0, "warmup": 0, "precision": "fp32"}
SETTINGS = resolve(
    "demo",
    {
        "corpus": {"sizes": {"train": 100, "human": 10, "valid": 2, "test": 2}, "vocabulary_more_than": 0},
        "diffusion": {"model": {**SHAPE, "diffusion_steps": 20}, "training": FEW},
        "classifiers": {
            "semantic_content": {"model": {**SHAPE, "form": "words"}, "training": FEW},
            "parts_of_speech": {"model": SHAPE, "training": FEW},
            "syntax_tree": {"model": {**SHAPE, "pair": 8}, "training": FEW},
        },
        "syntax": {"targets": 2, "tuning": 1},
        "language_model": {"model": SIZES, "training": FEW},
        "fine_tuning": {"training": FEW},
        "fudge_discriminators": {"model": SIZES, "training": FEW},
        "pplm_attribute": {"training": FEW},
        "methods": {
            "pplm": {"updates": 1},
            "fudge": {"candidates": 5},
            "unguided": {"sampling": {"steps": 3}},
            "diffusion_lm": {"sampling": {"steps": 3}, "guidance": {task: {"rate": 1.0} for task in SYNTAX}},
        },
    },
)
TASKS = ("length", "semantic_content", "unconditional")
MOST_WORDS = SETTINGS["diffusion"]["model"]["positions"] - 2

Files = dict[str, Path]


@pytest.fixture(scope="module")
def world(run_command: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Corpus, vocabulary, targets and models by name, each made by its command."""
    folder = tmp_path_factory.mktemp("world")
    classifiers = {f"{task}_classifier": settings for task, settings in SETTINGS["classifiers"].items()}
    files = {name: folder / f"{name}.safetensors" for name in ("diffusion_lm", *classifiers)}
    controls = (*TASKS[:2], "parts_of_speech", "syntax_tree", "syntax_spans")
    baselines = [f"{kind}_{task}" for kind in ("fine_tuned", "fudge") for task in controls]
    files |= {
        name: folder / f"{name}.safetensors" for name in (*baselines, "language_model", "pplm_attribute")
    }
    prepared = {"corpus": folder / "corpus.jsonl", "vocabulary": folder / "vocabulary.json"}
    prepared |= {task: folder / f"{task}.jsonl" for task in TASKS}

    def run(module: str, spec: Settings, inputs: Files, outputs: Files) -> None:
        done = run_command(module, {**spec, "threads": 1}, inputs, outputs)
        assert done.code == 0, done.stderr

    sources = {"data_dir": "", "download_dir": "nowhere", "lengths": SETTINGS["lengths"], "tasks": TASKS}
    run("pipeline.corpora.prepare", {**SETTINGS["corpus"], **sources}, {}, prepared)
    inputs = {name: prepared[name] for name in ("corpus", "vocabulary")}
    run("diffusion_lm.train", SETTINGS["diffusion"], inputs, {"model": files["diffusion_lm"]})
    classified = {**inputs, "diffusion": files["diffusion_lm"]}
    for name, settings in classifiers.items():  # the corpus has right tags and trees of its own
        spec = {**settings, "task": name.removesuffix("_classifier")}
        run("diffusion_lm.train_classifier", spec, classified, {"model": files[name]})
    annotated = {"annotated": folder / "annotated.jsonl"}
    texts = read_records(prepared["corpus"], Text)
    trees = ([list(span) for span in spans(text.tree or "")] for text in texts)
    write_records(annotated["annotated"], (replace(t, spans=s) for t, s in zip(texts, trees, strict=True)))
    asked = {task: folder / f"{task}.jsonl" for task in SYNTAX}
    sources = {"data_dir": "", "tasks": list(SYNTAX), "most_words": MOST_WORDS}
    run("pipeline.corpora.syntax_targets", {**SETTINGS["syntax"], **sources}, annotated, asked)
    prepared |= asked
    run("baselines.language_model", SETTINGS["language_model"], inputs, {"model": files["language_model"]})
    inputs["language_model"], longest = files["language_model"], {"most_words": MOST_WORDS}
    attribute = {"model": files["pplm_attribute"]}
    run("baselines.pplm.train", SETTINGS["pplm_attribute"] | longest, inputs, attribute)
    parsed = {"corpus": annotated["annotated"], "vocabulary": prepared["vocabulary"]}
    for task in controls:
        own = {"task": task, **longest}
        made = {"model": files[f"fine_tuned_{task}"]}
        run("baselines.fine_tuning.train", SETTINGS["fine_tuning"] | own, inputs | parsed, made)
        discriminator = {"model": files[f"fudge_{task}"]}
        run("baselines.fudge.train", SETTINGS["fudge_discriminators"] | own, parsed, discriminator)
    return files | prepared


Generate = Callable[..., Any]


@pytest.fixture
def generate(run_command: Callable[..., Any], world: Files, tmp_path: Path) -> Generate:
    """Run a method of the configuration on a task as the workflow does; keywords change spec and inputs."""

    def run(name: str, task: str, **changes: Any) -> Any:
        method = SETTINGS["methods"][name]
        spec = {
            "name": name,
            "method": method,
            "samples": 2,
            "seed": 0,
            "most_words": MOST_WORDS,
            "threads": 1,
        }
        inputs = {"targets": world[task], "vocabulary": world["vocabulary"]}
        inputs |= {model: world[file] for model, file in method["tasks"].get(task, {}).items()}
        inputs |= {key: changes.pop(key) for key in list(changes) if isinstance(changes[key], Path)}
        return run_command(
            "pipeline.generate", spec | changes, inputs, {"samples": tmp_path / "samples.jsonl"}
        )

    return run


def targets(world: Files, task: str) -> list[Target]:
    return read_records(world[task], Target)


CELLS = [  # of restaurants; infilling is tested where every method is (test_conformance.py)
    (name, task)
    for name, method in SETTINGS["methods"].items()
    for task in method["tasks"]
    if task != "infilling"
]


@pytest.mark.parametrize(("name", "task"), CELLS)
def test_every_cell_of_the_table_gets_its_samples(
    generate: Generate, world: Files, tmp_path: Path, name: str, task: str
) -> None:
    done = generate(name, task)
    assert done.code == 0, done.stderr
    samples = read_records(tmp_path / "samples.jsonl", Sample)
    wanted = [(t.target_id, i) for t in targets(world, task) if t.reported for i in range(2)]
    assert wanted
    assert [(s.target_id, s.sample_index) for s in samples] == wanted
    assert {(s.method, s.task, s.seed) for s in samples} == {(name, task, 0)}
    vocabulary = Vocabulary.load(world["vocabulary"])
    assert all(w in vocabulary or w == "UNK" for s in samples for w in s.text.split(" ") if w)
    assert all(s.forward_tokens > 0 for s in samples)
    guided = name == "pplm" or (name == "diffusion_lm" and task != "length")  # whose form needs no gradient
    assert any(s.backward_passes > 0 for s in samples) == guided


@pytest.mark.parametrize("name", ["diffusion_lm", "ft_sample"])
def test_the_same_command_writes_the_same_bytes(generate: Generate, tmp_path: Path, name: str) -> None:
    def made(**changes: Any) -> bytes:
        assert generate(name, "semantic_content", **changes).code == 0
        return (tmp_path / "samples.jsonl").read_bytes()

    first = made()
    assert made() == first
    assert made(seed=1) != first


def test_the_sidecar_covers_the_code_of_the_method(generate: Generate, tmp_path: Path) -> None:
    sidecars = {}
    for name in ("ft_sample", "unguided"):
        generate(name, "length")
        sidecars[name] = json.loads((tmp_path / "samples.jsonl.run.json").read_text())
    assert sidecars["ft_sample"]["code"] != sidecars["unguided"]["code"]
    assert sidecars["ft_sample"]["settings"]["method"] == SETTINGS["methods"]["ft_sample"]


def test_with_tuned_on_only_those_targets_are_used(generate: Generate, world: Files, tmp_path: Path) -> None:
    assert generate("unguided", "length").code == 0
    whole = read_records(tmp_path / "samples.jsonl", Sample)
    assert generate("unguided", "length", tuned_on=True).code == 0
    tuned = {target.target_id for target in targets(world, "length") if target.tuned_on}
    assert 0 < len(tuned) < len(targets(world, "length"))
    kept = [sample for sample in whole if sample.target_id in tuned]
    assert read_records(tmp_path / "samples.jsonl", Sample) == kept


def test_targets_for_tuning_only_are_never_reported(generate: Generate, world: Files, tmp_path: Path) -> None:
    """Those that settings were chosen on with other seeds (``tuned_on``) still are."""
    first, second, third = (replace(t, tuned_on=i < 2) for i, t in enumerate(targets(world, "length")[:3]))
    asked = file_of(tmp_path, replace(first, target_set="tuning"), second, third)
    found = []
    for changes in ({}, {"tuned_on": True}):
        assert generate("unguided", "length", targets=asked, **changes).code == 0
        found.append({sample.target_id for sample in read_records(tmp_path / "samples.jsonl", Sample)})
    assert found == [{second.target_id, third.target_id}, {first.target_id, second.target_id}]


# --- bad input


def refused(done: Any, folder: Path, *parts: str) -> None:
    """The command ended with exit code 2 and one line that says these parts, and wrote nothing."""
    assert (done.code, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in lines[-1]
    assert not list(folder.glob("samples.jsonl*"))


def file_of(folder: Path, *targets: Target) -> Path:
    write_records(folder / "asked.jsonl", targets)
    return folder / "asked.jsonl"


def semantic(field: str, value: str) -> Target:
    return Target(f"{field}={value}", "semantic_content", {"field": field, "value": value})


STRANGE = {
    "a value of unknown words": (
        semantic("food", "Klingon"),
        ["asked.jsonl:1: the vocabulary cannot express 'Klingon'", "training texts"],
    ),
    "an unknown task": (Target("a", "lenght", {}), ["asked.jsonl:1: no such task as 'lenght'", "'length'?"]),
    "an unknown key": (
        Target("a", "length", {"lenght": 3}),
        ["asked.jsonl:1: unknown control key 'lenght'; did you mean 'length'?"],
    ),
    "too long": (Target("a", "length", {"length": 23}), ["asked.jsonl:1: length 23", "1 to 22 words"]),
}


@pytest.mark.parametrize(("target", "parts"), STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("name", ["diffusion_lm", "ft_search"])
def test_targets_that_cannot_be_met_are_refused(
    generate: Generate, tmp_path: Path, name: str, target: Target, parts: list[str]
) -> None:
    task = target.task if target.task in TASKS else "length"
    refused(generate(name, task, targets=file_of(tmp_path, target)), tmp_path, *parts)


def test_a_word_that_no_prompt_can_say_is_refused(generate: Generate, world: Files, tmp_path: Path) -> None:
    """A prompt-only word (a field's) may be in no text; so is a value of another corpus."""
    asked = file_of(
        tmp_path, semantic("opening hours", targets(world, "semantic_content")[0].control["value"])
    )
    refused(
        generate("ft_sample", "semantic_content", targets=asked), tmp_path, "the model's prompts cannot say"
    )


def test_settings_cannot_be_tuned_on_targets_that_do_not_allow_it(
    generate: Generate, world: Files, tmp_path: Path
) -> None:
    asked = file_of(tmp_path, *(replace(t, tuned_on=False) for t in targets(world, "length")))
    for name in ("unguided", "ft_sample"):
        done = generate(name, "length", targets=asked, tuned_on=True)
        refused(done, tmp_path, "asked.jsonl: no target with 'tuned_on'")


def test_a_file_of_targets_for_tuning_has_nothing_to_report(
    generate: Generate, world: Files, tmp_path: Path
) -> None:
    tuning = (replace(t, target_set="tuning") for t in targets(world, "length"))
    done = generate("unguided", "length", targets=file_of(tmp_path, *tuning))
    refused(done, tmp_path, "asked.jsonl: no target with 'reported'; see tuned_on and target_set")


def test_a_faulty_target_is_told_by_its_line_in_the_file(
    generate: Generate, world: Files, tmp_path: Path
) -> None:
    """Though the targets before it are not used."""
    first, second = targets(world, "length")[:2]
    asked = file_of(tmp_path, replace(first, target_set="tuning"), replace(second, control={"length": 99}))
    refused(generate("unguided", "length", targets=asked), tmp_path, "asked.jsonl:2: length 99 cannot be")


def test_models_of_another_vocabulary_are_refused(generate: Generate, world: Files, tmp_path: Path) -> None:
    words = Vocabulary.load(world["vocabulary"]).words
    Vocabulary((*words, "Klingon")).save(tmp_path / "vocabulary.json")
    for name in ("unguided", "diffusion_lm", "ft_sample"):
        done = generate(name, "length", vocabulary=tmp_path / "vocabulary.json")
        refused(done, tmp_path, ".safetensors: checkpoint of another configuration (vocabulary is")


def test_the_model_of_another_task_is_refused(generate: Generate, world: Files, tmp_path: Path) -> None:
    done = generate("ft_sample", "length", language_model=world["fine_tuned_semantic_content"])
    refused(done, tmp_path, "(task is 'semantic_content', expected 'length')")


def test_files_of_another_kind_are_refused(generate: Generate, world: Files, tmp_path: Path) -> None:
    done = generate("unguided", "length", diffusion=world["fine_tuned_length"])
    refused(done, tmp_path, "holds a language model; a Diffusion-LM is needed")
    done = generate("ft_sample", "length", language_model=world["diffusion_lm"])
    refused(done, tmp_path, "holds a Diffusion-LM; a language model is needed")
    done = generate("diffusion_lm", "semantic_content", classifier=world["diffusion_lm"])
    refused(done, tmp_path, "holds a Diffusion-LM; a guidance classifier is needed")


def test_the_classifier_of_another_model_is_refused(
    generate: Generate, run_command: Callable[..., Any], world: Files, tmp_path: Path
) -> None:
    spec = {
        **SETTINGS["diffusion"],
        "training": {**SETTINGS["diffusion"]["training"], "seed": 9},
        "threads": 1,
    }
    inputs = {name: world[name] for name in ("corpus", "vocabulary")}
    other = tmp_path / "other.safetensors"
    assert run_command("diffusion_lm.train", spec, inputs, {"model": other}).code == 0
    done = generate("diffusion_lm", "semantic_content", diffusion=other)
    refused(done, tmp_path, "semantic_content_classifier.safetensors: ", "(embedding is")


def test_methods_are_refused_with_a_reason(generate: Generate, world: Files, tmp_path: Path) -> None:
    model = {"language_model": world["fine_tuned_length"]}
    done = generate("ft_sample", "unconditional", **model)
    refused(done, tmp_path, "method 'ft_sample': not applicable to unconditional; it has learned texts under")
    done = generate("unguided", "length", method={"module": "diffusion_lm.methods"})
    refused(done, tmp_path, "methods.unguided.module: cannot import 'diffusion_lm.methods'")


def test_a_damaged_model_is_refused(generate: Generate, world: Files, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(world["diffusion_lm"].read_bytes()[:-100])
    refused(generate("unguided", "length", diffusion=cut), tmp_path, "cut.safetensors: truncated")


def test_records_by_hand_are_read(generate: Generate, tmp_path: Path) -> None:
    """Targets are an interface: anybody may write them."""
    line = {"schema": "target/1", **asdict(Target("mine", "length", {"length": 7}))}
    del line["tuned_on"], line["references"], line["source_id"]
    (tmp_path / "mine.jsonl").write_text(json.dumps(line) + "\n")
    assert generate("diffusion_lm", "length", targets=tmp_path / "mine.jsonl").code == 0
    assert [len(s.text.split(" ")) for s in read_records(tmp_path / "samples.jsonl", Sample)] == [7, 7]
