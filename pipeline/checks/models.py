"""Pretrained models that the settings name: of the hub, of spaCy, of benepar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.checks import FAIL, OK, WARN, Finding
from pipeline.fetch import reachable

KEYS = ("source", "ranking")  # settings that name a pretrained model or folder ...
OWN = ("train", "shared", "language_model")  # ... unless they have one of these values
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def pretrained(settings: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every setting that names a pretrained model, by its dotted key, with the name."""
    for key, value in settings.items() if isinstance(settings, Mapping) else ():
        if key in KEYS and isinstance(value, str) and value not in OWN:
            yield f"{path}{key}", value
        yield from pretrained(value, f"{path}{key}.")


def models(settings: dict[str, Any]) -> Iterator[Finding]:
    """Check every pretrained model, each once."""
    named: dict[str, list[str]] = defaultdict(list)
    for key, source in pretrained(settings):
        named[source].append(key)
    if not named:
        yield Finding(OK, "pretrained models", "none needed: all are trained in the run")
    for source, keys in named.items():
        kind = _tagger if keys[0].endswith("tagger.source") else _hub
        check = _parser if keys[0].endswith("parser.source") else kind
        yield check(source, ", ".join(keys))


def _tagger(source: str, keys: str) -> Finding:
    what = f"tagger {source}"
    if Path(source).is_dir():
        return Finding(OK, what, "a local folder")
    try:
        return Finding(OK, what, f"version {metadata.version(source)} is installed")
    except (metadata.PackageNotFoundError, ValueError):
        how = f"python -m spacy download {source}   (or a folder of it: --set {keys}=FOLDER)"
        return Finding(FAIL, what, f"spaCy's package is not installed ({keys})", how)


def _parser(source: str, keys: str) -> Finding:
    import nltk

    what = f"parser {source}"
    if Path(source).exists():
        return Finding(OK, what, "a local model")
    try:
        return Finding(OK, what, f"downloaded to {nltk.data.find(f'models/{source}')}")
    except LookupError:
        how = f"python -c \"import benepar; benepar.download('{source}')\"   (or a copy: --set {keys}=PATH)"
        return Finding(FAIL, what, f"not among the downloaded models of benepar ({keys})", how)


def _hub(source: str, keys: str) -> Finding:
    from huggingface_hub import constants, try_to_load_from_cache

    what = f"model {source}"
    if Path(source).is_dir():
        missing = [] if _has_weights(Path(source)) else [WEIGHTS[0]]
        missing += [] if (Path(source) / "config.json").is_file() else ["config.json"]
        how = (
            f"save it there with save_pretrained, or give another folder: --set {keys.split(', ')[0]}=FOLDER"
        )
        if missing:
            return Finding(FAIL, what, f"a folder without {' and '.join(missing)} ({keys})", how)
        return Finding(OK, what, "a local folder")
    files = [try_to_load_from_cache(source, name) for name in ("config.json", *WEIGHTS)]
    if isinstance(files[0], str) and any(isinstance(file, str) for file in files[1:]):
        return Finding(OK, what, "in the hub's cache")
    how = f"hf download {source} --include '*.json' '*.txt' '*.safetensors'"
    host = constants.ENDPOINT.split("/")[2]
    if reachable(constants.ENDPOINT):
        detail = f"not in the hub's cache ({keys}); {host} answers here, perhaps not on compute nodes"
        return Finding(WARN, what, detail, how)
    other = f"{how}   (with a network; or its folder: --set {keys.split(', ')[0]}=FOLDER)"
    return Finding(FAIL, what, f"not in the hub's cache, and {host} does not answer ({keys})", other)


def _has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in WEIGHTS)
