"""Infilling with a Diffusion-LM: what stands around the slots, what may stand in them, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion_lm import train, writing
from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.infilling import SLOTS_FIRST, InfillingSettings, infilling_row
from diffusion_lm.method import DiffusionLMMethod
from diffusion_lm.sampling import FREE, Canvas
from pipeline import checkpoint
from pipeline.corpora.vocabulary import END, PAD, SPECIALS, START, UNK, Vocabulary
from pipeline.errors import InputError
from pipeline.methods import Request
from pipeline.records import Target
from tests.diffusion_lm.conftest import TINY

VOCABULARY = Vocabulary((*SPECIALS, *"Anna saw a red kite . She had no money for it So she asked".split()))
POSITIONS, STEPS = 24, 6
SAMPLING = {
    "steps": STEPS, "eta": 1.0, "clamp_from": 1.0, "temperature": 1.0, "truncate": 0.0,
    "single_words": False, "as_released": False,
}  # fmt: skip
OURS = {"slots": 6, "framed": True, "free_length": False, "precision": "fp32"}
RELEASED = {**OURS, "framed": False}
FREE_LENGTH = {**OURS, "free_length": True}
FORMS = {"ours": OURS, "released": RELEASED, "free length": FREE_LENGTH}
CANVAS = {"layout": "canvas", "predict": "words", "normalised": True, "self_conditioning": True}
LAYOUTS: dict[str, dict[str, Any]] = {
    "canvas": CANVAS,
    "turned": CANVAS,  # begins with the slots
    "pad": {"layout": "pad", "predict": "x0"},
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def target(name: str, left: str, right: str) -> Target:
    return Target(name, "infilling", {"left": left, "right": right}, ["She had no money ."])


TARGETS = [
    target("kite", "Anna saw a red kite .", "So she asked for it ."),
    target("short", "She asked .", "So"),
    target("unknown", "Zoe saw it .", "She END it ."),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained models whose words follow the noise, saved as their command saves them."""
    folder, paths = tmp_path_factory.mktemp("models"), {}
    for layout, changes in LAYOUTS.items():
        model = DiffusionLM(replace(TINY, words=len(VOCABULARY), positions=POSITIONS, **changes))
        with torch.no_grad():
            for weights in (*model.denoiser.up.parameters(), *model.denoiser.down.parameters()):
                weights *= 4
        header = {"model": asdict(model.settings), "vocabulary": VOCABULARY.digest(), "lengths": [0, 1]}
        header |= {SLOTS_FIRST: True} if layout == "turned" else {}
        paths[layout] = folder / f"{layout}.safetensors"
        checkpoint.save(paths[layout], train.KIND, header, model.state_dict())
    return paths


def method(files: dict[str, Path], layout: str, form: dict[str, Any], **changes: Any) -> DiffusionLMMethod:
    settings = {"batch_size": 256, "guidance": {}, "sampling": SAMPLING, "infilling": form, **changes}
    return DiffusionLMMethod("ours", settings, VOCABULARY, {"diffusion": files[layout]})


def written(made: DiffusionLMMethod, targets: list[Target] = TARGETS, count: int = 8) -> dict[Any, str]:
    return {(s.target_id, s.sample_index): s.text for s in made.generate(targets, count, 0)}


# --- rows


def row_of(asked: Target, form: dict[str, Any], layout: str, turned: bool = False) -> list[int]:
    model = replace(TINY, positions=POSITIONS, layout=layout)
    return infilling_row(asked, VOCABULARY, InfillingSettings(**form), model, turned)


LEFT, RIGHT = (VOCABULARY.encode(TARGETS[0].control[side].split()) for side in ("left", "right"))
SLOTS = [FREE] * 6


def test_a_released_row_has_neither_frame_nor_padding() -> None:
    assert row_of(TARGETS[0], RELEASED, "pad") == [*LEFT, *SLOTS, *RIGHT]


def test_a_framed_row_is_as_the_layout_has_it() -> None:
    framed = [START, *LEFT, *SLOTS, *RIGHT, END]
    assert row_of(TARGETS[0], OURS, "canvas") == framed
    assert row_of(TARGETS[0], OURS, "pad") == [*framed, *[PAD] * (POSITIONS - len(framed))]


@every_form
def test_a_row_may_begin_with_the_slots(form: dict[str, Any]) -> None:
    assert row_of(TARGETS[0], form, "canvas", turned=True) == [*SLOTS, *RIGHT, END, START, *LEFT]


def test_unknown_words_around_are_unknown_to_the_model() -> None:
    row = row_of(TARGETS[2], OURS, "pad")
    assert row[1] == UNK and row[row.index(FREE) + 7] == UNK and row.count(END) == 1


