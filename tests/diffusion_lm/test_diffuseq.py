"""DiffuSeq: the source is clean in training and sampling, END and PAD tell the length, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion_lm import diffuseq, train
from diffusion_lm.denoiser import DiffusionLM, ModelSettings
from diffusion_lm.diffuseq import DiffuSeqMethod, partial_loss, source, training_rows, whole_row
from diffusion_lm.layout import Row
from pipeline.command import Job, Spec
from pipeline.corpora.infilling import examples
from pipeline.corpora.vocabulary import END, PAD, START, UNK, Vocabulary
from pipeline.errors import InputError
from pipeline.records import Target, Text, read_records
from pipeline.settings import resolve
from pipeline.training import TrainingSettings

POSITIONS, SLOTS, STEPS = 44, 14, 6
SIZES = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 32, "time_channels": 8, "dropout": 0}
FORMS: dict[str, dict[str, Any]] = {
    "words": {"layout": "canvas", "predict": "words", "normalised": True, "self_conditioning": True},
    "x0": {"layout": "pad", "predict": "x0"},
    "noise": {"layout": "pad", "predict": "eps"},
}
every_form = pytest.mark.parametrize("form", FORMS)
Files = dict[str, Path]
Make = Callable[..., DiffusionLM]
TRAINING = TrainingSettings(9, 4, 0.1, 0, 0, 0, 0, 0, "fp32", 0)


ROWS = {  # by layout
    layout: whole_row(source([4, 5], [6]), [7, 8, END, PAD], layout) for layout in ("canvas", "pad")
}


def spec(form: str, model: dict[str, Any] | None = None, **training: Any) -> Spec:
    """The command's settings, as the configuration gives them."""
    shape = {**SIZES, "dimension": 4, "positions": POSITIONS, "diffusion_steps": 20, **FORMS[form]}
    own = {"steps": 3, "batch_size": 8, "learning_rate": 0.01, "ema": 0.5, **training}
    given = {"model": {**shape, **(model or {})}, "training": own}
    given = resolve("paper", {"diffusion": given})["diffusion"]
    return Spec({**given, "examples": "ends", "slots": SLOTS})


def trained(stories: Files, path: Path, given: Spec) -> Path:
    diffuseq.main(Job(given, stories, {"model": path}))
    return path


def training_stories(stories: Files) -> list[Text]:
    return [text for text in read_records(stories["corpus"], Text) if text.split == "train"]


# --- rows


@pytest.mark.parametrize("layout", ["canvas", "pad"])
def test_a_row_is_the_source_and_the_sentence_in_its_slots(stories: Files, layout: str) -> None:
    """The source stands in front in layout pad, as released, and behind on a canvas."""
    known = Vocabulary.load(stories["vocabulary"])
    rows = rows_of(stories, layout, POSITIONS)
    expected = examples(training_stories(stories), "ends")
    assert len(rows) == len(expected)
    for (ids, free), (left, middle, right) in zip(rows, expected, strict=True):
        given = [START, *known.encode(left), END, *known.encode(right), END]
        slots = SLOTS if layout == "canvas" else POSITIONS - len(given)
        target = [*known.encode(middle), END, *[PAD] * (slots - len(middle) - 1)]
        assert ids == [*target, *given] if layout == "canvas" else [*given, *target]
        assert sum(free) == slots and all(free[:slots] if layout == "canvas" else free[-slots:])


@pytest.mark.parametrize("layout", ["canvas", "pad"])
def test_sentences_that_do_not_fit_are_left_out(stories: Files, layout: str) -> None:
    """Either into their slots, or with them into the model's positions."""
    rows = rows_of(stories, layout, POSITIONS)
    fewer = rows_of(stories, layout, 34)
    assert 0 < len(fewer) < len(rows)
    assert all(len(ids) <= 34 and ids.count(END) == 3 for ids, _ in fewer)
    narrow = rows_of(stories, "canvas", POSITIONS, slots=10)
    assert 0 < len(narrow) < len(rows)
    assert all(sum(free) == 10 and ids.count(END) == 3 for ids, free in narrow)


def rows_of(stories: Files, layout: str, positions: int, slots: int = SLOTS) -> list[Row]:
    known = Vocabulary.load(stories["vocabulary"])
    settings = {**spec("x0")["model"], "layout": layout, "positions": positions}
    model = ModelSettings(words=len(known), **settings)
    return training_rows(training_stories(stories), known, "ends", model, slots)


