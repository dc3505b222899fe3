"""AR infilling's training: the rows of both layouts, what they teach, and every refusal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.ar_infilling import train
from baselines.ar_infilling.train import SEPARATOR, example_row
from pipeline import checkpoint
from pipeline.command import Job
from pipeline.corpora.infilling import Example
from pipeline.corpora.vocabulary import END, START, UNK
from pipeline.errors import InputError
from pipeline.language_model import KIND, LanguageModel, Row
from pipeline.records import Text, write_records

LAYOUTS = ("separated", "released")


def test_rows_of_both_layouts(world: Any) -> None:
    separated, released = (LanguageModel.load(world.models[layout]) for layout in LAYOUTS)
    example = Example(["Anna", "END"], ["But", "brasserie", "."], ["milk"])
    anna, but, milk, stop = separated.encode(["Anna", "But", "milk", "."])
    separator = separated.tokenizer.token_to_id(SEPARATOR)
    assert separator == len(world.vocabulary) and released.tokenizer.token_to_id(SEPARATOR) is None
    assert example_row(separated, "separated", example) == Row(
        [anna, UNK, separator, milk, START, but, UNK, stop, END], 5
    )
    assert example_row(released, "released", example) == Row([START, anna, UNK, milk, but, UNK, stop, END], 1)
    assert separator in separated.barred


def middle_nats(model: LanguageModel, rows: list[Row], words: list[int]) -> float:
    """Nats per word of the last ``words`` words of each row; END is left out."""
    losses = model.token_losses([replace(row, prompt=1) for row in rows])
    return float(np.concatenate([x[-n - 1 : -1] for x, n in zip(losses, words, strict=True)]).mean())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_context_makes_the_middle_likelier(world: Any, layout: str) -> None:
    """NLL(middle | left, right) < NLL(middle | left) < NLL(middle)."""
    infilling, stories = LanguageModel.load(world.models[layout]), LanguageModel.load(world.models["stories"])
    held_out = world.held_out
    words = [len(example.middle) for example in held_out]
    both = middle_nats(infilling, [example_row(infilling, layout, e) for e in held_out], words)
    left = middle_nats(stories, [stories.row([*e.left, *e.middle]) for e in held_out], words)
    neither = middle_nats(stories, [stories.row(e.middle) for e in held_out], words)
    assert both < left - 0.3 and left < neither - 0.5


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_another_storys_context_makes_the_middle_unlikelier(world: Any, layout: str, side: str) -> None:
    model, held_out = LanguageModel.load(world.models[layout]), world.held_out
    words = [len(example.middle) for example in held_out]
    others = [*held_out[6:], *held_out[:6]]
    false = [e._replace(**{side: getattr(o, side)}) for e, o in zip(held_out, others, strict=True)]
    true_nats, false_nats = (
        middle_nats(model, [example_row(model, layout, e) for e in asked], words)
        for asked in (held_out, false)
    )
    assert true_nats < false_nats - 0.1


def test_the_command_names_the_layout_and_repeats_itself(
    run_command: Any, world: Any, tmp_path: Path
) -> None:
    found = []
    for name in ("a", "b"):
        path = tmp_path / name / "model.safetensors"
        spec = world.spec("released", training={**world.spec("released")["training"], "steps": 3})
        done = run_command("baselines.ar_infilling.train", spec, world.inputs, {"model": path})
        assert done.code == 0 and "ar_infilling: 3/3" in done.stderr
        found.append(path.read_bytes())
    assert found[0] == found[1]
    header, _ = checkpoint.load(path, KIND)
    assert (header["task"], header["layout"]) == ("infilling", "released")
    assert header["vocabulary"] == world.vocabulary.digest()


def test_the_context_setting_counts(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, list[Row]] = {}
    for context in ("neighbours", "ends"):
        monkeypatch.setattr(train, "fit", lambda model, rows, *rest, c=context: found.update({c: rows}))
        job = Job(world.spec("released", context=context), world.inputs, {"model": tmp_path / "m"})
        train.main(job)
    assert len(found["ends"]) == len(found["neighbours"]) == 3 * 400
    model, story = LanguageModel.load(world.models["released"]), world.stories[0]
    first, second, *_, last = story.sentences
    assert found["ends"][0].ids == [START, *model.encode([*first, *last, *second]), END]


def test_refusals(world: Any, tmp_path: Path) -> None:
    output = {"model": tmp_path / "model.safetensors"}
    with pytest.raises(InputError, match="layout: cannot be 'separate'; did you mean 'separated'"):
        train.main(Job(world.spec("separate"), world.inputs, output))
    with pytest.raises(InputError, match="context: cannot be 'end'; did you mean 'ends'"):
        train.main(Job(world.spec("released", context="end"), world.inputs, output))
    small = {**world.spec("released")["model"], "positions": 8}
    with pytest.raises(InputError, match="no row of ar_infilling fits 8 positions"):
        train.main(Job(world.spec("released", model=small), world.inputs, output))
    bare = tmp_path / "bare.jsonl"
    write_records(bare, [Text("pub", "train", "a", ["a"])])
    with pytest.raises(InputError, match="story 'pub': 0 sentences"):
        train.main(Job(world.spec("released"), {**world.inputs, "corpus": bare}, output))
    assert not output["model"].exists()
