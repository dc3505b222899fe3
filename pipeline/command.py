"""The contract of every command: files in, files out, one line and exit code 2 on bad input.

    python -m <package>.<command> --spec SPEC --input NAME=FILE ... --output NAME=FILE ...

SPEC is JSON text or a file of it: the settings this stage needs and nothing else.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from threadpoolctl import threadpool_limits

from pipeline.errors import InputError, nearest
from pipeline.files import parse_json, read_json, require_file
from pipeline.provenance import entry, write_sidecar
from pipeline.schema import check_stage
from pipeline.stored import LOCAL, restore, signature


class Spec(dict[str, Any]):
    """Settings of a stage, and mappings within; asking for one that was not given is bad input."""

    def __init__(self, *settings: Mapping[str, Any], **more: Any) -> None:
        given = dict(*settings, **more)
        super().__init__({k: Spec(value) if isinstance(value, dict) else value for k, value in given.items()})

    def __missing__(self, key: str) -> NoReturn:
        raise InputError("--spec", f"'{key}' is missing", nearest(key, self))


@dataclass(frozen=True)
class Job:
    """What a command was asked to do."""

    spec: dict[str, Any]
    inputs: dict[str, Path]
    outputs: dict[str, Path]

    @property
    def work(self) -> Path:
        """A folder for resumable state, beside the first output; no declared output, so no one deletes it."""
        first = next(iter(self.outputs.values()))
        return first.with_name(first.name.split(".")[0] + ".work")

    @cached_property
    def signature(self) -> str:
        """What the outputs are: the command, its settings and its inputs (:mod:`pipeline.stored`)."""
        settings = {k: v for k, v in self.spec.items() if k not in ("use_stored", *LOCAL)}
        return signature(entry(), settings, self.inputs)


def command(
    main: Callable[[Job], None],
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str],
    open_ended: bool = False,
    section: str | Callable[[dict[str, Any]], str] = "",
) -> None:
    """Run ``main`` on the command line's job and write a sidecar beside the first output.

    Where the specification has ``use_stored``, outputs that are stored with the job's signature are copied;
    the sidecar then tells the time, device and packages of the run that made them.

    Args:
        inputs, outputs: names that must be given. open_ended: further inputs and outputs are welcome.
        section: place in the schema of the command's own settings (:func:`pipeline.schema.check_stage`);
            where it depends on the settings, a function of them.
    """
    with exit_codes():
        job = _parse(sys.argv[1:], inputs, outputs, open_ended)
        check_stage(job.spec, section if isinstance(section, str) else section(job.spec))
        settings = {"threads": 1, **job.spec}
        set_threads(settings["threads"])
        with write_sidecar(job.outputs, settings, job.inputs, job.signature) as sidecar:
            made = restore(job.outputs, job.signature) if settings.get("use_stored") else None
            if made is None:
                main(job)
            else:
                sidecar |= made | {"restored": True}
        shutil.rmtree(job.work, ignore_errors=True)  # the outputs stand, so the state has served


def set_threads(threads: int) -> None:
    """Fix the number of threads; results must not follow the cores that a machine hands out.

    Libraries that are loaded already are told; those loaded later read the environment.

    Raises:
        InputError: not a positive whole number.
    """
    if type(threads) is not int or threads < 1:
        raise InputError("threads", f"cannot be {threads!r}", "give a whole number from 1")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    threadpool_limits(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space and run the same command again"),
    errno.EFBIG: "allow larger files there (ulimit -f) and run the same command again",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make it writable, or run in another folder"),
}


class exit_codes:
    """Turn an InputError, or what the system refuses, into one line on standard error and exit code 2."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno:
            how = REMEDIES.get(error.errno, "see that it can be read and written")
            error = InputError(error.filename or "this machine", os.strerror(error.errno).lower(), how)
        if isinstance(error, InputError):
            sys.stderr.write(f"error: {error}\n")  # one write, so that no other job's line gets into it
            raise SystemExit(2) from None


class Parser(argparse.ArgumentParser):
    """An argument parser that tells a mistake as every command does."""

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        raise InputError("command line", message, f"see python -m {self.prog} --help")


def pairs(values: Sequence[str]) -> dict[str, Path]:
    """``NAME=FILE`` words as a mapping."""
    found: dict[str, Path] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not path:
            raise InputError(f"'{value}'", "not NAME=FILE", "name it, e.g. corpus=results/demo/corpus.jsonl")
        if name in found:
            raise InputError(f"'{value}'", f"'{name}' is given twice", "give one file for each name")
        found[name] = Path(path)
    return found


def _parse(words: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], open_ended: bool) -> Job:
    parser = Parser(prog=entry(), description=sys.modules["__main__"].__doc__)
    parser.add_argument("--spec", required=True, help="JSON text, or a file of it")
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "NAME=FILE"}
    parser.add_argument("--input", **several, help=f"needs {', '.join(inputs) or 'none'}")
    parser.add_argument("--output", **several, required=True, help=f"needs {', '.join(outputs)}")
    options = parser.parse_args(words)
    job = Job(_spec(options.spec), pairs(options.input), pairs(options.output))
    _require("--input", job.inputs, inputs, open_ended)
    _require("--output", job.outputs, outputs, open_ended)
    for name, path in job.inputs.items():
        require_file(path, f" (input '{name}')")
    return job


def _spec(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        return Spec(parse_json(text, "--spec"))
    return Spec(read_json(Path(text), dict))


def _require(option: str, given: dict[str, Path], names: Sequence[str], open_ended: bool) -> None:
    for name in names:
        if name not in given:
            raise InputError(option, f"'{name}' is missing", f"add {name}=FILE")
    for name in given:
        if name not in names and not open_ended:
            raise InputError(option, f"unknown name '{name}'", nearest(name, names))
