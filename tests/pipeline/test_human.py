"""The human row: which held-out texts answer a target, told by their annotation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.command import Job
from pipeline.errors import InputError
from pipeline.human import human_samples, main, means, reference_samples, source_samples
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


# --- syntax: the sentence that a target was made from

SPAN = {"first": 0, "last": 1, "label": "NP"}
HELD = Target("heldout-000", "syntax_spans", SPAN, source_id="v", target_set="heldout")
RELEASED = replace(HELD, target_id="released-000", source_id="released-000", target_set="released")
TUNING = replace(HELD, target_id="tuning-000", source_id="a", tuned_on=True, target_set="tuning")
SOURCES = [SAID, text("v", "a pub", split="valid"), text("released-000", "an inn \n", split="released")]


def test_each_reported_target_has_its_own_sentence() -> None:
    """Whatever its split; sentences on which settings are chosen are in no row."""
    assert list(source_samples(SOURCES, [RELEASED, TUNING, HELD], seed=3)) == [
        Sample("human", "syntax_spans", "released-000", 0, 3, "an inn \n", 0, 0),
        Sample("human", "syntax_spans", "heldout-000", 0, 3, "a pub", 0, 0),
    ]


@pytest.mark.parametrize("source", ["gone", None])
def test_a_target_of_another_corpus(source: str | None) -> None:
    with pytest.raises(InputError, match=f"targets: no text '{source}' for target 'heldout-000'; make the"):
        list(source_samples(SOURCES, [replace(HELD, source_id=source)], 0))


@pytest.mark.parametrize(
    "task", ["syntax_spans", "syntax_tree", "parts_of_speech", "semantic_content+syntax_tree"]
)
def test_the_command_takes_sources_for_syntax(task: str, tmp_path: Path) -> None:
    main(job(tmp_path, SOURCES, [replace(HELD, task=task)]))
    assert [s.text for s in read_records(tmp_path / "samples.jsonl", Sample)] == ["a pub"]


# --- infilling: every reference, to be scored against the others

TOLD = Target("c-1", "infilling", {"left": "l", "right": "r"}, ["it serves  Thai food .", "a pub", "a pub"])
UNREPORTED = replace(TOLD, target_id="c-2", tuned_on=True, target_set="tuning")


def test_each_reference_is_a_sample_of_its_own_number() -> None:
    """Equal ones too: a context with two of them says something about how much people agree."""
    assert list(reference_samples([UNREPORTED, TOLD], seed=3)) == [
        Sample("human", "infilling", "c-1", 0, 3, "it serves Thai food .", 0, 0),
        Sample("human", "infilling", "c-1", 1, 3, "a pub", 0, 0),
        Sample("human", "infilling", "c-1", 2, 3, "a pub", 0, 0),
    ]


def test_the_command_takes_references_for_infilling(tmp_path: Path) -> None:
    main(job(tmp_path, SOURCES, [TOLD]))
    assert [s.sample_index for s in read_records(tmp_path / "samples.jsonl", Sample)] == [0, 1, 2]
