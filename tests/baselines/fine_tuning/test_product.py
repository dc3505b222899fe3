"""FT-PoE: two experts write one text, each behind its own control."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from baselines.fine_tuning.product import ProductOfExperts
from pipeline.errors import InputError
from pipeline.methods import Request, load_method
from pipeline.records import Target
from pipeline.tasks import COMPOSITIONS, SEMANTIC_CONTENT, part_control

TASKS = tuple(COMPOSITIONS)
SETTINGS = {"temperature": 1.0, "longest": 20}
FT_SAMPLE = {"decoding": "sample", "module": "baselines.fine_tuning.method"}


def method(world: Any, task: str, name: str = "ft_poe", **changes: Any) -> ProductOfExperts:
    models = {f"language_model_{part}": world.models[part] for part in COMPOSITIONS[task]}
    settings = {"module": "baselines.fine_tuning.product", **SETTINGS, **changes}
    made = load_method(name, settings, world.vocabulary, models)
    assert isinstance(made, ProductOfExperts)
    return made


def requests(world: Any, task: str, count: int) -> list[Request]:
    return [Request(target, index) for index in range(2) for target in world.targets(task)][:count]


@pytest.mark.parametrize("task", TASKS)
def test_a_text_does_not_depend_on_its_batch(world: Any, task: str) -> None:
    writer, asked = method(world, task), requests(world, task, 7)
    together = list(writer.write(asked, seed=1))
    assert together == [next(writer.write([request], seed=1)) for request in asked]
    assert len({tuple(words) for words, _, _ in together}) > 4


@pytest.mark.parametrize("task", TASKS)
def test_an_expert_of_weight_1_beside_one_of_weight_0_is_alone(world: Any, task: str) -> None:
    """Its texts are FT-sample's, drawn from the same generators."""
    part, other = COMPOSITIONS[task]
    asked = requests(world, task, 6)
    product = method(world, task, weights={part: 1, other: 0})
    models = {"language_model": world.models[part]}
    alone = load_method("ft_poe", {**FT_SAMPLE, **SETTINGS}, world.vocabulary, models)
    drawn = [product.generator(request, 0) for request in asked]
    alone.generator = lambda request, seed: drawn.pop(0)  # type: ignore[method-assign]
    single = [
        Request(replace(r.target, task=part, control=part_control(r.target.control, part)), r.index)
        for r in asked
    ]
    expected = [words for words, _, _ in alone.write(single, 0)]
    assert [words for words, _, _ in product.write(asked, 0)] == expected


def test_both_controls_count(world: Any) -> None:
    """A product states the value more often than the expert of the other control alone."""
    task, shares = "semantic_content+parts_of_speech", []
    asked = [t for t in world.targets(task) if t.control["value"] in " ".join(world.vocabulary.words)]
    for weights in ({SEMANTIC_CONTENT: 0}, {}):
        texts = method(world, task, weights=weights).generate(asked, 10, seed=0)
        values = {target.target_id: target.control["value"] for target in asked}
        shares.append(np.mean([values[text.target_id] in text.text for text in texts]))
    assert shares[1] > shares[0] + 0.1


def test_every_token_that_an_expert_reads_is_counted(world: Any) -> None:
    task = "semantic_content+parts_of_speech"
    for request in requests(world, task, 3):
        (words, forward, backward) = next(method(world, task).write([request], 0))
        control = request.target.control
        prompts = len(control["field"].split()) + 1 + len(control["value"].split()) + len(control["tags"])
        assert (forward, backward) == (prompts + 2 * (1 + len(words)), 0)


def test_refusals(world: Any) -> None:
    with pytest.raises(InputError, match="not applicable to length; a product of one model is ft_sample"):
        method(world, TASKS[0]).require("length")
    with pytest.raises(InputError, match=r"weights: no part 'syntax_tre'; did you mean 'syntax_tree'\?"):
        next(method(world, TASKS[0], weights={"syntax_tre": 1}).generate(world.targets(TASKS[0]), 1, 0))
    strange = {"field": "food", "value": "brasserie", "tags": ["NOUN"]}
    with pytest.raises(InputError, match="cannot say 'food : brasserie'"):
        next(method(world, TASKS[1]).generate([Target("x", TASKS[1], strange)], 1, 0))
