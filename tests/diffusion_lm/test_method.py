"""Diffusion-LM as a method: what a text may depend on, what steers it, what it costs, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from diffusion_lm import guidance as guidance_module
from diffusion_lm import train, train_classifier
from diffusion_lm.classifiers import ClassifierSettings
from diffusion_lm.denoiser import DiffusionLM, ModelSettings
from diffusion_lm.method import DiffusionLMMethod, draw_length
from pipeline import checkpoint
from pipeline.corpora.vocabulary import SPECIALS, Vocabulary
from pipeline.errors import InputError
from pipeline.methods import Request, load_method
from pipeline.records import Sample, Target
from pipeline.seeding import generator
from pipeline.settings import resolve

VOCABULARY = Vocabulary((*SPECIALS, *"The Mill is a pub serves Thai French food near name : .".split()))
VALUES = {"food": ["Thai", "French"], "name": ["The Mill"]}
POSITIONS, STEPS = 12, 6
LENGTHS = [0, 0, 1, 5, 0, 3, 0, 2]  # training texts of 2, 3, 5 and 7 words
SIZES = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 32, "time_channels": 8, "dropout": 0}
OWN = {"dimension": 4, "positions": POSITIONS, "diffusion_steps": 30, "seed": 3, **SIZES}
WORDS = {**OWN, "predict": "words", "normalised": True, "layout": "canvas"}
MODELS: dict[str, dict[str, Any]] = {
    "canvas": {**WORDS, "self_conditioning": True},
    "plain canvas": WORDS,
    "pad": {**OWN, "predict": "x0", "layout": "pad"},
}
CONTENT = {"form": "gradient", "updates": 3, "rate": 0.3, "fluency": 0.01}
HOLD = {"form": "hold"}
RELEASED = {**CONTENT, "optimizer": "sign", "anchor": "released"}

SEMANTIC = [
    Target(f"{field}={value}", "semantic_content", {"field": field, "value": value})
    for field, values in VALUES.items()
    for value in values
]
LONG = [Target(f"length-{n}", "length", {"length": n}) for n in range(1, POSITIONS - 1)]
ANY = [Target("any", "unconditional", {})]


def lively(model: DiffusionLM) -> DiffusionLM:
    """Untrained, but with words that follow the noise: weights of the first and last layers are enlarged."""
    with torch.no_grad():
        for layer in (model.denoiser.up, model.denoiser.down):
            for weights in layer.parameters():
                weights *= 4
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained models and classifiers, saved as their commands save them."""
    folder, paths = tmp_path_factory.mktemp("models"), {}
    for layout, changes in MODELS.items():
        shape = resolve("paper", {"diffusion": {"model": changes}})["diffusion"]["model"]
        model = lively(DiffusionLM(ModelSettings(words=len(VOCABULARY), **shape)))
        header = {"model": asdict(model.settings), "vocabulary": VOCABULARY.digest(), "lengths": LENGTHS}
        paths[layout] = folder / f"{layout}.safetensors"
        checkpoint.save(paths[layout], train.KIND, header, model.state_dict())
        for form in ("fields", "words"):
            paths[f"{layout} {form}"] = folder / f"{layout}_{form}.safetensors"
            save_classifier(paths[f"{layout} {form}"], model, form)
    return paths


def save_classifier(path: Path, model: DiffusionLM, form: str) -> None:
    changes = {"semantic_content": {"model": {"form": form, **SIZES}}}
    settings = resolve("paper", {"classifiers": changes})["classifiers"]["semantic_content"]["model"]
    classifier = train_classifier.build(ClassifierSettings(**settings), model, VALUES)
    embedding = train_classifier.embedding_digest(model)
    header = {"model": settings, "values": VALUES, "embedding": embedding}
    checkpoint.save(path, train_classifier.KIND, header, train_classifier.trainable(classifier))


def method(
    files: dict[str, Path], layout: str = "canvas", form: str = "fields", name: str = "ours",
    guidance: dict[str, Any] | None = None, batch_size: int = 256, **sampling: Any,
) -> DiffusionLMMethod:  # fmt: skip
    """A method instance with settings as the configuration gives them."""
    models = {"diffusion": files[layout], "classifier": files[f"{layout} {form}"]}
    own = {"module": "diffusion_lm.method", "tasks": {}, "batch_size": batch_size, "guidance": guidance or {}}
    own["sampling"] = {"steps": STEPS, **sampling}
    settings = resolve("paper", {"methods": {name: own}})["methods"][name]
    made = load_method(name, settings, VOCABULARY, models)
    assert isinstance(made, DiffusionLMMethod)
    return made


