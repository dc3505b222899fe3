"""Malformed input: every command ends with exit code 2 and one line, and writes nothing."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.commands import Call, modules, run
from tests.faults.conftest import Miniature
from tests.faults.damage import damages, wrong_settings

ROOT = Path(__file__).resolve().parents[2]
QUICK = (
    *("pipeline.corpora.prepare", "pipeline.corpora.prepare_stories", "pipeline.human", "pipeline.refusals"),
    *("pipeline.teacher", "pipeline.generate", "baselines.fine_tuning.train", "eval.oracles.train_tagger"),
)
ON_DEMAND = (  # commands that no file of the default target needs
    *("diffusion_lm.ablate", "eval.ablations", "eval.ablation_figures"),
    *("pipeline.variants", "eval.sampling_ablations", "eval.sampling_figure"),
    *("pipeline.likelihood", "diffusion_lm.likelihood", "eval.likelihood_table"),
)
UNTRIED = ("baselines.pplm.batching", "eval.trials", "eval.infilling_trials")  # nor of any other goal
COUNTED = ("eval.cost", "eval.signatures")  # of models they tell what made them, and need not load them
FEWEST = 60


class Case(NamedTuple):
    """A call that must fail, and what is wrong with it."""

    told: str
    call: Call


def staged() -> list[str]:
    """The modules that are stages: files in, files out."""
    sources = {name: ROOT / f"{name.replace('.', '/')}.py" for name in modules()}
    return [
        n
        for n, p in sources.items()
        if p.is_file() and re.search(r"^    command\($|^    command\(main", p.read_text(), re.M)
    ]


def parts(call: Call) -> dict[str, list[str]]:
    """A call's words by option."""
    found: dict[str, list[str]] = {}
    for word in call.words:
        if word.startswith("--"):
            option = found.setdefault(word, [])
        else:
            option.append(word)
    return found


def cases(call: Call, made: Miniature, scratch: Path) -> Iterator[Case]:
    """Everything that can be wrong with the files and the settings of a call; outputs go to ``scratch``."""
    words = parts(call)
    spec, inputs = words["--spec"][0], words.get("--input", [])
    outputs = [word.replace("results/demo/", f"{scratch}/out/", 1) for word in words["--output"]]

    def changed(spec: str, inputs: list[str]) -> Call:
        given = ["--input", *inputs] if inputs else []
        return Call(call.module, ("--spec", spec, *given, "--output", *outputs))

    for index in distinct(inputs):
        name, _, path = inputs[index].partition("=")
        good, bad = made.folder / path, scratch / Path(path).name
        is_read = call.module not in COUNTED or good.suffix != ".safetensors"
        for told, damage in damages(good, is_read).items():
            damage(good, bad)
            yield Case(
                f"{name} is {told}", changed(spec, [*inputs[:index], f"{name}={bad}", *inputs[index + 1 :]])
            )
            if bad.is_dir() and not bad.is_symlink():
                bad.rmdir()
            else:
                bad.unlink(missing_ok=True)
    for told, wrong in wrong_settings(json.loads(spec)):
        yield Case(told, changed(wrong, inputs))


def distinct(inputs: list[str]) -> list[int]:
    """One input of each kind: a table reads hundreds of files, but of three kinds only."""
    kinds: dict[str, int] = {}
    for index, word in enumerate(inputs):
        name, _, path = word.partition("=")
        kinds.setdefault(name.split("/")[0] + Path(path).suffix, index)
    return list(kinds.values())


def fault(case: Case, made: Miniature, scratch: Path) -> str:
    """What a command did wrong in a case; nothing if it behaved."""
    ended = run(case.call, made.folder)
    written = [path.name for path in (scratch / "out").rglob("*") if path.is_file()]
    shutil.rmtree(scratch / "out", ignore_errors=True)
    one_line = ended.told.startswith("error: ") and ended.told.count("\n") == 1
    if (scratch / "created").exists():
        return f"{case.told}: it was unpickled"
    if ended.code == 2 and one_line and not written:
        return ""
    return f"{case.told}: code {ended.code}, wrote {written}, told {ended.told[-300:]!r}"


def check(module: str, made: Miniature, scratch: Path, every: int = 1) -> None:
    """Cases of a module, or of every method that it runs; only each so-manieth of them."""
    calls = {method_of(call): call for call in reversed(made.calls) if call.module == module}
    assert calls, f"nothing runs {module}"
    told = [
        fault(case, made, scratch) for call in calls.values() for case in chosen(call, made, scratch, every)
    ]
    assert len(told) > 5
    faults = [one for one in told if one]
    assert not faults, "\n".join(faults)


def chosen(call: Call, made: Miniature, scratch: Path, every: int) -> Iterator[Case]:
    """Each so-manieth case of a call."""
    return itertools.islice(cases(call, made, scratch), 0, None, every)


def method_of(call: Call) -> str:
    """The module of the method that a call runs, if it runs one."""
    method = json.loads(parts(call)["--spec"][0]).get("method", {})
    return str(method.get("module", ""))


@pytest.mark.parametrize("module", QUICK)
def test_a_command_refuses_malformed_input_in_one_line(module: str, few: Miniature, tmp_path: Path) -> None:
    check(module, few, tmp_path, every=4)


@pytest.mark.faults
@pytest.mark.parametrize("module", ON_DEMAND)
def test_a_command_on_demand_does_too(module: str, on_demand: Miniature, tmp_path: Path) -> None:
    check(module, on_demand, tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("module", [name for name in staged() if name not in (*ON_DEMAND, *UNTRIED)])
def test_every_command_refuses_all_malformed_inputs(
    module: str, miniature: Miniature, tmp_path: Path
) -> None:
    check(module, miniature, tmp_path)


def test_the_generator_makes_enough_cases(few: Miniature, tmp_path: Path) -> None:
    call = next(call for call in few.calls if call.module == "pipeline.generate")
    assert len(list(cases(call, few, tmp_path))) >= FEWEST