# --- partial noising


class Watcher(nn.Module):
    """A stand-in network: remembers what it reads, and answers with a map of it."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights, self.inputs = weights, list[Tensor]()

    def forward(
        self, x: Tensor, time: Tensor, mask: Tensor | None = None, places: Tensor | None = None
    ) -> Tensor:
        self.inputs.append(x)
        output = x @ self.weights
        return output if places is None else output[places]


@every_form
def test_the_source_is_clean_in_training(make_model: Make, form: str) -> None:
    model = make_model(**FORMS[form])
    inputs, outputs = model.inputs, 11 if form == "words" else 4
    weights = torch.randn(inputs, outputs, generator=torch.Generator().manual_seed(1))
    network = Watcher(weights)
    model.denoiser = network  # type: ignore[assignment]
    row = ROWS[FORMS[form]["layout"]]
    partial_loss(model, [row], TRAINING)(0)
    noised = (network.inputs[-1][0, :, :4] != model.embedding(torch.tensor(row.ids))).all(1)
    assert noised.tolist() == row.free


@every_form
def test_the_loss_depends_on_no_noise_at_the_source(
    make_model: Make, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another draw there changes nothing; another draw in the slots changes the loss."""
    row = ROWS[FORMS[form]["layout"]]
    noise = torch.randn(2, 1, len(row.ids), 4, generator=torch.Generator().manual_seed(0))
    free = torch.tensor(row.free)[None, None, :, None]
    at_source, in_slots = noise + 3 * ~free, noise + 3 * free
    model, losses = make_model(**FORMS[form]), []
    for draw in (noise, at_source, in_slots):
        given = draw if form != "words" else draw[0]
        monkeypatch.setattr("diffusion_lm.objective.torch.randn_like", lambda _, given=given: given)
        monkeypatch.setattr("diffusion_lm.objective.torch.randn", lambda *_, given=given, **__: given)
        torch.manual_seed(0)
        losses.append(partial_loss(model, [row], TRAINING)(0).item())
    assert losses[0] == losses[1] != losses[2]


def test_what_the_model_says_of_the_source_does_not_count(make_model: Make) -> None:
    """The gradient of the loss reaches the rounding of the target's words alone."""
    model = make_model(**FORMS["x0"], embedding="random")
    partial_loss(model, [ROWS["pad"]], TRAINING)(0).backward()
    assert model.embedding.bias.grad is not None
    free_words = {7, 8, END, PAD}
    pulled = {i for i, slope in enumerate(model.embedding.bias.grad.tolist()) if slope < 0}
    assert pulled and pulled <= free_words


# --- the command and the method


