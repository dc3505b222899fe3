"""What PPLM maximises: heads on mean hidden states, bags of words, and which files belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.pplm.attribute import HEADS, BagOfWords, Discriminator, Head, mean_hidden
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel
from pipeline.records import Target


def test_features_are_means_over_start_and_words_without_padding(world: Any) -> None:
    texts = [text.tokens for text in world.valid[:9]]
    assert len({len(words) for words in texts}) > 3
    together = mean_hidden(world.model, texts)
    for words, found in zip(texts, together, strict=True):
        ids = torch.tensor([[world.model.start, *world.model.encode(words)]])
        states = world.model.network(ids, output_hidden_states=True).hidden_states[-1][0]
        assert torch.allclose(found, states.mean(0), atol=1e-5)


def test_features_of_a_text_that_is_too_long_are_refused(world: Any) -> None:
    with pytest.raises(InputError, match="24 positions"):
        mean_hidden(world.model, [["a"] * 24])


def test_losses_of_both_heads_by_hand() -> None:
    torch.manual_seed(0)
    features, wanted = torch.randn(2, 4), torch.tensor([2, 0])
    for form in HEADS:
        head = Head(form, [("food", "Thai"), ("food", "Greek"), ("Type", "pub")], 4)
        odds = head.linear(features).exp()
        p = odds / (1 + odds) if form == "sigmoids" else odds / odds.sum(1, keepdim=True)
        expected = -p[[0, 1], [2, 0]].log()
        found = Discriminator(head, wanted, 1).loss(torch.zeros(2, 9), features)
        assert torch.allclose(found, expected, atol=1e-6)


def test_a_bag_sums_the_probabilities_of_its_words_once(world: Any) -> None:
    log_p = torch.randn(2, len(world.vocabulary)).log_softmax(-1)
    places = [world.model.encode(words.split()) for words in ("Tin Whistle", "pub")]
    expected = [-log_p[i, ids].exp().sum().log() for i, ids in enumerate(places)]
    bags = BagOfWords.of(world.model, ["Tin Whistle Tin", "pub"])
    assert torch.allclose(bags.loss(log_p, torch.zeros(2, 0)), torch.stack(expected), atol=1e-5)


def test_a_selection_wants_the_same_of_the_texts_that_stay(world: Any) -> None:
    log_p = torch.randn(3, len(world.vocabulary)).log_softmax(-1)
    features, stay = torch.randn(3, 32), torch.tensor([True, False, True])
    for wanted in (world.wanted(3), BagOfWords.of(world.model, ["pub", "Greek", "cheap"])):
        few = wanted.select(stay)
        assert (few.horizon, few.running_norm) == (wanted.horizon, wanted.running_norm)
        assert torch.equal(few.loss(log_p[stay], features[stay]), wanted.loss(log_p, features)[stay])


@pytest.mark.parametrize("form", HEADS)
def test_a_saved_head_comes_back(world: Any, tmp_path: Path, form: str) -> None:
    head = Head(form, [("food", "Thai"), ("Type", "pub")], 32)
    head.save(tmp_path / "head.safetensors", "digest", world.model)
    again = Head.load(tmp_path / "head.safetensors", "digest", world.model)
    assert (again.form, again.classes) == (form, {("food", "Thai"): 0, ("Type", "pub"): 1})
    assert torch.equal(again.linear.weight, head.linear.weight)
    assert not again.linear.weight.requires_grad


def test_a_head_of_another_vocabulary_or_language_model_is_refused(world: Any, other_model: Path) -> None:
    path, digest = world.heads["sigmoids"], world.vocabulary.digest()
    with pytest.raises(InputError, match="vocabulary is .* expected 'other'"):
        Head.load(path, "other", world.model)
    with pytest.raises(InputError, match="language_model is"):
        Head.load(path, digest, LanguageModel.load(other_model))
    with pytest.raises(InputError, match="holds a language model; a PPLM attribute head is needed"):
        Head.load(world.inputs["language_model"], digest, world.model)


def test_an_unknown_value_and_an_unknown_form_are_told(world: Any) -> None:
    target = Target("t", "semantic_content", {"field": "food", "value": "Greeks"})
    with pytest.raises(InputError, match=r"target 't': .*'food = Greeks'; did you mean 'food = Greek'\?"):
        world.head().class_of(target)
    with pytest.raises(InputError, match="did you mean 'sigmoids'"):
        Head("sigmoid", [("food", "Thai")], 4)
