"""Syntax tree: bracket F1 by hand under EVALB's rules, the other definitions, and what must always hold."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from eval.success import SCORERS
from eval.success.syntax_tree import bracket_f1, brackets, paper, score
from pipeline.records import Target
from pipeline.trees import masked, read_tree

PUB = "(TOP (S (NP (DT The) (NN pub)) (VP (VBZ is) (ADJP (JJ cheap))) (. .)))"
# S, NP, VP, ADJP in PUB


def of(first: str, second: str) -> float:
    return bracket_f1(read_tree(first), read_tree(second))


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        (PUB, PUB, 100),
        (PUB, PUB.replace("ADJP", "NP"), 75),  # 3 of 4 and 3 of 4
        (PUB, "(S (NP (DT The) (NN pub)) (VP (VBZ is)) (. .))", 200 / 7),  # NP only: 1 of 4 and 1 of 3
        (PUB, "(S (NP (DT a) (NN b)) (VP (VBZ c) (ADJP (JJ d))))", 100),  # without the full stop
        (PUB, PUB.replace("(. .)", "(NN x)"), 100),  # as many words: the wanted tags say what is punctuation
        (PUB, PUB.replace("(JJ cheap)", "(, cheap)"), 100),
        (PUB, PUB.replace("(. .)", "(NN x) (NN y)"), 75),  # not as many: S is longer, the others match
        ("(S (VP (VB go) (PRT (RP out))))", "(S (VP (VB go) (ADVP (RP out))))", 100),
        ("(NP (NP (NN a)))", "(NP (NN a))", 200 / 3),  # repeats count: 1 of 2 and 1 of 1
        ("(NP (NP (NN a)))", "(NP (NP (NP (NN a))))", 80),  # 2 of 2 and 2 of 3
        ("(S (VP (VB go)))", "(VP (S (VB go)))", 100),  # the order in a unary chain does not count
        ("(S (VP (VB go)))", "(S (NP (VB go)))", 50),
        ("(S (NP-SBJ (NN a)) (VP=1 (VB b)))", "(S (NP (NN a)) (VP (VB b)))", 100),
        ("(S (NP (NN a)) (PRN (: -)) (VP (VB b)))", "(S (NP (NN a)) (: -) (VP (VB b)))", 100),
        ("(ROOT (S (NN a)))", "(S (NN a))", 100),
        ("(NN a)", "(VB b)", 100),  # no brackets on either side
        ("(NN a)", "(NP (NN a))", 0),
        ("(NP (NN a))", "(NN a)", 0),
    ],
)
def test_bracket_f1_by_hand(wanted: str, found: str, expected: float) -> None:
    assert of(wanted, found) == pytest.approx(expected)


def test_brackets_number_words_without_punctuation() -> None:
    tree = read_tree("(S (`` '') (NP (NN a)) (, ,) (VP (VB b) (PRT (RP c))) (. .))")
    assert brackets(tree, tree.tags) == {("S", 0, 3): 1, ("NP", 0, 1): 1, ("VP", 1, 3): 1, ("ADVP", 2, 3): 1}


def test_every_tree_equals_itself_and_f1_does_not_care_which_comes_first() -> None:
    trees = [random_tree(random.Random(seed)) for seed in range(60)]
    for tree, other in pairwise(trees):
        assert of(tree, tree) == of(masked(tree), tree) == 100
        first, second = read_tree(tree), read_tree(other)
        if len(first.words) != len(second.words):  # otherwise the wanted one's punctuation counts
            assert bracket_f1(first, second) == pytest.approx(bracket_f1(second, first))
        assert 0 <= bracket_f1(first, second) <= 100


def random_tree(draw: random.Random, depth: int = 0) -> str:
    if depth and draw.random() < 0.3 + 0.2 * depth:
        return draw.choice(["(NN a)", "(VB b)", "(. .)", "(, ,)"])
    children = (random_tree(draw, depth + 1) for _ in range(draw.randint(1, 3)))
    return f"({draw.choice(['S', 'NP', 'VP', 'PRT', 'ADVP'])} {' '.join(children)})"


WANTED = Target("tree-1", "syntax_tree", {"tree": "(S (NP (DT *) (NN *)) (VP (VBZ *)) (. *))"})
SHUT = "(S (NP (DT The) (NN pub)) (VP (VBZ shut)) (. .))"
SAID = {
    "The pub shut .": SHUT,
    "The pub shut": "(S (NP (DT The) (NN pub)) (VP (VBZ shut)))",
    "The pub shut . \n": SHUT.replace("(. .)", "(. .) (. x)"),
    ". . . .": "(X (. .) (. .) (. .) (. .))",
}


def scored(text: str, judge: Any) -> dict[str, float]:
    (found,) = score([[word for word in text.split(" ") if word]], [WANTED], judge)
    return found


def test_a_text_of_the_wanted_form_succeeds_by_every_definition(syntax_judge: Any) -> None:
    found = scored("The pub shut .", syntax_judge(SAID))
    assert found == {"ctrl": 100, "ctrl_released": 100, "ctrl_strict": 100, "length_mismatch": 0}


def test_a_shorter_text_is_padded_for_the_release_and_not_for_us(syntax_judge: Any) -> None:
    found = scored("The pub shut", syntax_judge(SAID))
    # strict: S is shorter, NP and VP match: 2 of 3 and 2 of 3
    assert found == {"ctrl": 100, "ctrl_released": 100, "ctrl_strict": 200 / 3, "length_mismatch": 1}


def test_a_longer_text_is_cut_for_the_release_and_a_newline_dropped_for_the_strict_score(
    syntax_judge: Any,
) -> None:
    found = scored("The pub shut . \n", syntax_judge(SAID))
    assert found == {"ctrl": 100, "ctrl_released": 100, "ctrl_strict": 100, "length_mismatch": 1}


def test_punctuation_counts_for_the_release(syntax_judge: Any) -> None:
    """S ends before the full stop here; no bracket moves if that is not numbered."""
    other = "(X (S (NP (DT The) (NN pub)) (VP (VBZ shut))) (. .))"
    found = scored("The pub shut .", syntax_judge({"The pub shut .": other}))
    assert found["ctrl"] == pytest.approx(600 / 7)  # X is too many: 3 of 3 and 3 of 4
    assert found["ctrl_released"] == pytest.approx(400 / 7)  # and S ends elsewhere


def test_the_strict_score_joins_unary_chains(syntax_judge: Any) -> None:
    wanted = Target("t", "syntax_tree", {"tree": "(S (VP (VB *)))"})
    (found,) = score([["go"]], [wanted], syntax_judge({"go": "(S (NP (VB go)))"}))
    assert (found["ctrl"], found["ctrl_released"], found["ctrl_strict"]) == (50, 50, 0)


def test_an_empty_text_has_no_tree_but_the_release_pads_it(syntax_judge: Any) -> None:
    found = scored("", syntax_judge(SAID))
    assert found == {"ctrl": 0, "ctrl_released": 0, "ctrl_strict": 0, "length_mismatch": 1}


def test_many_texts_score_as_each_alone_and_are_read_once(syntax_judge: Any) -> None:
    judge = syntax_judge(SAID)
    texts = [text.split(" ") for text in list(SAID)[:3]] * 2
    together = SCORERS["syntax_tree"](texts, [WANTED] * 6, judge)
    assert judge.asked == [3]
    assert together == [scored(" ".join(text), syntax_judge(SAID)) for text in texts]
    assert paper(texts, [WANTED] * 6, judge) == [{"ctrl": found["ctrl"]} for found in together]
