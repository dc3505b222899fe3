"""The house rules: who may import whom, what no file may do, and what lies where."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("pipeline", "diffusion_lm", "baselines", "eval")
TOP = {
    *"Snakefile environment.yml pyproject.toml requirements.lock Makefile README.md LICENSE".split(),
    *".ci .gitattributes .gitignore results tests".split(),
    *ROOMS,
}
NOT_OURS = re.compile(r"\..+|__pycache__|.+\.egg-info|build")  # what tools leave behind
HEAVY = {"torch", "transformers", "spacy", "pandas", "benepar", "matplotlib", "scipy", "sklearn", "nltk"}
DYNAMIC = {*"importlib.import_module importlib.util importlib.machinery __import__ runpy pkgutil".split()}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NETWORK = {"urllib.request", "requests", "http.client", "httpx", "urllib3", "ftplib", "socket", "aiohttp"}
NETWORK_ALLOWED = {
    "pipeline/fetch.py": {"urllib.request", "http.client"},
    "pipeline/provenance.py": {"socket"},  # the host's name, and a count of connections
}
TEXTS = {".py", ".smk", ".md", ".yaml", ".yml", ".toml", ".lock", ".json", ".csv", ".html", ".js", ".css", ""}
MACHINE_PATH = re.compile(r"(?:^|[\s\"'(=`:])/(?:work|tmp|root|home|Users)/", re.MULTILINE)


def sources(*folders: str) -> list[Path]:
    """The Python files of our folders."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "__pycache__" not in path.parts]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth; ``from a import b`` gives both ``a`` and ``a.b``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: write the whole name of the package"
            yield from (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names))


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a file with the written name of what is called."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


every_source = pytest.mark.parametrize("path", sources(*ROOMS), ids=name)
every_file = pytest.mark.parametrize("path", sources(*ROOMS, "tests"), ids=name)


@every_source
def test_import_direction(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    crossed = {module for module in imported(path) if module.split(".")[0] in set(ROOMS) - {room, "pipeline"}}
    assert not crossed, f"{name(path)} may import only pipeline and {room}"


@every_source
def test_the_only_dynamic_import_is_that_of_methods(path: Path) -> None:
    used = {*imported(path), *(called for called, _ in calls(path))} & DYNAMIC
    assert not used or name(path) == "pipeline/methods.py"


@every_file
def test_nothing_unpickles_or_runs_text(path: Path) -> None:
    assert not {module for module in imported(path) if module.split(".")[0] in UNPICKLERS}
    for called, node in calls(path):
        where = f"{name(path)}:{node.lineno}"
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert called not in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "torch.jit.load"), where
        assert given.get("allow_pickle", "False") == "False", where
        assert called != "torch.load" or given.get("weights_only") == "True", where


@every_source
def test_only_fetch_reaches_for_the_network(path: Path) -> None:
    reached = set(imported(path)) & NETWORK
    assert reached <= NETWORK_ALLOWED.get(name(path), set())


def test_provenance_opens_no_connection() -> None:
    used = {called for called, _ in calls(ROOT / "pipeline/provenance.py") if called.startswith("socket.")}
    assert used == {"socket.gethostname"}


def test_the_top_level_holds_what_it_should() -> None:
    found = {path.name for path in ROOT.iterdir()}
    assert not {other for other in found - TOP if not NOT_OURS.fullmatch(other)}, "no place for these"
    assert found >= TOP


def texts() -> list[Path]:
    """Every text file that is part of the repository; what runs make is left out."""
    loose = [path for path in ROOT.iterdir() if path.is_file() and path.name in TOP]
    loose += [path for kind in ("csv", "md") for path in (ROOT / "results/paper").glob(f"*.{kind}")]
    folders = (".ci", "tests", "results/stored", *ROOMS)
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for path in (*loose, *found) if path.suffix in TEXTS and "__pycache__" not in path.parts]


def test_no_file_names_a_path_of_one_machine() -> None:
    told = []
    for path in texts():
        content = path.read_text(encoding="utf-8")
        for match in MACHINE_PATH.finditer(content):
            told.append(f"{name(path)}:{content.count(chr(10), 0, match.start()) + 1}: {match[0].strip()}")
    assert not told


def modules_of_the_workflow() -> set[str]:
    """What the Snakefile and the rules import, and what they surely will."""
    files = [ROOT / "Snakefile", *sorted((ROOT / "pipeline/rules").glob("*.smk"))]
    pattern = re.compile(
        r"^\s*(?:from|import) +((?:pipeline|diffusion_lm|baselines|eval)[.\w]*)", re.MULTILINE
    )
    found = {m for path in files if path.is_file() for m in pattern.findall(path.read_text(encoding="utf-8"))}
    return found | {"pipeline.settings", "pipeline.fingerprint", "pipeline.errors", "pipeline.files"}


def test_what_the_workflow_imports_is_light() -> None:
    modules = ", ".join(sorted(modules_of_the_workflow()))
    code = f"import sys, {modules}; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split())


def ledger_rows(room: str) -> list[tuple[str, str]]:
    """The choice and the file cell of each row of a room's ledger."""
    lines = (ROOT / room / "LEDGER.md").read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in lines
        if line.startswith("|")
    ]
    assert rows and rows[0] == ["choice", "source", "file", "deviation and why"]
    assert all(len(row) == 4 for row in rows), "a row needs four cells"
    return [(row[0], row[2]) for row in rows if row != rows[0] and set("".join(row)) - set(":- ")]


def defined(path: Path) -> set[str]:
    """Functions and classes of a file; methods as ``Class.method``."""

    def walk(node: ast.AST, prefix: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield prefix + child.name
                yield from walk(child, f"{prefix}{child.name}.")

    return set(walk(tree(path), ""))


@pytest.mark.parametrize("room", ["diffusion_lm", "baselines"])
def test_every_entry_of_a_ledger_resolves(room: str) -> None:
    rows = ledger_rows(room)
    assert rows
    for choice, cell in rows:
        places = re.findall(r"([\w./]+\.py)::([\w.]+)", cell)
        assert places, f"'{choice}': '{cell}' is not path::name"
        for file, wanted in places:
            assert (ROOT / file).is_file(), f"'{choice}': no file {file}"
            assert wanted in defined(ROOT / file), f"'{choice}': no function or class {wanted} in {file}"