@every_form
@pytest.mark.parametrize("turned", [False, True])
def test_what_does_not_fit_is_refused(form: dict[str, Any], turned: bool) -> None:
    """A row may fill the positions, not more."""
    room = POSITIONS - 6 - (2 if form["framed"] or turned else 0)
    full, over = (target("over", "kite " * (n - 1), "kite") for n in (room, room + 1))
    assert len(row_of(full, form, "canvas", turned)) == POSITIONS
    with pytest.raises(
        InputError, match="target 'over': sentences and slots take 25 places, the model has 24"
    ):
        row_of(over, form, "canvas", turned)


# --- texts


@every_layout
@every_form
def test_slots_hold_words_only_and_as_many_as_asked_for(
    files: dict[str, Path], layout: str, form: dict[str, Any]
) -> None:
    """With free length a slot may stay empty, and it does not show in the text."""
    texts = written(method(files, layout, form), count=30)
    lengths = {len(text.split()) for text in texts.values()}
    assert len(set(texts.values())) > len(texts) / 2
    assert not {"START", "END", "PAD"} & {word for text in texts.values() for word in text.split()}
    assert lengths <= set(range(7)) if form["free_length"] else lengths == {6}
    assert not form["free_length"] or len(lengths) > 1


def test_empty_slots_are_left_out_wherever_they_are() -> None:
    canvas = Canvas.of([[START, FREE, FREE, FREE, END]], InfillingSettings(**FREE_LENGTH).barred)
    allowed = (~canvas.forbidden(len(VOCABULARY)))[0, 0].nonzero().flatten().tolist()
    assert allowed == [PAD, *range(4, len(VOCABULARY))]
    assert VOCABULARY.decode([4, PAD, 5, PAD]) == ["Anna", "saw"]


@pytest.fixture
def canvases() -> Iterator[list[tuple[Canvas, Tensor]]]:
    """Every canvas that is filled, and what came of it."""
    seen: list[tuple[Canvas, Tensor]] = []
    real = writing.sample

    def watched(model: DiffusionLM, canvas: Canvas, *rest: Any) -> Tensor:
        seen.append((canvas, real(model, canvas, *rest)))
        return seen[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "sample", watched)
        yield seen


@every_layout
@every_form
def test_the_sentences_around_never_change(
    files: dict[str, Path], layout: str, form: dict[str, Any], canvases: list[tuple[Canvas, Tensor]]
) -> None:
    written(method(files, layout, form))
    for canvas, ids in canvases:
        assert torch.equal(ids[~canvas.free], canvas.words[~canvas.free])
        assert (canvas.free.sum(1) == 6).all()
    assert canvases


def test_a_model_is_asked_in_the_order_that_it_has_learned(files: dict[str, Path]) -> None:
    request, generator = Request(TARGETS[0], 0), torch.Generator()
    assert method(files, "turned", OURS).canvas(request, generator)[:6] == SLOTS
    assert method(files, "canvas", OURS).canvas(request, generator)[0] == START


@every_layout
@every_form
@pytest.mark.parametrize("single_words", [False, True])
def test_a_text_depends_on_no_batch(
    files: dict[str, Path], layout: str, form: dict[str, Any], single_words: bool
) -> None:
    sampling = {**SAMPLING, "single_words": single_words}
    whole = written(method(files, layout, form, sampling=sampling))
    for size in (1, 7):
        assert written(method(files, layout, form, sampling=sampling, batch_size=size)) == whole
    turned = written(method(files, layout, form, sampling=sampling), TARGETS[::-1], 2)
    assert turned.items() <= whole.items()


def test_infilling_may_sample_in_its_own_way(files: dict[str, Path]) -> None:
    """Its ``sampling`` is laid over that of the method, and costs follow it."""
    own = method(files, "canvas", {**OURS, "sampling": {"steps": 3}})
    same = method(files, "canvas", OURS, sampling={**SAMPLING, "steps": 3})
    assert written(own) == written(same) != written(method(files, "canvas", OURS))
    (sample,) = own.generate(TARGETS[:1], 1, 0)
    assert (sample.forward_tokens, sample.backward_passes) == (3 * (2 + 6 + 12), 0)
    with pytest.raises(InputError, match="methods.ours.infilling.sampling.steps: 21 steps"):
        written(method(files, "canvas", {**OURS, "sampling": {"steps": 21}}))


def test_bf16_is_a_setting(files: dict[str, Path]) -> None:
    assert method(files, "canvas", {**OURS, "precision": "bf16"}).in_bf16("infilling")
    assert not method(files, "canvas", OURS).in_bf16("infilling")
