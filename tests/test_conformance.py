"""What every method must do, over every method and task of the configuration, with tiny trained models.

A method of one's own is tested by ``python -m pytest tests/test_conformance.py --methods mine.yaml``, a
configuration that names it; baselines/template/README.md says more.
"""

from __future__ import annotations

import importlib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from pipeline.command import Job
from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.infilling import examples
from pipeline.corpora.stories import story_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.methods import Method, load_method
from pipeline.records import Sample, Target, Text, read_records, write_records
from pipeline.settings import merged, resolve
from pipeline.tasks import (
    INFILLING,
    LENGTH,
    PARTS_OF_SPEECH,
    SEMANTIC_CONTENT,
    SYNTAX_SPANS,
    SYNTAX_TREE,
    TASKS,
    UNCONDITIONAL,
    check_targets,
    parts,
)
from pipeline.trees import masked, read_tree, spans

MOST_WORDS = 22
SINGLE = (SEMANTIC_CONTENT, LENGTH, PARTS_OF_SPEECH, SYNTAX_TREE, SYNTAX_SPANS)
CLASSIFIED = (SEMANTIC_CONTENT, PARTS_OF_SPEECH, SYNTAX_TREE)

SIZES = {"hidden": 16, "layers": 1, "heads": 2}
FEW = {"steps": 10, "batch_size": 16, "warmup": 0, "ema": 0, "precision": "fp32"}
SOME = {**FEW, "steps": 100, "learning_rate": 1.0e-2}  # enough for texts that end
CLASSIFIER = {"model": {**SIZES, "intermediate": 32, "time_channels": 8}, "training": FEW}
SHARED = {"language_model": "language_model"}  # what is read, and which model it is
FURTHER = {  # methods that the configuration does not name
    "pplm_words": {
        "module": "baselines.pplm.method",
        "attribute": "words",
        "updates": 2,
        "longest": MOST_WORDS,
        "tasks": {SEMANTIC_CONTENT: SHARED},
    },
    "template": {
        "module": "baselines.template.method",
        "draws": 3,
        "longest": MOST_WORDS,
        "tasks": {SEMANTIC_CONTENT: SHARED, LENGTH: SHARED},
    },
}
SETTINGS: dict[str, Any] = {  # what differs from the demo
    "diffusion": {
        "model": {**CLASSIFIER["model"], "positions": MOST_WORDS + 2, "diffusion_steps": 20},
        "training": SOME,
    },
    "classifiers": dict.fromkeys(CLASSIFIED, CLASSIFIER),
    "language_model": {"model": {**SIZES, "positions": 160}, "training": SOME},
    "fine_tuning": {"model": {**SIZES, "positions": 160}, "training": SOME},
    "fudge_discriminators": {"model": SIZES, "training": FEW},
    "pplm_attribute": {"training": FEW},
    "story_diffusion": {"model": {**CLASSIFIER["model"], "diffusion_steps": 20}, "training": SOME},
    "story_diffuseq": {"model": {**CLASSIFIER["model"], "diffusion_steps": 20}, "training": SOME},
    "story_language_model": {"model": SIZES, "training": SOME},
    "ar_infilling": {"model": SIZES, "training": SOME},
    "methods": {
        "unguided": {"sampling": {"steps": 4}},
        "diffusion_lm": {"sampling": {"steps": 4}, "infilling": {"sampling": {"steps": 4}}},
        "diffuseq": {"sampling": {"steps": 4}},
        "delorean": {"passes": 2, "iterations": 2},
        "cold": {"iterations": 3},
        "fudge": {"candidates": 20},
        "pplm": {"updates": 2},
        **FURTHER,
    },
}


class Recipe(NamedTuple):
    """How a model is made: the module of the command, its settings, and the models that it reads."""

    module: str
    spec: Mapping[str, Any]
    reads: Mapping[str, str] = {}


