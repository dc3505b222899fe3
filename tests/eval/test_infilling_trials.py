"""The table of infilling trials: which contexts count, and every number of a row by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.encoder import EncoderSettings, load, save
from eval.infilling_trials import TITLES
from eval.train_encoder import new_model
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.records import Sample, Target, Text, write_records

CONTEXT = {"left": "Tom had a dog .", "right": "It came home ."}
TOLD = ["The dog ran away .", "He called it ."]
TARGETS = [
    Target("t", "infilling", CONTEXT, TOLD, tuned_on=True, target_set="tuning"),
    Target("u", "infilling", CONTEXT, ["Tom was sad ."], tuned_on=True, target_set="tuning"),
    Target("r", "infilling", CONTEXT, ["Tom ran ."]),
]
# The first two texts of a context are equal, so that MBR selects their first one.
TEXTS = {
    "exact": {"t": [TOLD[0], TOLD[0], "Tom Tom"], "u": ["Tom was sad .", "Tom was sad .", "It ran ."]},
    "poor": {"t": ["home", "home", "home"], "u": ["it", "it", "it"]},
}
STORY = [sentence.split() for sentence in (CONTEXT["left"], "It ran .", *TOLD, "Tom was sad .")]


@pytest.fixture
def run(run_command: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    settings = EncoderSettings("train", 2, "raw", 16, 2, 2, 24, 0.0)
    vocabulary = Vocabulary.build(STORY, more_than=0)
    torch.manual_seed(0)
    save(tmp_path / "encoder", settings, vocabulary, new_model(settings, torch.ones(len(vocabulary))))
    write_records(tmp_path / "corpus", [Text("a", "train", "", [], sentences=STORY[:2])])

    def run(targets: list[Target] = TARGETS, **texts: dict[str, list[str]]) -> Any:
        write_records(tmp_path / "targets", targets)
        inputs = {name: tmp_path / name for name in ("targets", "corpus", "encoder")}
        for trial, found in (TEXTS | texts).items():
            inputs[f"samples/{trial}"] = tmp_path / trial
            written = [
                Sample(trial, "infilling", target, i, 1001, text, 1, 0)
                for target, own in found.items()
                for i, text in enumerate(own)
            ]
            write_records(tmp_path / trial, written)
        spec = {"mbr_rule": "paper", "threads": 1, "trials": {"exact": '{"a": 1}', "poor": '{"a": 0}'}}
        return run_command("eval.infilling_trials", spec, inputs, {"table": tmp_path / "table.md"})

    return run


def test_numbers_by_hand(run: Callable[..., Any], tmp_path: Path) -> None:
    done = run()
    assert done.code == 0, done.stderr
    text = (tmp_path / "table.md").read_text()
    assert text.startswith("### Trials on 2 contexts: infilling\n")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    assert lines[0] == list(TITLES)
    exact, poor = (dict(zip(TITLES, line, strict=True)) for line in lines[2:])
    assert (exact["trial"], exact["settings"], poor["trial"]) == ("exact", '{"a": 1}', "poor")
    assert exact["BLEU-4 mbr"] == "100.00"
    assert exact["ROUGE-L mbr"] == "100.00"
    pairs = [("Tom Tom", TOLD[0]), ("Tom Tom", TOLD[1]), ("It ran .", "Tom was sad .")]
    encoder = load(tmp_path / "encoder")
    bert = encoder(pairs)
    whole = encoder([("Tom was sad .", "Tom was sad .")])[0]
    assert exact["BERTScore"] == f"{(4 * whole + max(bert[:2]) + bert[2]) / 6:.2f}"
    assert exact["length"] == f"{(5 + 5 + 2 + 4 + 4 + 3) / 6:.2f}"
    assert (exact["doubled %"], exact["copied %"]) == (f"{100 / 6:.2f}", f"{100 / 6:.2f}")
    assert float(poor["ROUGE-L mbr"]) < 50


def test_samples_of_reported_contexts_are_refused(run: Callable[..., Any], tmp_path: Path) -> None:
    done = run(exact={**TEXTS["exact"], "r": ["Tom ran ."] * 3})
    assert done.code == 2
    assert "unknown target 'r'" in done.stderr
    assert not (tmp_path / "table.md").exists()


def test_without_contexts_to_tune_on_there_is_no_table(run: Callable[..., Any], tmp_path: Path) -> None:
    done = run([replace(target, tuned_on=False) for target in TARGETS])
    assert done.code == 2
    assert "no context that settings may be chosen on" in done.stderr
