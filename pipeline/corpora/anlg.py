"""aNLG (Bhagavatula et al., 2020): two observations and what people wrote in between.

The files are those of Diffusion-LM's release (datasets/ROCstory/anlg/anlg), cleaned up by its authors from
the official ones. The observations are first and last sentences of ROCStories.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.corpora.infilling import infilling_target, sentence_words
from pipeline.errors import InputError
from pipeline.fetch import fetch_files
from pipeline.files import read_json
from pipeline.records import Target

URL = "https://raw.githubusercontent.com/XiangLi1999/Diffusion-LM/main/datasets/ROCstory/anlg/anlg/"
DEV, TEST, TEST_REFERENCES = "dev_cleanup.json", "test_cleanup_no_label.json", "test_cleanup_ref.json"
FILES = {  # SHA-256
    DEV: "cec90f334a9af9f1762e7398b305178d58ab8185e44781bc13255b3a0f2a3dcc",
    TEST: "2e7dbd33b8c440ba50b621b81ad1ce476183758c03013a491f48c4614f41b089",
    TEST_REFERENCES: "5aa9624b618b0a806269f314f00726014a16ca99f6d42474c0c011cae571c457",
}
FOLDER = "anlg"
AGAIN = "fetch the file again"


def anlg_folder(data_dir: Path, download_dir: Path) -> Path:
    """The folder that holds ``anlg/``: ``data_dir``, or, where that has none, ``download_dir``.

    ``download_dir`` is filled if needed.

    Raises:
        InputError: the files cannot be downloaded or are not the published ones.
    """
    if (data_dir / FOLDER).is_dir():
        return data_dir
    fetch_files(URL, download_dir / FOLDER, FILES)
    return download_dir


def read_anlg(data: Path) -> dict[str, list[Target]]:
    """The targets of ``dev`` and ``test`` with all their references, in file order.

    Args:
        data: folder that holds ``anlg/``.

    Raises:
        InputError: a file is missing or does not parse, a sentence or a list of references is empty, or the
            two test files do not hold the same contexts.
    """
    dev, test, answers = (data / FOLDER / name for name in (DEV, TEST, TEST_REFERENCES))
    asked, answered = _mapping(test), _mapping(answers)
    if different := sorted(asked.keys() ^ answered.keys()):
        what = f"context '{different[0]}' is in only one of it and {TEST}"
        raise InputError(answers, what, "fetch both files again")
    labelled = _mapping(dev)
    labels = {
        identity: _member(dev, identity, context, "gold_labels") for identity, context in labelled.items()
    }
    return {"dev": _targets(dev, labelled, dev, labels), "test": _targets(test, asked, answers, answered)}


def _targets(path: Path, contexts: dict[str, Any], answers: Path, references: dict[str, Any]) -> list[Target]:
    targets = []
    for identity, context in contexts.items():
        left, right = (
            _words(path, identity, _member(path, identity, context, key)) for key in ("obs1", "obs2")
        )
        told = references[identity]
        if not isinstance(told, list) or not told:
            raise InputError(_where(answers, identity), "no reference", AGAIN)
        targets.append(infilling_target(left, right, [_words(answers, identity, s) for s in told], identity))
    return targets


def _mapping(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise InputError(path, "not a JSON object of contexts", AGAIN)
    return content


def _member(path: Path, identity: str, context: Any, key: str) -> Any:
    if not isinstance(context, dict) or key not in context:
        raise InputError(_where(path, identity), f"no {key}", AGAIN)
    return context[key]


def _words(path: Path, identity: str, sentence: Any) -> str:
    """The sentence as words joined by single spaces."""
    words = sentence_words(sentence) if isinstance(sentence, str) else []
    if not words:
        raise InputError(_where(path, identity), f"not a sentence: {sentence!r}", AGAIN)
    return " ".join(words)


def _where(path: Path, identity: str) -> str:
    return f"{path}: context '{identity}'"
