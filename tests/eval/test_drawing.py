"""Controls drawn on texts, by hand."""

from __future__ import annotations

from eval.drawing import asked, drawn, grid, in_brackets
from pipeline.trees import read_tree

WANTED = "(TOP (S (NP (DT *) (NN *)) (VP (VBZ *) (NP (NN *))) (. *)))"
FOUND = "(TOP (S (NP (DT The) (NN pub)) (VP (VBZ serves)) (NP (NN fish)) (. .)))"
WORDS = "The pub serves fish .".split()


def test_a_value_is_bracketed_where_it_stands_as_whole_words() -> None:
    control = {"field": "food", "value": "fish and chips"}
    assert asked("semantic_content", control) == ["food: fish and chips"]
    assert drawn("semantic_content", "We have fish and chips .".split(), control) == [
        "We have [fish and chips] ."
    ]
    assert drawn("semantic_content", "We have fish .".split(), control) == ["We have fish ."]


def test_tags_stand_over_words_and_wrong_ones_are_told() -> None:
    control = {"tags": ["DET", "NOUN", "VERB", "NOUN"]}
    assert asked("parts_of_speech", control) == control["tags"]
    found = drawn("parts_of_speech", "The pub fish".split(), control, tags=["DET", "NOUN", "NOUN"])
    assert found == ["The", "pub", "✗fish/NOUN", "✗"]
    longer = drawn("parts_of_speech", WORDS, control, tags=["DET", "NOUN", "VERB", "NOUN", "PUNCT"])
    assert longer == ["The", "pub", "serves", "fish", "(.)"]


def test_a_span_is_bracketed_as_far_as_the_text_goes() -> None:
    control = {"first": 2, "last": 4, "label": "VP"}
    assert asked("syntax_spans", control) == ["VP over words 3 to 5"]
    assert drawn("syntax_spans", WORDS, control) == ["The pub [VP serves fish .]"]
    assert drawn("syntax_spans", WORDS[:1], control) == ["The [VP ]"]


def test_the_length_is_told() -> None:
    assert asked("length", {"length": 6}) == ["6 words"]
    assert drawn("length", WORDS, {"length": 6}) == ["The pub serves fish . (5)"]


def test_a_tree_is_its_brackets() -> None:
    assert in_brackets(read_tree(WANTED)) == "(S (NP * *) (VP * (NP *)) *)"


def test_brackets_that_were_not_asked_for_and_those_that_are_missing_are_told() -> None:
    found = drawn("syntax_tree", WORDS, {"tree": WANTED}, tree=FOUND)
    assert found == ["(S (NP The pub) (✗VP serves) (NP fish) .)  ✗lacks VP"]


def test_a_text_without_words_has_no_tree() -> None:
    assert drawn("syntax_tree", [], {"tree": WANTED}, tree="") == [""]


def test_both_halves_of_a_composition_are_drawn() -> None:
    control = {"field": "food", "value": "fish", "tree": WANTED}
    assert asked("semantic_content+syntax_tree", control) == ["food: fish", "(S (NP * *) (VP * (NP *)) *)"]
    found = drawn("semantic_content+syntax_tree", WORDS, control, tree=FOUND)
    assert found == ["", "(S (NP The pub) (✗VP serves) (NP [fish]) .)  ✗lacks VP"]
    tagged = {"field": "food", "value": "fish", "tags": ["DET", "NOUN", "VERB", "NOUN", "PUNCT"]}
    found = drawn("semantic_content+parts_of_speech", WORDS, tagged, tags=tagged["tags"])
    assert found == ["", "The", "pub", "serves", "[fish]", "."]


def test_nothing_is_asked_of_a_text_without_control() -> None:
    assert asked("unconditional", {}) == ["any text"]
    assert drawn("unconditional", WORDS, {}) == ["The pub serves fish ."]


def test_an_infill_stands_between_its_context() -> None:
    assert asked("infilling", {"left": "Tom saw a bird .", "right": "He ran ."}) == [
        "Tom saw a bird . ___ He ran ."
    ]


def test_columns_are_aligned_but_for_the_last_cell_of_a_row() -> None:
    assert grid([["asked", "DET", "NOUN"], ["a", "The", "a long last cell"], ["b", "x"]]).split("\n") == [
        "asked  DET  NOUN",
        "a      The  a long last cell",
        "b      x",
    ]


def test_no_text_breaks_its_line() -> None:
    assert "\n" not in grid([["a", "one\ntwo\r\x1b[31m\u2028three"]])