def texts(samples: list[Sample]) -> dict[tuple[str, str, int], str]:
    return {(s.task, s.target_id, s.sample_index): s.text for s in samples}


def written(made: DiffusionLMMethod, targets: list[Target], count: int = 2, seed: int = 0) -> Any:
    return texts(list(made.generate(targets, count, seed)))


CASES: dict[str, tuple[str, list[Target], dict[str, Any], str]] = {
    "unguided canvas": ("canvas", ANY, {}, "fields"),
    "unguided pad": ("pad", ANY, {}, "fields"),
    "content canvas": ("canvas", SEMANTIC, {"semantic_content": CONTENT}, "fields"),
    "content pad": ("pad", SEMANTIC, {"semantic_content": CONTENT}, "fields"),
    "content by words": ("canvas", SEMANTIC, {"semantic_content": CONTENT}, "words"),
    "released content": ("pad", SEMANTIC, {"semantic_content": RELEASED}, "words"),
    "length canvas": ("canvas", LONG, {"length": HOLD}, "fields"),
    "length pad": ("pad", LONG, {"length": HOLD}, "fields"),
    "released length": ("pad", LONG, {"length": RELEASED}, "fields"),
}
every_case = pytest.mark.parametrize(("layout", "targets", "guidance", "form"), CASES.values(), ids=CASES)


# --- what a text depends on


@every_case
def test_a_text_is_the_same_in_any_batch_any_order_and_any_number(
    files: dict[str, Path], layout: str, targets: list[Target], guidance: dict[str, Any], form: str
) -> None:
    together = method(files, layout, form, guidance=guidance)
    whole = written(together, targets, 3)
    assert len(set(whole.values())) > len(whole) / 2  # else it would prove little
    assert written(together, targets, 3) == whole
    alone = method(files, layout, form, guidance=guidance, batch_size=1)
    assert written(alone, targets, 3) == whole
    sevens = method(files, layout, form, guidance=guidance, batch_size=7)
    fewer = written(sevens, targets[::-1], 2)
    assert fewer == {key: text for key, text in whole.items() if key[2] < 2}
    assert written(together, targets[:1], 2).items() <= whole.items()


@pytest.mark.parametrize("layout", MODELS)
def test_texts_without_doubled_words_depend_on_no_batch_either(files: dict[str, Path], layout: str) -> None:
    """Places beyond a text, and the predictions at its known START and END, must not push its words aside."""
    whole = written(method(files, layout, single_words=True), ANY, 40)
    assert written(method(files, layout, single_words=True, batch_size=1), ANY, 40) == whole
    for words in (text.split(" ") for text in whole.values()):
        doubled = [one for one, other in pairwise(words) if one == other]
        assert (
            not doubled or layout == "pad"
        )  # there a START or PAD between two words is left out of the text


def test_samples_come_in_the_order_of_the_targets_though_batches_do_not(files: dict[str, Path]) -> None:
    made = method(files, guidance={"length": HOLD}, batch_size=3)
    targets = [LONG[5], LONG[0], LONG[9], LONG[2]]
    samples = list(made.generate(targets, 2, 0))
    assert [(s.target_id, s.sample_index) for s in samples] == [
        (t.target_id, i) for t in targets for i in (0, 1)
    ]
    assert [len(s.text.split(" ")) for s in samples] == [6, 6, 1, 1, 10, 10, 3, 3]


def test_seed_and_name_change_the_texts(files: dict[str, Path]) -> None:
    """Guided and unguided instances draw apart, and two instances of one method too."""
    ours = written(method(files), ANY, 5)
    assert written(method(files), ANY, 5, seed=1) != ours
    assert list(written(method(files, name="theirs"), ANY, 5).values()) != list(ours.values())


def test_an_unguided_instance_does_not_see_the_control(files: dict[str, Path]) -> None:
    for layout in ("canvas", "pad"):
        made = method(files, layout)
        french = [replace(SEMANTIC[0], control={"field": "food", "value": "French"})]
        assert written(made, SEMANTIC[:1], 4) == written(made, french, 4)
        assert written(made, LONG[:1], 4) == written(made, [replace(LONG[0], control={"length": 9})], 4)


def test_guidance_of_one_task_leaves_the_others_alone(files: dict[str, Path]) -> None:
    made = method(files, guidance={"semantic_content": CONTENT})
    assert written(made, LONG) == written(method(files), LONG)
    assert written(made, SEMANTIC) != written(method(files), SEMANTIC)


