"""The machine: disk, memory, GPU, and the folder that a run writes to."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.checks import FAIL, OK, WARN, Finding
from pipeline.checks.cluster import gpus

RESULTS = Path("results")
GB = 1024**3
CLUSTER = "snakemake --workflow-profile pipeline/profiles/slurm --config scale={scale}"


class Needs(NamedTuple):
    """What a scale needs, in GB; see :data:`NEEDS`."""

    disk: int
    memory: int


# Measured for demo (0.1 GB) and small (0.5 GB). paper: 24 networks of BERT's size, their
# training states (weights, average and two moments each, for as many as are in training), hub models;
# rehearsal: the same networks, one or two in training at a time.
NEEDS = {"demo": Needs(1, 4), "small": Needs(3, 8), "rehearsal": Needs(15, 12), "paper": Needs(60, 16)}


def machine(settings: dict[str, Any], cluster: bool) -> Iterator[Finding]:
    """Check the machine.

    Args:
        settings: resolved. cluster: jobs go to other machines, so only the disk is this one's.
    """
    needs, folder = NEEDS.get(settings["scale"], NEEDS["paper"]), RESULTS / settings["scale"]
    yield _disk(_existing(folder), needs.disk)
    yield _writable(_existing(folder))
    if not cluster:
        yield _memory(needs.memory)
    yield _gpu(settings, cluster)


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return path if path.exists() else _existing(path.parent)


def _disk(folder: Path, needed: int) -> Finding:
    free = shutil.disk_usage(folder).free / GB
    detail = f"{free:.0f} GB free in {folder}, about {needed} needed"
    if free >= needed:
        return Finding(OK, "disk", detail)
    return Finding(FAIL, "disk", detail, f"free some space, or make {RESULTS} a link to a larger disk")


def _writable(folder: Path) -> Finding:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        how = f"chmod u+rwX {folder}   (or make {RESULTS} a link to a folder that you may write to)"
        return Finding(FAIL, "results folder", f"{folder} cannot be written to ({error.strerror})", how)
    return Finding(OK, "results folder", f"{folder} can be written to")


def _memory(needed: int) -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    detail = f"{total:.0f} GB, {needed} wanted"
    if total >= 0.9 * needed:  # machines keep some for themselves
        return Finding(OK, "memory", detail)
    return Finding(WARN, "memory", detail, f"snakemake --resources mem_mb={int(total * 900)} ...")


def _gpu(settings: dict[str, Any], cluster: bool) -> Finding:
    import torch

    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        return Finding(OK, "GPU", f"{torch.cuda.device_count()} of {', '.join(sorted(names))}")
    driver = "installed" if shutil.which("nvidia-smi") else "not found"
    detail = f"none that torch {torch.__version__} sees; driver (nvidia-smi): {driver}"
    if not settings["gpus"]:
        return Finding(OK, "GPU", f"none needed at this scale ({detail})")
    if cluster and (found := gpus()):
        return Finding(OK, "GPU", f"{', '.join(found)} in the cluster; here {detail}")
    detail += ", and SLURM tells of none" if cluster else ""
    how = f"install the driver and the CUDA build of torch, or: {CLUSTER.format(scale=settings['scale'])}"
    return Finding(FAIL, "GPU", detail, how)
