"""The human row: which held-out texts answer a target, told by their annotation."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.command import Job
from pipeline.errors import InputError
from pipeline.human import human_samples, main, means
from pipeline.records import Sample, Target, Text, read_records, write_records

ANY = Target("any", "unconditional", {})
THAI = Target("food=Thai", "semantic_content", {"field": "food", "value": "Thai"})
FOUR = Target("length-4", "length", {"length": 4})
NINE = Target("length-9", "length", {"length": 9})


def text(identity: str, words: str, split: str = "human", **fields: str) -> Text:
    return Text(identity, split, words, words.split(" "), fields or None)


SAID = text("a", "it serves Thai food", food="Thai")
MEANT = text("b", "it serves hot noodles .", food="Thai")
OTHERWISE = text("c", "The Thai Inn opens", name="The Thai Inn", food="French")
PLAIN = text("d", "a pub")


def test_the_annotation_decides_and_not_the_words() -> None:
    found = [t.id for t in (SAID, MEANT, OTHERWISE, PLAIN) if means(t, THAI)]
    assert found == ["a", "b"]


def test_a_value_counts_under_its_own_field_only() -> None:
    near = Target("near=Thai", "semantic_content", {"field": "near", "value": "Thai"})
    assert not any(means(t, near) for t in (SAID, MEANT, OTHERWISE, PLAIN))


def test_a_length_is_met_exactly() -> None:
    assert [t.id for t in (SAID, MEANT, OTHERWISE, PLAIN) if means(t, FOUR)] == ["a", "c"]


def test_everything_answers_a_target_that_asks_for_nothing() -> None:
    assert all(means(t, ANY) for t in (SAID, MEANT, OTHERWISE, PLAIN))


def test_samples_are_numbered_within_their_target_and_cost_nothing() -> None:
    samples = list(human_samples([SAID, MEANT, PLAIN], [NINE, THAI], seed=3))
    assert samples == [
        Sample("human", "semantic_content", "food=Thai", 0, 3, "it serves Thai food", 0, 0),
        Sample("human", "semantic_content", "food=Thai", 1, 3, "it serves hot noodles .", 0, 0),
    ]


def test_a_newline_word_stays_a_word() -> None:
    kept = Text("e", "human", "a pub", ["a", "pub", "\n"])
    assert next(human_samples([kept], [ANY], 0)).text == "a pub \n"


def job(folder: Path, texts: list[Text], targets: list[Target]) -> Job:
    write_records(folder / "corpus.jsonl", texts)
    write_records(folder / "targets.jsonl", targets)
    inputs = {"corpus": folder / "corpus.jsonl", "targets": folder / "targets.jsonl"}
    return Job({"seed": 0}, inputs, {"samples": folder / "samples.jsonl"})


def test_only_held_out_texts_are_used(tmp_path: Path) -> None:
    learned = text("t", "it serves Thai food", split="train", food="Thai")
    main(job(tmp_path, [learned, SAID, text("v", "a pub", split="test")], [ANY, THAI]))
    samples = read_records(tmp_path / "samples.jsonl", Sample)
    assert [(s.target_id, s.text) for s in samples] == [
        ("any", "it serves Thai food"),
        ("food=Thai", "it serves Thai food"),
    ]


def test_targets_that_nobody_answers_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="corpus.jsonl: no human text fits any target"):
        main(job(tmp_path, [text("t", "a pub", split="train"), SAID], [NINE]))
    assert not (tmp_path / "samples.jsonl").exists()
