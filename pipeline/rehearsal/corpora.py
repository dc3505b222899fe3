"""Little corpora in the published files' formats, told by the grammars of this repository.

Every file that the paper's scale reads from ``data_dir`` is written, so the real readers are rehearsed.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.corpora.anlg import DEV, TEST, TEST_REFERENCES
from pipeline.corpora.anlg import FOLDER as ANLG
from pipeline.corpora.grammar import LEAF, restaurant_texts
from pipeline.corpora.rocstories import COLUMNS
from pipeline.corpora.rocstories import FOLDER as ROCSTORIES
from pipeline.corpora.stories import story_texts
from pipeline.files import atomic, write_json, write_text
from pipeline.records import Text
from pipeline.trees import spans

SIZES = {"train": 1200, "valid": 40, "test": 40}
STORIES = {"train": 240, "valid": 6, "test": 6}
STATED = {  # what meanings state; every value is a target
    "area": ("old town", "harbour district"),
    "family friendly": ("child friendly", "adults only"),
}
RELEASED = 2  # released targets of each kind
TREEBANK = 40  # sentences of a treebank's split


def restaurants() -> dict[str, list[Text]]:
    """The restaurant descriptions that the corpora are made of, by split; each states a value."""
    found: dict[str, list[Text]] = defaultdict(list)
    for text in restaurant_texts(0, SIZES):
        if meaning(text):
            found[text.split].append(text)
    return found


def meaning(text: Text) -> list[tuple[str, str]]:
    """The fields and values of a text that its line states."""
    return [(field, value) for field, value in (text.fields or {}).items() if value in STATED.get(field, ())]


def write_corpora(folder: Path) -> None:
    """Write E2E, the released targets, ROCStories, aNLG and the treebanks into ``folder``."""
    texts = restaurants()
    for split, found in texts.items():
        lines = (f"{' | '.join(map(' : '.join, meaning(text)))}||{text.text} \n" for text in found)
        write_text(folder / f"e2e/src1/src1_{split}.txt", "".join(lines))
    _write_targets(folder / "control_targets", texts["valid"][:RELEASED])
    _write_stories(folder)
    _write_treebanks(folder / "treebanks", texts)


def _write_targets(folder: Path, texts: Sequence[Text]) -> None:
    """The sentences in their frame of START, newline and END, with tags, and a span or a field and value."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for text in texts:
        framed: dict[str, Any] = {"words_": ["START", *text.tokens, "\n", "END"]}
        tagged = {"pos": ["START", *(text.tags or []), "PROPN", "END"], **framed}
        rows["target_pos"].append(tagged)
        rows["target_spans"].append({**framed, "spans": [list(spans(text.tree or "")[0])]})
        field, value = meaning(text)[0]
        rows["target_compose_pos_attr"].append({**tagged, "attr": [*field.split(), ":", *value.split()]})
    for name, found in rows.items():
        write_text(folder / f"{name}.json", "".join(f"{json.dumps(row)}\n" for row in found))


def _write_stories(folder: Path) -> None:
    """ROCStories, and aNLG of the stories that it does not hold: their first and last sentences."""
    stories = defaultdict(list)
    for story in story_texts(0, STORIES):
        stories[story.split].append([" ".join(sentence) for sentence in story.sentences or []])
    table = io.StringIO()
    csv.writer(table).writerows([COLUMNS, *stories["train"]])
    write_text(folder / ROCSTORIES / "stories.csv", table.getvalue())
    for name, split in ((DEV, "valid"), (TEST, "test")):
        asked = {f"{split}-{i}": {"obs1": s[0], "obs2": s[-1]} for i, s in enumerate(stories[split])}
        told = {f"{split}-{i}": s[1:-1] for i, s in enumerate(stories[split])}
        labels = {key: told[key] if name == DEV else [] for key in told}
        contexts = {key: {"gold_labels": labels[key], **context} for key, context in asked.items()}
        write_json(folder / ANLG / name, contexts)
        if name == TEST:
            write_json(folder / ANLG / TEST_REFERENCES, told)


def _write_treebanks(folder: Path, texts: dict[str, list[Text]]) -> None:
    """Those that judges are trained on and measured on (:mod:`eval.oracles.treebanks` reads them)."""
    splits = {"train": texts["train"], "dev": texts["valid"], "test": texts["test"]}
    rows = []
    for split, found in splits.items():
        sentences = [_conllu(text) for text in found[:TREEBANK]]
        _pack(folder / f"ud_english_ewt/en_ewt-ud-{split}.conllu.gz", sentences)
        grouped = [f"# licence_group = {('open', 'nc')[i % 2]}\n{s}" for i, s in enumerate(sentences)]
        _pack(folder / f"gum/gum_ud_basic_{split}.conllu.gz", grouped)
        trees = enumerate(text.tree or "" for text in found[:TREEBANK])
        rows += [(f"{split}-{i}", split, "review", ("open", "nc")[i % 2], tree) for i, tree in trees]
    _table(folder / "gum/gum_const_trees.tsv.gz", "sent_id split genre licence_group tree", rows)
    numbered = [(str(i % 4), row[-1]) for i, row in enumerate(rows)]
    _table(folder / "craft/craft_trees.tsv.gz", "pmid tree", numbered)
    _table(folder / "nltk_wsj_sample/wsj_sample_trees.tsv.gz", "file tree", numbered)


def _conllu(text: Text) -> str:
    """A sentence in ten columns, of which words and both kinds of tags are filled."""
    tags = zip(LEAF.findall(text.tree or ""), text.tags or [], strict=True)
    rows = ([str(i), word, "_", universal, tag] for i, ((tag, word), universal) in enumerate(tags, 1))
    return "".join("\t".join([*row, *"_" * 5]) + "\n" for row in rows)


def _table(path: Path, columns: str, rows: Iterable[Sequence[str]]) -> None:
    _pack(path, ["\t".join(row) for row in [columns.split(), *rows]])


def _pack(path: Path, parts: Iterable[str]) -> None:
    """Lines, or blocks of lines, as a compressed file of the same bytes every time."""
    content = "\n".join([*parts, ""])
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(content.encode(), mtime=0))
