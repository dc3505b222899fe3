"""Fingerprints follow the meaning of the code that an entry can reach, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import fingerprint as module
from pipeline.errors import InputError
from pipeline.fingerprint import fingerprint

RUN = '''"""Run."""


def main():
    """Do it."""
    from pipeline.files import read

    return read()
'''
TREE = {
    "pipeline/__init__.py": '"""Plumbing."""\n',
    "pipeline/files.py": "def read():\n    return 1\n",
    "eval/__init__.py": "",
    "eval/run.py": RUN,
    "eval/other.py": "VALUE = 1\n",
    "eval/deep/__init__.py": "STATE = 0\n",
    "eval/deep/leaf.py": "import os\nimport eval.other\n\nLEAF = os.name\n",
    "newcomer/method.py": "from pipeline import files\n",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository in place of ours."""
    for name, source in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    clear()
    return tmp_path


@pytest.fixture(autouse=True)
def clean_caches() -> Iterator[None]:
    yield
    clear()


def clear() -> None:
    for cached in (module._imports, module._tree, module._essence):
        cached.cache_clear()


def edited(tree: Path, name: str, old: str, new: str, *entries: str) -> bool:
    """Whether an edit changes the fingerprint of the entries."""
    before = fingerprint(*entries)
    path = tree / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    clear()
    return fingerprint(*entries) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Run."""', '"""Run it all."""'),
        ('    """Do it."""\n', ""),
        ("return read()", "return read()  # why"),
        ("return read()", "return (\n        read()\n    )"),
    ],
    ids=["module docstring", "docstring removed", "comment", "layout"],
)
def test_words_and_layout_do_not_count(tree: Path, old: str, new: str) -> None:
    assert not edited(tree, "eval/run.py", old, new, "eval.run")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("eval/run.py", "return read()", "return read() + 1"),
        ("pipeline/files.py", "return 1", "return 2"),
        ("pipeline/__init__.py", '"""Plumbing."""', "STATE = 1"),
        ("eval/__init__.py", "", "STATE = 1"),
    ],
    ids=["itself", "import inside a function", "package of an import", "its own package"],
)
def test_code_that_is_reachable_counts(tree: Path, name: str, old: str, new: str) -> None:
    assert edited(tree, name, old, new, "eval.run")


def test_code_out_of_reach_does_not_count(tree: Path) -> None:
    assert not edited(tree, "eval/other.py", "VALUE = 1", "VALUE = 2", "eval.run")


def test_plain_imports_reach_too(tree: Path) -> None:
    assert edited(tree, "eval/other.py", "VALUE = 1", "VALUE = 2", "eval.deep.leaf")


def test_every_entry_counts_and_their_order_does_not(tree: Path) -> None:
    assert fingerprint("eval.run", "eval.other") == fingerprint("eval.other", "eval.run")
    assert fingerprint("eval.run", "eval.other") != fingerprint("eval.run")


def test_a_newcomers_package_beside_ours_counts(tree: Path) -> None:
    assert edited(tree, "pipeline/files.py", "return 1", "return 2", "newcomer.method")


def test_an_entry_from_elsewhere_counts_by_its_name(tree: Path) -> None:
    assert fingerprint("elsewhere.method") != fingerprint("elsewhere.other")


def test_a_misspelt_entry_is_an_error(tree: Path) -> None:
    with pytest.raises(InputError, match=r"module 'eval.rnu': no such file: .*rnu.py"):
        fingerprint("eval.rnu")


def test_our_own_commands_have_fingerprints() -> None:
    assert fingerprint("pipeline.command") != fingerprint("pipeline.generate")
    assert "pipeline.errors" in module._reachable(("pipeline.generate",))


COMMANDS = [
    path.relative_to(module.ROOT).with_suffix("").as_posix().replace("/", ".")
    for room in module.ROOMS
    for path in sorted((module.ROOT / room).rglob("*.py"))
    if re.search(r"\n    command\(\s*main", path.read_text(encoding="utf-8"))
]


def test_editing_the_reader_of_the_configuration_reruns_nothing() -> None:
    """Commands get their settings on the command line, so a better hint in it must train nothing anew."""
    assert len(COMMANDS) >= 10
    assert not [name for name in COMMANDS if "pipeline.settings" in module._reachable((name,))]


def test_editing_how_texts_are_sampled_or_judged_trains_nothing_anew() -> None:
    judging = {
        "eval.score",
        "eval.tables",
        "pipeline.generate",
        "diffusion_lm.sampling",
        "diffusion_lm.guidance",
    }
    training = [
        "diffusion_lm.train",
        "diffusion_lm.train_classifier",
        "baselines.fine_tuning.train",
        "pipeline.teacher",
    ]
    assert set(training) <= set(COMMANDS)
    assert not [name for name in training if judging & module._reachable((name,))]