def test_targets_of_several_tasks_may_stand_in_one_file(files: dict[str, Path]) -> None:
    made = method(files, guidance={"semantic_content": CONTENT, "length": HOLD})
    mixed = written(made, [LONG[0], SEMANTIC[0], ANY[0], LONG[4], SEMANTIC[1]])
    assert mixed == written(made, SEMANTIC[:2]) | written(made, [LONG[0], LONG[4]]) | written(made, ANY)


# --- control


@pytest.mark.parametrize("layout", ["canvas", "pad"])
def test_a_held_length_is_met_exactly(files: dict[str, Path], layout: str) -> None:
    samples = method(files, layout, guidance={"length": HOLD}).generate(LONG, 3, 0)
    for sample in samples:
        assert len(sample.text.split(" ")) == int(sample.target_id.removeprefix("length-"))
        assert not {"START", "END", "PAD"} & set(sample.text.split(" "))


def test_unguided_canvases_are_as_long_as_training_texts(files: dict[str, Path]) -> None:
    lengths = {len(text.split(" ")) for text in written(method(files), ANY, 60).values()}
    assert lengths == {n for n, count in enumerate(LENGTHS) if count}


@pytest.mark.parametrize("change", [{"rate": 0.0}, {"updates": 0}, {"idle": 1.0}], ids=str)
@pytest.mark.parametrize("layout", ["plain canvas", "pad"])
def test_guidance_that_moves_nothing_is_no_guidance(
    files: dict[str, Path], layout: str, change: dict[str, Any]
) -> None:
    still = method(files, layout, guidance={"semantic_content": CONTENT | change})
    unguided = method(files, layout)
    assert written(still, SEMANTIC, 5) == written(unguided, SEMANTIC, 5)


def test_a_strong_classifier_gradient_raises_the_probability_of_its_value(files: dict[str, Path]) -> None:
    """The loss that the guide lowers is that of the target's own value, at the time of x_{t-1}."""
    reached: dict[str, list[float]] = {}
    for rate in (0.0, 0.3):
        made = method(files, guidance={"semantic_content": CONTENT | {"rate": rate}}, batch_size=2)
        reached[str(rate)] = losses(made, SEMANTIC)
    assert all(guided < free for guided, free in zip(reached["0.3"], reached["0.0"], strict=True))


def losses(made: DiffusionLMMethod, targets: list[Target]) -> list[float]:
    """The classifier's loss of each target's own text, averaged over all of its steps."""
    seen: dict[int, list[float]] = {}
    original = made.semantic_loss

    def recorded(requests: Any, canvas: Any) -> Any:
        inner = original(requests, canvas)

        def loss(x: torch.Tensor, index: int) -> torch.Tensor:
            values = inner(x, index)
            for request, value in zip(requests, values.tolist(), strict=True):
                seen.setdefault(targets.index(request.target), []).append(value)
            return values

        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "semantic_loss", recorded)
        list(made.generate(targets, 8, 0))
    return [sum(seen[i]) / len(seen[i]) for i in range(len(targets))]


def test_the_released_length_control_pulls_end_to_its_place(files: dict[str, Path]) -> None:
    """Its loss, summed over START and END at the places asked for, is lowered by its own updates."""
    target = [LONG[4]]
    free, pulled = (
        written(method(files, "pad", guidance={"length": RELEASED | {"rate": rate}}), target, 4)
        for rate in (0.0, 0.5)
    )
    assert free != pulled
    assert free == written(method(files, "pad"), target, 4)


# --- cost


