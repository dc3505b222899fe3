"""One environment told three times: as ranges, as exact versions and for conda."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
OF_CONDA = {"pytorch": "torch", "matplotlib-base": "matplotlib", "snakemake-minimal": "snakemake"}
PINNED = re.compile(r"([A-Za-z0-9._-]+?)={1,2}([0-9][^=]*)")


def pinned(line: str) -> tuple[str, Version]:
    """The package and version of ``name==version`` (pip) or ``name=version`` (conda)."""
    match = PINNED.fullmatch(line)
    assert match, f"'{line}' is not an exact version"
    name = canonicalize_name(match[1])
    return OF_CONDA.get(name, name), Version(match[2])


def read_lock() -> dict[str, Version]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return dict(pinned(line) for line in lines if line and not line.startswith("#"))


def read_conda() -> dict[str, Version]:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    flat = [e for entry in entries for e in (entry["pip"] if isinstance(entry, dict) else [entry])]
    return dict(pinned(entry) for entry in flat if entry not in ("pip", "python=3.11"))


def read_ranges(*, dev: bool = True) -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(project["optional-dependencies"]["dev"] if dev else [])]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def test_the_lock_lies_within_the_ranges() -> None:
    lock, ranges = read_lock(), read_ranges()
    assert ranges.keys() <= lock.keys()
    assert not {name: str(lock[name]) for name in ranges if lock[name] not in ranges[name].specifier}


def test_conda_agrees_with_the_lock_at_major_minor() -> None:
    lock, conda = read_lock(), read_conda()
    assert conda.keys() <= lock.keys()
    minors = {name: (conda[name].release[:2], lock[name].release[:2]) for name in conda}
    assert not {name: pair for name, pair in minors.items() if pair[0] != pair[1]}


def test_conda_holds_everything_that_runs_need() -> None:
    assert read_ranges(dev=False).keys() <= read_conda().keys()


def test_conda_pins_the_python_of_the_package() -> None:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "python=3.11" in entries
    assert project["requires-python"] == ">=3.11"


def test_the_lock_is_portable_and_sorted() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.startswith("-") or "+" in line or "/" in line]
    assert lines == sorted(lines, key=str.upper)


def test_the_lock_is_installed() -> None:
    lock = {name: str(version) for name, version in read_lock().items()}
    assert {name: Version(metadata.version(name)).public for name in lock} == lock
