"""The configuration: layers and who wins, what is refused and how, and the command that prints it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import schema as schema_module
from pipeline import settings as module
from pipeline.errors import InputError
from pipeline.fingerprint import ROOT
from pipeline.schema import full_schema, load, resolved
from pipeline.settings import SCALES, differences, main, merged, parse_override, resolve, tuning
from pipeline.tasks import COMPOSITIONS, INFILLING, TASKS, UNCONDITIONAL, parts

every_scale = pytest.mark.parametrize("scale", SCALES)
MINE = {"module": "somebody.elses", "tasks": {"length": {"model": "mine"}}}


def failure(overrides: dict[str, Any], scale: str = "demo") -> str:
    with pytest.raises(InputError) as caught:
        resolve(scale, overrides)
    return str(caught.value)


def method(**settings: Any) -> dict[str, Any]:
    """Overrides of the method ``diffusion_lm``."""
    return {"methods": {"diffusion_lm": settings}}


def closed(schema: dict[str, Any], settings: dict[str, Any], path: str = "") -> Iterator[str]:
    """Settings of closed mappings that were left out."""
    schema = resolved(schema)
    for key, part in schema.get("properties", {}).items():
        if key not in settings:
            yield path + key
        elif isinstance(settings[key], dict):
            yield from closed(part, settings[key], f"{path}{key}.")


# --- layers


@every_scale
def test_every_scale_resolves_with_every_setting_filled_in(scale: str) -> None:
    settings = resolve(scale)
    assert settings["scale"] == scale
    left_out = set(closed(full_schema(), settings))
    assert {key.split(".")[-1] for key in left_out} <= {"network"}  # absent: a Transformer
    table_2 = {"unguided", "pplm", "fudge", "diffusion_lm", "ft_sample", "ft_search"}
    table_5 = {"left_only", "delorean", "cold", "diffusion_lm", "diffuseq", "ar_infilling"}
    assert set(settings["methods"]) == {*table_2, "ft_poe", *table_5}


@every_scale
def test_every_method_has_all_settings_of_its_module(scale: str) -> None:
    modules = full_schema()["$defs"]["modules"]
    for settings in resolve(scale)["methods"].values():
        left_out = set(closed(modules[settings["module"]], settings))
        assert left_out <= {"samples", "guidance", "weights"}
        for guidance in settings.get("guidance", {}).values():
            properties = full_schema()["$defs"]["guidance"]["properties"]
            assert {key for key, part in properties.items() if "default" in part} <= set(guidance)
            assert set(guidance) <= set(properties)


def test_the_unguided_method_is_not_guided_and_reads_the_same_model() -> None:
    for methods in (resolve(scale)["methods"] for scale in SCALES):
        assert methods["unguided"]["guidance"] == {}
        assert methods["unguided"]["sampling"] == methods["diffusion_lm"]["sampling"]
        for task in methods["diffusion_lm"]["tasks"].keys() - {INFILLING}:
            models = methods["diffusion_lm"]["tasks"][task]
            assert methods["unguided"]["tasks"][task]["diffusion"] == models["diffusion"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the configuration folder in place of ours."""
    copy = tmp_path / "config"
    shutil.copytree(module.FOLDER, copy)
    for reader in (module, schema_module):
        monkeypatch.setattr(reader, "FOLDER", copy)
    load.cache_clear()
    yield copy
    load.cache_clear()


def write(path: Path, value: object) -> None:
    path.write_text(yaml.safe_dump(value))


def test_overrides_beat_the_scale_the_scale_its_recipe_and_the_recipe_the_defaults(folder: Path) -> None:
    write(folder / "fast.yaml", {"diffusion": {"training": {"warmup": 2, "clip": 2, "ema": 0.2}}})
    scale = {"scale": "demo", "recipe": "fast", "diffusion": {"training": {"clip": 3, "ema": 0.3}}}
    write(folder / "demo.yaml", scale)
    training = resolve("demo", {"diffusion": {"training": {"ema": 0.4}}})["diffusion"]["training"]
    assert (training["warmup"], training["clip"], training["ema"]) == (2, 3, 0.4)
    assert training["steps"] == resolve("paper")["diffusion"]["training"]["steps"]
    own = resolve("demo", {"recipe": "paper"})["diffusion"]["training"]
    assert (own["warmup"], own["clip"]) == (0, 3)


def test_a_list_is_replaced_and_a_mapping_is_merged() -> None:
    settings = resolve("demo", {"seeds": [3, 4], "samples": {"length": 9}})
    assert settings["seeds"] == [3, 4]
    assert settings["samples"] == resolve("demo")["samples"] | {"length": 9}


