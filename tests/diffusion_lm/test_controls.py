"""Syntax controls and compositions: lengths, losses, what texts depend on, costs, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion_lm import guidance as guidance_module
from diffusion_lm import method as method_module
from diffusion_lm import train, train_classifier
from diffusion_lm.controls import fewest_words, span_loss, tags_loss, tells_length, tree_loss
from diffusion_lm.denoiser import DiffusionLM, ModelSettings
from diffusion_lm.guidance import weighted_sum
from diffusion_lm.method import DiffusionLMMethod, draw_length
from diffusion_lm.sampling import Canvas
from diffusion_lm.syntax_classifiers import SpanClassifier, SyntaxSettings, TagClassifier
from pipeline import checkpoint
from pipeline.corpora.vocabulary import SPECIALS, Vocabulary
from pipeline.errors import InputError
from pipeline.methods import Request, load_method
from pipeline.records import Sample, Target
from pipeline.seeding import generator
from pipeline.settings import resolve
from pipeline.tasks import COMPOSITIONS, parts
from pipeline.trees import Span

VOCABULARY = Vocabulary((*SPECIALS, *"The Mill is a pub serves Thai French food near name : .".split()))
POSITIONS, STEPS = 12, 5
LENGTHS = [0, 0, 1, 5, 0, 3, 0, 2]  # training texts of 2, 3, 5 and 7 words
SIZES = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 32, "time_channels": 8, "dropout": 0}
OWN = {"dimension": 4, "positions": POSITIONS, "diffusion_steps": 30, "seed": 3, **SIZES}
LAYOUTS: dict[str, dict[str, Any]] = {
    "canvas": {
        **OWN,
        "predict": "words",
        "normalised": True,
        "layout": "canvas",
        "self_conditioning": True,
    },
    "pad": {**OWN, "predict": "x0", "layout": "pad"},
}
VALUES = {"food": ["Thai", "French"], "name": ["The Mill"]}
LABELS = ["NP", "S", "S::VP", "VP"]
TAGS, TREE, SPANS = "parts_of_speech", "syntax_tree", "syntax_spans"
WITH_TREE, WITH_TAGS = COMPOSITIONS
GRADIENT = {"form": "gradient", "updates": 2, "rate": 0.3, "fluency": 0.01}
FULL = "full chart"  # the classifiers of the released form

LINES = [["PRON", "VERB", "NOUN"], ["DET", "NOUN", "AUX", "ADJ", "PUNCT"]]
TREES = ["(TOP (S (NP (PRP *)) (VP (VB *) (NP (NN *)))))", "(S (NP (DT *) (NN *)) (VP (VB *) (JJ *)) (. *))"]
CONTENT = {"field": "food", "value": "Thai"}
TARGETS: dict[str, list[Target]] = {
    TAGS: [Target(f"tags-{i}", TAGS, {"tags": tags}) for i, tags in enumerate(LINES)],
    TREE: [Target(f"tree-{i}", TREE, {"tree": tree}) for i, tree in enumerate(TREES)],
    SPANS: [
        Target(f"span-{i}", SPANS, {"first": i, "last": 2 * i, "label": label})
        for i, label in enumerate(("NP", "VP"))
    ],
    WITH_TREE: [Target("tree", WITH_TREE, {**CONTENT, "tree": TREES[0]})],
    WITH_TAGS: [Target("tags", WITH_TAGS, {**CONTENT, "tags": LINES[0]})],
}
every_task = pytest.mark.parametrize("task", TARGETS)
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Untrained models and classifiers, saved as their commands save them; by layout and kind."""
    folder, paths = tmp_path_factory.mktemp("models"), {}
    for layout, changes in LAYOUTS.items():
        shape = resolve("paper", {"diffusion": {"model": changes}})["diffusion"]["model"]
        model = DiffusionLM(ModelSettings(words=len(VOCABULARY), **shape))
        with torch.no_grad():  # words that follow the noise, though untrained
            for weights in (*model.denoiser.up.parameters(), *model.denoiser.down.parameters()):
                weights *= 4
        header = {"model": asdict(model.settings), "vocabulary": VOCABULARY.digest(), "lengths": LENGTHS}
        paths[layout, "diffusion"] = folder / f"{layout}.safetensors"
        checkpoint.save(paths[layout, "diffusion"], train.KIND, header, model.state_dict())
        for task in ("semantic_content", TAGS, TREE):
            for kind in (task, f"{task} {FULL}"):
                paths[layout, kind] = folder / f"{layout} {kind}.safetensors"
                save_classifier(paths[layout, kind], model, task, full=kind.endswith(FULL))
    return paths


