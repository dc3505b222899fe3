"""Checking what is stored: a whole folder has nothing wrong, and each damage is told in one line."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from eval import validate
from eval.layout import CHEATERS
from eval.validate import file_problems, main, problems, size_problems
from pipeline.records import Target
from pipeline.stored import INDEX, stored_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(stored_folder: Path, tmp_path: Path) -> Path:
    """A copy of the stored folder, to be damaged."""
    return Path(shutil.copytree(stored_folder, tmp_path / "stored/x"))


OURS = "length/ours/seed0.jsonl"


def content(folder: Path, name: str) -> str:
    data = stored_file(folder, name).read_bytes()
    return (gzip.decompress(data) if name.endswith(".jsonl") else data).decode()


def edit(folder: Path, name: str, before: str, after: str) -> None:
    """Change a stored file, and the index as if it had been stored so."""
    text = content(folder, name)
    assert before in text
    data = text.replace(before, after, 1).encode()
    stored_file(folder, name).write_bytes(gzip.compress(data) if name.endswith(".jsonl") else data)
    index = json.loads((folder / INDEX).read_text())
    index[name]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / INDEX).write_text(json.dumps(index))


def line(folder: Path, name: str, number: int) -> str:
    return content(folder, name).splitlines(keepends=True)[number]


# --- a whole folder


def test_a_whole_folder_has_nothing_wrong(stored_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(stored_folder)])
    told = capsys.readouterr()
    assert told.out.startswith(f"{stored_folder}: 4 cells of 2 tasks, 0.1 MB and 0.")
    assert told.out.endswith(" of judges, nothing wrong\n") and not told.err


def test_no_withheld_sentence_is_stored(stored_folder: Path, stories: list[Target]) -> None:
    told = "".join(
        content(stored_folder, name)
        for name in json.loads((stored_folder / INDEX).read_text())
        if "models" not in name
    )
    sentences = [s for target in stories for s in (*target.control.values(), *(target.references or []))]
    assert "Thai food ." in told and not any(sentence in told for sentence in sentences)


def test_weights_of_methods_may_be_left_out(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["models/diffusion_lm.safetensors"] = index["models/teacher.safetensors"]
    (folder / INDEX).write_text(json.dumps(index))
    assert problems(folder) == []


# --- damaged folders


def gone(folder: Path) -> None:
    stored_file(folder, f"scores/{OURS}").unlink()


def cut_off(folder: Path) -> None:
    path = stored_file(folder, f"samples/{OURS}")
    path.write_bytes(path.read_bytes()[:-9])


def by_hand(folder: Path) -> None:
    path = folder / "tables/control.csv"
    path.write_text(path.read_text().replace("length", "LENGTH", 1))


def another_judge(folder: Path) -> None:
    (folder / "judges/teacher.safetensors").write_bytes(b"weights")


def stranger(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def other_number(folder: Path) -> None:
    row = next(
        row for row in content(folder, "tables/control.csv").splitlines() if ",all,mean_length," in row
    )
    fields = row.split(",")
    fields[5] = "77.0000"
    edit(folder, "tables/control.csv", row, ",".join(fields))


def lost_row(folder: Path) -> None:
    lines = content(folder, "tables/infilling.csv").splitlines(keepends=True)
    edit(
        folder, "tables/infilling.csv", next(row for row in lines if ",left_only,all,first,CIDEr," in row), ""
    )


def cut_record(folder: Path) -> None:
    last = line(folder, f"scores/{OURS}", -1)
    edit(folder, f"scores/{OURS}", last, last[:-20])


def missing_target(folder: Path) -> None:
    for number in (5, 4, 3):
        edit(folder, f"samples/{OURS}", line(folder, f"samples/{OURS}", number), "")


def repeated(folder: Path) -> None:
    first = line(folder, f"samples/{OURS}", 0)
    edit(folder, f"samples/{OURS}", first, first * 2)


def other_choice(folder: Path) -> None:
    chosen = line(folder, f"selected/{OURS}", 0)
    assert chosen == line(folder, f"samples/{OURS}", 0)
    edit(folder, f"selected/{OURS}", chosen, line(folder, f"samples/{OURS}", 1))
    for number, (before, after) in enumerate((("true", "false"), ("false", "true"))):
        of_text = line(folder, f"scores/{OURS}", number)
        edit(
            folder,
            f"scores/{OURS}",
            of_text,
            of_text.replace(f'"selected": {before}', f'"selected": {after}'),
        )


def other_success(folder: Path) -> None:
    edit(folder, f"scores/{OURS}", '"ctrl": 100', '"ctrl": 0')


def other_text(folder: Path) -> None:
    edit(folder, f"scores/{OURS}", '"sample_index": 2', '"sample_index": 3')


def other_target(folder: Path) -> None:
    edit(folder, "targets/length.jsonl", '"length": 3', '"length": 5')


def unsigned(folder: Path) -> None:
    edit(folder, "tables/signatures.json", ' "infilling": {', ' "filling": {')


def other_version(folder: Path) -> None:
    edit(folder, "tables/signatures.json", '"version": 1', '"version": 0')


DAMAGED: dict[Callable[[Path], None], str] = {
    gone: f"scores/{OURS}.gz: no such file; ",
    cut_off: f"samples/{OURS}.gz: truncated or damaged",
    by_hand: "tables/control.csv: not what was stored: SHA-256 ",
    another_judge: "judges/teacher.safetensors: not what was stored: SHA-256 ",
    stranger: f"notes.txt: does not stand in {INDEX}; delete it, or store again",
    other_number: "tables/control.csv: numbers that its scores do not give (1): value of length ",
    lost_row: "tables/infilling.csv: lacks 1 rows, the first infilling left_only all first CIDEr; ",
    cut_record: f"scores/{OURS}.gz:6: not JSON (",
    missing_target: f"samples/{OURS}.gz: ours: 0 samples of target 'length-4', seed 0, others 3; ",
    repeated: f"samples/{OURS}.gz:2: ours, length, length-3, 0, 0 stands in line 1 already; ",
    other_choice: f"selected/{OURS}.gz: not what MBR chooses from the stored texts; ",
    other_success: f"scores/{OURS}.gz:1: ctrl is 0.0, its text gives 100.0; ",
    other_text: f"scores/{OURS}.gz: not the scores of the stored texts and selection; ",
    other_target: "signature of length: targets_all is ",
    unsigned: "tables/signatures.json: no signature of infilling; ",
    other_version: "signature of infilling: version is 0 here, but 1 there; ",
}


@pytest.mark.parametrize(("damage", "told"), DAMAGED.items(), ids=[damage.__name__ for damage in DAMAGED])
def test_each_damage_is_told_in_one_line(
    folder: Path, damage: Callable[[Path], None], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder)
    with pytest.raises(SystemExit) as end:
        main([str(folder)])
    printed = capsys.readouterr()
    found = printed.err.splitlines()
    assert end.value.code == 2 and not printed.out
    assert all(text.startswith("error: ") for text in found)
    assert sum(told in text for text in found) == 1, printed.err


def test_too_much_for_a_repository_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "LARGEST", 1000)
    monkeypatch.setattr(validate, "LARGEST_JUDGES", 1000)
    judge = folder.parent / "y/judges/teacher.safetensors"
    judge.parent.mkdir(parents=True)
    judge.write_bytes(b"0" * 3_000_000)
    (texts, judges) = problems(folder)
    assert texts.startswith(f"{folder}: 0.1 MB are stored; ")
    assert (
        judges.startswith(f"{folder.parent}: 3.") and "MB of judges are stored; at most 0 MB may be" in judges
    )


def test_a_folder_in_which_nothing_is_stored_is_told_once(tmp_path: Path) -> None:
    assert problems(tmp_path) == [
        f"{tmp_path}: no signatures.json, so nothing is stored in it; "
        "give a folder of results/stored, or make one: snakemake store --cores 1"
    ]


# --- contributed files


def contributed(tmp_path: Path, *targets: str) -> str:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps({"target_id": name, "text": "a b c"}) + "\n" for name in targets))
    return str(path)


@pytest.mark.parametrize("option", ["--against", "--targets"])
def test_a_good_contribution_has_nothing_wrong(
    stored_folder: Path, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    of_targets = (
        stored_folder if option == "--against" else stored_file(stored_folder, "targets/length.jsonl")
    )
    path = contributed(tmp_path, "length-3", "length-4")
    main([path, option, str(of_targets)])
    assert capsys.readouterr().out == f"{path}: 2 texts for 2 targets of length, nothing wrong\n"


def test_contexts_without_their_sentences_are_enough_to_check_texts(
    stored_folder: Path, tmp_path: Path
) -> None:
    main([contributed(tmp_path, "c1", "c2"), "--against", str(stored_folder)])


def test_a_bad_contribution_and_a_bad_folder_are_told_together(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger(folder)
    with pytest.raises(SystemExit):
        main([str(folder), contributed(tmp_path, "length-3"), "--against", str(folder)])
    first, second = capsys.readouterr().err.splitlines()
    assert "notes.txt" in first
    assert second.endswith(
        "mine.jsonl: 1 of 2 targets of length have no text: 'length-4'; write texts for every target"
    )


def test_a_contribution_without_targets_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([contributed(tmp_path, "length-3")])
    assert "no targets for these texts; add --against results/stored/SCALE, or --targets FILE" in (
        capsys.readouterr().err
    )


# --- this repository

COMMITTED = sorted(path for path in (ROOT / "results/stored").iterdir() if path.is_dir())


@pytest.mark.parametrize("scale", COMMITTED, ids=[path.name for path in COMMITTED])
def test_what_is_committed_is_what_was_stored(scale: Path) -> None:
    assert [*map(str, (*file_problems(scale), *size_problems(scale)))] == []


def test_the_committed_demo_has_nothing_wrong() -> None:
    assert problems(ROOT / "results/stored/demo") == []


@pytest.mark.parametrize("scale", COMMITTED, ids=[path.name for path in COMMITTED])
def test_no_cheater_succeeds_in_what_is_committed(scale: Path) -> None:
    """And each stays below every method that is honest more than now and then."""
    tables = pd.concat([pd.read_csv(scale / f"tables/{name}.csv") for name in ("control", "composition")])
    joint = tables[tables["metric"] == "joint_success"]
    cheats = joint["method"].isin(CHEATERS)
    assert cheats.sum() >= len(CHEATERS) * 2 * 7  # two selections of seven tasks
    assert (joint["value"][cheats] <= 2).all()
    honest = joint[~cheats & (joint["value"] > 5) & (joint["task"] != "unconditional")]
    assert len(honest) > 20 and honest["value"].min() > joint["value"][cheats].max()