def test_resolving_leaves_the_files_and_the_overrides_as_they_were() -> None:
    overrides = method(sampling={"steps": 7})
    before = resolve("demo")
    resolve("demo", overrides)["methods"]["diffusion_lm"]["sampling"]["steps"] = 8
    assert overrides == method(sampling={"steps": 7})
    assert resolve("demo") == before


def test_defaults_of_a_place_beat_those_of_its_kind() -> None:
    """``$defs/training`` says seed 0; the teacher's place says 1."""
    assert resolve("paper")["teacher"]["training"]["seed"] == 1
    assert resolve("paper", {"teacher": {"training": {"steps": 5}}})["teacher"]["training"]["seed"] == 1


def test_a_part_of_a_judge_can_be_exchanged_without_the_other() -> None:
    """What is not said is the scale's."""
    before = resolve("demo")["judges"]
    judges = resolve("demo", {"judges": {"judge2": {"parser": {"source": "benepar_en3"}}}})["judges"]
    assert judges["judge2"]["parser"] == before["judge2"]["parser"] | {"source": "benepar_en3"}
    assert judges["judge2"]["tagger"] == before["judge2"]["tagger"]
    assert judges["judge1"] == before["judge1"]


@every_scale
def test_the_judges_differ(scale: str) -> None:
    first, second = resolve(scale)["judges"].values()
    assert first["tagger"] != second["tagger"]
    assert first["parser"] != second["parser"]


def test_every_scale_guides_by_every_control() -> None:
    """Infilling is not steered: the sentences around are held."""
    guided = set(TASKS) - {UNCONDITIONAL, INFILLING}
    for method in (resolve(scale)["methods"]["diffusion_lm"] for scale in SCALES):
        assert set(method["guidance"]) == guided == set(method["tasks"]) - {INFILLING}
        for task, guidance in method["guidance"].items():
            assert set(guidance.get("weights", {})) <= set(parts(task))


# --- methods and presets


def test_null_removes_a_method() -> None:
    assert "ft_search" not in resolve("demo", {"methods": {"ft_search": None}})["methods"]


def test_a_method_of_another_module_keeps_its_free_keys() -> None:
    free = {**MINE, "top_k": 4, "deep": {"er": [1]}}
    assert resolve("demo", {"methods": {"mine": free}})["methods"]["mine"] == free


def test_a_method_needs_tasks() -> None:
    left = {"module": MINE["module"]}
    assert failure({"methods": {"mine": left}}).startswith("methods.mine: 'tasks' is a required property")


@pytest.mark.parametrize(
    ("name", "how"),
    [("fugde", "did you mean 'fudge'?"), ("ft_serach", "did you mean 'ft_search'?"), ("zzz", "known: ")],
)
def test_a_method_without_module_names_the_nearest_known_one(name: str, how: str) -> None:
    told = failure({"methods": {name: {"temperature": 0.5}}})
    assert told.startswith(f"methods.{name}: unknown method '{name}'; {how}")
    assert told.endswith(" or give it a module")


def test_a_second_instance_of_a_known_module_gets_its_defaults() -> None:
    own = {
        "module": "baselines.fine_tuning.method",
        "tasks": {"length": {"language_model": "fine_tuned_length"}},
    }
    settings = resolve("demo", {"methods": {"ft_cold": {**own, "temperature": 0.5}}})["methods"]["ft_cold"]
    assert (settings["decoding"], settings["temperature"], settings["beams"]) == ("sample", 0.5, 4)


@pytest.mark.parametrize("preset", ["none", "paper", "released"])
def test_every_preset_resolves(preset: str) -> None:
    guidance = resolve("paper", method(guidance_preset=preset))["methods"]["diffusion_lm"]["guidance"]
    single = {task for task in TASKS if task not in (UNCONDITIONAL, INFILLING, *COMPOSITIONS)}
    assert set(guidance) == {"none": set(), "paper": single | set(COMPOSITIONS), "released": single}[preset]


def test_own_guidance_beats_the_preset_and_null_removes_a_task() -> None:
    whole = resolve("paper", method(guidance_preset="released"))["methods"]["diffusion_lm"]["guidance"]
    own = {"length": None, "semantic_content": {"rate": 0.5}}
    settings = resolve("paper", method(guidance_preset="released", guidance=own))
    guidance = settings["methods"]["diffusion_lm"]["guidance"]
    assert set(guidance) == set(whole) - {"length"}
    content = guidance["semantic_content"]
    assert (content["rate"], content["optimizer"], content["updates"]) == (0.5, "sign", 3)


# --- what is refused