class Costs:
    """Counts what networks really read, and how often gradients are taken."""

    def __init__(self, patch: pytest.MonkeyPatch, *modules: nn.Module) -> None:
        self.tokens = self.backward = 0
        self.handles = [module.register_forward_hook(self.forward) for module in modules]
        real = torch.autograd.grad

        def grad(*arguments: Any, **keywords: Any) -> Any:
            self.backward += 1
            return real(*arguments, **keywords)

        patch.setattr(guidance_module.torch.autograd, "grad", grad)

    def forward(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
        self.tokens += inputs[0].shape[0] * inputs[0].shape[1]


def body(made: DiffusionLMMethod, target: Target, part: str = "semantic_content") -> nn.Module:
    """What the classifier for one part of a target's task reads texts with."""
    found = made.classifier([Request(target, 0)], part).body
    assert isinstance(found, nn.Module)
    return found


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


COSTLY: dict[str, tuple[str, Target, dict[str, Any]]] = {
    "unguided": ("canvas", ANY[0], {}),
    "content": ("canvas", SEMANTIC[0], {"semantic_content": CONTENT}),
    "idle": ("canvas", SEMANTIC[0], {"semantic_content": CONTENT | {"idle": 0.5}}),
    "no updates": ("pad", SEMANTIC[0], {"semantic_content": CONTENT | {"updates": 0}}),
    "hold": ("pad", LONG[3], {"length": HOLD}),
    "released length": ("pad", LONG[3], {"length": RELEASED | {"idle": 0.2}}),
}


@pytest.mark.parametrize(("layout", "target", "guidance"), COSTLY.values(), ids=COSTLY)
def test_costs_are_what_the_networks_read(
    files: dict[str, Path], patch: pytest.MonkeyPatch, layout: str, target: Target, guidance: dict[str, Any]
) -> None:
    made = method(files, layout, guidance=guidance)
    networks = [made.model.denoiser]
    if "semantic_content" in guidance:
        networks.append(body(made, target))
    counted = Costs(patch, *networks)
    (sample,) = made.generate([target], 1, 0)
    assert (sample.forward_tokens, sample.backward_passes) == (counted.tokens, counted.backward)
    assert counted.tokens >= STEPS * (len(sample.text.split(" ")) + 2 if layout == "canvas" else POSITIONS)


# --- lengths


def test_lengths_are_drawn_as_often_as_training_texts_have_them() -> None:
    counts, draws = [0, 6, 0, 3, 1], 3000
    found = Counter(draw_length(counts, generator("lengths", i)) for i in range(draws))
    assert set(found) == {1, 3, 4}
    for length, count in found.items():
        expected = draws * counts[length] / sum(counts)
        assert abs(count - expected) < 4 * expected**0.5


# --- what is refused


def refused(made: DiffusionLMMethod, targets: list[Target]) -> str:
    with pytest.raises(InputError) as caught:
        list(made.generate(targets, 1, 0))
    return str(caught.value)


@pytest.mark.parametrize(
    ("layout", "guidance"),
    [("canvas", HOLD), ("pad", HOLD), ("pad", RELEASED)],
    ids=["canvas", "pad", "released"],
)
def test_a_text_longer_than_the_model_is_refused(
    files: dict[str, Path], layout: str, guidance: dict[str, Any]
) -> None:
    longer = [Target("length-11", "length", {"length": POSITIONS - 1})]
    told = refused(method(files, layout, guidance={"length": guidance}), longer)
    assert told == "target 'length-11': a text of 11 words does not fit; ask for at most 10"


def test_an_unguided_instance_may_be_asked_for_any_length(files: dict[str, Path]) -> None:
    longer = [Target("length-99", "length", {"length": 99})]
    assert len(written(method(files), longer)) == len(written(method(files, "pad"), longer)) == 2


def test_guidance_that_cannot_steer_is_refused(files: dict[str, Path]) -> None:
    told = refused(method(files, guidance={"length": RELEASED}), LONG)
    assert told.startswith("methods.ours.guidance.length.form: a canvas has its length beforehand")
    told = refused(method(files, guidance={"semantic_content": HOLD}), SEMANTIC)
    assert told.startswith("methods.ours.guidance.semantic_content.form: no words of semantic_content")
    told = refused(method(files, guidance={"semantic_content": CONTENT}, eta=0.0), SEMANTIC)
    assert told.startswith("methods.ours.sampling.eta: without noise")
    assert written(method(files, eta=0.0, guidance={"length": HOLD}), LONG)


def test_a_value_that_the_classifier_has_not_learned_is_refused(files: dict[str, Path]) -> None:
    """Its words are in the vocabulary, so nobody has refused it before."""
    stranger = [Target("food=pub", "semantic_content", {"field": "food", "value": "pub"})]
    told = refused(method(files, guidance={"semantic_content": CONTENT}), [*SEMANTIC, *stranger])
    assert "the classifier does not know 'food: pub'" in told
    assert written(method(files, "canvas", "words", guidance={"semantic_content": CONTENT}), stranger)


def test_more_steps_than_the_model_has_are_refused(files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"methods.ours.sampling.steps: 31 steps, but the model has 30"):
        method(files, steps=31)
    assert written(method(files, steps=30), ANY, 1)


def test_a_task_of_somebody_else_is_refused(files: dict[str, Path]) -> None:
    told = refused(method(files), [Target("i", "juggling", {})])
    assert told.startswith("method 'ours': not applicable to juggling")
