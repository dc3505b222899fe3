"""ROCStories (Mostafazadeh et al., 2016): stories of five sentences, read from a folder.

Its owners hand the stories out on request, so there is nothing to download. Every CSV file that has the
columns of the official ones is read; where a file tells which stories the released Diffusion-LM validates
on (``in_roc_valid``) or where they come from (``sources``), that is heeded.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.corpora.infilling import SENTENCES, letters, sentence_words
from pipeline.errors import InputError
from pipeline.files import read_lines
from pipeline.records import Text

HOME = "https://cs.rochester.edu/nlp/rocstories/"
FOLDER = "rocstories"
COLUMNS = tuple(f"sentence{i + 1}" for i in range(SENTENCES))
STORY_CLOZE = "Story Cloze"  # a test set of its own: no story that came from it is learned from
VALIDATION, SHARE = 1000, 20  # validation stories: so many at most, and at most one in so many


class _Story(NamedTuple):
    sentences: list[str]
    validation: bool


def read_rocstories(data: Path) -> list[Text]:
    """The stories of all CSV files in ``data/rocstories``, each once, in splits ``train`` and ``valid``.

    Two stories are the same when their letters and digits agree; of these an id is made, so a story has the
    same one in every file. If files mark validation stories, ``valid`` is chosen from the marked ones and the
    rest of them left out, otherwise from all stories.

    Raises:
        InputError: no folder or file, a column is missing, a row has not five sentences, or a file is
            damaged, not UTF-8 or empty.
    """
    stories: dict[str, _Story] = {}
    for path in story_files(data):
        found = list(_stories(path))
        if not found:
            raise InputError(path, "no stories", "fetch the file again, or take it away")
        for story in found:
            stories.setdefault(letters(" ".join(story.sentences)), story)
    ids = {hashlib.sha256(key.encode()).hexdigest()[:16]: story for key, story in stories.items()}
    marked = sorted(identity for identity, story in ids.items() if story.validation)
    valid = set(marked[:VALIDATION] or sorted(ids)[: min(VALIDATION, len(ids) // SHARE)])
    kept = {identity: story for identity, story in ids.items() if identity in valid or not story.validation}
    return [_text(i, "valid" if i in valid else "train", story.sentences) for i, story in kept.items()]


def story_files(data: Path) -> list[Path]:
    """The CSV files of stories in a data folder; InputError if there is none."""
    folder = data / FOLDER
    found = [path for pattern in ("*.csv", "*.csv.gz") for path in folder.glob(pattern)]
    if not found:
        what = "no CSV file" if folder.is_dir() else "no such folder"
        how = f"request ROCStories at {HOME} and put its CSV files into {FOLDER}/ of the folder in data_dir"
        raise InputError(folder, what, how)
    return sorted(found)


def _stories(path: Path) -> Iterator[_Story]:
    for where, row in _rows(path):
        sentences = [(row[column] or "").strip() for column in COLUMNS]
        if not all(sentences):
            column = COLUMNS[sentences.index("")]
            raise InputError(
                where, f"no {column}", f"a story has {SENTENCES} sentences; mend or delete the row"
            )
        if STORY_CLOZE not in (row.get("sources") or ""):
            yield _Story(sentences, row.get("in_roc_valid") == "1")


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, str | None]]]:
    text = "\n".join(read_lines(path)).removeprefix("\ufeff")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            how = f"expected the columns of ROCStories: storyid, storytitle, {', '.join(COLUMNS)}"
            raise InputError(f"{path}:1", f"no column {missing[0]}", how)
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if None in row:
                raise InputError(where, "more cells than columns", "put cells with commas in quotation marks")
            yield where, row
    except csv.Error as error:
        where = f"{path}:{reader.line_num + 1}"  # counted up to the row before
        raise InputError(where, f"not CSV ({error})", "mend the quotation marks") from None


def _text(identity: str, split: str, sentences: list[str]) -> Text:
    words = [sentence_words(sentence) for sentence in sentences]
    tokens = [token for sentence in words for token in sentence]
    return Text(f"roc-{identity}", split, " ".join(tokens), tokens, sentences=words)