UNKNOWN = {
    "top": ({"seed": [0]}, "override: unknown key 'seed'; did you mean 'seeds'?"),
    "second": ({"samples": {"lenght": 3}}, "unknown key 'samples.lenght'; did you mean 'length'?"),
    "third": ({"diffusion": {"model": {"hiden": 3}}}, "'diffusion.model.hiden'; did you mean 'hidden'?"),
    "behind a reference": (
        {"teacher": {"model": {"layer": 2}}},
        "'teacher.model.layer'; did you mean 'layers'?",
    ),
    "fourth": (
        {"classifiers": {"semantic_content": {"training": {"step": 3}}}},
        "'classifiers.semantic_content.training.step'; did you mean 'steps'?",
    ),
    "of a judge": (
        {"judges": {"judge1": {"parsr": {}}}},
        "override: unknown key 'judges.judge1.parsr'; did you mean 'parser'?",
    ),
    "third judge": ({"judges": {"judge3": {}}}, "unknown key 'judges.judge3'; did you mean 'judge"),
    "of a method": (
        method(batchsize=3),
        "methods.diffusion_lm: unknown key 'batchsize'; did you mean 'batch_size'?",
    ),
    "deep in a method": (method(sampling={"stps": 3}), "unknown key 'sampling.stps'; did you mean 'steps'?"),
    "of a guidance": (
        method(guidance={"length": {"rates": 3}}),
        "unknown key 'guidance.length.rates'; did you mean 'rate'?",
    ),
    "guided task": (
        method(guidance={"lenght": {}}),
        "methods.diffusion_lm.guidance: no such task as 'lenght'; did you mean 'length'?",
    ),
    "task": (
        {"methods": {"mine": {**MINE, "tasks": {"lenght": {}}}}},
        "methods.mine.tasks: no such task as 'lenght'; did you mean 'length'?",
    ),
}


