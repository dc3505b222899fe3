"""The two training commands of Diffusion-LM: what they write, what comes back, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from diffusion_lm import train, train_classifier
from diffusion_lm.classifiers import FieldClassifier, WordsClassifier
from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.syntax_classifiers import SpanClassifier, TagClassifier, batch_rows
from pipeline import checkpoint
from pipeline.command import Job
from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.vocabulary import UNK, Vocabulary
from pipeline.errors import InputError
from pipeline.language_model import LanguageModelSettings, build
from pipeline.records import Text, read_records, write_records
from pipeline.settings import resolve
from pipeline.tasks import field_values
from pipeline.trees import spans

SIZES = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 32, "time_channels": 8, "dropout": 0}
MODEL = {**SIZES, "dimension": 4, "positions": 24, "diffusion_steps": 20}
TRAINING = {"steps": 3, "batch_size": 8, "learning_rate": 0.01, "ema": 0.5}
FORMS: dict[str, dict[str, Any]] = {
    "canvas of words": {
        "layout": "canvas",
        "predict": "words",
        "normalised": True,
        "self_conditioning": True,
    },
    "pad of words": {"layout": "pad", "predict": "words"},
    "pad of x0": {"layout": "pad", "predict": "x0"},
    "pad of noise": {"layout": "pad", "predict": "eps", "schedule": "cosine"},
    "block of words": {"layout": "block", "predict": "words", "self_conditioning": True},
    "block of x0": {"layout": "block", "predict": "x0", "embedding": "random"},
    "block of noise": {"layout": "block", "predict": "eps"},
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small corpus and its vocabulary."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = restaurant_texts(0, {"train": 60, "valid": 5})
    write_records(folder / "corpus.jsonl", texts)
    training = [text.tokens for text in texts if text.split == "train"]
    Vocabulary.build(training, more_than=1).save(folder / "vocabulary.json")
    return {"corpus": folder / "corpus.jsonl", "vocabulary": folder / "vocabulary.json"}


def spec(training: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    """The command's settings, as the configuration gives them."""
    changes = {"model": {**MODEL, **model}, "training": {**TRAINING, **(training or {})}}
    return resolve("paper", {"diffusion": changes})["diffusion"]


def trained(inputs: dict[str, Path], path: Path, given: dict[str, Any]) -> Path:
    train.main(Job(given, inputs, {"model": path}))
    return path


def vocabulary(inputs: dict[str, Path]) -> Vocabulary:
    return Vocabulary.load(inputs["vocabulary"])


# --- the model


def test_the_bound_is_another_objective(inputs: dict[str, Path], tmp_path: Path) -> None:
    given = spec(layout="pad", predict="x0", normalised=True)
    simple, bound = (
        checkpoint.read(trained(inputs, tmp_path / name, {**given, **more}), "")[1]
        for name, more in (("simple.safetensors", {}), ("vlb.safetensors", {"objective": "vlb"}))
    )
    assert any(not torch.equal(simple[name], bound[name]) for name in simple)
    for wrong, told in (
        ({**given, "objective": "vbl"}, "cannot be 'vbl'; did you mean 'vlb'"),
        ({**spec(layout="canvas", predict="words"), "objective": "vlb"}, "'vlb' needs whole rows"),
    ):
        with pytest.raises(InputError, match=told):
            trained(inputs, tmp_path / "none.safetensors", wrong)