@pytest.fixture(scope="module")
def files(stories: Files, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("diffuseq")
    return {form: trained(stories, folder / f"{form}.safetensors", spec(form)) for form in FORMS}


def method(stories: Files, path: Path, batch_size: int = 256, **sampling: Any) -> DiffuSeqMethod:
    own = {
        "steps": STEPS, "eta": 1.0, "clamp_from": 1.0, "temperature": 1.0, "truncate": 0.0,
        "single_words": False, "as_released": False, **sampling,
    }  # fmt: skip
    settings = {"batch_size": batch_size, "sampling": own, "precision": "fp32"}
    return DiffuSeqMethod("ours", settings, Vocabulary.load(stories["vocabulary"]), {"diffusion": path})


def targets(stories: Files) -> list[Target]:
    """Contexts of unequal length, one with a word that the vocabulary does not have."""
    told = [text.sentences or [] for text in training_stories(stories)][:4]
    pairs = [(" ".join(s[0]), " ".join(s[-1])) for s in told]
    pairs += [("She .", "He ."), ("Zorro asked END .", "The end .")]
    return [Target(str(i), "infilling", {"left": a, "right": b}) for i, (a, b) in enumerate(pairs)]


def written(made: DiffuSeqMethod, asked: list[Target], count: int = 4) -> dict[Any, str]:
    return {(s.target_id, s.sample_index): s.text for s in made.generate(asked, count, 0)}


@every_form
@pytest.mark.parametrize("single_words", [False, True])
def test_a_text_depends_on_no_batch(stories: Files, files: Files, form: str, single_words: bool) -> None:
    asked = targets(stories)
    whole = written(method(stories, files[form], single_words=single_words), asked)
    assert len(set(whole.values())) > len(asked)  # else it would prove little
    for size in (1, 7):
        assert written(method(stories, files[form], size, single_words=single_words), asked) == whole
    assert (
        written(method(stories, files[form], single_words=single_words), asked[::-1], 2).items()
        <= whole.items()
    )


@every_form
def test_the_source_never_changes_and_costs_are_counted(
    stories: Files, files: Files, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    real = diffuseq.CanvasMethod.fill

    def fill(self: DiffuSeqMethod, requests: Any, rows: Any, generators: Any) -> Tensor:
        ids = real(self, requests, rows, generators)
        seen.extend((torch.tensor(row), filled[: len(row)]) for row, filled in zip(rows, ids, strict=True))
        return ids

    monkeypatch.setattr(diffuseq.CanvasMethod, "fill", fill)
    samples = list(method(stories, files[form]).generate(targets(stories), 1, 0))
    for row, filled in seen:
        assert torch.equal(filled[row >= 0], row[row >= 0])
        assert (row == END).sum() == 2 and (filled == START).sum() == 1
        assert (row < 0).sum() == (SLOTS if form == "words" else POSITIONS - (row >= 0).sum())
    tokens = sorted(len(row) * STEPS for row, _ in seen)
    assert sorted(sample.forward_tokens for sample in samples) == tokens
    assert not any(sample.backward_passes for sample in samples)


def test_a_text_ends_at_the_first_end(stories: Files, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    made, (asked, *_) = method(stories, files["words"]), targets(stories)
    slots = [4, UNK, PAD, 5, END, 6, *[PAD] * (SLOTS - 6)]
    monkeypatch.setattr(
        made, "fill", lambda requests, rows, _: torch.tensor([[*slots, *row[SLOTS:]] for row in rows])
    )
    words = made.vocabulary.words
    assert written(made, [asked], 1) == {("0", 0): f"{words[4]} UNK {words[5]}"}


def test_an_unknown_word_of_the_source_is_unknown_to_the_model(stories: Files, files: Files) -> None:
    made = method(stories, files["words"])
    (row,) = (made.canvas(request(asked), torch.Generator()) for asked in targets(stories)[-1:])
    assert row[SLOTS + 1] == UNK and row.count(END) == 2


def request(asked: Target) -> Any:
    from pipeline.methods import Request

    return Request(asked, 0)


@pytest.mark.parametrize("form", ["words", "x0"])
def test_a_source_that_leaves_no_room_is_refused(stories: Files, files: Files, form: str) -> None:
    """The slots of a canvas must fit behind it; in layout pad one slot must be left."""
    room = POSITIONS - 3 - (SLOTS if form == "words" else 1)
    made = method(stories, files[form])
    fits, over = (Target("i", "infilling", {"left": "a " * (n - 1), "right": "b"}) for n in (room, room + 1))
    assert len(written(made, [fits], 1)) == 1
    with pytest.raises(InputError, match="target 'i': sentences and slots take 45 places, the model has 44"):
        written(made, [over], 1)


def test_models_of_the_two_methods_are_told_apart(stories: Files, files: Files, tmp_path: Path) -> None:
    known = Vocabulary.load(stories["vocabulary"])
    with pytest.raises(InputError, match="holds a DiffuSeq; a Diffusion-LM is needed"):
        train.load(files["words"], known)
    model, header = train.load_kind(files["words"], diffuseq.KIND, known)
    train.checkpoint.save(tmp_path / "m.safetensors", train.KIND, header, model.state_dict())
    with pytest.raises(InputError, match="holds a Diffusion-LM; a DiffuSeq is needed"):
        method(stories, tmp_path / "m.safetensors")


@every_form
def test_the_same_training_writes_the_same_bytes(
    stories: Files, files: Files, tmp_path: Path, form: str
) -> None:
    again, other = (
        trained(stories, tmp_path / f"{seed}.safetensors", spec(form, seed=seed)) for seed in (102, 2)
    )
    assert again.read_bytes() == files[form].read_bytes() != other.read_bytes()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "blocks": ({"layout": "block"}, "model.layout: cannot be 'block'"),
    "canvases without words": ({"layout": "canvas"}, "'canvas' needs predict 'words'"),
    "no room": ({"positions": 9}, "no training text fits into 9 positions"),
}


@pytest.mark.parametrize(("model", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_refused(
    stories: Files, tmp_path: Path, model: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as caught:
        trained(stories, tmp_path / "model.safetensors", spec("x0", model))
    assert told in str(caught.value)
