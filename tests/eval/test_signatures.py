"""Signatures: what is in them, what changes them, and what happens to unlike ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sacrebleu.metrics.bleu import BLEU

from eval.signatures import SOFTWARE, read_signatures, require_alike, sample_counts, task_signature
from pipeline.errors import InputError
from pipeline.files import sha256
from pipeline.records import Sample, Target, write_records
from pipeline.tasks import TASKS
from pipeline.version import VERSION
from pipeline.withheld import withhold

LENGTHS = [Target(f"length-{n}", "length", {"length": n}, tuned_on=n == 3) for n in (3, 4)]
TREES = [
    Target(f"{kind}-{n}", "syntax_tree", {"tree": f"(NP {n})"}, target_set=kind)
    for kind in ("released", "heldout", "tuning")
    for n in range(2)
]
STORIES = [Target("c", "infilling", {"left": "A .", "right": "B ."}, ["C .", "D ."], "source")]
MODELS = {
    name: f"{name}-job/model"
    for name in "judge1_tagger judge1_parser judge2_parser teacher human_texts story_encoder".split()
}


def signature(targets: list[Target] = LENGTHS, samples: int = 5, **models: str) -> dict[str, str | int]:
    return task_signature(targets, samples, "paper", MODELS | models)


def test_a_task_is_signed_with_its_version_its_texts_and_the_project() -> None:
    found = signature()
    assert {key: found[key] for key in ("task", "version", "samples", "mbr_rule", "mbr_candidates")} == {
        "task": "length",
        "version": TASKS["length"].version,
        "samples": 5,
        "mbr_rule": "paper",
        "mbr_candidates": 5,
    }
    assert found["project"] == VERSION


@pytest.mark.parametrize(
    ("targets", "models"),
    [
        (LENGTHS, {"teacher", "human_texts"}),
        (TREES, {"teacher", "human_texts", "judge1_tagger", "judge1_parser", "judge2_parser"}),
        (STORIES, {"story_encoder"}),
    ],
    ids=["length", "syntax", "infilling"],
)
def test_only_models_that_score_a_task_are_in_its_signature(targets: list[Target], models: set[str]) -> None:
    found = signature(targets)
    assert {key: value for key, value in found.items() if key in MODELS} == {n: MODELS[n] for n in models}


def test_libraries_are_signed_where_they_compute() -> None:
    bleu = BLEU(tokenize="none", effective_order=True, force=True)
    bleu.sentence_score("a", ["a"])
    assert signature()["mbr_bleu"] == signature(STORIES)["mbr_bleu"] == str(bleu.get_signature())
    assert set(SOFTWARE) <= signature(STORIES).keys()
    assert set(SOFTWARE) & signature().keys() == {"mbr_bleu", "project"}


def hashes(targets: list[Target]) -> dict[str, Any]:
    return {key: value for key, value in signature(targets).items() if key.startswith("targets_")}


def test_every_reported_set_of_targets_has_a_hash() -> None:
    assert hashes(LENGTHS).keys() == {"targets_all"}
    assert hashes(TREES).keys() == {"targets_released", "targets_heldout"}
    assert hashes(TREES) == hashes(TREES[::-1]) == hashes(TREES[:4])
    assert len(set(hashes(TREES).values())) == 2


@pytest.mark.parametrize("change", [{"control": {"tree": "(NP x)"}}, {"target_id": "x"}, {"tuned_on": True}])
def test_another_target_gives_its_set_another_hash(change: dict[str, Any]) -> None:
    changed = hashes([replace(TREES[0], **change), *TREES[1:]])
    assert changed["targets_released"] != hashes(TREES)["targets_released"]
    assert changed["targets_heldout"] == hashes(TREES)["targets_heldout"]


def test_withheld_sentences_have_the_signature_of_the_sentences() -> None:
    assert withhold(STORIES) != STORIES
    assert signature(withhold(STORIES)) == signature(STORIES)
    assert hashes([replace(STORIES[0], references=["C ."])]) != hashes(STORIES)


def test_texts_are_counted_by_target_and_seed_and_human_ones_not() -> None:
    texts = [("a", 0, 0), ("a", 1, 0), ("b", 0, 0), ("b", 1, 0), ("a", 0, 1), ("a", 1, 1)]
    samples = [Sample("fudge", "length", t, i, seed, "", 0, 0) for t, i, seed in texts]
    others = [
        Sample(m, "length", "a", i, 0, "", 0, 0) for m, n in (("search", 1), ("human", 9)) for i in range(n)
    ]
    assert sample_counts(samples + others) == {"fudge": 2, "search": 1}


# --- comparing


def test_equal_signatures_are_alike() -> None:
    assert require_alike(signature(), signature()) == set()


UNLIKE: dict[str, dict[str, str | int]] = {
    "samples": signature(samples=2),
    "teacher": signature(teacher="mine"),
    "targets_all": signature(LENGTHS[:1]),
    "version": {**signature(), "version": 9},
    "human_texts": {key: value for key, value in signature().items() if key != "human_texts"},
    "judge9_parser": {**signature(), "judge9_parser": "new"},
}


@pytest.mark.parametrize("key", UNLIKE)
def test_unlike_signatures_are_refused_with_both_values(key: str) -> None:
    with pytest.raises(InputError) as error:
        require_alike(UNLIKE[key], signature())
    values = [found.get(key, "absent") for found in (UNLIKE[key], signature())]
    told = str(error.value)
    assert told.startswith(f"signature of length: {key} is {values[0]} here, but {values[1]} there; ")
    assert values[0] != values[1] and f"--allow {key}" in told and "\n" not in told


def test_what_is_allowed_to_differ_is_told_and_nothing_else_is_let_through() -> None:
    ours, theirs = signature(samples=2, teacher="mine"), signature()
    assert require_alike(ours, theirs, {"samples", "mbr_candidates", "teacher", "mbr_rule"}) == {
        *("samples", "mbr_candidates", "teacher")
    }
    with pytest.raises(InputError, match="teacher is mine here, .* or --allow teacher to mark the cells"):
        require_alike(ours, theirs, {"samples", "mbr_candidates"})
    with pytest.raises(InputError, match="or --allow samples --allow mbr_candidates --allow teacher to mark"):
        require_alike(ours, theirs)


def test_a_set_of_targets_without_texts_of_ours_is_not_compared() -> None:
    released = [target for target in TREES if target.target_set == "released"]
    assert require_alike(signature(released), signature(TREES)) == set()
    with pytest.raises(InputError, match="targets_heldout is .* here, but absent there"):
        require_alike(signature(TREES), signature(released))


# --- the command


def test_every_task_is_signed(run_command: Callable[..., Any], tmp_path: Path) -> None:
    inputs = {}
    for task, targets in (("length", LENGTHS), ("syntax_tree", TREES)):
        inputs[f"targets/{task}"] = tmp_path / f"{task}.jsonl"
        write_records(inputs[f"targets/{task}"], targets)
        for method, count in (("ours", 3), ("search", 1), ("human", 7)):
            inputs[f"samples/{task}/{method}/seed0"] = path = tmp_path / f"{task}-{method}.jsonl"
            ids = [target.target_id for target in targets if target.reported]
            write_records(path, [Sample(method, task, t, i, 0, "a", 0, 0) for t in ids for i in range(count)])
    inputs["models/teacher"] = tmp_path / "teacher.safetensors"
    inputs["models/teacher"].write_bytes(b"weights")
    out = tmp_path / "signatures.json"
    done = run_command("eval.signatures", {"mbr_rule": "released"}, inputs, {"signatures": out})
    assert done.code == 0, done.stderr
    written = json.loads(out.read_text())
    assert [found["samples"] for found in written.values()] == [{"ours": 3, "search": 1}] * 2
    teacher = {"teacher": sha256(inputs["models/teacher"])}
    assert read_signatures(out) == {
        "length": task_signature(LENGTHS, 3, "released", teacher),
        "syntax_tree": task_signature(TREES, 3, "released", teacher),
    }