def test_embeddings_of_a_language_model_are_its_main_directions_and_stay(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    words = vocabulary(inputs)
    sizes = LanguageModelSettings("train", hidden=16, layers=1, heads=2, positions=24, dropout=0.0)
    source = build(sizes, words, [], seed=0)
    source.save(tmp_path / "lm.safetensors", sizes, vocabulary=words.digest())
    given = spec(layout="pad", predict="x0", embedding="language_model")
    with pytest.raises(InputError, match="needs a language model"):
        trained(inputs, tmp_path / "model.safetensors", given)
    files = {**inputs, "language_model": tmp_path / "lm.safetensors"}
    model, _ = train.load(trained(files, tmp_path / "model.safetensors", given), words)
    vectors = source.word_vectors()[: len(words)]
    expected = PCA(4).fit_transform(vectors.numpy())
    ours = model.embedding.table.detach().numpy() * expected.std()
    np.testing.assert_allclose(np.abs(ours - ours.mean(0)), np.abs(expected), atol=1e-2 * expected.std())
    with pytest.raises(InputError, match="16 dimensions, 17 are asked for"):
        trained(files, tmp_path / "model.safetensors", spec(**{**given["model"], "dimension": 17}))


@every_form
def test_every_form_trains_and_comes_back(
    inputs: dict[str, Path], tmp_path: Path, form: dict[str, Any]
) -> None:
    given = spec(**form)
    path = trained(inputs, tmp_path / "model.safetensors", given)
    model, _ = train.load(path, vocabulary(inputs))
    assert {k: v for k, v in vars(model.settings).items() if k not in ("words", "network")} == given["model"]
    assert model.settings.words == len(vocabulary(inputs))
    assert not model.training
    start = DiffusionLM(model.settings).state_dict()
    moved = {name for name, weight in model.state_dict().items() if not torch.equal(weight, start[name])}
    assert all(weight.isfinite().all() for weight in model.state_dict().values())
    assert any(name.startswith("denoiser.encoder") for name in moved)
    assert ("embedding.weight" in moved) == (given["model"]["embedding"] == "learned")


@every_form
def test_the_same_training_writes_the_same_bytes_and_another_seed_others(
    inputs: dict[str, Path], tmp_path: Path, form: dict[str, Any]
) -> None:
    first, again, other = (
        trained(inputs, tmp_path / name / "model.safetensors", spec({"seed": seed}, **form)).read_bytes()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other


def test_weights_are_the_moving_average(inputs: dict[str, Path], tmp_path: Path) -> None:
    """With a rate close to 1 the average stays where the training began."""
    path = trained(inputs, tmp_path / "model.safetensors", spec({"ema": 0.999999}))
    model, _ = train.load(path, vocabulary(inputs))
    start = DiffusionLM(model.settings).state_dict()
    assert all(torch.allclose(w, start[name], atol=1e-6) for name, w in model.state_dict().items())


def test_lengths_are_those_of_the_texts_that_fit(inputs: dict[str, Path], tmp_path: Path) -> None:
    path = trained(inputs, tmp_path / "model.safetensors", spec(positions=14, **FORMS["canvas of words"]))
    _, lengths = train.load(path, vocabulary(inputs))
    texts = read_records(inputs["corpus"], Text)
    found = [len(text.tokens) for text in texts if text.split == "train" and len(text.tokens) <= 12]
    assert len(found) > 5
    assert lengths == [found.count(n) for n in range(max(found) + 1)]


@every_form
def test_a_last_batch_of_one_text_trains_too(
    inputs: dict[str, Path], tmp_path: Path, form: dict[str, Any]
) -> None:
    texts = [text for text in read_records(inputs["corpus"], Text) if text.split == "train"][:9]
    write_records(tmp_path / "corpus.jsonl", texts)
    few = {**inputs, "corpus": tmp_path / "corpus.jsonl"}
    path = trained(few, tmp_path / "model.safetensors", spec({"steps": 2}, **form))
    assert all(w.isfinite().all() for w in train.load(path, vocabulary(inputs))[0].state_dict().values())


def test_training_texts_are_ids_of_the_training_split(tmp_path: Path) -> None:
    known = Vocabulary.build([["a", "pub"]], more_than=0)
    write_records(
        tmp_path / "corpus.jsonl",
        [Text("0", "train", "a bar", ["a", "bar"]), Text("1", "valid", "a pub", ["a", "pub"])],
    )
    (ids,) = train.training_texts(tmp_path / "corpus.jsonl", known, 2)
    assert ids == [*known.encode(["a"]), UNK]
    with pytest.raises(InputError, match="no training text of at most 1 words"):
        train.training_texts(tmp_path / "corpus.jsonl", known, 1)


def test_an_interrupted_training_ends_with_the_same_weights(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spec({"steps": 6}, **FORMS["canvas of words"])
    whole = trained(inputs, tmp_path / "whole.safetensors", given).read_bytes()
    real = train.canvas_loss

    def interrupted(*arguments: Any) -> Callable[[int], torch.Tensor]:
        loss = real(*arguments)

        def until(step: int) -> torch.Tensor:
            if step == 4:
                raise KeyboardInterrupt
            return loss(step)

        return until

    path = tmp_path / "half.safetensors"
    monkeypatch.setattr("pipeline.training.time.monotonic", clock := iter(range(0, 10**6, 1000)).__next__)
    assert callable(clock)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "canvas_loss", interrupted)
        trained(inputs, path, given)
    assert not path.exists()
    assert list((tmp_path / "half.work").iterdir())
    assert trained(inputs, path, given).read_bytes() == whole


def test_a_canvas_must_predict_words(inputs: dict[str, Path], tmp_path: Path) -> None:
    for predict in ("x0", "eps"):
        with pytest.raises(InputError, match="'canvas' needs predict 'words'"):
            trained(inputs, tmp_path / "model.safetensors", spec(layout="canvas", predict=predict))
    assert not list(tmp_path.iterdir())


def test_the_model_of_another_vocabulary_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    path = trained(inputs, tmp_path / "model.safetensors", spec())
    words = vocabulary(inputs).words
    other = Vocabulary((*words[:-2], words[-1], words[-2]))  # as many words, in another order
    with pytest.raises(InputError, match=r"model.safetensors: .* another configuration \(vocabulary is"):
        train.load(path, other)


def test_another_kind_of_file_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, "language model", {}, {"w": torch.zeros(1)})
    with pytest.raises(InputError, match="holds a language model; a Diffusion-LM is needed"):
        train.load(path, vocabulary(inputs))
    path.write_bytes(trained(inputs, tmp_path / "whole.safetensors", spec()).read_bytes()[:-9])
    with pytest.raises(InputError, match="truncated or not safetensors"):
        train.load(path, vocabulary(inputs))


# --- classifiers

BASES = {"canvas": FORMS["canvas of words"], "pad": FORMS["pad of x0"], "block": FORMS["block of x0"]}


def classifier_spec(form: str, **training: Any) -> dict[str, Any]:
    settings = {"model": {"form": form, **SIZES}, "training": {**TRAINING, "ema": 0, **training}}
    resolved = resolve("paper", {"classifiers": {"semantic_content": settings}})
    return resolved["classifiers"]["semantic_content"]


@pytest.fixture(scope="module")
def bases(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Diffusion-LM of each layout."""
    folder = tmp_path_factory.mktemp("bases")
    return {
        layout: trained(inputs, folder / f"{layout}.safetensors", spec(**form))
        for layout, form in BASES.items()
    }


def classifier(inputs: dict[str, Path], base: Path, path: Path, given: dict[str, Any]) -> Path:
    train_classifier.main(Job(given, {**inputs, "diffusion": base}, {"model": path}))
    return path


@pytest.mark.parametrize("layout", BASES)
@pytest.mark.parametrize(("form", "kind"), [("fields", FieldClassifier), ("words", WordsClassifier)])
def test_classifiers_train_on_every_layout_and_come_back(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path, layout: str, form: str, kind: type
) -> None:
    first, again = (
        classifier(inputs, bases[layout], tmp_path / name / "c.safetensors", classifier_spec(form))
        for name in "ab"
    )
    assert first.read_bytes() == again.read_bytes()
    model, _ = train.load(bases[layout], vocabulary(inputs))
    made = train_classifier.load(first, model)
    assert isinstance(made, kind)
    assert not made.training and not any(p.requires_grad for p in made.parameters())
    assert checkpoint.digest(model.embedding.weight) == train_classifier.embedding_digest(model)


def test_a_field_classifier_knows_the_values_of_the_training_texts(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path
) -> None:
    path = classifier(inputs, bases["canvas"], tmp_path / "c.safetensors", classifier_spec("fields"))
    made = train_classifier.load(path, train.load(bases["canvas"], vocabulary(inputs))[0])
    assert isinstance(made, FieldClassifier)
    values = field_values(text for text in read_records(inputs["corpus"], Text) if text.split == "train")
    known = {(field, value) for field, value in made.columns if value != "none"}
    assert known == {(field, value) for field, found in values.items() for value in found}


def test_a_loaded_classifier_computes_what_was_trained(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[FieldClassifier] = []
    real = train_classifier.build

    def build(*arguments: Any) -> Any:
        kept.append(real(*arguments))
        return kept[-1]

    monkeypatch.setattr(train_classifier, "build", build)
    path = classifier(inputs, bases["pad"], tmp_path / "c.safetensors", classifier_spec("fields"))
    made = train_classifier.load(path, train.load(bases["pad"], vocabulary(inputs))[0])
    x, time, mask = (
        torch.randn(3, 24, 4),
        torch.tensor([0.0, 10.0, 500.0]),
        torch.ones(3, 24, dtype=torch.bool),
    )
    assert isinstance(made, FieldClassifier)
    with torch.no_grad():
        assert torch.equal(made.log_probabilities(x, time, mask), kept[0].log_probabilities(x, time, mask))


@pytest.mark.parametrize("form", ["fields", "words"])
def test_the_classifier_of_another_model_is_refused(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path, form: str
) -> None:
    path = classifier(inputs, bases["canvas"], tmp_path / "c.safetensors", classifier_spec(form))
    other = trained(inputs, tmp_path / "other.safetensors", spec({"seed": 9}, **BASES["canvas"]))
    model, _ = train.load(other, vocabulary(inputs))
    with pytest.raises(InputError, match=r"c.safetensors: .* another configuration \(embedding is"):
        train_classifier.load(path, model)


def test_the_classifier_of_a_rounded_copy_is_welcome(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path
) -> None:
    """A stored Diffusion-LM comes back in bf16; its classifiers must still be its own."""
    path = classifier(inputs, bases["canvas"], tmp_path / "c.safetensors", classifier_spec("fields"))
    settings, weights = checkpoint.load(bases["canvas"], train.KIND)
    halved = {name: weight.to(torch.bfloat16) for name, weight in weights.items()}
    checkpoint.save(tmp_path / "stored.safetensors", train.KIND, settings, halved)
    model, _ = train.load(tmp_path / "stored.safetensors", vocabulary(inputs))
    assert train_classifier.load(path, model)


def test_a_classifier_learns_something(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path
) -> None:
    probabilities = []
    for name, steps in (("short", 1), ("long", 80)):
        given = classifier_spec("fields", steps=steps, learning_rate=0.02)
        path = classifier(inputs, bases["canvas"], tmp_path / name / "c.safetensors", given)
        model, _ = train.load(bases["canvas"], vocabulary(inputs))
        made = train_classifier.load(path, model)
        assert isinstance(made, FieldClassifier)
        probabilities.append(mean_log_probability(inputs, made, model))
    assert probabilities[1] > probabilities[0] + 0.1


def mean_log_probability(inputs: dict[str, Path], made: FieldClassifier, model: DiffusionLM) -> float:
    """How likely the classifier finds the true fields of the training texts under the same noise."""
    texts = [text for text in read_records(inputs["corpus"], Text) if text.split == "train"]
    torch.manual_seed(0)
    x, time, mask = train_classifier.noisy_texts(model, [vocabulary(inputs).encode(t.tokens) for t in texts])
    labels = torch.tensor([made.labels(text.fields or {}) for text in texts])
    with torch.no_grad():
        return float(made.log_probabilities(x, time, mask).gather(1, labels).mean())


# --- classifiers of syntax

SYNTAX = {"parts_of_speech": TagClassifier, "syntax_tree": SpanClassifier}
every_syntax = pytest.mark.parametrize("task", SYNTAX)


def syntax_spec(task: str, form: str = "body", **training: Any) -> dict[str, Any]:
    given = classifier_spec("fields", **training)
    return {**given, "task": task, "model": {**given["model"], "form": form, "pair": 8, "full_chart": False}}


@every_syntax
@pytest.mark.parametrize("form", ["body", "paper"])
@pytest.mark.parametrize("layout", ["canvas", "pad"])
def test_classifiers_of_syntax_train_on_every_layout_and_come_back(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path, layout: str, form: str, task: str
) -> None:
    given = syntax_spec(task, form)
    first, again = (
        classifier(inputs, bases[layout], tmp_path / name / "c.safetensors", given) for name in "ab"
    )
    assert first.read_bytes() == again.read_bytes()
    model, _ = train.load(bases[layout], vocabulary(inputs))
    made = train_classifier.load(first, model)
    assert isinstance(made, SYNTAX[task])
    assert not made.training and not any(p.requires_grad for p in made.parameters())
    assert all(weight.isfinite().all() for weight in made.state_dict().values())
    train_classifier.load(first, model, task)
    with pytest.raises(InputError, match=r"\(task is '.*', expected 'semantic_content'\)"):
        train_classifier.load(first, model, "semantic_content")


@every_syntax
def test_full_charts_train_too(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path, task: str
) -> None:
    given = syntax_spec(task, "paper")
    given["model"] |= {"full_chart": True}
    made = train_classifier.load(
        classifier(inputs, bases["pad"], tmp_path / "c.safetensors", given),
        train.load(bases["pad"], vocabulary(inputs))[0],
    )
    assert isinstance(made, TagClassifier | SpanClassifier) and made.full_chart


def test_a_span_classifier_knows_the_labels_of_the_training_trees(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path
) -> None:
    path = classifier(inputs, bases["canvas"], tmp_path / "c.safetensors", syntax_spec("syntax_tree"))
    made = train_classifier.load(path, train.load(bases["canvas"], vocabulary(inputs))[0])
    assert isinstance(made, SpanClassifier)
    texts = [text for text in read_records(inputs["corpus"], Text) if text.split == "train"]
    found = {span.label for text in texts for span in spans(text.tree or "")}
    assert list(made.labels) == ["", *sorted(found)] and len(found) > 5


@every_syntax
def test_a_classifier_of_syntax_learns_to_tell_right_from_wrong(tmp_path: Path, task: str) -> None:
    """Two sentences of one length: each costs less with its own tags or spans than with the other's."""
    one = Text("one", "train", "", ["a", "pub", "serves", "food"], tags=["DET", "NOUN", "VERB", "NOUN"])
    two = Text("two", "train", "", ["go", "there", "now", "!"], tags=["VERB", "ADV", "ADV", "PUNCT"])
    one = replace(one, tree="(S (NP (DT a) (NN pub)) (VP (VB serves) (NP (NN food))))")
    two = replace(two, tree="(TOP (S (VP (VB go) (ADVP (RB there) (RB now)))) (. !))")
    files = {"corpus": tmp_path / "corpus.jsonl", "vocabulary": tmp_path / "vocabulary.json"}
    corpus = [replace(text, id=f"{text.id}{copy}") for copy in range(8) for text in (one, two)]
    write_records(files["corpus"], corpus)
    Vocabulary.build([one.tokens, two.tokens], more_than=0).save(files["vocabulary"])
    base = trained(files, tmp_path / "model.safetensors", spec(**FORMS["canvas of words"]))
    given = syntax_spec(task, steps=150, learning_rate=0.02)
    path = classifier(files, base, tmp_path / "classifier.safetensors", given)
    model, _ = train.load(base, vocabulary(files))
    made = train_classifier.load(path, model)
    assert isinstance(made, TagClassifier | SpanClassifier)
    torch.manual_seed(0)
    encoded = [vocabulary(files).encode(text.tokens) for text in (one, two)] * 40
    noisy = train_classifier.noisy_texts(model, encoded)
    rows = [train_classifier.asked_row(made, text) for text in (one, two)]
    right = made.loss(*noisy, batch_rows(rows * 40, noisy[0].device))
    wrong = made.loss(*noisy, batch_rows(rows[::-1] * 40, noisy[0].device))
    assert right.sum() < 0.7 * wrong.sum()
    assert (right < wrong).float().mean() > 0.75


def test_a_classifier_without_a_task_is_of_semantic_content(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path
) -> None:
    """Files from before there were others, and specs too."""
    path = classifier(inputs, bases["canvas"], tmp_path / "c.safetensors", classifier_spec("fields"))
    header, weights = checkpoint.load(path, train_classifier.KIND)
    assert header.pop("task") == "semantic_content"
    checkpoint.save(path, train_classifier.KIND, header, weights)
    model, _ = train.load(bases["canvas"], vocabulary(inputs))
    assert isinstance(train_classifier.load(path, model, "semantic_content"), FieldClassifier)


UNANNOTATED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no tags": ("parts_of_speech", {"tags": None}, "text 'odd' has no tags; annotate it"),
    "no tree": ("syntax_tree", {"tree": None}, "text 'odd' has no tree; annotate it"),
    "few tags": ("parts_of_speech", {"tags": ["NOUN"]}, "tags of 1 words for 2 tokens; annotate the tokens"),
    "small tree": (
        "syntax_tree",
        {"tree": "(S (NN a))"},
        "tree of 1 words for 2 tokens; annotate the tokens",
    ),
    "broken tree": ("syntax_tree", {"tree": "(S (NN a)"}, "not a tree: '(S (NN a)'"),
    "other tags": ("parts_of_speech", {"tags": ["NOUN", "VB"]}, "unknown tag 'VB'; did you mean 'VERB'?"),
}


@pytest.mark.parametrize(("task", "change", "told"), UNANNOTATED.values(), ids=UNANNOTATED)
def test_texts_without_their_syntax_are_refused(
    inputs: dict[str, Path],
    bases: dict[str, Path],
    tmp_path: Path,
    task: str,
    change: dict[str, Any],
    told: str,
) -> None:
    """By file and line; texts of other splits are not read."""
    odd = Text("odd", "train", "a pub", ["a", "pub"], tags=["DET", "NOUN"], tree="(NP (DT a) (NN pub))")
    fine = Text("fine", "valid", "a pub", ["a", "pub"])
    write_records(tmp_path / "corpus.jsonl", [fine, replace(odd, **change)])
    with pytest.raises(InputError) as caught:
        classifier(
            {**inputs, "corpus": tmp_path / "corpus.jsonl"}, bases["pad"], tmp_path / "c.safetensors",
            syntax_spec(task),
        )  # fmt: skip
    assert str(caught.value).startswith(f"{tmp_path / 'corpus.jsonl'}:2: ") and told in str(caught.value)


def test_a_classifier_of_something_else_is_refused(
    inputs: dict[str, Path], bases: dict[str, Path], tmp_path: Path
) -> None:
    given = {**syntax_spec("syntax_tree"), "task": "syntax_spans"}
    with pytest.raises(
        InputError, match="no classifier is trained for 'syntax_spans'; did you mean 'syntax_"
    ):
        classifier(inputs, bases["pad"], tmp_path / "c.safetensors", given)
