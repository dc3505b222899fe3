"""Keep what a run has finished and others need in ``results/stored/<scale>/`` (:mod:`pipeline.stored`).

python -m pipeline.store --scale small

What scores texts stands in a folder of its own, ``judges/``, bit by bit as it scored the stored texts. Other
weights are rounded, and left out at a scale that does not use stored results. Where sentences must not be
republished their hashes are stored (:mod:`pipeline.withheld`).
"""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.files import atomic, read_bytes, sha256, write_json
from pipeline.stored import INDEX, JUDGE, LOCAL, SIDECAR_KEYS, STORED, index, read_sidecar, stored_file
from pipeline.withheld import is_withheld, published

RESULTS = Path("results")
SCALE = re.compile(r"[A-Za-z][\w-]*")
KEPT = (
    *("models", "targets", "samples", "selected", "scores", "tables"),
    *("vocabulary.json", "stories_vocabulary.json", "refusals.json"),
)


def store(scale: str) -> list[Path]:
    """Copy every finished file of a scale that is worth keeping; returns the stored files.

    Raises:
        InputError: nothing has been run at this scale.
    """
    if not SCALE.fullmatch(scale):
        raise InputError(f"scale '{scale}'", "not the name of a scale", "give one, e.g. small")
    source, target = RESULTS / scale, STORED / scale
    sidecars = sorted(source.rglob("*.run.json"))
    if not sidecars:
        raise InputError(
            source, "nothing to store", f"run snakemake --cores all --config scale={scale} first"
        )
    entries = index(target)
    for run in map(read_sidecar, sidecars):
        for name, output in run["outputs"].items():
            if not _is_whole(Path(output["path"]), output["sha256"], source):
                continue
            path = str(Path(output["path"]).relative_to(source))
            if _is_kept(path, run["settings"]):
                entries[path] = {
                    "signature": f"{run['signature']}/{name}",
                    **_keep(source, path, target),
                    "settings": {k: v for k, v in run["settings"].items() if k not in LOCAL},
                    **{key: run.get(key) for key in SIDECAR_KEYS},
                }
    write_json(target / INDEX, dict(sorted(entries.items())))
    return [stored_file(target, name) for name in sorted(entries)]


def _is_whole(path: Path, digest: str, source: Path) -> bool:
    """Whether a file is still what its job made, in the folder of its scale."""
    within = path.is_relative_to(source) and ".." not in path.parts
    return within and path.is_file() and sha256(path) == digest


def _is_kept(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether a result is stored; weights only to score other texts, or to be used again."""
    if name.startswith("models/") and not JUDGE.fullmatch(name):
        return settings.get("use_stored") is not False
    return name.split("/")[0] in KEPT


def _keep(source: Path, name: str, folder: Path) -> dict[str, Any]:
    """Store a result; returns the hash of what is stored, and whether its sentences are withheld."""
    made, target = source / name, stored_file(folder, name)
    withheld = is_withheld(name, source)
    if made.suffix == ".safetensors" and not JUDGE.fullmatch(name):
        _in_bf16(made, target)
    else:
        content = published(made) if withheld else made.read_bytes()
        with atomic(target) as temporary:
            temporary.write_bytes(gzip.compress(content, mtime=0) if target.suffix == ".gz" else content)
    stored = {"sha256": hashlib.sha256(read_bytes(target)).hexdigest()}
    return {**stored, "withheld": True} if withheld else {**stored}


def _in_bf16(source: Path, target: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(source, "pt") as file:
        header = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    halved = {n: w.to(torch.bfloat16) if w.dtype == torch.float32 else w for n, w in weights.items()}
    with atomic(target) as temporary:
        save_file(halved, temporary, metadata=header)


def main(words: Sequence[str]) -> None:
    """Store a scale."""
    from pipeline.command import Parser

    parser = Parser(prog="pipeline.store", description=__doc__)
    parser.add_argument("--scale", required=True, help="name of the scale, e.g. small")
    stored = store(parser.parse_args(words).scale)
    print(f"stored {len(stored)} files in {STORED / parser.parse_args(words).scale}", file=sys.stderr)


if __name__ == "__main__":
    from pipeline.command import exit_codes

    with exit_codes():
        main(sys.argv[1:])
