"""Bracketed trees: what nltk, benepar and the original release read in them, and what is no tree."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import nltk
import numpy as np
import pytest
from benepar import decode_chart

from pipeline.errors import InputError
from pipeline.trees import Span, masked, read_tree, spans

REFERENCE = Path(__file__).parents[1] / "reference" / "diffusion_lm_reference.npz"
PUB = "(S (NP (DT The) (NN pub)) (VP (VBZ is) (ADJP (JJ cheap))) (. .))"
HAND = [
    f"(TOP {PUB})",
    "(TOP (S (VP (VB go))))",
    "(TOP (NP (NP (NN a))))",
    "(TOP (NN a))",
    "(TOP (NN a) (NN b))",
    "(TOP (S (NP (NN a))) (S (VP (VB b)) (. .)))",
    "( (S (NP-SBJ (NN a)) (VP (VB b))))",
    "(ROOT (FRAG (NP (-LRB- -LRB-) (NN a) (-RRB- -RRB-)) (: --)))",
    "(S1 (S (NP (PRP$ its)) (`` ``) (NP (NNP £) (CD 20))))",
    "(TOP (SBARQ (WHNP (WP who)) (SQ (VP (VBZ is) (NP (PRP it)))) (. ?)))",
]


def random_tree(seed: int) -> str:
    """Under TOP; a fifth of the constituents have one child, so that chains of any length occur."""
    rng, numbers = random.Random(seed), iter(range(1000))

    def grow(depth: int) -> str:
        if depth == 0 or rng.random() < 0.3:
            return f"({rng.choice(['NN', 'VB', '.', 'PRP$'])} w{next(numbers)})"
        children = 1 if rng.random() < 0.35 else rng.randint(2, 4)
        label = rng.choice(["S", "NP", "VP", "TOP"])
        return f"({label} {' '.join(grow(depth - 1) for _ in range(children))})"

    return f"(TOP {' '.join(grow(5) for _ in range(rng.choice([1, 1, 2, 3])))})"


RANDOM = [random_tree(seed) for seed in range(300)]


def golden_spans(text: str) -> list[Span]:
    """benepar's; where it has no label (several constituents under the root) there is no constituent."""
    named = re.sub(r"^\( ?\(", "(TOP (", text)  # benepar knows no root without label
    found = decode_chart.get_labeled_spans(nltk.Tree.fromstring(named))
    return [Span(*span) for span in found if span[2]]


def golden_constituents(text: str) -> Counter[Span]:
    """nltk's subtrees above the tags, each with its place, the outermost left out."""

    def walk(tree: nltk.Tree, first: int) -> Iterator[Span]:
        for child in tree:
            if child.height() > 2:
                yield Span(first, first + len(child.leaves()) - 1, child.label())
                yield from walk(child, first)
            first += len(child.leaves())

    return Counter(walk(nltk.Tree.fromstring(text), 0))


@pytest.mark.parametrize("text", HAND)
def test_spans_by_hand_are_those_of_benepar(text: str) -> None:
    assert spans(text) == golden_spans(text)


def test_spans_of_random_trees_are_those_of_benepar() -> None:
    assert [spans(text) for text in RANDOM] == [golden_spans(text) for text in RANDOM]
    assert any("::" in span.label for text in RANDOM for span in spans(text))


def test_words_tags_and_constituents_are_those_of_nltk() -> None:
    for text in [*HAND, *RANDOM]:
        tree = read_tree(text)
        assert list(zip(tree.words, tree.tags, strict=True)) == nltk.Tree.fromstring(text).pos()
        assert Counter(tree.constituents) == golden_constituents(text)


def test_children_come_before_their_parents() -> None:
    for text in RANDOM:
        seen = spans(text)
        for index, span in enumerate(seen):
            later = seen[index + 1 :]
            assert not [s for s in later if span.first <= s.first and s.last <= span.last], text


def test_spans_of_the_original_release() -> None:
    """Its chart of a tree, and its list of spans with labels by number."""
    labels = ["", "S", "NP", "VP", "PP", "ADJP", "S::VP"]
    with np.load(REFERENCE) as arrays:
        chart, wanted = arrays["chart/from_tree"], arrays["chart/spans"]
    found = spans(PUB)
    assert [(s.first, s.last, labels.index(s.label)) for s in found] == [tuple(row) for row in wanted]
    ours = np.tril(np.full_like(chart, -100), -1)
    for span in found:
        ours[span.first, span.last] = labels.index(span.label)
    np.testing.assert_array_equal(ours, chart)


@pytest.mark.parametrize("root", ["", "TOP", "ROOT", "S1", "VROOT"])
def test_the_outer_bracket_is_no_constituent(root: str) -> None:
    assert read_tree(f"({root} {PUB})") == read_tree(PUB)


def test_a_root_label_within_a_tree_is_a_constituent() -> None:
    assert read_tree("(TOP (S (ROOT (NN a)) (NN b)))").constituents == [(0, 0, "ROOT"), (0, 1, "S")]


def test_white_space_does_not_count() -> None:
    spread = PUB.replace(" (", "\n  ( ").replace(")", " )\t")
    assert read_tree(spread) == read_tree(PUB)


def test_a_single_word() -> None:
    assert read_tree("(NN a)") == (["a"], ["NN"], [])
    assert spans("(NN a)") == []


def test_masked_keeps_everything_but_the_words() -> None:
    assert masked(PUB) == "(S (NP (DT *) (NN *)) (VP (VBZ *) (ADJP (JJ *))) (. *))"
    for text in [*HAND, *RANDOM]:
        tree, hidden = read_tree(text), read_tree(masked(text))
        assert set(hidden.words) == {"*"} and len(hidden.words) == len(tree.words)
        assert (hidden.tags, hidden.constituents) == (tree.tags, tree.constituents)
        assert masked(masked(text)) == masked(text)


BROKEN = {
    "nothing": "",
    "blank": " \n",
    "words only": "the pub",
    "not closed": PUB[:-1],
    "closed twice": PUB + ")",
    "closed first": ")(",
    "something behind it": f"{PUB} pub",
    "two trees": f"{PUB} {PUB}",
    "a leaf and a tree": f"(NN a) {PUB}",
    "two leaves": "(NN a) (NN b)",
    "a tree and a leaf": f"{PUB} (NN a)",
    "empty bracket": "(S (NN a) ())",
    "empty constituent": "(S (NP) (NN a))",
    "empty root": "(TOP)",
    "a leaf of two words": "(S (NN the pub))",
    "a leaf without tag": "(S (the))",
    "a word beside constituents": "(S (NP (NN the)) pub)",
    "a word before constituents": "(S the (NP (NN pub)))",
    "a bracket as a word": "(S (-LRB- () (NN a))",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_what_is_no_tree_is_told(text: str) -> None:
    for read in (read_tree, spans):
        with pytest.raises(InputError, match=r"^targets\.jsonl:3: not a tree: '.*'; write it as \(S "):
            read(text, "targets.jsonl:3")


def test_a_long_text_is_cut_when_told() -> None:
    with pytest.raises(InputError) as error:
        read_tree("(S " * 100)
    assert len(str(error.value)) < 150 and "..." in str(error.value)
