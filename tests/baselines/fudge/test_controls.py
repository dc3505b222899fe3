"""Controls as the discriminators read them: what is told of each word, outputs, unknown names, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from baselines.fudge.controls import FORMS, NOTHING, STOP, UNKNOWN, Control, Encoding
from pipeline.corpora.grammar import restaurant_texts
from pipeline.errors import InputError
from pipeline.records import Target, Text
from pipeline.trees import Span, masked, spans

TREE = "(TOP (S (NP (DT the) (NN pub)) (VP (VBZ is) (ADVP (RB here))) (. .)))"
TEXTS = restaurant_texts(0, {"train": 200})
CPU = torch.device("cpu")


def words(task: str, control: Control) -> list[tuple[str | None, ...]]:
    return FORMS[task].words(control)


def encoding(task: str, texts: Sequence[Text] = TEXTS) -> Encoding:
    return Encoding.collect(task, texts, most_words=20)


def laid_out(task: str, control: Control, positions: int) -> list[list[int]]:
    known = encoding(task)
    told: list[list[int]] = known.laid_out([known.told(control)], positions)[0].tolist()
    return told


def test_a_tree_is_told_by_the_lowest_constituent_over_each_word_and_the_next() -> None:
    expected = [
        ("NP", "2", None),
        ("S", "1", None),
        ("VP", "2", None),
        ("S", "1", "ADVP"),
        (None, None, None),
    ]
    assert words("syntax_tree", {"tree": TREE}) == expected


def test_a_unary_chain_is_one_label_and_one_level() -> None:
    tree = "(TOP (S (NP (NN pubs)) (VP (VP (VB open) (NP (NN doors))))))"
    assert words("syntax_tree", {"tree": tree}) == [
        ("S", "1", "NP"),
        ("VP::VP", "2", None),
        (None, None, "NP"),
    ]


def test_words_outside_every_constituent_are_told_nothing() -> None:
    tree = "(TOP (NP (DT a) (NN pub)) (. .))"
    assert words("syntax_tree", {"tree": tree}) == [("NP", "1", None), (None,) * 3, (None,) * 3]


def test_a_masked_tree_tells_the_same() -> None:
    for text in TEXTS[:50]:
        tree = text.tree or ""
        assert words("syntax_tree", {"tree": masked(tree)}) == words("syntax_tree", {"tree": tree})


def rebuilt(told: list[tuple[str | None, ...]]) -> set[Span]:
    """The spans of a tree from what is told of its words."""
    depths = [int(depth or 0) for _, depth, _ in told]
    found = {Span(i, i, alone) for i, (_, _, alone) in enumerate(told) if alone}
    for i, (label, _, _) in enumerate(told):
        first, last = i, i
        while first > 0 and depths[first - 1] >= depths[i]:
            first -= 1
        while depths[last] >= depths[i] > 0:
            last += 1
        found |= {Span(first, last, label)} if label else set()
    return found


def test_no_tree_is_lost_in_telling() -> None:
    for text in TEXTS:
        tree = text.tree or ""
        assert rebuilt(words("syntax_tree", {"tree": tree})) == set(spans(tree))


def test_tags_start_at_position_one_and_stop_after_the_last() -> None:
    noun, verb = (encoding("parts_of_speech").told({"tags": [tag]})[0][0] for tag in ("NOUN", "VERB"))
    assert noun != verb and min(noun, verb) > UNKNOWN
    expected = [[NOTHING], [noun], [verb], [STOP], [STOP]]
    assert laid_out("parts_of_speech", {"tags": ["NOUN", "VERB"]}, 5) == expected
    assert laid_out("parts_of_speech", {"tags": ["NOUN", "VERB"]}, 2) == expected[:2]


def test_a_span_is_marked_word_by_word_and_tells_no_end_of_the_text() -> None:
    assert words("syntax_spans", {"first": 1, "last": 4, "label": "NP"}) == [
        ("before 1", "NP"), ("first", "NP"), ("inside", "NP"), ("inside", "NP"), ("last", "NP"),
    ]  # fmt: skip
    assert words("syntax_spans", {"first": 0, "last": 1, "label": "NP"}) == [("first", "NP"), ("last", "NP")]
    assert words("syntax_spans", {"first": 0, "last": 0, "label": "NP"}) == [("single", "NP")]
    told = laid_out("syntax_spans", {"first": 1, "last": 1, "label": "NP"}, 5)
    outside = [NOTHING, NOTHING]
    assert told[0] == told[3] == told[4] == outside and min(*told[1], *told[2]) > UNKNOWN


@pytest.mark.parametrize("task", ["semantic_content", "length"])
def test_fields_and_lengths_are_outputs_and_told_nowhere(task: str) -> None:
    known = encoding(task)
    assert known.laid_out([(), ()], 7).shape == (2, 7, 0)
    controls: list[dict[str, Any]] = [{"field": field, "value": value} for field, value in known.values]
    controls = controls or [{"length": words} for words in range(21)]
    assert [known.output(control) for control in controls] == list(range(known.outputs))


def test_the_values_are_those_of_the_training_texts() -> None:
    stated = {(field, value) for text in TEXTS for field, value in (text.fields or {}).items()}
    assert {(field, value) for field, value in encoding("semantic_content").values} == stated


def test_names_never_seen_or_seen_once_are_unknown() -> None:
    tags = [["NOUN", "VERB", "NOUN"], ["VERB", "INTJ"]]
    known = encoding("parts_of_speech", [Text("0", "train", "", [], tags=row) for row in tags])
    assert known.names == [["NOUN", "VERB"]]
    assert known.told({"tags": ["INTJ", "DET", "VERB"]}) == ((UNKNOWN,), (UNKNOWN,), (4,))


def test_the_spans_of_a_record_are_taken_and_else_those_of_its_tree() -> None:
    text = Text("0", "train", "", [], tree=TREE)
    assert {c["label"] for c in FORMS["syntax_spans"].stated(text)} == {"S", "NP", "VP", "ADVP"}
    text = Text("0", "train", "", [], tree=TREE, spans=[[0, 1, "NP"]])
    assert FORMS["syntax_spans"].stated(text) == [{"first": 0, "last": 1, "label": "NP"}]


def test_what_the_targets_of_a_composition_ask_of_one_part() -> None:
    known = encoding("parts_of_speech")
    control = {"field": "food", "value": "Thai", "tags": ["NOUN", "VERB"]}
    asked = known.asked([Target("x", "semantic_content+parts_of_speech", control)], CPU)
    assert asked.features.shape == (1, 22, 1) and asked.output.tolist() == [0]
    assert asked.features[0, :, 0].tolist()[:5] == [NOTHING, *(n for (n,) in known.told(control)), STOP, STOP]


@pytest.mark.parametrize(
    ("task", "control", "message"),
    [
        ("semantic_content", {"field": "price", "value": "chaep"}, "not learned price=chaep; did you mean"),
        ("length", {"length": 21}, "no text of 21 words; ask for 0 to 20 words"),
        ("length", {"length": -1}, "no text of -1 words"),
        ("parts_of_speech", {"tags": ["NOUN"] * 21}, "no text of 21 words"),
        ("syntax_spans", {"first": 3, "last": 20, "label": "NP"}, "no text of 21 words"),
    ],
)
def test_a_control_that_was_not_learned_is_refused(task: str, control: Control, message: str) -> None:
    fine = {
        "semantic_content": {"field": "price", "value": "cheap"},
        "length": {"length": 20},
        "parts_of_speech": {"tags": ["NOUN"] * 20},
        "syntax_spans": {"first": 3, "last": 19, "label": "NP"},
    }[task]
    known = encoding(task)
    known.asked([Target("a", task, fine)], CPU)
    with pytest.raises(InputError, match=f"target 'b'.*{message}"):
        known.asked([Target("a", task, fine), Target("b", task, dict(control))], CPU)