def save_classifier(path: Path, model: DiffusionLM, task: str, full: bool) -> None:
    shape: dict[str, Any] = {**SIZES, "positions": POSITIONS + 1, "seed": 5}
    if task == "semantic_content":
        settings = {**shape, "form": "fields"}
    else:
        settings = {**shape, "form": "paper" if full else "body", "pair": 8, "full_chart": full}
    header = {"task": task, "model": settings, "values": VALUES, "labels": LABELS}
    header["embedding"] = train_classifier.embedding_digest(model)
    classifier = train_classifier.from_header(header, model)
    checkpoint.save(path, train_classifier.KIND, header, train_classifier.trainable(classifier))


Files = dict[tuple[str, str], Path]


def method(
    files: Files, task: str, guidance: dict[str, Any] | None = None, layout: str = "canvas", kind: str = "",
    batch_size: int = 256, weights: dict[str, float] | None = None,
) -> DiffusionLMMethod:  # fmt: skip
    """An instance that steers one task, with the model files which that task needs."""
    own = {"module": "diffusion_lm.method", "tasks": {}, "batch_size": batch_size}
    own |= {"guidance": {} if guidance is None else {task: guidance}, "sampling": {"steps": STEPS}}
    settings = resolve("paper", {"methods": {"ours": own}})["methods"]["ours"]
    if weights is not None:
        settings["guidance"][task]["weights"] = weights
    models = {"diffusion": files[layout, "diffusion"]}
    for part in parts(task):
        classified = TREE if part == SPANS else part
        name = f"classifier_{classified}" if task in COMPOSITIONS else "classifier"
        models[name] = files[layout, f"{classified} {kind}".strip()]
    made = load_method("ours", settings, VOCABULARY, models)
    assert isinstance(made, DiffusionLMMethod)
    return made


def written(made: DiffusionLMMethod, targets: list[Target], count: int = 3) -> dict[tuple[str, int], str]:
    return {(s.target_id, s.sample_index): s.text for s in made.generate(targets, count, 0)}


def lengths(samples: dict[tuple[str, int], str]) -> dict[str, set[int]]:
    """How many words the texts of each target have."""
    found: dict[str, set[int]] = {}
    for (name, _), text in samples.items():
        found.setdefault(name, set()).add(len(text.split(" ")))
    return found


# --- what a text depends on


@every_layout
@every_task
def test_a_text_is_the_same_in_any_batch_and_any_order(files: Files, task: str, layout: str) -> None:
    targets = TARGETS[task]
    whole = written(method(files, task, GRADIENT, layout), targets)
    assert len(set(whole.values())) > len(whole) / 2  # else it would prove little
    for size in (1, 4):
        assert written(method(files, task, GRADIENT, layout, batch_size=size), targets[::-1]) == whole


