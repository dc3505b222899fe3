"""Python and its packages: what runs need, and the exact versions that were tested."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pipeline.checks import FAIL, OK, WARN, Finding

LOCK = Path("requirements.lock")
INSTALL = f"python -m pip install -r {LOCK}"


def packages() -> Iterator[Finding]:
    """Check Python, the ranges of pyproject.toml, and the lock."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    python, wanted = platform.python_version(), project["requires-python"]
    fits = python in SpecifierSet(wanted)
    yield Finding(
        OK if fits else FAIL, "Python", f"{python}, {wanted} needed", f"make PYTHON=python{wanted[2:]} venv"
    )
    ranges = {need.name: need.specifier for need in map(Requirement, project["dependencies"])}
    unfit = [
        f"{name} {found or 'missing'} ({specifier})"
        for name, specifier in ranges.items()
        if not (found := _installed(name)) or not specifier.contains(found, prereleases=True)
    ]
    if unfit:
        yield Finding(FAIL, "packages", ", ".join(unfit), INSTALL)
    else:
        yield Finding(OK, "packages", f"all {len(ranges)} that runs need")
    yield _lock()


def _lock() -> Finding:
    """Other versions than the locked ones may give other numbers."""
    locked = dict(line.split("==") for line in LOCK.read_text(encoding="utf-8").splitlines())
    others = [
        f"{name} {found} ({version})"
        for name, version in locked.items()
        if (found := _installed(name)) and found.partition("+")[0] != version
    ]
    if not others:
        return Finding(OK, LOCK.name, "all installed packages have the tested versions")
    return Finding(WARN, LOCK.name, f"not the tested versions: {', '.join(others)}", INSTALL)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
