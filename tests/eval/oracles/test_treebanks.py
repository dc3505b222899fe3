"""Treebanks: what is read of them, what is cleaned away, and which of them may train a judge."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from eval.oracles.treebanks import (
    BRACKETED,
    TAGGED,
    TRAINABLE,
    clean,
    read_bracketed,
    read_tagged,
    require_trainable,
)
from pipeline.errors import InputError
from pipeline.records import Text
from pipeline.tasks import UNIVERSAL_TAGS
from pipeline.trees import read_tree

EWT, GUM_TREES = "ud_english_ewt/en_ewt-ud-train.conllu.gz", "gum/gum_const_trees.tsv.gz"
CRAFT, WSJ = "craft/craft_trees.tsv.gz", "nltk_wsj_sample/wsj_sample_trees.tsv.gz"


def put(data: Path, name: str, content: str) -> Path:
    """A file of a treebank."""
    path = data / "treebanks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.encode(), mtime=0))
    return data


def told(read: Any, *arguments: Any) -> str:
    with pytest.raises(InputError) as error:
        read(*arguments)
    return str(error.value)


# --- trees are cleaned

CLEANED = {
    "traces": (
        "( (S (NP-SBJ-1 (NNP Ed)) (VP (VBZ seems) (S (NP-SBJ (-NONE- *-1)) (VP (TO to) (VP (VB go)))))))",
        "(TOP (S (NP (NNP Ed)) (VP (VBZ seems) (S (VP (TO to) (VP (VB go)))))))",
    ),
    "a bracket of traces only": ("(S (SBAR (-NONE- 0) (S (-NONE- *T*))) (VB go))", "(TOP (S (VB go)))"),
    "function labels": (
        "(S (NP-SBJ=2 (NN a)) (PP-LOC-CLR (IN b)) (NP=3 (NN c)) (ADVP|PRT (RB d)))",
        "(TOP (S (NP (NN a)) (PP (IN b)) (NP (NN c)) (ADVP (RB d))))",
    ),
    "brackets that others do not draw": (
        "(NP (NML (NN gene) (NML-LOC (NN test))) (NN kit))",
        "(TOP (NP (NN gene) (NN test) (NN kit)))",
    ),
    "a root of either kind": ("(ROOT (TOP (NP (NN a))))", "(TOP (NP (NN a)))"),
    "no root": ("(NP (NN a))", "(TOP (NP (NN a)))"),
    "several constituents": ("(TOP (NP (NN a)) (. .))", "(TOP (NP (NN a)) (. .))"),
    "tags keep their hyphens": ("(S (-LRB- -LRB-) (HYPH -))", "(TOP (S (-LRB- -LRB-) (HYPH -)))"),
    "repeated labels stay": ("(NP (NP (NN a)))", "(TOP (NP (NP (NN a))))"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CLEANED.values(), ids=CLEANED)
def test_what_is_cleaned_away(text: str, expected: str) -> None:
    found = clean(text)
    assert found and found.tree == expected
    assert clean(expected) == found


def test_brackets_are_words_but_escaped_in_trees() -> None:
    found = clean("(S (-LRB- -LRB-) (NN a) (-RRB- -RRB-) (-LRB- -LSB-) (-RRB- -RCB-) (-LRB- {))")
    assert found and found.words == ["(", "a", ")", "[", "}", "{"]
    assert found.tree == "(TOP (S (-LRB- -LRB-) (NN a) (-RRB- -RRB-) (-LRB- [) (-RRB- }) (-LRB- {)))"
    assert len(read_tree(found.tree).words) == 6


@pytest.mark.parametrize("label", ["TITLE", "HEADING", "CAPTION", "CIT", "LST"])
def test_parts_of_documents_are_no_sentences(label: str) -> None:
    assert clean(f"( ({label} (NP (NN Abstract))) )") is None
    within = clean(f"(S ({label} (NN a)) (NN b))")
    assert within and within.words == ["a", "b"]


def test_nothing_but_traces() -> None:
    assert clean("( (S (NP-SBJ (-NONE- *)) (VP (-NONE- *?*))))") is None


def test_a_word_of_craft_may_hold_a_space() -> None:
    found = clean("(NP (CD 10 000) (NNS mice))")
    assert found and found.words == ["10000", "mice"]


@pytest.mark.parametrize("text", ["(S (NP (NN a))", "words", "", "(S (NN a))) (S"])
def test_a_broken_tree(text: str) -> None:
    assert told(clean, text, "trees.tsv").startswith(f"trees.tsv: not a tree: '{text}'")


# --- tagged sentences


def row(*columns: str) -> str:
    return "\t".join([*columns, *["_"] * (10 - len(columns))]) + "\n"


CONLLU = "".join([
    "# newdoc id = one\n# text = I don't (...)\n",
    row("1", "I", "I", "PRON"), row("2-3", "don't", "_", "_"), row("2", "do", "do", "AUX"),
    row("3", "n't", "not", "PART"), row("3.1", "know", "know", "VERB"), row("4", "1 000", "1000", "NUM"),
    "\n# text = (\n", row("1", "(", "(", "PUNCT"), "\n\n",
    row("1", "End", "end", "NOUN"),
])  # fmt: skip


def test_multiword_tokens_and_empty_nodes_are_no_words(tmp_path: Path) -> None:
    """The last sentence counts though no line follows it; a space within a word goes."""
    assert read_tagged("ewt", "train", put(tmp_path, EWT, CONLLU)) == [
        (["I", "do", "n't", "1000"], ["PRON", "AUX", "PART", "NUM"]),
        (["("], ["PUNCT"]),
        (["End"], ["NOUN"]),
    ]


def test_licence_groups_are_kept_apart(tmp_path: Path) -> None:
    """A sentence that names no licence belongs to neither group."""
    sentence = row("1", "{}", "_", "X") + "\n"
    named = [
        f"# licence_group = {group}\n{sentence.format(word)}" for group, word in (("open", "a"), ("nc", "b"))
    ]
    data = put(tmp_path, "gum/gum_ud_basic_test.conllu.gz", "".join([*named, sentence.format("c")]))
    assert read_tagged("gum_open", "test", data) == [(["a"], ["X"])]
    assert read_tagged("gum_nc", "test", data) == [(["b"], ["X"])]
    lines = "".join(
        f"{group}{i}\t{split}\tg\t{group}\t(ROOT (NN {group}{split}))\n"
        for i, (group, split) in enumerate([("open", "train"), ("nc", "train"), ("open", "test")])
    )
    put(tmp_path, GUM_TREES, "sent_id\tsplit\tgenre\tlicence_group\ttree\n" + lines)
    assert read_bracketed("gum_open", "train", data) == [(["opentrain"], "(TOP (NN opentrain))")]
    assert read_bracketed("gum_nc", "train", data) == [(["nctrain"], "(TOP (NN nctrain))")]
    assert read_bracketed("gum_open", "test", data) == [(["opentest"], "(TOP (NN opentest))")]
    assert told(read_bracketed, "gum_nc", "test", data).endswith("choose another treebank")


# --- which sentences belong to which split


def test_whole_articles_measure(tmp_path: Path) -> None:
    """Every tenth article, in order of their names, whatever the order of the lines."""
    lines = "".join(f"{a}\t(NP (NN w{a}))\n{a}\t( (TITLE (NN t)))\n" for a in reversed(range(100, 121)))
    data = put(tmp_path, CRAFT, f"pmid\ttree\n{lines}")
    test = {s.words[0] for s in read_bracketed("craft", "test", data)}
    assert test == {"w100", "w110", "w120"}
    assert {s.words[0] for s in read_bracketed("craft", "train", data)} == {
        f"w{a}" for a in range(100, 121)
    } - test


def test_wsj_only_measures(tmp_path: Path) -> None:
    data = put(tmp_path, WSJ, 'file\ttree\nwsj_0001\t( (S (`` ``) (NN "a)) )\n')
    assert read_bracketed("wsj", "test", data) == [(["``", '"a'], '(TOP (S (`` ``) (NN "a)))')]
    for split in ("train", "dev"):
        assert "no sentences" in told(read_bracketed, "wsj", split, data)


def test_halves_of_the_embedded_corpus_share_no_sentence(world: Any) -> None:
    """Both halves are measured on the same sentences."""
    nowhere = Path("nowhere")
    for read, own in ((read_tagged, "tags"), (read_bracketed, "tree")):
        for split, ours in (("train", "train"), ("dev", "valid"), ("test", "test")):
            first, second = (
                read(f"embedded_{half}", split, nowhere, world.corpus) for half in ("first", "second")
            )
            texts: list[Text] = [text for text in world.texts if text.split == ours]
            wanted = [(text.tokens, getattr(text, own)) for text in texts]
            assert (first + second if split == "train" else first) == wanted
            assert len(first) == len(second) or split == "train"
    assert len(read_tagged("embedded_first", "train", nowhere, world.corpus)) == 50


# --- what may be trained on


def test_only_treebanks_that_may_be_passed_on_train() -> None:
    assert {*TAGGED, *BRACKETED} - set(TRAINABLE) == {"gum_nc", "wsj"}
    for name in TRAINABLE:
        require_trainable(name)
    for name in ("gum_nc", "wsj", "unknown"):
        assert told(require_trainable, name).startswith(
            f"treebank '{name}': a judge trained on it may not be passed on; choose one of ewt, "
        )


@pytest.mark.parametrize(
    ("module", "treebank"),
    [("train_tagger", "gum_nc"), ("train_parser", "gum_nc"), ("train_parser", "wsj")],
)
def test_the_commands_refuse_the_others(run_command: Any, tmp_path: Path, module: str, treebank: str) -> None:
    spec = {"source": "train", "treebank": treebank, "model": {}, "training": {}, "data_dir": "gone"}
    done = run_command(f"eval.oracles.{module}", spec, {}, {"model": tmp_path / "m.safetensors"})
    assert done.code == 2 and done.stderr.count("\n") == 1
    assert f"error: --spec.treebank: '{treebank}' is not one of ['" in done.stderr
    assert not list(tmp_path.iterdir())


# --- bad files


def test_unknown_treebanks_name_the_nearest(tmp_path: Path) -> None:
    assert told(read_tagged, "gum", "test", tmp_path).startswith("treebank 'gum': unknown; ")
    assert "did you mean 'craft'?" in told(read_bracketed, "kraft", "test", tmp_path)
    for read, name in ((read_tagged, "craft"), (read_tagged, "wsj"), (read_bracketed, "ewt")):
        assert "unknown" in told(read, name, "test", tmp_path)


@pytest.mark.parametrize("read", [read_tagged, read_bracketed])
def test_the_embedded_corpus_must_be_given(read: Any, tmp_path: Path) -> None:
    assert "'corpus' is missing for embedded_first; add corpus=FILE" in told(
        read, "embedded_first", "test", tmp_path
    )
    with pytest.raises(InputError, match="no such file"):
        read("embedded_first", "test", tmp_path, tmp_path / "corpus.jsonl")


@pytest.mark.parametrize("name", ["gum_open", "craft", "wsj", "ewt"])
def test_a_missing_file(name: str, tmp_path: Path) -> None:
    read = read_tagged if name == "ewt" else read_bracketed
    assert re.search(r"treebanks/.*gz: no such file; ", told(read, name, "test", tmp_path))


DAMAGED = {
    "conllu columns": ("ewt", EWT, CONLLU + "\n1 End end NOUN\n", r"train\.conllu\.gz:16: not CoNLL-U"),
    "conllu without sentences": ("ewt", EWT, "# text = a\n", r"train\.conllu\.gz: no sentences"),
    "a cut line": ("craft", CRAFT, "pmid\ttree\n1\t(NP (NN a))\n2\n", r"trees\.tsv\.gz:3: wrong number"),
    "a column too many": ("craft", CRAFT, "pmid\ttree\n1\t(NN a)\t2\n", r"trees\.tsv\.gz:2: wrong number"),
    "a cut tree": ("craft", CRAFT, "pmid\ttree\n1\t(NP (NN a))\n2\t(NP (NN a\n", r"tsv\.gz: not a tree"),
    "no lines": ("craft", CRAFT, "pmid\ttree\n", r"trees\.tsv\.gz: no sentences"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "file", "content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file(name: str, file: str, content: str, message: str, tmp_path: Path) -> None:
    read = read_tagged if name == "ewt" else read_bracketed
    assert re.search(message, told(read, name, "train", put(tmp_path, file, content)))


# --- the published treebanks


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "count"), [("train", 12544), ("test", 2077)])
def test_ewt(real_data: Path, split: str, count: int) -> None:
    sentences = read_tagged("ewt", split, real_data)
    assert len(sentences) == count
    assert {tag for sentence in sentences for tag in sentence.tags} <= set(UNIVERSAL_TAGS)
    assert all(words and len(words) == len(tags) for words, tags in sentences)


SIZES = [
    ("gum_open", "train", 7425), ("gum_open", "dev", 1022), ("gum_open", "test", 937),
    ("gum_nc", "train", 2799),
    ("craft", "train", 18683), ("craft", "test", 2320), ("wsj", "test", 3914),
]  # fmt: skip


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "split", "count"), SIZES)
def test_trees(real_data: Path, name: str, split: str, count: int) -> None:
    sentences = read_bracketed(name, split, real_data)
    assert len(sentences) == count
    for sentence in sentences[::5]:
        tree = read_tree(sentence.tree)
        words = [{"-LRB-": "(", "-RRB-": ")"}.get(word, word) for word in tree.words]
        assert words == sentence.words
        assert not {"-NONE-", "NML"} & {*tree.tags, *(span.label for span in tree.constituents)}
        assert not [span for span in tree.constituents if set("-=|") & set(span.label)]


@pytest.mark.real_data
def test_both_sides_of_gum_have_the_same_words(real_data: Path) -> None:
    """Its trees and its tags are of one text, so tagger and parser can be measured on the same sentences."""
    tagged = {"".join(s.words) for s in read_tagged("gum_open", "test", real_data)}
    trees = ["".join(s.words) for s in read_bracketed("gum_open", "test", real_data)]
    assert sum(words in tagged for words in trees) > 0.95 * len(trees)