def recipes(settings: Mapping[str, Any]) -> dict[str, Recipe]:
    """Every model file that methods may name. One's own training command is one more line."""
    found = {
        "diffusion_lm": Recipe("diffusion_lm.train", settings["diffusion"]),
        "language_model": Recipe("baselines.language_model", settings["language_model"]),
        "pplm_attribute": Recipe("baselines.pplm.train", settings["pplm_attribute"], SHARED),
    }
    for task in CLASSIFIED:
        spec = {**settings["classifiers"][task], "task": task}
        reads = {"diffusion": "diffusion_lm"}
        found[f"{task}_classifier"] = Recipe("diffusion_lm.train_classifier", spec, reads)
    for task in SINGLE:
        spec = {**settings["fine_tuning"], "task": task}
        found[f"fine_tuned_{task}"] = Recipe("baselines.fine_tuning.train", spec, SHARED)
        spec = {**settings["fudge_discriminators"], "task": task}
        found[f"fudge_{task}"] = Recipe("baselines.fudge.train", spec)
    return found | story_recipes(settings)


def story_recipes(settings: Mapping[str, Any]) -> dict[str, Recipe]:
    """The models that are trained on stories."""
    words = settings["story_language_model"]
    return {
        "story_diffusion": Recipe("diffusion_lm.train_stories", settings["story_diffusion"]),
        "story_diffuseq": Recipe("diffusion_lm.diffuseq", settings["story_diffuseq"]),
        "story_language_model": Recipe("baselines.story_language_model", {**words, "direction": "forward"}),
        "story_backward_language_model": Recipe(
            "baselines.story_language_model", {**words, "direction": "backward"}
        ),
        "ar_infilling": Recipe("baselines.ar_infilling.train", settings["ar_infilling"]),
    }


# --- a world of tiny models


def text_of(name: str, fields: dict[str, str], tags: list[str], tree: str) -> Text:
    words = read_tree(tree).words
    return Text(name, "train", " ".join(words), words, fields, tags, tree)


