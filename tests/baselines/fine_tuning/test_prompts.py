"""Controls as words: every task's prompt, and the words that a model must have to say all of them."""

from __future__ import annotations

from typing import Any

import pytest

from baselines.fine_tuning.prompts import SERIALISATIONS, extra_words, prompt, prompt_ids
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel
from pipeline.records import Target, Text
from pipeline.tasks import UNIVERSAL_TAGS

TREE = "(TOP (S (NP (DT The) (NN Mill)) (VP (VBZ is) (NP (DT a) (NN pub)))))"
PUB = Text(
    "0", "train", "The Mill is a pub", ["The", "Mill", "is", "a", "pub"],
    {"name": "The Mill", "food": "Fast food"}, ["DET", "NOUN", "AUX", "DET", "NOUN"], TREE, None,
    [[0, 1, "NP"], [3, 4, "NP"], [2, 4, "VP"], [0, 4, "S"]],
)  # fmt: skip


def test_prompts() -> None:
    control = {"field": "customer rating", "value": "5 out of 5"}
    assert prompt("semantic_content", control) == "customer rating : 5 out of 5".split()
    assert prompt("parts_of_speech", {"tags": ["DET", "NOUN"]}) == ["DET", "NOUN"]
    assert prompt("syntax_spans", {"first": 2, "last": 4, "label": "S::VP"}) == ["2", "4", "S::VP"]
    assert prompt("length", {"length": 17}) == ["17"]


def test_a_tree_loses_words_and_tags_and_keeps_its_shape() -> None:
    expected = "(TOP (S (NP * * ) (VP * (NP * * ) ) ) )".split()
    assert prompt("syntax_tree", {"tree": TREE}) == expected
    masked = "(TOP (S (NP (DT *) (NN *)) (VP (VBZ *) (NP (DT *) (NN *)))))"
    assert prompt("syntax_tree", {"tree": masked}) == expected
    punctuation = "(S (-LRB- -LRB-) (NP (NNP X)) (: :))"
    assert prompt("syntax_tree", {"tree": punctuation}) == "(S * (NP * ) * )".split()


def test_a_text_states_what_it_fulfils() -> None:
    stated = {task: serialisation.stated(PUB) for task, serialisation in SERIALISATIONS.items()}
    assert stated["length"] == [{"length": 5}]
    assert stated["parts_of_speech"] == [{"tags": PUB.tags}]
    assert stated["syntax_tree"] == [{"tree": TREE}]
    assert stated["syntax_spans"][2] == {"first": 2, "last": 4, "label": "VP"}
    assert [len(controls) for controls in stated.values()] == [2, 1, 1, 4, 1]
    bare = Text("1", "train", "a", ["a"])
    assert [s.stated(bare) for task, s in SERIALISATIONS.items() if task != "length"] == [[]] * 4


def test_extra_words_are_those_of_all_prompts() -> None:
    assert extra_words("semantic_content", [PUB, PUB], 3) == ["name", ":", "The", "Mill", "food", "Fast"]
    assert extra_words("length", [PUB], 3) == ["0", "1", "2", "3"]
    assert extra_words("parts_of_speech", [PUB], 3) == list(UNIVERSAL_TAGS)
    assert extra_words("syntax_tree", [PUB], 3) == ["(TOP", "(S", "(NP", "*", ")", "(VP"]
    assert extra_words("syntax_spans", [PUB], 3) == ["0", "NP", "VP", "S", "1", "2"]


def test_a_control_that_cannot_be_said_is_told(world: Any) -> None:
    model = LanguageModel.load(world.models["syntax_spans"])
    asked = {"first": 0, "last": 1, "label": "NP"}
    ids = prompt_ids(model, Target("x", "syntax_spans", asked))
    assert [model.tokenizer.id_to_token(i) for i in ids] == ["0", "1", "NP"]
    with pytest.raises(InputError, match="target 'x': the model's prompts cannot say '0 1 NOPE'"):
        prompt_ids(model, Target("x", "syntax_spans", {**asked, "label": "NOPE"}))


def test_a_part_of_a_composition_is_asked_alone(world: Any) -> None:
    model = LanguageModel.load(world.models["parts_of_speech"])
    control = {"field": "food", "value": "Thai", "tags": ["DET", "NOUN"]}
    target = Target("x", "semantic_content+parts_of_speech", control)
    ids = prompt_ids(model, target, "parts_of_speech")
    assert [model.tokenizer.id_to_token(i) for i in ids] == ["DET", "NOUN"]
