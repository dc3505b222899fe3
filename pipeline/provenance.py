"""Sidecars: beside every output, ``<output>.run.json`` says what made it, from what, where and when."""

from __future__ import annotations

import platform
import resource
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.files import sha256, write_json
from pipeline.fingerprint import fingerprint

PACKAGES = (
    *("torch", "transformers", "tokenizers", "safetensors", "numpy"),
    *("pandas", "sacrebleu", "spacy", "snakemake"),
)


@contextmanager
def write_sidecar(
    outputs: Mapping[str, Path], spec: Mapping[str, Any], inputs: Mapping[str, Path], signature: str
) -> Iterator[dict[str, Any]]:
    """Record the run of the block beside its first output, once it has succeeded.

    Args:
        signature: of the job (:mod:`pipeline.stored`).

    Yields:
        An empty mapping; what the block puts in it takes the place of what is recorded otherwise.
    """
    network = network_calls()
    before = len(network)
    began, clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    otherwise: dict[str, Any] = {}
    yield otherwise
    first = next(iter(outputs.values()))
    write_json(
        first.with_name(first.name + ".run.json"),
        {
            "schema": "run/1",
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "signature": signature,
            "settings": spec,
            "inputs": _files(inputs),
            "outputs": _files(outputs),
            "code": fingerprint(entry(), *_modules(spec)),
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "python": platform.python_version(),
            "host": socket.gethostname(),
            "device": _device(),
            **_peaks(),
            "start": began,
            "seconds": round(time.monotonic() - clock, 3),
            "restored": False,
            "network_calls": len(network) - before,
        }
        | otherwise,
    )


@cache
def network_calls() -> list[str]:
    """The hosts that this process connected to since the first call, whichever library did it."""
    hosts: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
            hosts.append(str(arguments[1][0]))

    sys.addaudithook(note)
    return hosts


def _files(paths: Mapping[str, Path]) -> dict[str, dict[str, str | None]]:
    return {name: {"path": str(path), "sha256": _digest(path)} for name, path in paths.items()}


def _digest(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None


def entry() -> str:
    """The module that runs as a command, e.g. ``pipeline.generate``."""
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else "pipeline.command"


def _modules(spec: Mapping[str, Any]) -> list[str]:
    module = spec.get("method", {}).get("module") if isinstance(spec.get("method"), dict) else None
    return [module] if module else []


def _device() -> str:
    return _cuda().get_device_name() if _cuda() else "cpu"


def _cuda() -> Any:
    """``torch.cuda`` where this process could use a GPU."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_available() else None


def _peaks() -> dict[str, int | None]:
    """The most memory that this process held, in MB: its own, and the GPU's."""
    unit = 1024**2 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes there, KB on Linux
    return {
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit,
        "peak_gpu_memory_mb": _cuda().max_memory_allocated() // 1024**2 if _cuda() else None,
    }
