"""Sentences that nobody may republish, those of ROCStories and aNLG: where stored, hashes stand for them.

Every other key of a record, its target's id above all, is stored as it is. Whoever has the corpora can tell
by the hashes that theirs are the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.records import Sample, Target, json_lines, read_records
from pipeline.stored import read_sidecar
from pipeline.tasks import INFILLING

TARGETS = f"targets/{INFILLING}.jsonl"
HUMAN_TEXTS = (f"samples/{INFILLING}/human/", f"selected/{INFILLING}/human/")
OURS = "embedded"  # stories that a grammar of this project wrote
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def is_withheld(name: str, results: Path) -> bool:
    """Whether the sentences of a file must not be republished.

    Args:
        name: the file's path in the folder ``results`` of a scale, whose stories may be our own.
    """
    if name != TARGETS and not name.startswith(HUMAN_TEXTS):
        return False
    sidecar = results / "stories.jsonl.run.json"
    return not (sidecar.is_file() and read_sidecar(sidecar)["settings"].get("name") == OURS)


def published(path: Path) -> bytes:
    """What may be republished of a file whose sentences must not be."""
    if path.parent.name == "targets":
        return json_lines(withhold(read_records(path, Target))).encode()
    samples = read_records(path, Sample)
    return json_lines(replace(sample, text=hashed(sample.text)) for sample in samples).encode()


def withhold(targets: Sequence[Target]) -> list[Target]:
    """The targets, with hashes for the sentences of those of infilling."""
    return [_withhold(target) if target.task == INFILLING else target for target in targets]


def _withhold(target: Target) -> Target:
    control = {key: hashed(sentence) for key, sentence in target.control.items()}
    return replace(target, control=control, references=[*map(hashed, target.references or [])])


def hashed(sentence: str) -> str:
    """What stands for a sentence; a hash stands for itself."""
    if _HASH.fullmatch(sentence):
        return sentence
    return "sha256:" + hashlib.sha256(sentence.encode()).hexdigest()
