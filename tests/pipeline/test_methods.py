"""Loading methods by name, what they refuse, and the samples they hand over."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.methods import Method, Request, load_method, method_class
from pipeline.records import Target
from pipeline.tasks import LENGTH, SEMANTIC_CONTENT

VOCABULARY = Vocabulary(("START", "END", "UNK", "PAD", "the", "pub"))
LENGTHS = [Target(f"length-{n}", LENGTH, {"length": n}) for n in (3, 1)]
PUB = Target("food=pub", SEMANTIC_CONTENT, {"field": "food", "value": "pub"})


class Counter(Method):
    """Writes as many words as asked, and can do nothing else."""

    tasks = frozenset({LENGTH})
    refusals = {SEMANTIC_CONTENT: "it can only count"}  # noqa: RUF012

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        for request in requests:
            yield ["the"] * request.target.control["length"], 7, request.index


METHOD = Counter


def counter() -> Method:
    return Counter("counter", {}, VOCABULARY, {})


def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> str:
    """The name of an importable module with this source."""
    name = f"newcomer_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def failure(settings: dict[str, str]) -> str:
    with pytest.raises(InputError) as caught:
        load_method("newcomer", settings, VOCABULARY, {})
    return str(caught.value)


TEMPLATE = """
from pipeline.methods import Method

class Newcomer(Method):
    tasks = frozenset({{{tasks}}})

    def write(self, requests, seed):
        raise NotImplementedError

METHOD = Newcomer
"""


def test_loads_the_class_that_a_module_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"module": module(tmp_path, monkeypatch, TEMPLATE.format(tasks="'length'")), "top_k": 4}
    method = load_method("mine", settings, VOCABULARY, {"lm": tmp_path})
    assert isinstance(method, Method)
    assert (method.name, method.settings, method.models) == ("mine", settings, {"lm": tmp_path})


def test_a_missing_module_is_named() -> None:
    assert failure({"module": "baselines.nobody"}).startswith(
        "methods.newcomer.module: cannot import 'baselines.nobody'"
    )


def test_the_class_of_a_method_needs_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(tmp_path, monkeypatch, TEMPLATE.format(tasks="'length'"))
    kind = method_class("mine", name)
    assert issubclass(kind, Method) and kind.tasks == {LENGTH}
    assert type(load_method("mine", {"module": name}, VOCABULARY, {})) is kind


@pytest.mark.parametrize("wrong", ["baselines.fugde.method", "baselines.fugde", "baseline.fudge.method"])
def test_a_missing_module_names_the_nearest_that_defines_a_method(wrong: str) -> None:
    assert failure({"module": wrong}).endswith("; did you mean 'baselines.fudge.method'?")


def test_a_module_that_needs_something_absent_is_not_called_misspelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = failure({"module": module(tmp_path, monkeypatch, "import no_such_library\n")})
    assert message.endswith(
        "(No module named 'no_such_library'); install no_such_library, or correct its name"
    )


@pytest.mark.parametrize(
    "source", ["", "METHOD = 3\n", "class METHOD: ...\n"], ids=["none", "value", "class"]
)
def test_a_module_must_define_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    message = failure({"module": module(tmp_path, monkeypatch, source)})
    assert "defines no METHOD; set METHOD = YourMethod" in message


def test_an_error_inside_the_module_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(tmp_path, monkeypatch, "import os\nos.no_such_thing\n")
    with pytest.raises(AttributeError, match="no_such_thing"):
        load_method("newcomer", {"module": name}, VOCABULARY, {})


def test_an_unknown_task_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = failure({"module": module(tmp_path, monkeypatch, TEMPLATE.format(tasks="'lenght'"))})
    assert "unknown task 'lenght'; did you mean 'length'?" in message


def test_refusal_gives_the_reason() -> None:
    with pytest.raises(
        InputError, match="method 'counter': not applicable to semantic_content; it can only count"
    ):
        list(counter().generate([*LENGTHS, PUB], 1, 0))


def test_refusal_without_a_reason_lists_what_it_supports() -> None:
    with pytest.raises(InputError, match="not applicable to infilling; it supports length"):
        counter().require("infilling")


def test_samples_come_target_by_target_with_their_cost() -> None:
    samples = list(counter().generate(LENGTHS, 2, seed=5))
    assert [(s.target_id, s.sample_index, s.text) for s in samples] == [
        ("length-3", 0, "the the the"),
        ("length-3", 1, "the the the"),
        ("length-1", 0, "the"),
        ("length-1", 1, "the"),
    ]
    assert {(s.method, s.task, s.seed, s.forward_tokens) for s in samples} == {("counter", LENGTH, 5, 7)}
    assert [s.backward_passes for s in samples] == [0, 1, 0, 1]


def test_a_method_that_writes_too_little_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counter, "write", lambda self, requests, seed: iter([(["the"], 1, 0)]))
    with pytest.raises(ValueError, match="shorter"):
        list(counter().generate(LENGTHS, 2, 0))


def test_a_setting_that_is_missing_is_bad_input_where_it_is_used() -> None:
    method = Counter("counter", {"longest": 3}, VOCABULARY, {})
    assert method.settings["longest"] == 3
    with pytest.raises(InputError, match="'longst' is missing; did you mean 'longest'"):
        method.settings["longst"]


def test_randomness_belongs_to_the_request() -> None:
    method = counter()
    draws = {
        (target.target_id, index, seed): torch.rand(
            1, generator=method.generator(Request(target, index), seed)
        ).item()
        for target in LENGTHS
        for index in (0, 1)
        for seed in (0, 1)
    }
    assert len(set(draws.values())) == len(draws)
    again = torch.rand(1, generator=method.generator(Request(LENGTHS[0], 1), 0)).item()
    assert again == draws["length-3", 1, 0]
