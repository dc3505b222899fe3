"""Code fingerprints: Snakemake does not notice edits of imported modules, so rules carry a hash of them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pipeline.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("pipeline", "diffusion_lm", "baselines", "eval")


def fingerprint(*entries: str) -> str:
    """Hash of the parsed source of all modules of this repository reachable from ``entries`` (dotted names).

    Comments, docstrings and layout do not count. Python's parser output may differ between minor
    versions, so the hash is comparable within one. An entry from elsewhere counts by its name alone.

    Raises:
        InputError: an entry would lie in one of our packages, but does not exist.
    """
    for name in entries:
        if name.split(".")[0] in ROOMS and not _exists(name):
            raise InputError(f"module '{name}'", f"no such file: {_path(name)}", "correct the name")
    sources = [f"{name}\n{_essence(name)}" for name in sorted(_reachable(entries))]
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]


def method_modules() -> list[str]:
    """The modules of this repository that define a METHOD, found without importing them."""
    paths = (path for room in ("diffusion_lm", "baselines") for path in ROOT.joinpath(room).rglob("*.py"))
    found = (path for path in paths if "\nMETHOD = " in path.read_text(encoding="utf-8"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found]


def _reachable(entries: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_imports(name))
    return found


@cache
def _imports(name: str) -> tuple[str, ...]:
    """Modules here that a module imports anywhere, functions included, and the packages that hold it."""
    if not _exists(name):
        return ()
    parents = [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
    imported = (module for node in ast.walk(_tree(name)) for module in _named(node))
    return tuple(module for module in (*parents, *imported) if _exists(module))


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _exists(name: str) -> bool:
    return _path(name).is_file()


def _path(name: str) -> Path:
    base = ROOT.joinpath(*name.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_path(name).read_text(encoding="utf-8"))


@cache
def _essence(name: str) -> str:
    return ast.dump(_without_docstrings(_tree(name))) if _exists(name) else ""


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and _is_text(first.value):
                node.body = node.body[1:]
    return tree


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
