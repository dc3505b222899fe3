"""Stored results: what a run has finished is kept in ``results/stored/<scale>/`` and used again.

python -m pipeline.store --scale small

Every stored file stands in ``signatures.json`` with the signature of the job that made it: the command, its
settings and its inputs' signatures. A job whose signature is stored copies the stored files. Code is not
part of a signature (a sidecar records it), so that a refactoring does not make stored models worthless.
A copied file's sidecar keeps the time, device and packages of the run that made it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.files import atomic, read_bytes, read_json, sha256, write_json

RESULTS, STORED = Path("results"), Path("results/stored")
KEPT = ("models", "targets", "samples", "selected", "scores", "tables", "vocabulary.json")
# Nobody may republish the sentences of ROCStories and aNLG; scores name their contexts by id.
UNPUBLISHED = ("targets/infilling.jsonl", "samples/infilling/human", "selected/infilling/human")
INDEX = "signatures.json"
SIDECAR_KEYS = ("packages", "device", "seconds")
COMPUTED = ("annotated.jsonl",)  # made by a network, so equal jobs need not give equal bytes
LOCAL = ("data_dir", "download_dir", "cache")  # settings that name folders of one machine


def signature(entry: str, spec: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """What a job's outputs are: a hash of its command, its settings and its inputs."""
    files = {name: signature_of(path) for name, path in inputs.items()}
    return hashlib.sha256(json.dumps([entry, dict(spec), files], sort_keys=True).encode()).hexdigest()


def signature_of(path: Path) -> str:
    """What a file is: a hash of its bytes; for weights and annotations the signature of the job.

    The same job gives other bits on other machines, and stored weights are rounded to bf16.
    """
    if path.suffix != ".safetensors" and path.name not in COMPUTED:
        return sha256(path)
    for sidecar in path.parent.glob("*.run.json"):
        run = read_json(sidecar)
        for name, output in run["outputs"].items() if "signature" in run else ():
            if Path(output["path"]) == path and output["sha256"] == sha256(path):
                return f"{run['signature']}/{name}"
    return sha256(path)


def store(scale: str) -> list[Path]:
    """Copy every finished file of a scale that is worth keeping; returns the stored paths.

    Raises:
        InputError: nothing has been run at this scale.
    """
    source, target = RESULTS / scale, STORED / scale
    sidecars = sorted(source.rglob("*.run.json"))
    if not sidecars:
        raise InputError(
            source, "nothing to store", f"run snakemake --cores all --config scale={scale} first"
        )
    index: dict[str, Any] = read_json(target / INDEX) if (target / INDEX).exists() else {}
    for run in map(read_json, sidecars):
        for name, output in run["outputs"].items() if "signature" in run else ():
            if not _is_whole(Path(output["path"]), output["sha256"], source):
                continue
            path = Path(output["path"]).relative_to(source)
            if path.parts[0] in KEPT and not str(path).startswith(UNPUBLISHED):
                _keep(source / path, target / path)
                own = {"signature": f"{run['signature']}/{name}", "sha256": output["sha256"]}
                own["settings"] = {k: v for k, v in run["settings"].items() if k not in LOCAL}
                index[str(path)] = own | {key: run[key] for key in SIDECAR_KEYS}
    write_json(target / INDEX, dict(sorted(index.items())))
    return [target / path for path in index]


def _is_whole(path: Path, digest: str, source: Path) -> bool:
    """Whether a file is still what its job made, in the folder of its scale."""
    return path.is_relative_to(source) and path.is_file() and sha256(path) == digest


def restore(outputs: Mapping[str, Path], own: str) -> dict[str, Any] | None:
    """Copy a job's outputs from the store if all of them are there with its signature.

    Returns:
        What the sidecar of the run that made them said under :data:`SIDECAR_KEYS`; None: nothing was copied.
    """
    found: list[tuple[Path, Path]] = []
    run: dict[str, Any] = {}
    for name, path in outputs.items():
        stored, run = _stored(path)
        if run.get("signature") != f"{own}/{name}" or not stored.is_file():
            return None
        found.append((stored, path))
    for stored, path in found:
        _unpack(stored, path)
    sys.stderr.write(f"using stored {', '.join(map(str, outputs.values()))}\n")
    return {key: run[key] for key in SIDECAR_KEYS}


def _stored(path: Path) -> tuple[Path, dict[str, Any]]:
    """The file that holds a result in the store, and what the index says about it: nothing if not stored."""
    if len(path.parts) < 3 or path.parts[0] != "results":
        return path, {}
    folder, place = STORED / path.parts[1], Path(*path.parts[2:])
    return _packed(folder / place), _index(folder).get(str(place), {})


def _index(folder: Path) -> dict[str, Any]:
    return dict(read_json(folder / INDEX)) if (folder / INDEX).is_file() else {}


def _keep(source: Path, target: Path) -> None:
    """Store a file: weights in bf16, record files compressed, anything else as it is."""
    if source.suffix == ".safetensors":
        _in_bf16(source, target)
    elif source.suffix == ".jsonl":
        with atomic(_packed(target)) as temporary:
            temporary.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
    else:
        with atomic(target) as temporary:
            temporary.write_bytes(source.read_bytes())


def _packed(stored: Path) -> Path:
    """The file that holds a stored result: record files are compressed."""
    return stored.with_name(stored.name + ".gz") if stored.suffix == ".jsonl" else stored


def _unpack(stored: Path, path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(read_bytes(stored))


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
