"""Comparing a file with a stored folder: the row it gets, what it is told, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eval.compare import main
from eval.stored import stored_cells, stored_targets
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.records import Sample, Target, read_records, write_records
from pipeline.withheld import withhold

Compare = Callable[..., pd.DataFrame]


@pytest.fixture
def folder(stored_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stored folder, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(stored_folder, "results/stored/x"))


def theirs(folder: Path, task: str, method: str = "ours") -> list[Sample]:
    return read_records(stored_cells(folder, "samples")[f"{task}/{method}/seed0"], Sample)


def contribute(samples: list[Sample], **changed: Any) -> Path:
    lines = [
        json.dumps({"target_id": s.target_id, "text": changed.get(s.text, s.text)}) for s in samples
    ]  # fmt: skip
    write_text(Path("mine.jsonl"), "\n".join(lines) + "\n")
    return Path("mine.jsonl")


def compared(folder: Path, *words: str) -> list[dict[str, str]]:
    main(["mine.jsonl", "--against", str(folder), "--method", "mine", "--output", "out", *words])
    with Path("out/differences.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_stored_method_compared_with_itself_differs_by_nothing(folder: Path) -> None:
    contribute(theirs(folder, "length"))
    rows = [row for row in compared(folder) if row["other"] == "ours"]
    assert {row["metric"] for row in rows} == {"ctrl", "joint_success", "lm_score"}
    assert {row["selection"] for row in rows} == {"mbr", "all"}
    for row in rows:
        assert [float(row[key]) for key in ("difference", "low", "high")] == [0, 0, 0]
        assert float(row["p"]) == float(row["p_holm"]) == 1


def test_its_row_is_that_of_the_same_texts(folder: Path) -> None:
    contribute(theirs(folder, "length"))
    compared(folder)
    table = pd.read_csv("out/results.csv").set_index(["method", "target_set", "selection", "metric"])
    numbers = table.loc["ours", ["value", "low", "high", "targets", "samples"]].dropna()
    own = table.loc["mine", ["value", "low", "high", "targets", "samples"]].loc[numbers.index]
    assert len(numbers) > 20
    pd.testing.assert_frame_equal(own, numbers)


def test_every_text_keeps_its_scores(folder: Path) -> None:
    contribute(theirs(folder, "length"))
    compared(folder)
    ours = stored_cells(folder, "scores")["length/ours/seed0"]
    from pipeline.records import Score

    own = read_records(Path("out/scores/length.jsonl"), Score)
    assert [(s.target_id, s.sample_index, s.selected, s.metrics) for s in own] == [
        (s.target_id, s.sample_index, s.selected, s.metrics) for s in read_records(ours, Score)
    ]


def test_the_page_shows_markup_of_texts_as_text(folder: Path) -> None:
    samples = theirs(folder, "length")
    contribute(samples, **{samples[0].text: "<script>alert(1)</script>"})
    compared(folder)
    page = Path("out/comparison.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert Path("out/comparison.tex").is_file() and Path("out/comparison.md").is_file()


def test_another_number_of_texts_is_refused_unless_allowed_and_then_marked(folder: Path) -> None:
    contribute([s for s in theirs(folder, "length") if s.sample_index == 0])
    with pytest.raises(InputError, match="samples is 1 here, but 3 there"):
        compared(folder)
    assert not Path("out").exists()
    rows = compared(folder, "--allow", "samples", "--allow", "mbr_candidates")
    assert rows
    text = Path("out/comparison.md").read_text(encoding="utf-8")
    assert "mine\\*" in text or "mine*" in text
    assert "mbr_candidates, samples differs" in text


def test_hashes_of_sentences_need_the_sentences_of_a_run(folder: Path) -> None:
    contribute(theirs(folder, "infilling", "left_only"))
    with pytest.raises(InputError, match="hashes stand for the sentences of infilling"):
        compared(folder)


def test_infills_are_compared_where_a_run_has_the_sentences(folder: Path, stories: list[Target]) -> None:
    assert stored_targets(folder)["infilling"] == withhold(stories)
    write_records(Path("results/x/targets/infilling.jsonl"), stories)
    contribute(theirs(folder, "infilling", "left_only"))
    rows = [row for row in compared(folder) if row["other"] == "left_only"]
    assert [row["metric"] for row in rows] == ["BLEU-4", "ROUGE-L", "CIDEr", "BERTScore"] * 2
    assert {float(row["difference"]) for row in rows} == {0}


def test_a_name_that_is_no_name_is_refused(folder: Path) -> None:
    contribute(theirs(folder, "length"))
    with pytest.raises(InputError, match="cannot name a method"):
        main(["mine.jsonl", "--against", str(folder), "--method", "../mine"])