@every_layout
@every_task
def test_guidance_at_rate_zero_is_no_guidance(
    files: Files, task: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same canvas, whose length a guided text may have from its control; else it is another text."""
    still = written(method(files, task, {**GRADIENT, "rate": 0.0}, layout), TARGETS[task])
    assert still != written(method(files, task, GRADIENT, layout), TARGETS[task])
    if layout == "pad":
        assert still == written(method(files, task, None, layout), TARGETS[task])
    monkeypatch.setattr(DiffusionLMMethod, "guide", lambda *_: None)
    assert still == written(method(files, task, GRADIENT, layout), TARGETS[task])


@every_layout
@every_task
def test_an_unguided_instance_sees_nothing_of_the_control(files: Files, task: str, layout: str) -> None:
    """Not even its length."""
    target = TARGETS[task][0]
    longest = {"tags": ["X"] * 99, "tree": f"(S {'(NN *) ' * 99})", "last": 99}
    other = replace(target, control={**target.control, **longest})
    made = method(files, task, None, layout)
    assert written(made, [target], 20) == written(made, [other], 20)
    if layout == "canvas":
        assert lengths(written(made, [target], 60)) == {target.target_id: {2, 3, 5, 7}}


# --- lengths


@pytest.mark.parametrize("task", [TAGS, TREE, WITH_TREE, WITH_TAGS])
def test_tags_and_trees_tell_the_length(files: Files, task: str) -> None:
    found = lengths(written(method(files, task, GRADIENT), TARGETS[task]))
    assert found == {t.target_id: {fewest_words(t, 10)} for t in TARGETS[task]}
    assert tells_length(task) and not tells_length(SPANS)


def test_a_span_lies_inside_its_text(files: Files) -> None:
    """Lengths are those of training texts that reach it; where none does, the span ends the text."""
    control = {"first": 1, "last": 3, "label": "NP"}
    targets = [Target("inside", SPANS, control), Target("beyond", SPANS, {**control, "last": 8})]
    found = lengths(written(method(files, SPANS, GRADIENT), targets, 30))
    assert found == {"inside": {5, 7}, "beyond": {9}}


def test_a_length_is_drawn_from_the_texts_that_have_the_span(files: Files) -> None:
    """Training texts of 4 and 6 words have an NP that ends at word 3, one of 9 words has a VP there."""
    made = method(files, SPANS, GRADIENT)
    classifier = made.classifier([Request(TARGETS[SPANS][0], 0)], SPANS)
    assert isinstance(classifier, SpanClassifier)
    classifier.count_lengths([([Span(1, 3, "NP")], 4), ([Span(2, 3, "NP")], 6), ([Span(0, 3, "VP")], 9)])
    assert int(classifier.lengths.sum()) == 3
    assert torch.equal(train_classifier.trainable(classifier)["lengths"], classifier.lengths)
    control = {"first": 1, "last": 3, "label": "NP"}
    targets = [Target("np", SPANS, control), Target("vp", SPANS, {**control, "label": "VP"})]
    assert lengths(written(made, targets, 30)) == {"np": {4, 6}, "vp": {9}}


def test_lengths_are_drawn_from_those_that_are_long_enough() -> None:
    draws = [draw_length(LENGTHS, generator("lengths", i), 4) for i in range(400)]
    assert set(draws) == {5, 7} and abs(draws.count(5) / 400 - 0.6) < 0.1
    assert draw_length(LENGTHS, generator("lengths"), 8) == draw_length(LENGTHS[:5], generator("x"), 8) == 8


# --- losses


def loss_of(made: DiffusionLMMethod, targets: list[Target]) -> tuple[Any, Tensor]:
    """The control loss that a batch is steered by, and a noisy batch to try it on."""
    requests = [Request(target, 0) for target in targets]
    canvas = Canvas.of([made.canvas(request, generator("length")) for request in requests])
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method_module, "gradient_guide", lambda loss, *_: found.append(loss))
        made.guide(requests, canvas)
    return found[0], torch.randn(*canvas.words.shape, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("task", [WITH_TREE, WITH_TAGS])
def test_the_loss_of_a_composition_is_the_weighted_sum_of_its_parts(files: Files, task: str) -> None:
    content, syntax = parts(task)
    composed, x = loss_of(method(files, task, GRADIENT), TARGETS[task])
    weighted, _ = loss_of(method(files, task, GRADIENT, weights={syntax: 0.25}), TARGETS[task])
    target, losses = TARGETS[task][0], {}
    for part in (content, syntax):
        made = method(files, part, GRADIENT)
        canvas = Canvas.of([method(files, task, GRADIENT).canvas(Request(target, 0), generator("length"))])
        losses[part] = made.part_loss(part, [Request(replace(target, task=part), 0)], canvas)(x, 3)
    torch.testing.assert_close(composed(x, 3), losses[content] + losses[syntax])
    torch.testing.assert_close(weighted(x, 3), losses[content] + 0.25 * losses[syntax])


def test_a_weight_scales_a_single_loss_too(files: Files) -> None:
    whole, x = loss_of(method(files, TAGS, GRADIENT), TARGETS[TAGS])
    part, _ = loss_of(method(files, TAGS, GRADIENT, weights={TAGS: 1 / 64}), TARGETS[TAGS])
    torch.testing.assert_close(part(x, 3), whole(x, 3) / 64)
    both = weighted_sum([(2.0, whole), (3.0, part)])
    torch.testing.assert_close(both(x, 3), 2 * whole(x, 3) + 3 * part(x, 3))


@pytest.mark.parametrize("task", [TAGS, TREE, SPANS])
def test_the_classifier_reads_at_the_time_of_the_earlier_step(files: Files, task: str) -> None:
    made = method(files, task, GRADIENT)
    loss, x = loss_of(made, TARGETS[task])
    seen: list[Tensor] = []
    body = made.classifier([Request(TARGETS[task][0], 0)], task).body
    assert isinstance(body, nn.Module)
    body.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1]))
    loss(x, 4)
    assert seen[0].tolist() == pytest.approx([made.process.time[3]] * len(x), rel=1e-5)


@pytest.mark.parametrize("kind", ["", FULL])
@every_task
def test_guidance_raises_the_probability_of_the_control(files: Files, task: str, kind: str) -> None:
    """Of each part, averaged over the steps of a text; with the released charts over all places too."""
    seen: dict[float, list[float]] = {}
    for rate in (0.0, 0.3):
        made = method(files, task, {**GRADIENT, "rate": rate, "fluency": 0.0}, "pad", kind)
        real = made.part_loss

        def recorded(part: str, *batch: Any, rate: float = rate, real: Any = real) -> Any:
            inner = real(part, *batch)

            def loss(x: Tensor, index: int) -> Tensor:
                values: Tensor = inner(x, index)
                seen.setdefault(rate, []).append(float(values.detach().sum()))
                return values

            return loss

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(made, "part_loss", recorded)
            written(made, TARGETS[task], 4)
    assert sum(seen[0.3]) < sum(seen[0.0])


# --- costs


@pytest.fixture
def gradients() -> Iterator[list[int]]:
    """One entry for every gradient that guidance takes."""
    real, taken = torch.autograd.grad, list[int]()

    def grad(*arguments: Any, **keywords: Any) -> Any:
        taken.append(1)
        return real(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guidance_module.torch.autograd, "grad", grad)
        yield taken


@every_layout
@every_task
def test_costs_are_what_the_networks_read(files: Files, gradients: list[int], task: str, layout: str) -> None:
    """A composition has two classifiers: twice the tokens of guidance, and two backward passes."""
    made, target, tokens = method(files, task, GRADIENT, layout), TARGETS[task][0], list[int]()
    bodies = [made.classifier([Request(target, 0)], part).body for part in parts(task)]
    for network in (made.model.denoiser, *bodies):
        assert isinstance(network, nn.Module)
        network.register_forward_hook(lambda module, inputs, output: tokens.append(inputs[0][..., 0].numel()))
    (sample,) = made.generate([target], 1, 0)
    assert isinstance(sample, Sample)
    assert sample.forward_tokens == sum(tokens)
    assert sample.backward_passes == len(gradients) * len(parts(task)) == 8 * len(parts(task))


# --- what is refused


def refused(made: DiffusionLMMethod, *targets: Target) -> str:
    with pytest.raises(InputError) as caught:
        written(made, list(targets), 1)
    return str(caught.value)


UNFIT: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown tag": (TAGS, {"tags": ["NOUN", "VREB"]}, "unknown tag 'VREB'; did you mean 'VERB'?"),
    "special as a tag": (TAGS, {"tags": ["NOUN", "PAD"]}, "unknown tag 'PAD'; "),
    "unknown label": (SPANS, {"first": 0, "last": 1, "label": "VPP"}, "does not know the label 'VPP'; did"),
    "unknown chain": (SPANS, {"first": 0, "last": 1, "label": "NP::NX"}, "does not know the label 'NP::NX'"),
    "turned span": (SPANS, {"first": 2, "last": 1, "label": "NP"}, "no span from 2 to 1; count words from 0"),
    "long tags": (TAGS, {"tags": ["NOUN"] * 11}, "a text of 11 words does not fit; ask for at most 10"),
    "long tree": (
        TREE,
        {"tree": f"(S {'(NN *) ' * 11})"},
        "a text of 11 words does not fit; ask for at most",
    ),
    "far span": (SPANS, {"first": 0, "last": 10, "label": "NP"}, "a text of 11 words does not fit; ask"),
    "broken tree": (TREE, {"tree": "(S (NN *)"}, "not a tree: '(S (NN *)'"),
}


@every_layout
@pytest.mark.parametrize(("task", "control", "told"), UNFIT.values(), ids=UNFIT)
def test_controls_that_cannot_be_met_are_refused(
    files: Files, layout: str, task: str, control: dict[str, Any], told: str
) -> None:
    """By the target's name; an unguided instance does not even read them."""
    target = Target("odd", task, control)
    said = refused(method(files, task, GRADIENT, layout), target)
    assert said.startswith("target 'odd': ") and told in said
    assert written(method(files, task, None, layout), [target])


def test_an_unknown_label_of_a_tree_is_no_error(files: Files) -> None:
    tree = "(S (NP (QP (CD *))) (XX (VB *) (NN *)))"
    assert written(method(files, TREE, GRADIENT), [Target("rare", TREE, {"tree": tree})])


def test_a_classifier_of_another_task_is_refused(files: Files) -> None:
    made = method(files, TREE, GRADIENT)
    made.models = {"classifier": files["canvas", TAGS]}
    said = refused(made, TARGETS[TREE][0])
    assert "checkpoint of another configuration (task is 'parts_of_speech', expected 'syntax_tree')" in said


def test_a_missing_classifier_is_refused(files: Files) -> None:
    made = method(files, WITH_TREE, GRADIENT)
    made.models = {"classifier": files["canvas", TREE]}
    said = refused(made, TARGETS[WITH_TREE][0])
    assert said.startswith(f"methods.ours.tasks.{WITH_TREE}: guidance needs a 'classifier_semantic_content'")


def test_a_weight_of_something_else_is_refused(files: Files) -> None:
    said = refused(method(files, TAGS, GRADIENT, weights={"syntax_tree": 1.0}), TARGETS[TAGS][0])
    assert said.startswith("methods.ours.guidance.parts_of_speech.weights: 'syntax_tree' is no part")


def test_words_of_syntax_cannot_be_held(files: Files) -> None:
    said = refused(method(files, TAGS, {"form": "hold"}), TARGETS[TAGS][0])
    assert said.startswith("methods.ours.guidance.parts_of_speech.form: no words of parts_of_speech")


# --- a wrong target costs more than the right one


def test_a_loss_is_least_at_the_classes_that_the_classifier_is_sure_of(files: Files) -> None:
    """By construction: bodies that answer the wanted tags and spans."""
    model = train.load(files["canvas", "diffusion"], VOCABULARY)[0]
    settings = SyntaxSettings(**SIZES, form="body", positions=13, seed=0, pair=4)
    tagger, parser = TagClassifier(settings, model), SpanClassifier(settings, model, LABELS)
    mask, noisy = torch.ones(2, 5, dtype=torch.bool), (torch.zeros(2, 5, 4), torch.zeros(2))
    scores = torch.zeros(2, 5, 17)
    for place, tag in enumerate(LINES[0], 1):
        scores[:, place, tagger.tags[tag]] = 9.0
    tagger.body = Fixed(scores)
    right, wrong = TARGETS[TAGS][0], Target("wrong", TAGS, {"tags": LINES[0][::-1]})
    losses = tags_loss(tagger, [right, wrong], mask)(*noisy)
    assert losses[0] < 0.1 and losses[1] > 15
    ends = torch.zeros(2, 5, 8)  # the first of two words and the last of two words agree on one label
    ends[:, 2, 0] = ends[:, 3, 4] = 3.0
    parser.body = Fixed(ends)
    with torch.no_grad():
        parser.label.weight.zero_()
        parser.label.weight[parser.labels["NP"], 0] = 5.0
    spans = [Target(f"{first}", SPANS, {"first": first, "last": 2, "label": "NP"}) for first in (1, 0)]
    losses = span_loss(parser, spans, mask)(*noisy)
    assert losses[0] < losses[1]
    trees = [Target("", TREE, {"tree": f"({label} (A *) (NP (A *) (A *)))"}) for label in ("XX", "VP")]
    losses = tree_loss(parser, trees, mask)(*noisy)
    assert losses[0] < losses[1]


class Fixed(nn.Module):
    """A stand-in network that always answers the same."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *_: object) -> Tensor:
        return self.answer
