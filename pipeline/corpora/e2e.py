"""E2E restaurant descriptions: the reader of both published forms, the download, and the human rows.

``src1`` is the tokenised form that Diffusion-LM trains on; ``csv`` is the official release
(Novikova et al., 2017), tokenised here in the same way. Row i of one is row i of the other.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

from pipeline.corpora.tokenizer import spacy_tokens, tgen_tokenize
from pipeline.errors import InputError, nearest
from pipeline.fetch import fetch
from pipeline.files import read_lines
from pipeline.records import Text

Form = Literal["src1", "csv"]
Row = tuple[str, dict[str, str], str]  # where it stands (file:line), fields, tokenised text

URL = "https://github.com/tuetschek/e2e-dataset/releases/download/v1.0.0/e2e-dataset.zip"
OFFICIAL = {  # SHA-256 of the files inside the archive
    "trainset.csv": "f27d48df45815288ab15619d47a79028c300fbb7f42e373668aba0b98c1d57c6",
    "devset.csv": "fc26b78cdb849c80545f513b223d1e051138b43882eeb79e3eb153e689c864f9",
    "testset_w_refs.csv": "edc8db685e39bb9824d5bd70c18b1c9b0412d14b527aa960e2d1c8251ee15ccd",
}
FILES: dict[Form, dict[str, str]] = {
    "src1": {"train": "src1_train.txt", "valid": "src1_valid.txt", "test": "src1_test.txt"},
    "csv": {"train": "trainset.csv", "valid": "devset.csv", "test": "testset_w_refs.csv"},
}
FOLDERS: dict[Form, tuple[str, ...]] = {"src1": ("e2e/src1", "e2e", "."), "csv": ("e2e/official", "e2e", ".")}
FIELDS = ("name", "Type", "customer rating", "near", "family friendly", "food", "price", "area")
CSV_NAMES = {"eatType": "Type", "priceRange": "price", "familyFriendly": "family friendly"}
SLOT = r"([^\[\],]+)\[([^\]]+)\]"


def read_e2e(folder: Path, form: Form, keep_newline: bool = False) -> dict[str, list[Text]]:
    """Read the splits ``train``, ``valid`` and ``test``, one record per row, in file order.

    Args:
        folder: holds the files itself or in ``e2e/``, ``e2e/src1/`` or ``e2e/official/``, gzipped or not.
        form: ``src1`` or ``csv``.
        keep_newline: end every token list with the newline word, as the released code does by not
            stripping its lines. Needed to build the vocabulary of 821 words.

    Raises:
        InputError: a file is missing, damaged, not UTF-8 or empty, or a row does not parse.
    """
    paths = e2e_files(folder, form)
    return {split: _read_split(path, split, form, keep_newline) for split, path in paths.items()}


def e2e_files(folder: Path, form: Form) -> dict[str, Path]:
    """The file of each split, wherever :func:`read_e2e` looks; InputError if one is missing."""
    return {split: _find(folder, form, name) for split, name in FILES[form].items()}


def download_e2e(destination: Path) -> list[Path]:
    """Download the official CSV files into ``destination`` and check them; ``read_e2e`` can read that folder.

    Raises:
        InputError: no network, or the files are not the published ones.
    """
    return fetch(URL, destination, OFFICIAL)


def hold_out(texts: list[Text], count: int, seed: int) -> tuple[list[Text], list[Text]]:
    """Set ``count`` texts aside as human reference; returns (training, held out).

    Whole meaning representations are taken, in an order keyed by ``seed``, so the two sides share none;
    texts of the last one beyond ``count`` are left out of both. Held-out records get the split ``human``.

    Raises:
        InputError: there are too few texts to hold out ``count`` and keep one for training.
    """
    groups: dict[frozenset[tuple[str, str]], list[Text]] = defaultdict(list)
    for text in texts:
        groups[_meaning(text)].append(text)
    held: list[Text] = []
    remaining = sorted(groups, key=lambda meaning: _key(seed, meaning), reverse=True)
    while len(held) < count and len(remaining) > 1:
        held += groups[remaining.pop()]
    if len(held) < count:
        raise InputError(
            "E2E", f"cannot hold out {count} of {len(texts)} texts", "hold out fewer, or give a larger corpus"
        )
    training = set(remaining)
    human = [replace(text, split="human") for text in held[:count]]
    return [text for text in texts if _meaning(text) in training], human


def _meaning(text: Text) -> frozenset[tuple[str, str]]:
    return frozenset((text.fields or {}).items())


def _key(seed: int, meaning: frozenset[tuple[str, str]]) -> str:
    return hashlib.sha256(repr((seed, sorted(meaning))).encode()).hexdigest()


def _find(folder: Path, form: Form, name: str) -> Path:
    for place in FOLDERS[form]:
        for path in (folder / place / name, folder / place / f"{name}.gz"):
            if path.is_file():
                return path
    raise InputError(
        folder,
        f"no {name} or {name}.gz (looked in {', '.join(FOLDERS[form])})",
        "set data_dir to the folder that holds it, or leave data_dir empty to download the official CSV",
    )


def _read_split(path: Path, split: str, form: Form, keep_newline: bool) -> list[Text]:
    rows = _READERS[form](path)
    texts = [_record(f"{split}-{i:05d}", split, row, keep_newline) for i, row in enumerate(rows)]
    if not texts:
        raise InputError(path, "no rows", "fetch the file again")
    return texts


def _record(identity: str, split: str, row: Row, keep_newline: bool) -> Text:
    where, fields, text = row
    words = [token for token in spacy_tokens(text) if not token.isspace()]
    if not words:
        raise InputError(where, "no text", "write the sentence, or delete the row")
    tokens = [*words, "\n"] if keep_newline else words
    return Text(identity, split, " ".join(words), tokens, fields)


def _src1_rows(path: Path) -> Iterator[Row]:
    """Lines ``field : value | field : value||tokenised text``."""
    for number, line in enumerate(read_lines(path), 1):
        where = f"{path}:{number}"
        meaning, mark, text = line.partition("||")
        if not mark:
            raise InputError(where, "no '||'", "expected 'field : value | field : value||text'")
        pairs = [part.partition(" : ")[::2] for part in meaning.split("|")]
        yield where, _fields(where, pairs), text


def _csv_rows(path: Path) -> Iterator[Row]:
    """Columns ``mr`` (``name[The Mill], priceRange[£20-25]``) and ``ref``; a text may run over lines."""
    rows = _csv_records(path)
    if (header := next(rows, ("", []))[1]) != ["mr", "ref"]:
        raise InputError(f"{path}:1", f"wrong columns {header}", "the first line must be 'mr,ref'")
    for where, row in rows:
        if len(row) != 2:
            raise InputError(where, f"{len(row)} columns", "expected 2: mr,ref")
        meaning, text = row
        if not re.fullmatch(f"{SLOT}(, *{SLOT})*", meaning):
            raise InputError(
                where, f"meaning does not parse: {meaning!r}", "expected 'field[value], field[value]'"
            )
        pairs = [_as_src1(name.strip(), value) for name, value in re.findall(SLOT, meaning)]
        yield where, _fields(where, pairs), tgen_tokenize(text)


@cache
def _as_src1(name: str, value: str) -> tuple[str, str]:
    """``priceRange, £20-25`` becomes ``price, £ 20 - 25``; cached, for E2E has only 79 of them."""
    return CSV_NAMES.get(name, name), tgen_tokenize(value)


def _csv_records(path: Path) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(io.StringIO("\n".join(read_lines(path)), newline=""), strict=True)
    while True:
        where = f"{path}:{reader.line_num + 1}"
        try:
            yield where, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(where, f"not CSV ({error})", "mend the quotation marks") from None


def _fields(where: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in ((name.strip(), value.strip()) for name, value in pairs):
        if name not in FIELDS:
            raise InputError(where, f"unknown field '{name}'", nearest(name, FIELDS))
        if not value or name in fields:
            problem = "stands twice" if name in fields else "has no value"
            raise InputError(where, f"field '{name}' {problem}", "mend the meaning representation")
        fields[name] = value
    return fields


_READERS: dict[Form, Callable[[Path], Iterator[Row]]] = {"src1": _src1_rows, "csv": _csv_rows}