@pytest.mark.parametrize(("overrides", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_key_names_its_place_and_the_nearest(overrides: dict[str, Any], message: str) -> None:
    assert message in failure(overrides)


WRONG = {
    "text for a number": ({"threads": "2"}, "threads: '2' is not of type 'integer'"),
    "number for a list": ({"seeds": 0}, "seeds: 0 is not of type 'array'"),
    "no seeds": ({"seeds": []}, "seeds: [] should be non-empty"),
    "number for a mapping": ({"samples": 5}, "samples: 5 is not of type 'object'"),
    "truth for a number": ({"samples": {"length": True}}, "samples.length: True is not of type 'integer'"),
    "nothing": ({"diffusion": {"model": {"hidden": None}}}, "diffusion.model.hidden: None is not of type"),
    "too small": ({"diffusion": {"model": {"positions": 2}}}, "diffusion.model.positions: 2 is less than"),
    "one of": ({"diffusion": {"model": {"predict": "x1"}}}, "diffusion.model.predict: 'x1' is not one of"),
    "recipe": ({"recipe": "fst"}, "recipe: 'fst' is not one of"),
    "in a method": (method(sampling={"steps": 0}), "methods.diffusion_lm.sampling.steps: 0 is less than"),
    "in a guidance": (
        method(guidance={"length": {"rate": -1}}),
        "methods.diffusion_lm.guidance.length.rate: -1",
    ),
    "treebank": (
        {"judges": {"judge1": {"parser": {"treebank": "gum_nc"}}}},
        "judges.judge1.parser.treebank: 'gum_nc' is not one of",
    ),
    "weight of a part": (
        method(guidance={"semantic_content+syntax_tree": {"weights": {"syntax_tree": -1}}}),
        "methods.diffusion_lm.guidance.semantic_content+syntax_tree.weights.syntax_tree: -1 is less than",
    ),
    "task of a method": (
        {"methods": {"mine": {**MINE, "tasks": {"length": 3}}}},
        "methods.mine.tasks.length: 3",
    ),
    "methods": ({"methods": 3}, "methods: 3 is not of type 'object'"),
    "method": ({"methods": {"mine": 3}}, "methods.mine: 3 is not of type 'object'"),
    "guidance": (method(guidance=3), "methods.diffusion_lm.guidance: 3 is not of type 'object'"),
    "preset": (method(guidance_preset=["x"]), "methods.diffusion_lm.guidance_preset: ['x'] is not of type"),
    "module": ({"methods": {"mine": {**MINE, "module": ["x"]}}}, "methods.mine.module: ['x'] is not of type"),
    "name": ({"methods": {"Mine": MINE}}, "methods: 'Mine'"),
    "taken name": ({"methods": {"human": MINE}}, "methods: 'human'"),
}


@pytest.mark.parametrize(("overrides", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_names_its_key(overrides: dict[str, Any], message: str) -> None:
    assert failure(overrides).startswith(message)


@pytest.mark.parametrize("name", ["demo.yaml", "fast.yaml"])
def test_an_unknown_key_of_a_file_names_the_file(folder: Path, name: str) -> None:
    whole = yaml.safe_load((folder / name).read_text())
    write(folder / name, merged(whole, {"diffusion": {"training": {"stpes": 3}}}))
    where = "recipe" if name == "fast.yaml" else name
    assert failure({}) == f"{where}: unknown key 'diffusion.training.stpes'; did you mean 'steps'?"


def test_a_file_that_is_not_yaml_is_named(folder: Path) -> None:
    (folder / "demo.yaml").write_text("scale: [demo")
    assert "demo.yaml: not YAML" in failure({})


@pytest.mark.parametrize(
    ("scale", "how"), [("demos", "did you mean 'demo'?"), (5, "known: demo, paper, rehearsal, small")]
)
def test_an_unknown_scale_names_the_nearest(scale: Any, how: str) -> None:
    assert failure({}, scale) == f"scale '{scale}': no such scale; {how}"


def test_an_unknown_preset_names_the_nearest() -> None:
    told = failure(method(guidance_preset="releasd"))
    assert told == "methods.diffusion_lm.guidance_preset: no preset 'releasd'; did you mean 'released'?"


# --- the schema and the trials


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of a schema at any depth."""
    if isinstance(schema, dict):
        for key, part in schema.get("properties", {}).items():
            yield f"{path}{key}", part
        for key, part in schema.items():
            yield from properties(part, f"{path}{key}.")


def test_every_setting_has_a_description() -> None:
    found = dict(properties(full_schema()))
    assert len(found) > 60
    assert not [path for path, part in found.items() if not resolved(part).get("description")]


@every_scale
def test_every_trial_is_a_valid_setting_of_the_method_it_names(scale: str) -> None:
    """The workflow lays a trial over the resolved method; that must be what the configuration would give."""
    methods = resolve(scale)["methods"]
    for found in tuning()["trials"].values():
        for name, trials in found.items():
            for trial in trials:
                given = resolve(scale, {"methods": {name: trial}})["methods"][name]
                assert merged(methods[name], trial) == given


def test_trials_belong_to_tasks_of_their_method_and_are_equally_many() -> None:
    methods = resolve("paper")["methods"]
    for task, found in tuning()["trials"].items():
        assert all(task in methods[name]["tasks"] for name in found)
        assert len({len(trials) for trials in found.values()}) == 1
    assert tuning()["seed"] not in resolve("paper")["seeds"]


# --- helpers and the command


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("threads=2", {"threads": 2}),
        ("a.b.c=[0, 1]", {"a": {"b": {"c": [0, 1]}}}),
        ("a=b=c", {"a": "b=c"}),
        ("use_stored=false", {"use_stored": False}),
    ],
)
def test_overrides_of_a_command_line(word: str, value: dict[str, Any]) -> None:
    assert parse_override(word) == value


@pytest.mark.parametrize("word", ["threads", "threads=[1"])
def test_a_malformed_override_is_bad_input(word: str) -> None:
    with pytest.raises(InputError, match="--set threads"):
        parse_override(word)


def test_differences_name_leaves_on_either_side() -> None:
    found = list(differences({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 3}, "e": [4]}))
    assert found == [("a.c", 2, 3), ("d", 3, None), ("e", None, [4])]


def rows(text: str) -> dict[str, list[str]]:
    """The printed differences by key, header left out."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:]}


def test_what_differs_from_the_paper_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--scale", "small", "--diff-paper"])
    told = rows(capsys.readouterr().out)
    small = resolve("small")
    assert told["diffusion.model.hidden"] == [str(small["diffusion"]["model"]["hidden"]), "768"]
    assert told["recipe"] == ["fast", "paper"]
    assert "diffusion.model.dimension" not in told
    main(["--scale", "paper", "--diff-paper"])
    assert not rows(capsys.readouterr().out)


def test_the_printed_settings_are_those_that_hold(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--scale", "demo", "--set", "diffusion.model.hidden=32", "seeds=[7]"])
    told = yaml.safe_load(capsys.readouterr().out)
    assert told == resolve("demo", {"seeds": [7], "diffusion": {"model": {"hidden": 32}}})


def command(*words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "pipeline.settings", *words]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_ends_with_one_line_on_bad_input() -> None:
    assert command("--scale", "small", "--diff-paper").stdout.startswith("setting")
    bad = command("--set", "seed=1")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "error: override: unknown key 'seed'; did you mean 'seeds'?\n"
