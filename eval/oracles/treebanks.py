"""Treebanks that judges are trained and measured on: words with tags, and words with trees.

Trees lose what an unlexicalised reader cannot know: traces, function labels (``NP-SBJ-1`` is ``NP``), and
CRAFT's ``NML`` brackets, which the other treebanks do not draw. Only ``ewt``, ``gum_open`` and ``craft`` may
be passed on in trained form (CC BY-SA 4.0, CC BY and public domain, CC BY 3.0); ``gum_nc`` and ``wsj`` only
measure. ``embedded_first`` and ``embedded_second`` are disjoint halves of the embedded corpus.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pipeline.errors import InputError, nearest
from pipeline.files import read_lines
from pipeline.records import Text, read_records
from pipeline.trees import ROOTS

TAGGED = ("ewt", "gum_open", "gum_nc", "embedded_first", "embedded_second")
BRACKETED = ("gum_open", "gum_nc", "craft", "wsj", "embedded_first", "embedded_second")
TRAINABLE = ("ewt", "gum_open", "craft", "embedded_first", "embedded_second")
UNDRAWN = ("NML",)  # CRAFT's brackets within noun phrases
DOCUMENT_PARTS = ("HEADING", "CAPTION", "TITLE", "CIT", "LST")  # CRAFT's sentences that are none
ESCAPES = {"(": "-LRB-", ")": "-RRB-"}
UNESCAPES = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
CRAFT_TEST_EVERY = 10  # every tenth article measures


Item = TypeVar("Item")


class Tagged(NamedTuple):
    """A sentence with one universal tag per word."""

    words: list[str]
    tags: list[str]


class Bracketed(NamedTuple):
    """A sentence with its tree, cleaned; the tree's brackets are escaped, the words are not."""

    words: list[str]
    tree: str


def read_tagged(name: str, split: str, data: Path, corpus: Path | None = None) -> list[Tagged]:
    """Tagged sentences of a treebank's split ``train``, ``dev`` or ``test``.

    Args:
        data: folder that holds ``treebanks/``. corpus: text records of the embedded corpus.

    Raises:
        InputError: unknown treebank, missing file, a line that does not parse, no sentences.
    """
    if name.startswith("embedded"):
        return [Tagged(t.tokens, t.tags or []) for t in _embedded(name, split, corpus)]
    _require(name, TAGGED)
    folder, licence = (
        ("ud_english_ewt/en_ewt-ud-", None) if name == "ewt" else ("gum/gum_ud_basic_", name[4:])
    )
    path = data / "treebanks" / f"{folder}{split}.conllu.gz"
    return _some(list(_conllu(path, licence)), path)


def read_bracketed(name: str, split: str, data: Path, corpus: Path | None = None) -> list[Bracketed]:
    """Cleaned trees of a treebank's split; as :func:`read_tagged`.

    GUM has its own splits; CRAFT's ``test`` is every tenth article; WSJ has only ``test``.
    """
    if name.startswith("embedded"):
        return [Bracketed(t.tokens, t.tree or "") for t in _embedded(name, split, corpus)]
    _require(name, BRACKETED)
    if name == "wsj":
        path = data / "treebanks/nltk_wsj_sample/wsj_sample_trees.tsv.gz"
        rows = [row["tree"] for row in _rows(path)] if split == "test" else []
    elif name == "craft":
        path = data / "treebanks/craft/craft_trees.tsv.gz"
        rows = _craft(path, split)
    else:
        path = data / "treebanks/gum/gum_const_trees.tsv.gz"
        found = (row for row in _rows(path) if row["licence_group"] == name[4:])
        rows = [row["tree"] for row in found if row["split"] == split]
    cleaned = (clean(tree, str(path)) for tree in rows)
    return _some([sentence for sentence in cleaned if sentence is not None], path)


def require_trainable(name: str) -> None:
    """Check that what is trained on a treebank may be passed on.

    Raises:
        InputError: it may not.
    """
    if name not in TRAINABLE:
        what = "a judge trained on it may not be passed on"
        raise InputError(f"treebank '{name}'", what, f"choose one of {', '.join(TRAINABLE)}")


