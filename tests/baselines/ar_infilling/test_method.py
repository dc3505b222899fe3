"""AR infilling: middles that follow both contexts, in the layout of the model, whatever batch they are in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from baselines.ar_infilling.train import context_ids
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel
from pipeline.methods import Request
from pipeline.records import Target
from pipeline.tasks import INFILLING

layouts = pytest.mark.parametrize("layout", ["separated", "released"])


@layouts
def test_a_text_does_not_depend_on_its_batch(world: Any, layout: str) -> None:
    writer = world.method(layout)
    asked = [Request(target, index) for target in world.targets[::5] for index in range(2)][:7]
    together = list(writer.write(asked, seed=3))
    assert together == [next(writer.write([request], seed=3)) for request in asked]
    assert together == list(writer.write(asked, seed=3))
    assert together != list(writer.write(asked, seed=4))


@layouts
def test_greedy_is_the_likeliest_word_again_and_again(world: Any, layout: str) -> None:
    model = LanguageModel.load(world.models[layout])
    for target, sample in zip(
        world.targets[:6], world.method(layout, temperature=0).generate(world.targets[:6], 1, 0), strict=True
    ):
        left, right = (target.control[side].split() for side in ("left", "right"))
        ids, written = context_ids(model, layout, left, right), list[int]()
        while model.end not in written and len(written) < 20:
            with torch.no_grad():
                logits = model.network(torch.tensor([[*ids, *written]])).logits[0, -1]
            logits[[*model.barred, model.unknown]] = -torch.inf
            written.append(int(logits.argmax()))
        assert sample.text == " ".join(model.decode(written))
        assert sample.forward_tokens == len(ids) + len(written) - 1


@layouts
def test_middles_are_sentences_that_both_contexts_change(world: Any, layout: str) -> None:
    writer, known = world.method(layout), {*world.vocabulary.words} - {"START", "END", "PAD"}
    texts = list(writer.generate(world.targets, 4, seed=0))
    assert [t.target_id for t in texts] == [t.target_id for t in world.targets for _ in range(4)]
    assert sum(t.text.endswith(" .") and t.text.count(".") == 1 for t in texts) > 0.7 * len(texts)
    assert {word for t in texts for word in t.text.split()} <= known
    for side in ("left", "right"):
        moved = [*world.targets[6:], *world.targets[:6]]
        others = [
            replace(t, control={**t.control, side: o.control[side]})
            for t, o in zip(world.targets, moved, strict=True)
        ]
        changed = list(writer.generate(others, 4, seed=0))
        assert sum(a.text != b.text for a, b in zip(texts, changed, strict=True)) > 0.3 * len(texts)


@layouts
def test_costs_and_the_longest_text(world: Any, layout: str) -> None:
    for longest in (1, 3, 20):
        for target, sample in zip(
            world.targets, world.method(layout, longest=longest).generate(world.targets, 1, 0), strict=True
        ):
            words = sample.text.split()
            context = sum(len(target.control[side].split()) for side in ("left", "right"))
            read = context + (2 if layout == "separated" else 1) + len(words)
            assert len(words) <= longest and sample.backward_passes == 0
            assert sample.forward_tokens in ({read - 1} if len(words) == longest else {read})


@layouts
def test_unknown_words_are_read_as_unk(world: Any, layout: str) -> None:
    controls = [
        {"left": "Zebedee saw START .", "right": "a brasserie"},
        {"left": "UNK saw END .", "right": "a UNK"},
    ]
    first, second = (
        [s.text for s in world.method(layout).generate([Target("x", INFILLING, c, ["x"])], 3, 0)]
        for c in controls
    )
    assert first == second


def test_refusals(world: Any) -> None:
    def write(method: Any, target: Target = world.targets[0]) -> list[Any]:
        return list(method.generate([target], 1, 0))

    long = Target("x", INFILLING, {"left": "the " * 20, "right": "the " * 24}, ["x"])
    with pytest.raises(InputError, match="has 64 positions, but a text with its prompt needs 65"):
        write(world.method(), long)
    assert write(world.method("released"), long) and write(world.method(longest=19), long)
    with pytest.raises(InputError, match="task is None, expected 'infilling'"):
        write(world.method("stories"))
    words = Vocabulary((*world.vocabulary.words, "brasserie"))
    with pytest.raises(InputError, match="vocabulary is"):
        write(world._replace(vocabulary=words).method())
    with pytest.raises(InputError, match="not applicable to length"):
        world.method().require("length")
