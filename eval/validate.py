"""Check stored folders and contributed files: one line for each problem, and exit code 2 if there are any.

python -m eval.validate results/stored/demo results/stored/small
python -m eval.validate my_samples.jsonl --against results/stored/small [--task TASK] [--method NAME]

Of a stored folder: every file is there with the content that ``signatures.json`` tells (weights of methods
may be left out); records fit their schemas; texts cover the targets; the selection is MBR's choice of them;
every text has its scores; those that need no model come out of the text again; the tables are what the
scores give (:mod:`eval.rederive`); signatures are of these targets, texts and judges; nothing is larger than
a repository should hold. Instead of a folder to compare with, ``--targets`` gives target files.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from eval.contribution import read_contribution
from eval.signatures import (
    SOFTWARE,
    Signature,
    read_signatures,
    require_alike,
    sample_counts,
    task_signature,
)
from eval.stored import stored_cells, stored_index, stored_models, stored_targets
from pipeline.command import Parser, exit_codes
from pipeline.errors import InputError
from pipeline.files import read_bytes
from pipeline.records import Sample, Target, read_records
from pipeline.stored import INDEX, index, signature_of, stored_file

MEGABYTE = 1_000_000
LARGEST = 20 * MEGABYTE  # a scale without judges and models
LARGEST_JUDGES = 60 * MEGABYTE  # the judges of all scales
SIGNATURES = "tables/signatures.json"
AGAIN = "finish the run and store again"


def problems(folder: Path) -> list[str]:
    """Everything that is wrong with a stored folder, a line each."""
    checks = [file_problems]
    if index(folder):
        checks += [size_problems, signature_problems, _heavy_problems]
    return list(dict.fromkeys(str(problem) for check in checks for problem in told(check, folder)))


def told(check: Callable[..., Iterator[InputError]], *of: object) -> Iterator[InputError]:
    """The problems that a check finds, and the one that keeps it from going on."""
    try:
        yield from check(*of)
    except InputError as error:
        yield error


def file_problems(folder: Path) -> Iterator[InputError]:
    """Files that are missing or damaged, are not what was stored, or were never stored."""
    files = {stored_file(folder, name): entry for name, entry in stored_index(folder).items()}
    for path, entry in files.items():
        if path.is_file() or path.parent.name != "models":
            yield from told(_content_problems, path, entry["sha256"])
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in files and path != folder / INDEX:
            yield InputError(path, f"does not stand in {INDEX}", "delete it, or store again")


def _content_problems(path: Path, stored: str) -> Iterator[InputError]:
    if (found := hashlib.sha256(read_bytes(path)).hexdigest()) != stored:
        what = f"not what was stored: SHA-256 {found[:12]}, in {INDEX} {stored[:12]}"
        yield InputError(path, what, "fetch the file again, or store again")


def size_problems(folder: Path) -> Iterator[InputError]:
    """A scale, or the judges of all scales beside it, that are too large for a repository."""
    judges = [path for scale in folder.absolute().parent.iterdir() for path in _files(scale / "judges")]
    rest = [path for path in _files(folder) if path.parent.name not in ("judges", "models")]
    for where, paths, largest in ((folder, rest, LARGEST), (folder.parent, judges, LARGEST_JUDGES)):
        if (size := _size(paths)) > largest:
            what = f"{size / MEGABYTE:.1f} MB {'of judges ' * (paths is judges)}are stored"
            yield InputError(where, what, f"at most {largest / MEGABYTE:.0f} MB may be")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _size(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def signature_problems(folder: Path) -> Iterator[InputError]:
    """Signatures that are not of the stored targets, texts and models, or of another version of a task."""
    path = stored_file(folder, SIGNATURES)
    stored = read_signatures(path)
    models = {name: signature_of(model) for name, model in stored_models(folder).items()}
    for task, targets in stored_targets(folder).items():
        if task not in stored:
            yield InputError(path, f"no signature of {task}", AGAIN)
            continue
        cells = {c: file for c, file in stored_cells(folder, "samples").items() if c.startswith(f"{task}/")}
        counts = sample_counts(sample for file in cells.values() for sample in read_records(file, Sample))
        rules = {stored_index(folder)[f"selected/{cell}.jsonl"]["settings"]["mbr_rule"] for cell in cells}
        ours = task_signature(targets, max(counts.values(), default=0), max(rules, default="paper"), models)
        yield from told(_unlike, stored[task], ours)


def _unlike(stored: Signature, ours: Signature) -> Iterator[InputError]:
    require_alike(stored, ours, SOFTWARE)
    yield from ()


def _heavy_problems(folder: Path) -> Iterator[InputError]:
    from eval.rederive import cell_problems, table_problems  # not needed for contributed files

    yield from cell_problems(folder)
    yield from table_problems(folder)


def check_folder(folder: Path) -> list[str]:
    """The problems of a stored folder; tells of none on standard output."""
    found = problems(folder)
    if not found:
        cells, judges = stored_cells(folder, "samples"), [*stored_models(folder).values()]
        rest = [path for path in _files(folder) if path.parent.name not in ("judges", "models")]
        size = f"{_size(rest) / MEGABYTE:.1f} MB and {_size(judges) / MEGABYTE:.1f} MB of judges"
        print(f"{folder}: {len(cells)} cells of {len(stored_targets(folder))} tasks, {size}, nothing wrong")
    return found


def check_contribution(path: Path, options: argparse.Namespace) -> list[str]:
    """The problem of a contributed file; tells what is in it on standard output if there is none."""
    try:
        samples = read_contribution(path, _targets(options), options.method, options.task)
    except InputError as error:
        return [str(error)]
    for task in dict.fromkeys(sample.task for sample in samples):
        of_task = [sample.target_id for sample in samples if sample.task == task]
        print(f"{path}: {len(of_task)} texts for {len(set(of_task))} targets of {task}, nothing wrong")
    return []


def _targets(options: argparse.Namespace) -> dict[str, list[Target]]:
    """The targets that contributed texts may be for."""
    found = stored_targets(options.against) if options.against else {}
    for path in options.targets:
        targets = read_records(path, Target)
        found[targets[0].task] = targets
    if not found:
        how = "add --against results/stored/SCALE, or --targets FILE"
        raise InputError("command line", "no targets for these texts", how)
    return found


def main(words: Sequence[str]) -> None:
    """Print every problem; exit code 2 if there is one."""
    parser = Parser(prog="eval.validate", description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="stored folder or texts")
    parser.add_argument("--against", type=Path, help="stored folder that texts are to be compared with")
    parser.add_argument("--targets", type=Path, nargs="+", default=[], help="files of targets instead")
    parser.add_argument("--task", help="task of texts whose lines do not tell it")
    parser.add_argument("--method", help="name of the method that wrote the texts")
    options = parser.parse_args(words)
    found = []
    for path in options.paths:
        found += check_folder(path) if path.is_dir() else check_contribution(path, options)
    if found:
        sys.stderr.write("".join(f"error: {line}\n" for line in found))
        raise SystemExit(2)


if __name__ == "__main__":
    with exit_codes():
        main(sys.argv[1:])