SHORTEST = text_of("shortest", {"eatType": "Pub"}, ["NOUN"], "(TOP (NP (NN Pub)))")
UNICODE = text_of(
    "unicode",
    {"name": "Café Sicilia £"},
    ["PROPN", "PROPN", "SYM", "PUNCT"],
    "(TOP (S (NP (NNP Café) (NNP Sicilia) ($ £)) (. .)))",
)
LONGEST = text_of(
    "longest",
    {"name": "Café Sicilia"},
    ["PROPN", "PROPN"] * (MOST_WORDS // 2),
    f"(TOP (NP {' '.join(['(NNP Café) (NNP Sicilia)'] * (MOST_WORDS // 2))}))",
)


def training_texts() -> list[Text]:
    """The grammar's texts, and as many times the extremes that a few steps of training see them."""
    extremes = [SHORTEST, UNICODE, LONGEST]
    repeated = [replace(text, id=f"{text.id}-{i}") for text in extremes for i in range(10)]
    texts = [*extremes, *restaurant_texts(0, {"train": 150}), *repeated]
    return [replace(text, spans=[list(span) for span in spans(text.tree or "")]) for text in texts]


def story_of(name: str, *sentences: str) -> Text:
    told = [sentence.split() for sentence in sentences]
    words = [word for sentence in told for word in sentence]
    return Text(name, "train", " ".join(words), words, sentences=told)


STORIES = (
    story_of("short story", "Go .", "No .", "Go .", "No .", "Yes ."),
    story_of("unicode story", "Zoë saw a café .", "Tea was 3 £ .", "Zoë had 3 £ .", "“ Tea ! ”", "She ate ."),
    story_of("long story", *["Anna saw Zoë and Zoë saw Anna and Anna saw Zoë ."] * 5),
)


def training_stories() -> list[Text]:
    """The grammar's stories, and as many times the extremes that a few steps of training see them."""
    repeated = [replace(story, id=f"{story.id}-{i}") for story in STORIES for i in range(10)]
    return [*STORIES, *story_texts(0, {"train": 150}), *repeated]


CONTROLS: dict[str, Callable[[Text], dict[str, Any]]] = {
    UNCONDITIONAL: lambda text: {},
    SEMANTIC_CONTENT: lambda text: dict(zip(("field", "value"), min(text.fields.items()), strict=True)),
    LENGTH: lambda text: {"length": len(text.tokens)},
    PARTS_OF_SPEECH: lambda text: {"tags": text.tags},
    SYNTAX_TREE: lambda text: {"tree": masked(text.tree)},
    SYNTAX_SPANS: lambda text: dict(
        zip(("first", "last", "label"), text.spans[len(text.spans) // 2], strict=True)
    ),
}


class Corpus:
    """Texts, their vocabulary, and the files of both."""

    def __init__(self, folder: Path, texts: list[Text]) -> None:
        folder.mkdir()
        self.texts = texts
        self.vocabulary = Vocabulary.build([text.tokens for text in texts], more_than=0)
        self.inputs = {"corpus": folder / "corpus.jsonl", "vocabulary": folder / "vocabulary.json"}
        write_records(self.inputs["corpus"], texts)
        self.vocabulary.save(self.inputs["vocabulary"])


class World:
    """Two corpora, their targets, and models that are trained when a method first asks for them."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self.settings, self.recipes = folder, settings, recipes(settings)
        self.restaurants = Corpus(folder / "restaurants", training_texts())
        self.stories = Corpus(folder / "stories", training_stories())
        self.model, self.samples = cache(self.train), cache(self.write)

    def corpus(self, task: str) -> Corpus:
        """What the texts of a task are about."""
        return self.stories if task == INFILLING else self.restaurants

    def train(self, name: str) -> Path:
        """The model file ``name``, made by its command."""
        assert name in self.recipes, f"no recipe for the model '{name}': add it to recipes() in {__file__}"
        recipe, path = self.recipes[name], self.folder / f"{name}.safetensors"
        corpus = self.stories if name in story_recipes(self.settings) else self.restaurants
        read = {input_name: self.model(file) for input_name, file in recipe.reads.items()}
        job = Job({**recipe.spec, "most_words": MOST_WORDS}, {**corpus.inputs, **read}, {"model": path})
        importlib.import_module(recipe.module).main(job)
        return path

    def method(self, name: str, task: str) -> Method:
        """A fresh instance with the models that the configuration names for the task."""
        settings = self.settings["methods"][name]
        models = {read: self.model(file) for read, file in settings["tasks"][task].items()}
        own = {key: value for key, value in settings.items() if key != "tasks"}
        return load_method(name, own, self.corpus(task).vocabulary, models)

    def targets(self, task: str) -> list[Target]:
        """What seven texts are: the extremes, and four of the grammar."""
        if task == INFILLING:
            return [infilling_target(story) for story in self.stories.texts[:7]]
        found = []
        for text in self.restaurants.texts[:7]:
            controls = [CONTROLS[part](text) for part in parts(task)]
            found.append(Target(text.id, task, {key: c[key] for c in controls for key in c}))
        return found

    def write(self, name: str, task: str, seed: int = 0) -> list[Sample]:
        """Two samples of every target by a fresh instance."""
        return list(self.method(name, task).generate(self.targets(task), 2, seed))


def infilling_target(story: Text) -> Target:
    left, middle, right = map(" ".join, examples([story], "neighbours")[0])
    return Target(story.id, INFILLING, {"left": left, "right": right}, references=[middle])


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    torch.set_num_threads(1)
    settings, _ = configured(request.config.getoption("--methods"))
    return World(tmp_path_factory.mktemp("conformance"), settings)


@cache
def configured(path: str | None) -> tuple[dict[str, Any], list[str]]:
    """The settings, and the methods that are tested: all, or those of the file that ``--methods`` names."""
    if path is None:
        settings = resolve("demo", SETTINGS)
        return settings, list(settings["methods"])
    own = (yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}).get("methods")
    if not own:
        raise pytest.UsageError(f"{path} names no methods")
    return resolve("demo", merged(SETTINGS, {"methods": own})), list(own)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs for every method, or for every method on every task that the configuration gives it."""
    settings, names = configured(metafunc.config.getoption("--methods"))
    if "task" in metafunc.fixturenames:
        cells = [(name, task) for name in names for task in settings["methods"][name]["tasks"]]
        metafunc.parametrize(("name", "task"), cells, ids=[f"{name}-{task}" for name, task in cells])
    elif "name" in metafunc.fixturenames:
        metafunc.parametrize("name", names)


def by_key(samples: list[Sample]) -> dict[tuple[str, int], Sample]:
    return {(sample.target_id, sample.sample_index): sample for sample in samples}


# --- what a method says of itself


def test_every_task_that_a_method_supports_has_models_and_is_tested(world: World, name: str) -> None:
    """Here or under another name of the same method (``unguided`` is a Diffusion-LM too)."""
    methods = world.settings["methods"]
    same = [own for own in methods.values() if own["module"] == methods[name]["module"]]
    supported = world.method(name, next(iter(methods[name]["tasks"]))).tasks
    assert supported == {task for own in same for task in own["tasks"]} and supported <= TASKS.keys()


def test_every_other_task_is_refused_with_the_methods_own_reason(world: World, name: str) -> None:
    """At once, though the first targets are fine; a task that nobody knows is refused too."""
    task = next(iter(world.settings["methods"][name]["tasks"]))
    method, fine = world.method(name, task), world.targets(task)
    for other in TASKS.keys() - method.tasks:
        assert (reason := method.refusals[other])
        assert refusal(method, [*fine, *world.targets(other)]) == f"not applicable to {other}; {reason}"
    assert refusal(method, [*fine, Target("x", "juggling", {})]).startswith("not applicable to juggling; ")


def refusal(method: Method, targets: list[Target]) -> str:
    """What is said instead of the first sample."""
    with pytest.raises(InputError) as caught:
        next(method.generate(targets, 1, seed=0))
    return str(caught.value).removeprefix(f"method '{method.name}': ")


# --- samples


def test_samples_come_target_by_target(world: World, name: str, task: str) -> None:
    targets = world.targets(task)
    check_targets("targets", targets, world.corpus(task).vocabulary, 2 * MOST_WORDS)
    found = [(s.method, s.task, s.seed, s.target_id, s.sample_index) for s in world.samples(name, task)]
    assert found == [(name, task, 0, target.target_id, index) for target in targets for index in (0, 1)]


def test_texts_are_words_of_the_vocabulary(world: World, name: str, task: str, tmp_path: Path) -> None:
    """Also behind the shortest and the longest control, and in their records on disk."""
    samples = world.samples(name, task)
    for sample in samples:
        words = sample.text.split(" ") if sample.text else []
        assert len(words) <= MOST_WORDS
        assert all(word in world.corpus(task).vocabulary or word == "UNK" for word in words), words
        assert unicodedata.normalize("NFC", sample.text) == sample.text
    write_records(tmp_path / "samples.jsonl", samples)
    assert read_records(tmp_path / "samples.jsonl", Sample) == samples


def test_costs_are_counted(world: World, name: str, task: str) -> None:
    for sample in world.samples(name, task):
        assert type(sample.forward_tokens) is int and sample.forward_tokens > 0
        assert type(sample.backward_passes) is int and sample.backward_passes >= 0


def test_no_targets_give_no_samples(world: World, name: str, task: str) -> None:
    assert list(world.method(name, task).generate([], 2, seed=0)) == []


# --- what a text depends on


def test_the_same_again(world: World, name: str, task: str) -> None:
    assert world.write(name, task) == world.samples(name, task)


def test_the_order_of_targets_changes_nothing(world: World, name: str, task: str) -> None:
    turned = world.method(name, task).generate(world.targets(task)[::-1], 2, seed=0)
    assert by_key(list(turned)) == by_key(world.samples(name, task))


def test_a_text_and_its_cost_do_not_depend_on_the_batch(world: World, name: str, task: str) -> None:
    """One text at a time, seven, or the fourteen of all samples."""
    whole, method, targets = by_key(world.samples(name, task)), world.method(name, task), world.targets(task)
    seven = list(method.generate(targets, 1, seed=0))
    assert by_key(seven).items() <= whole.items()
    assert [next(method.generate([target], 1, seed=0)) for target in targets] == seven


def test_another_seed_gives_other_texts_where_samples_differ_at_all(
    world: World, name: str, task: str
) -> None:
    """A search has no randomness: its samples of a target are equal, and no seed changes them."""
    samples = world.samples(name, task)
    texts, others = ([s.text for s in found] for found in (samples, world.write(name, task, seed=1)))
    assert (texts != others) == (texts[::2] != texts[1::2])