def clean(text: str, where: str = "tree") -> Bracketed | None:
    """A treebank's tree without traces, function labels and empty brackets; None if nothing is left.

    Raises:
        InputError: it does not parse.
    """
    from nltk import Tree

    try:
        tree = Tree.fromstring(text)
    except ValueError:
        raise InputError(where, f"not a tree: '{text[:60]}'", "fetch the file again") from None
    while tree.label() in ROOTS and len(tree) == 1 and isinstance(tree[0], Tree):
        tree = tree[0]
    if tree.label() in DOCUMENT_PARTS:
        return None
    words: list[str] = []
    parts = _clean(tree, words)
    return Bracketed(words, f"(TOP {' '.join(parts)})") if words else None


def _clean(tree: object, words: list[str]) -> list[str]:
    """Brackets of a subtree: none if it is empty, several if its own bracket is not drawn."""
    from nltk import Tree

    assert isinstance(tree, Tree)
    label = tree.label().split("-")[0].split("=")[0].split("|")[0] or tree.label()
    if len(tree) and isinstance(tree[0], str):
        if tree.label() == "-NONE-":
            return []
        word = "".join(tree)  # a few words of CRAFT hold a space
        words.append(UNESCAPES.get(word, word))
        return [f"({tree.label()} {ESCAPES.get(words[-1], words[-1])})"]
    parts = [part for child in tree for part in _clean(child, words)]
    return parts if label in UNDRAWN or label in ROOTS or not parts else [f"({label} {' '.join(parts)})"]


def _embedded(name: str, split: str, corpus: Path | None) -> list[Text]:
    """Texts of the embedded corpus; of its training split the first or the second half."""
    if corpus is None:
        raise InputError("--input", f"'corpus' is missing for {name}", "add corpus=FILE")
    _require(name, TAGGED)
    wanted = "valid" if split == "dev" else split
    texts = [text for text in read_records(corpus, Text) if text.split == wanted and text.tree and text.tags]
    half = len(texts) // 2
    if split == "train":
        texts = texts[:half] if name == "embedded_first" else texts[half:]
    return _some(texts, corpus)


def _conllu(path: Path, licence: str | None) -> Iterator[Tagged]:
    """Sentences of a CoNLL-U file; with ``licence`` only those of that licence_group comment."""
    words, tags, group = list[str](), list[str](), None
    for number, line in enumerate([*_lines(path), ""], 1):
        if line.startswith("# licence_group = "):
            group = line.split(" = ")[1]
        elif line and not line.startswith("#"):
            columns = line.split("\t")
            if len(columns) < 4:
                raise InputError(f"{path}:{number}", "not CoNLL-U", "fetch the file again")
            if columns[0].isdigit():  # 1-2 is a multiword token, 1.1 an empty node
                words.append(columns[1].replace(" ", ""))
                tags.append(columns[3])
        elif not line:
            if words and licence in (None, group):
                yield Tagged(words, tags)
            words, tags, group = [], [], None


def _craft(path: Path, split: str) -> list[str]:
    rows = list(_rows(path))
    articles = sorted({row["pmid"] for row in rows})
    measuring = set(articles[::CRAFT_TEST_EVERY])
    return [row["tree"] for row in rows if (row["pmid"] in measuring) == (split != "train")]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    rows = csv.DictReader(_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InputError(f"{path}:{number}", "wrong number of columns", "fetch the file again")
        yield row


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        how = "set data_dir to a folder with treebanks/ (see the README), or take a pretrained judge"
        raise InputError(path, "no such file", how)
    return read_lines(path)


def _require(name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise InputError(f"treebank '{name}'", "unknown", nearest(name, names))


def _some(sentences: list[Item], path: Path) -> list[Item]:
    if not sentences:
        raise InputError(path, "no sentences", "fetch the file again, or choose another treebank")
    return sentences
