"""The corpora of a scale, in ``data_dir`` or downloaded, and what is stored of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.checks import FAIL, OK, WARN, Finding
from pipeline.corpora import anlg, e2e, released, rocstories
from pipeline.errors import InputError
from pipeline.fetch import reachable
from pipeline.files import read_bytes
from pipeline.stored import STORED, index, stored_file

DOWNLOADS = released.DOWNLOADS
TREEBANKS = (  # judges are trained and measured on them (eval.oracles.treebanks)
    *(f"ud_english_ewt/en_ewt-ud-{split}.conllu.gz" for split in ("train", "test")),
    *(f"gum/gum_ud_basic_{split}.conllu.gz" for split in ("train", "test")),
    *("gum/gum_const_trees.tsv.gz", "craft/craft_trees.tsv.gz", "nltk_wsj_sample/wsj_sample_trees.tsv.gz"),
)


def data(settings: dict[str, Any]) -> Iterator[Finding]:
    """Check every corpus that the settings name; nothing is downloaded."""
    folder = settings["data_dir"]
    if folder and not Path(folder).is_dir():
        yield Finding(FAIL, "data_dir", f"{folder} is no folder", "--set data_dir=FOLDER")
    if settings["corpus"]["name"] == "e2e":
        yield _e2e(folder, settings["corpus"]["form"])
        yield _treebanks(folder, settings)
    if settings["syntax"]["released_targets"] or settings["corpus"]["exclude_targets"]:
        yield _published("released targets", folder, "control_targets", released.URL, released.FILES)
    if settings["stories"]["name"] == "rocstories":
        yield _rocstories(folder)
        own = folder if folder and (Path(folder) / anlg.FOLDER).is_dir() else ""
        yield _published("aNLG", own, anlg.FOLDER, anlg.URL, anlg.FILES)
    yield _stored(settings)


def _e2e(folder: str, form: e2e.Form) -> Finding:
    if not folder:
        return _published("E2E", "", "e2e", e2e.URL, e2e.OFFICIAL)
    try:
        files = e2e.e2e_files(Path(folder), form)
    except InputError as error:
        return Finding(FAIL, "E2E", str(error), "put E2E there, or leave data_dir empty to download it")
    known = e2e.OFFICIAL if form == "csv" else {}
    return _compared("E2E", files.values(), known)


def _published(what: str, folder: str, place: str, url: str, sha256s: Mapping[str, str]) -> Finding:
    """Files with known checksums, in ``place`` of the data folder or of the downloads."""
    paths = [Path(folder or DOWNLOADS) / place / name for name in sha256s]
    missing = [path.name for path in paths if not path.is_file()]
    if not missing:
        return _compared(what, paths, sha256s)
    if folder:
        how = f"put them there; they are published at {url}"
        return Finding(FAIL, what, f"no {', '.join(missing)} in {paths[0].parent}", how)
    host = url.split("/")[2]
    if reachable(url):
        return Finding(OK, what, f"will be downloaded from {host}, which answers")
    how = f"download {url} where there is a network, and give its folder: --set data_dir=FOLDER"
    return Finding(FAIL, what, f"no data_dir, nothing downloaded, and {host} does not answer", how)


def _compared(what: str, paths: Any, sha256s: Mapping[str, str]) -> Finding:
    """Whether files have the published content, as far as that is known."""
    paths = list(paths)
    place = paths[0].parent
    try:
        found = {
            path.name.removesuffix(".gz"): hashlib.sha256(read_bytes(path)).hexdigest() for path in paths
        }
    except InputError as error:
        return Finding(FAIL, what, str(error), "fetch it again")
    others = [name for name, expected in sha256s.items() if found.get(name) != expected]
    if others:
        how = "fetch them again, unless they were changed on purpose"
        return Finding(WARN, what, f"not as published: {', '.join(others)} in {place}", how)
    told = "as published" if sha256s else "found"
    return Finding(OK, what, f"{len(paths)} files in {place}, {told}")


def _rocstories(folder: str) -> Finding:
    how = f"request ROCStories at {rocstories.HOME}, then --set data_dir=FOLDER (with rocstories/*.csv in it)"
    if not folder:
        return Finding(FAIL, "ROCStories", "data_dir is not set, and it cannot be downloaded", how)
    try:
        return Finding(OK, "ROCStories", f"{len(rocstories.story_files(Path(folder)))} files in {folder}")
    except InputError as error:
        return Finding(FAIL, "ROCStories", str(error), how)


def _treebanks(folder: str, settings: dict[str, Any]) -> Finding:
    """Needed to measure judges, and to train those that are neither pretrained nor stored."""
    place = Path(folder) / "treebanks"
    missing = [name for name in TREEBANKS if not (place / name).is_file()]
    if not missing:
        return Finding(OK, "treebanks", f"all {len(TREEBANKS)} files in {place}")
    detail = f"no {', '.join(missing)} in {place}" if folder else "data_dir is not set"
    how = "--set data_dir=FOLDER (with the files of treebanks/ that README's 'Judges of syntax' lists)"
    if settings["use_stored"] and (STORED / settings["scale"] / "tables/judges.csv").is_file():
        return Finding(WARN, "treebanks", f"{detail}; only the stored judges can be used", how)
    return Finding(FAIL, "treebanks", detail, how)


def _stored(settings: dict[str, Any]) -> Finding:
    """Whether what is stored of a scale is whole (:mod:`eval.validate` looks closer)."""
    folder = STORED / settings["scale"]
    if not settings["use_stored"]:
        return Finding(OK, "stored results", "not used (use_stored is false)")
    try:
        files = {name: entry for name, entry in index(folder).items() if not entry.get("withheld")}
    except InputError as error:
        return Finding(FAIL, "stored results", str(error), f"git checkout -- {folder}")
    if not files:
        return Finding(OK, "stored results", f"none in {folder}: everything will be made")
    damaged = [name for name, entry in files.items() if _digest(stored_file(folder, name)) != entry["sha256"]]
    if not damaged:
        return Finding(OK, "stored results", f"{len(files)} files in {folder}, as they were stored")
    detail = f"{len(damaged)} of {len(files)} missing or damaged, first {damaged[0]}"
    return Finding(FAIL, "stored results", detail, f"git checkout -- {folder}")


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except InputError:
        return None
