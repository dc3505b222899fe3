"""SLURM: its commands, whether it answers, and the profile."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from pipeline.checks import FAIL, OK, WARN, Finding

PROFILE = Path("pipeline/profiles/slurm/config.yaml")
COMMANDS = ("sbatch", "squeue", "scancel", "sinfo")
SECONDS = 5  # for an answer of the controller
TO_FILL = ("slurm_account", "slurm_partition")


def answers() -> bool:
    """Whether a SLURM controller answers."""
    return _sinfo() is not None


def gpus() -> list[str]:
    """The GPUs of the cluster's partitions, as SLURM names them."""
    return sorted({part for part in (_sinfo() or "").replace(",", " ").split() if part.startswith("gpu")})


def _sinfo() -> str | None:
    """The generic resources of all partitions; None: nobody answers."""
    if not shutil.which("sinfo"):
        return None
    words = ["sinfo", "-h", "-o", "%G"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def cluster(wanted: bool, up: bool) -> Iterator[Finding]:
    """Check what SLURM runs need.

    Args:
        wanted: the run is to use SLURM; otherwise nothing of it stops a run. up: the controller answers.
    """
    bad = FAIL if wanted else WARN
    missing = [name for name in COMMANDS if not shutil.which(name)]
    if missing:
        how = "run this on a login node of the cluster"
        yield Finding(bad, "SLURM", f"no {', '.join(missing)} on PATH", how)
    elif not up:
        yield Finding(bad, "SLURM", "its commands are installed, its controller does not answer", "sinfo")
    else:
        accounting = "sacct too" if shutil.which("sacct") else "without sacct"
        yield Finding(OK, "SLURM", f"{', '.join(COMMANDS)} work, {accounting}")
    if up or wanted:
        yield _profile(bad)


def _profile(bad: str) -> Finding:
    """Whether the two lines of a site are filled in."""
    if not PROFILE.is_file():
        return Finding(bad, "SLURM profile", f"no {PROFILE}", f"git checkout -- {PROFILE.parent}")
    try:
        resources = (yaml.safe_load(PROFILE.read_text(encoding="utf-8")) or {}).get("default-resources") or {}
    except (yaml.YAMLError, AttributeError):
        return Finding(FAIL, "SLURM profile", f"{PROFILE} is not YAML", f"git checkout -- {PROFILE}")
    if isinstance(resources, list):
        resources = dict(str(entry).partition("=")[::2] for entry in resources)
    empty = [key for key in TO_FILL if _blank(key, resources.get(key))]
    if empty:
        return Finding(bad, "SLURM profile", f"{', '.join(empty)} not filled in", f"$EDITOR {PROFILE}")
    return Finding(OK, "SLURM profile", ", ".join(f"{key} {resources[key]}" for key in TO_FILL))


def _blank(key: str, value: object) -> bool:
    """Nothing, or a word that stands for a name: ``<account>``, ``ACCOUNT``; names may be in capitals."""
    text = str(value or "").strip("'\"")
    return not text or text.startswith("<") or (text.isupper() and key.endswith(text.lower()))
