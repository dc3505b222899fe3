"""Cheaters: what each hands in for each task, and that the guards give all of them away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.cheaters import Cheaters
from eval.human_texts import HumanTexts, digest, fingerprint
from eval.layout import CHEATERS
from eval.score import score_samples
from eval.select import select_samples
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.records import Sample, Target, Text, read_records, write_records
from pipeline.trees import masked, spans

NAMES, VERBS = ("Aromi", "Clowns", "Zizzi", "Cocum", "Strada", "Marlow"), ("serves", "offers", "sells")
ADJECTIVES, FOODS = ("cheap", "good", "fast", "fresh"), ("Thai", "French", "Indian", "Italian")
ENDINGS = ("food", "dishes", "meals")


def sentence(name: str, verb: str, adjective: str, food: str, ending: str = "food") -> str:
    """A tree; five words and the full stop."""
    inner = f"(NP (JJ {adjective}) (JJ {food}) (NN {ending}))"
    return f"(TOP (S (NP (NNP {name})) (VP (VBZ {verb}) {inner}) (. .)))"


TAGS = ["PROPN", "VERB", "ADJ", "ADJ", "NOUN", "PUNCT"]


def text(identity: str, split: str, tree: str) -> Text:
    words = [leaf.split(")")[0] for leaf in tree.split(" ") if ")" in leaf]
    told = [list(span) for span in spans(tree)]
    return Text(identity, split, " ".join(words), words, {"food": words[3]}, TAGS, tree, spans=told)


def corpus() -> list[Text]:
    """Held-out texts differ from every training text in three words."""
    training = [
        sentence(name, verb, adjective, food)
        for name in NAMES[:3]
        for verb in VERBS[:2]
        for adjective in ADJECTIVES[:2]
        for food in FOODS
    ]
    heldout = [
        sentence(name, VERBS[2], adjective, food, ENDINGS[1])
        for name in NAMES[3:5]
        for adjective in ADJECTIVES[2:]
        for food in FOODS
    ]
    return [text(f"train-{i}", "train", tree) for i, tree in enumerate(training)] + [
        text(f"test-{i}", "test", tree) for i, tree in enumerate(heldout)
    ]


TEXTS = corpus()
SOURCE = TEXTS[-1]
OWN = text(
    "own", "own", sentence("Marlow", "serves", "fresh", "Italian", "meals")
)  # three words from any other
CONTROLS: dict[str, dict[str, Any]] = {
    "semantic_content": {"field": "food", "value": SOURCE.tokens[3]},
    "length": {"length": 6},
    "parts_of_speech": {"tags": TAGS},
    "syntax_tree": {"tree": masked(SOURCE.tree or "")},
    "syntax_spans": {"first": 1, "last": 4, "label": "VP"},
}
CONTROLS["semantic_content+parts_of_speech"] = CONTROLS["semantic_content"] | CONTROLS["parts_of_speech"]
CONTROLS["semantic_content+syntax_tree"] = CONTROLS["semantic_content"] | CONTROLS["syntax_tree"]
WITHOUT_SOURCE = ("semantic_content", "length")


def target(task: str) -> Target:
    source = None if task in WITHOUT_SOURCE else SOURCE.id
    return Target("t", task, CONTROLS[task], source_id=source)


@pytest.fixture(scope="module")
def cheaters() -> Cheaters:
    return Cheaters(TEXTS, seed=0)


def written(cheaters: Cheaters, name: str, task: str, count: int = 3) -> list[str]:
    return [sample.text for sample in cheaters.samples(name, [target(task)], count)]


every_task = pytest.mark.parametrize("task", CONTROLS)


@every_task
def test_retrieval_hands_in_training_texts_that_satisfy(cheaters: Cheaters, task: str) -> None:
    found = written(cheaters, "cheat_retrieval", task)
    training = {text.text for text in TEXTS if text.split == "train"}
    assert len(set(found)) == 3 and set(found) <= training
    if "semantic_content" in task:
        assert all(CONTROLS[task]["value"] in words for words in found)


def test_retrieval_takes_the_likest(cheaters: Cheaters) -> None:
    """By tags and their places, by constituents, by length; of a composition the value comes first."""
    named = sentence("Aromi", "serves", "cheap", "Turkish").replace("(NNP Aromi)", "(NNP Aromi) (NNP House)")
    long = text("train-long", "train", named)
    odd = Text("train-odd", "train", "Turkish food", ["Turkish", "food"], {}, ["ADJ", "NOUN"], None, spans=[])
    more = Cheaters([*TEXTS, long, odd], seed=0)
    wanted = {"field": "food", "value": "Turkish"}
    pos = Target("t", "semantic_content+parts_of_speech", wanted | {"tags": ["ADJ", "NOUN"]}, source_id="x")
    assert more.cheat_retrieval(pos, 2) == [odd.tokens, long.tokens]
    pos = Target("t", "parts_of_speech", {"tags": ["ADJ", "NOUN"]}, source_id="x")
    assert more.cheat_retrieval(pos, 1) == [odd.tokens]
    assert more.cheat_retrieval(Target("t", "length", {"length": 3}), 1) == [odd.tokens]
    tree = Target("t", "syntax_tree", {"tree": masked(long.tree or "")}, source_id="x")
    assert more.cheat_retrieval(tree, 1) == [long.tokens]
    span = Target("t", "syntax_spans", {"first": 0, "last": 0, "label": "XX"}, source_id="x")
    assert len(more.cheat_retrieval(span, 4)) == 4


@pytest.mark.parametrize(
    ("task", "first", "last"),
    [
        ("semantic_content", "Italian Italian", "Italian Italian Italian Italian"),
        ("parts_of_speech", "Aromi serves cheap cheap food .", "Zizzi offers Thai Thai food ."),
        ("syntax_tree", "Aromi serves cheap cheap food .", "Zizzi offers Thai Thai food ."),
        ("semantic_content+syntax_tree", "Aromi serves cheap cheap food . Italian", None),
        ("semantic_content+parts_of_speech", "Aromi serves cheap cheap food . Italian", None),
    ],
)
def test_repeats_are_built_from_the_most_frequent_words_down(
    cheaters: Cheaters, task: str, first: str, last: str | None
) -> None:
    found = written(cheaters, "cheat_repeat", task)
    assert found[0] == first and last in (found[2], None)


def test_a_length_is_met_by_two_words(cheaters: Cheaters) -> None:
    assert written(cheaters, "cheat_repeat", "length", 1) == ["food . food . food ."]


def test_a_constituent_is_repeated_before_and_behind_its_place(cheaters: Cheaters) -> None:
    """One of the label as long as the span if that is short, else two words."""
    texts = [*TEXTS, Text("train-long", "train", "x " * 19 + "x", ["x"] * 20, {}, None, None)]
    found = Cheaters(texts, 0).cheat_repeat(target("syntax_spans"), 1)[0]
    assert found[1:5] == found[5:9] and found[0] == found[4] and len(found) == 10
    assert found[1] in VERBS and found[4] == "food"
    pairs = cheaters.cheat_repeat(target("syntax_spans"), 1)[0]
    assert pairs == ". food . food . food . .".split()


@every_task
def test_sources_are_handed_in_where_there_are_some(cheaters: Cheaters, task: str) -> None:
    found = written(cheaters, "cheat_source", task)
    if task in WITHOUT_SOURCE:
        assert len(set(found)) == 3 and set(found) <= {t.text for t in TEXTS if t.split == "test"}
        assert task == "length" or all("Italian" in words for words in found)
    else:
        assert found == [SOURCE.text] * 3


@every_task
def test_shuffled_texts_have_the_words_of_the_first_source(cheaters: Cheaters, task: str) -> None:
    found = written(cheaters, "cheat_shuffle", task, 5)
    first = written(cheaters, "cheat_source", task)[0]
    assert {" ".join(sorted(words.split())) for words in found} == {" ".join(sorted(first.split()))}
    assert len(set(found)) >= 4
    assert found == written(Cheaters(TEXTS, seed=0), "cheat_shuffle", task, 5)
    assert found != written(Cheaters(TEXTS, seed=1), "cheat_shuffle", task, 5)


def test_ties_fall_by_seed() -> None:
    first, again, other = (
        written(Cheaters(TEXTS[::step], seed), "cheat_retrieval", "length")
        for step, seed in ((1, 0), (-1, 0), (1, 1))
    )
    assert first == again != other


def test_targets_that_nothing_is_reported_on_have_no_texts(cheaters: Cheaters) -> None:
    tuning = Target("u", "length", {"length": 6}, target_set="tuning")
    assert list(cheaters.samples("cheat_repeat", [tuning], 2)) == []


def test_a_corpus_without_the_sources_or_splits_is_bad_input() -> None:
    with pytest.raises(InputError, match="no text 'elsewhere' for target 't'"):
        Cheaters(TEXTS, 0).cheat_source(Target("t", "syntax_tree", {"tree": ""}, source_id="elsewhere"), 1)
    with pytest.raises(InputError, match="no training or no held-out texts"):
        Cheaters([text for text in TEXTS if text.split == "train"], 0)


# --- what gives them away


class Judge:
    """Knows the sentences of the corpus and the tag of every word; of other sentences it finds no tree."""

    def __init__(self) -> None:
        self.known = {text.text: text for text in (*TEXTS, OWN)}
        self.tagged = {
            word: tag for t in self.known.values() for word, tag in zip(t.tokens, TAGS, strict=True)
        }

    def tags(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        return [[self.tagged[word] for word in words] for words in sentences]

    def trees(self, sentences: Sequence[Sequence[str]]) -> list[str]:
        return [self._tree(" ".join(words)) for words in sentences]

    def _tree(self, sentence: str) -> str:
        flat = "".join(f" (X {word})" for word in sentence.split())
        return self.known[sentence].tree or "" if sentence in self.known else f"(TOP (X{flat}))"


VOCABULARY = Vocabulary.build([text.tokens for text in (*TEXTS, OWN)], more_than=0)
CLASSES = (("",), NAMES, VERBS, ADJECTIVES, FOODS, ENDINGS, (".",), ("",))
USUAL = {pair for first, second in pairwise(CLASSES) for pair in product(first, second)}


def grammar_losses(texts: list[list[str]]) -> list[np.ndarray]:
    """One nat for each word that may stand behind the one before it, six for any other."""
    return [np.array([1.0 if pair in USUAL else 6.0 for pair in pairwise(["", *w, ""])]) for w in texts]


def human_texts() -> HumanTexts:
    prints = {
        split: [fingerprint(text.tokens, VOCABULARY) for text in TEXTS if text.split == split]
        for split in ("train", "test")
    }
    copies = {digest(text.tokens) for text in TEXTS if text.split == "train"}
    return HumanTexts(VOCABULARY, (0.5, 1.5), prints["train"], prints["test"], copies)


def joint_success(task: str, texts: list[str], name: str) -> float:
    samples = [Sample(name, task, "t", i, 0, words, 0, 0) for i, words in enumerate(texts)]
    scores = score_samples(
        samples, select_samples(samples), [target(task)], human_texts(), grammar_losses, [Judge()]
    )
    return float(np.mean([score.metrics["joint_success"] for score in scores]))


@every_task
@pytest.mark.parametrize("name", CHEATERS)
def test_no_cheater_has_joint_success(cheaters: Cheaters, name: str, task: str) -> None:
    assert joint_success(task, written(cheaters, name, task, 5), name) == 0


@every_task
def test_a_text_of_ones_own_has_it(task: str) -> None:
    """The very checks that catch the cheaters let it pass."""
    assert joint_success(task, [OWN.text], "ours") == 100


def test_the_human_row_is_held_against_training_texts_alone() -> None:
    assert joint_success("parts_of_speech", [SOURCE.text], "human") == 100
    assert joint_success("parts_of_speech", [SOURCE.text], "ours") == 0
    assert joint_success("parts_of_speech", [TEXTS[0].text], "human") == 0


# --- the command


@pytest.fixture
def cheat(run_command: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def run(cells: Sequence[str], tasks: Sequence[str]) -> Any:
        inputs = {"corpus": tmp_path / "corpus.jsonl"}
        write_records(inputs["corpus"], TEXTS)
        for task in tasks:
            inputs[f"targets/{task}"] = tmp_path / f"{task}.jsonl"
            write_records(inputs[f"targets/{task}"], [target(task)])
        outputs = {f"samples/{cell}/seed0": tmp_path / f"samples/{cell}.jsonl" for cell in cells}
        spec = {"seed": 0, "threads": 1, "samples": dict.fromkeys(CONTROLS, 4)}
        return run_command("eval.cheaters", spec, inputs, outputs)

    return run


def test_every_cell_has_as_many_texts_as_are_asked_for(cheat: Callable[..., Any], tmp_path: Path) -> None:
    cells = [f"{task}/{name}" for task in CONTROLS for name in CHEATERS]
    done = cheat(cells, list(CONTROLS))
    assert done.code == 0, done.stderr
    for cell in cells:
        samples = read_records(tmp_path / f"samples/{cell}.jsonl", Sample)
        assert [(s.task, s.method) for s in samples] == [tuple(cell.split("/"))] * 4
        assert [s.sample_index for s in samples] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("length/cheat_retrieve", "--output: no cheater 'cheat_retrieve'; did you mean 'cheat_retrieval'?"),
        ("syntax_tree/cheat_repeat", "--input: 'targets/syntax_tree' is missing"),
    ],
)
def test_a_cell_that_cannot_be_written_is_bad_input(
    cheat: Callable[..., Any], cell: str, message: str
) -> None:
    done = cheat([cell], ["length"])
    assert done.code == 2 and message in done.stderr
