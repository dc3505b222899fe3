"""Stored results: what a run has finished is kept in ``results/stored/<scale>/`` and used again.

Every stored file stands in ``signatures.json`` under its name in ``results/<scale>``, with the signature of
the job that made it: the command, its settings and its inputs' signatures. A job whose signature is stored
copies the stored files. Code is not part of a signature (a sidecar records it), so that a refactoring does
not make stored models worthless. A copied file's sidecar keeps the time, device and packages of the run that
made it. :mod:`pipeline.store` stores.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.files import atomic, read_bytes, sha256
from pipeline.schema import read_checked

STORED = Path("results/stored")
INDEX = "signatures.json"
JUDGE = re.compile(r"models/((judge\d+_\w+|teacher|story_encoder|human_texts)\.safetensors)")
SIDECAR_KEYS = ("packages", "device", "seconds", "peak_memory_mb", "peak_gpu_memory_mb")
COMPUTED = ("annotated.jsonl",)  # made by a network, so equal jobs need not give equal bytes
_TEXT = {"type": "string"}
_PEAK = {"type": ["integer", "null"]}
_RUN: dict[str, Any] = {
    **{"settings": {"type": "object"}, "seconds": {"type": "number"}, "device": _TEXT, "signature": _TEXT},
    **{"peak_memory_mb": _PEAK, "peak_gpu_memory_mb": _PEAK},
}
_OUTPUT = {
    "required": ["path", "sha256"],
    "properties": {"path": _TEXT, "sha256": {"type": ["string", "null"]}},
}
_SIDECAR = {
    "required": ["settings", "seconds", "device"],
    "properties": _RUN
    | {"outputs": {"type": "object", "additionalProperties": {"type": "object"} | _OUTPUT}},
}
_INDEX = {
    "propertyNames": {"not": {"pattern": r"^/|(^|/)\.\.(/|$)"}},
    "additionalProperties": {
        "type": "object",
        "required": ["signature", "sha256", "settings", "seconds", "device"],
        "properties": _RUN | {"sha256": _TEXT},
    },
}
LOCAL = ("data_dir", "download_dir", "cache")  # settings that name folders of one machine


def signature(entry: str, spec: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """What a job's outputs are: a hash of its command, its settings and its inputs."""
    files = {name: signature_of(path) for name, path in inputs.items()}
    return hashlib.sha256(json.dumps([entry, dict(spec), files], sort_keys=True).encode()).hexdigest()


def signature_of(path: Path) -> str:
    """What a file is: a hash of its bytes; for weights and annotations the signature of the job.

    The same job gives other bits on other machines, and stored weights may be rounded. A judge in a stored
    folder is what it was where it was made.
    """
    if path.suffix != ".safetensors" and path.name not in COMPUTED:
        return sha256(path)
    for sidecar in path.parent.glob("*.run.json"):
        run = read_sidecar(sidecar)
        for name, output in run["outputs"].items():
            if Path(output["path"]) == path and output["sha256"] == sha256(path):
                return f"{run['signature']}/{name}"
    entry = index(path.parent.parent).get(f"models/{path.name}", {})
    return str(entry["signature"]) if entry.get("sha256") == sha256(path) else sha256(path)


def restore(outputs: Mapping[str, Path], own: str) -> dict[str, Any] | None:
    """Copy a job's outputs from the store if all of them are there with its signature.

    Returns:
        What the sidecar of the run that made them said under :data:`SIDECAR_KEYS`; None: nothing was copied.
    """
    found: list[tuple[Path, Path]] = []
    run: dict[str, Any] = {}
    for name, path in outputs.items():
        stored, run = _stored(path)
        if run.get("signature") != f"{own}/{name}" or run.get("withheld") or not stored.is_file():
            return None
        found.append((stored, path))
    for stored, path in found:
        with atomic(path) as temporary:
            temporary.write_bytes(read_bytes(stored))
    sys.stderr.write(f"using stored {', '.join(map(str, outputs.values()))}\n")
    return {key: run.get(key) for key in SIDECAR_KEYS}


def _stored(path: Path) -> tuple[Path, dict[str, Any]]:
    """The file that holds a result in the store, and what the index says about it: nothing if not stored."""
    if len(path.parts) < 3 or path.parts[0] != "results":
        return path, {}
    folder, name = STORED / path.parts[1], str(Path(*path.parts[2:]))
    return stored_file(folder, name), index(folder).get(name, {})


def index(folder: Path) -> dict[str, Any]:
    """What a stored folder says about each of its files; nothing if it is none.

    ``sha256`` is of a file's content, before compression; ``withheld``: hashes stand for its sentences.

    Raises:
        InputError: it is not of that form, or names a file outside the folder.
    """
    path = folder / INDEX
    return dict(read_checked(path, _INDEX)) if path.is_file() else {}


def read_sidecar(path: Path) -> dict[str, Any]:
    """What ``<output>.run.json`` tells (:mod:`pipeline.provenance`); one without a signature names no output.

    Raises:
        InputError: it is not of that form.
    """
    run = read_checked(path, _SIDECAR)
    return {"outputs": {}, **run} if "signature" in run else {**run, "outputs": {}}


def stored_file(folder: Path, name: str) -> Path:
    """The file that holds the result ``name`` in a stored folder: judges apart, record files compressed."""
    judge = JUDGE.fullmatch(name)
    return folder / (f"judges/{judge[1]}" if judge else name + ".gz" * name.endswith(".jsonl"))
