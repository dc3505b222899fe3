"""The command that scores infills: what stands in its records, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from eval.encoder import EncoderSettings, load, save
from eval.fluency import Teacher
from eval.infilling import STATISTICS, Cider, rouge_l, score_texts
from eval.score_infilling import infill_losses
from eval.select import select_samples
from eval.train_encoder import new_model
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.human import reference_samples
from pipeline.language_model import LanguageModelSettings, build
from pipeline.records import Sample, Score, Target, Text, read_records, write_records

ENCODER = EncoderSettings("train", 2, "raw", hidden=16, layers=2, heads=2, positions=24, dropout=0.0)
TEACHER = LanguageModelSettings("train", hidden=16, layers=1, heads=2, positions=32, dropout=0.0)
STORY = ["Tom had a dog .", "The dog ran .", "Tom was sad .", "He called the dog .", "It came home ."]
UNSEEN = ["Ann saw it .", "Ann ran .", "It ran .", "Ann was sad .", "Ann came home ."]
CONTEXT = {"left": "Tom had a dog .", "right": "It came home ."}
TARGETS = [
    Target("a", "infilling", CONTEXT, ["The dog ran away .", "The dog was sad .", "Tom called the dog ."]),
    Target("b", "infilling", CONTEXT, ["He called it ."]),
    Target("t", "infilling", CONTEXT, ["Tom ran ."], tuned_on=True, target_set="tuning"),
]


class Files(NamedTuple):
    """What the command reads beside samples."""

    corpus: Path
    vocabulary: Path
    encoder: Path
    teacher: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("stories")
    made = Files(*(folder / name for name in ("corpus", "vocabulary", "encoder", "teacher")))
    told = {split: [s.split() for s in story] for split, story in (("train", STORY), ("valid", UNSEEN))}
    write_records(made.corpus, [Text(name, name, "", [], sentences=s) for name, s in told.items()])
    vocabulary = Vocabulary.build(told["train"], more_than=0)
    vocabulary.save(made.vocabulary)
    torch.manual_seed(0)
    save(made.encoder, ENCODER, vocabulary, new_model(ENCODER, torch.ones(len(vocabulary))))
    teacher = build(TEACHER, vocabulary, [], seed=0)
    teacher.save(made.teacher, TEACHER, vocabulary=vocabulary.digest())
    return made


def sample(target: str, index: int, text: str, method: str = "ours", seed: int = 0) -> Sample:
    return Sample(method, "infilling", target, index, seed, text, 1, 0)


OURS = [
    sample("a", 0, "The dog dog ran ."),
    sample("a", 1, "The dog ran ."),
    sample("b", 0, ""),
    sample("b", 1, "UNK was sad , Zoe ."),
]
HUMAN = list(reference_samples(TARGETS, seed=0))


@pytest.fixture
def score(run_command: Callable[..., Any], files: Files, tmp_path: Path) -> Callable[..., Any]:
    """Run the command on cells; ``left_out`` is an input or output not given."""

    def run(
        cells: dict[str, list[Sample]], targets: list[Target] = TARGETS, left_out: str = "teacher"
    ) -> Any:
        write_records(tmp_path / "targets.jsonl", targets)
        inputs, outputs = {"targets": tmp_path / "targets.jsonl", **files._asdict()}, {}
        for cell, samples in cells.items():
            for kind, records in (("samples", samples), ("selected", select_samples(samples))):
                inputs[f"{kind}/{cell}"] = tmp_path / kind / f"{cell}.jsonl"
                write_records(inputs[f"{kind}/{cell}"], records)
            outputs[f"scores/{cell}"] = tmp_path / "scores" / f"{cell}.jsonl"
        for named in (inputs, outputs):
            named.pop(left_out, None)
        return run_command("eval.score_infilling", {"threads": 1}, inputs, outputs)

    return run


def scores_of(folder: Path, cell: str) -> list[Score]:
    return read_records(folder / "scores" / f"{cell}.jsonl", Score)


def test_every_text_has_the_metrics_and_the_guards(
    score: Callable[..., Any], files: Files, tmp_path: Path
) -> None:
    done = score({"ours/seed0": OURS})
    assert done.code == 0, done.stderr
    found = scores_of(tmp_path, "ours/seed0")
    encoder = load(files.encoder)
    references = [list(target.references or []) for target in TARGETS[:2]]
    scorers = {"ROUGE-L": rouge_l, "CIDEr": Cider(references), "BERTScore": encoder}
    told = [references[0], references[0], references[1], references[1]]
    expected = score_texts([s.text for s in OURS], told, [None] * 4, scorers)
    for one, metrics in zip(found, expected, strict=True):
        for name, value in metrics.items():
            signed = f"{name}|{encoder.signature}" if name.startswith("BERTScore") else name
            assert one.metrics[signed] == pytest.approx(value, abs=1e-4)
    guards = [{k: s.metrics[k] for k in ("length", "doubled", "unk_rate", "copied")} for s in found]
    assert guards == [
        {"length": 5, "doubled": 1, "unk_rate": 0, "copied": 0},
        {"length": 4, "doubled": 0, "unk_rate": 0, "copied": 1},
        {"length": 0, "doubled": 0, "unk_rate": 0, "copied": 0},
        {"length": 6, "doubled": 0, "unk_rate": pytest.approx(100 / 6), "copied": 0},
    ]
    assert len(found[0].metrics) == 2 * (3 + len(STATISTICS)) + 4
    assert len(found[2].metrics) == 3 + len(STATISTICS) + 4  # one reference: none to leave out


def test_an_empty_text_has_nothing(score: Callable[..., Any], files: Files, tmp_path: Path) -> None:
    assert score({"ours/seed0": OURS}).code == 0
    empty = scores_of(tmp_path, "ours/seed0")[2].metrics
    for name in ("ROUGE-L", "CIDEr", f"BERTScore|{load(files.encoder).signature}", "bleu_length"):
        assert empty[name] == 0
    assert empty["bleu_reference_length"] == 4


def test_the_selected_texts_are_marked_and_keys_kept(score: Callable[..., Any], tmp_path: Path) -> None:
    assert score({"ours/seed0": OURS, "human/seed0": HUMAN}).code == 0
    found = scores_of(tmp_path, "ours/seed0")
    chosen = [(s.target_id, s.sample_index) for s in select_samples(OURS)]
    assert [(s.target_id, s.sample_index) for s in found if s.selected] == chosen
    assert [asdict(s) | {"selected": 0, "metrics": 0} for s in found] == [
        {"method": "ours", "task": "infilling", "target_id": s.target_id, "sample_index": s.sample_index}
        | {"seed": 0, "selected": 0, "metrics": 0}
        for s in OURS
    ]


def test_a_reference_is_measured_against_the_others(score: Callable[..., Any], tmp_path: Path) -> None:
    """Only where there are others; and only on the targets that are reported."""
    done = score({"human/seed0": HUMAN})
    assert done.code == 0, done.stderr
    found = scores_of(tmp_path, "human/seed0")
    assert [(s.target_id, s.sample_index) for s in found] == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    assert {name for name in found[0].metrics if not name.startswith("bleu")} == {
        *("ROUGE-L_loo", "CIDEr_loo", "length", "doubled", "unk_rate", "copied"),
        next(name for name in found[0].metrics if name.startswith("BERTScore_loo|trained-")),
    }
    assert found[0].metrics["ROUGE-L_loo"] == pytest.approx(50)  # two of four words with "The dog was sad"
    assert set(found[3].metrics) == {"length", "doubled", "unk_rate", "copied"}


def test_the_teacher_reads_what_stands_left_of_a_text(files: Files) -> None:
    teacher = Teacher(files.teacher, Vocabulary.load(files.vocabulary))
    left, text = CONTEXT["left"].split(), "The dog Zoe .".split()
    whole = teacher.token_losses([[*left, *text]])[0]
    (found,) = infill_losses(teacher, [left], [text])
    assert found == {
        "lm_nll_sum": pytest.approx(float(whole[len(left) : -1].sum()), abs=1e-4),
        "lm_tokens": 4,
    }
    assert infill_losses(teacher, [left, []], [[], ["Tom"]])[0] == {"lm_nll_sum": 0, "lm_tokens": 0}


def test_with_a_teacher_its_numbers_are_added(score: Callable[..., Any], tmp_path: Path) -> None:
    assert score({"ours/seed0": OURS}).code == 0
    without = scores_of(tmp_path, "ours/seed0")
    done = score({"ours/seed0": OURS}, left_out="")
    assert done.code == 0, done.stderr
    added = [
        {k: v for k, v in new.metrics.items() if k not in old.metrics}
        for new, old in zip(scores_of(tmp_path, "ours/seed0"), without, strict=True)
    ]
    assert all(set(metrics) == {"lm_nll_sum", "lm_tokens"} for metrics in added)
    assert [metrics["lm_tokens"] for metrics in added] == [5, 4, 0, 6]
    assert np.isfinite([metrics["lm_nll_sum"] for metrics in added]).all()


def test_a_second_run_writes_the_same_bytes(score: Callable[..., Any], tmp_path: Path) -> None:
    def made() -> bytes:
        assert score({"ours/seed0": OURS, "human/seed0": HUMAN}).code == 0
        return (tmp_path / "scores" / "ours" / "seed0.jsonl").read_bytes()

    assert made() == made()


def test_a_cell_does_not_follow_the_other_cells(score: Callable[..., Any], tmp_path: Path) -> None:
    def made(**cells: list[Sample]) -> list[Score]:
        assert score({f"{name}/seed0": samples for name, samples in cells.items()}).code == 0
        return scores_of(tmp_path, "ours/seed0")

    assert made(ours=OURS) == made(human=HUMAN, ours=OURS)


REFUSED = {
    "no references": ({"targets": [replace(TARGETS[0], references=None)]}, "target 'a' has no reference"),
    "empty": ({"targets": [replace(TARGETS[0], references=["The dog .", " "])]}, "or an empty one"),
    "no encoder": ({"left_out": "encoder"}, "--input: 'encoder' is missing"),
    "not selected": ({"left_out": "selected/ours/seed0"}, "--input: 'selected/ours/seed0' is missing"),
    "no output": ({"left_out": "scores/ours/seed0"}, "--output"),
    "fewer": ({"ours": OURS[:-1]}, "ours/seed0.jsonl: ours: 1 samples of target 'b', seed 0, others 2"),
    "unknown": ({"ours": [sample("c", 0, "Tom ran .")]}, "ours: unknown target 'c'"),
    "tuning": ({"ours": [*OURS, sample("t", 0, "Tom ran .")]}, "ours: unknown target 't'"),
    "other human": (
        {"ours": [replace(HUMAN[0], text="The dog .")]},
        "human sample 0 of target 'a' is not its reference of this number; make the human samples",
    ),
    "no such reference": ({"ours": [replace(HUMAN[3], sample_index=1)]}, "human sample 1 of target 'b'"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(score: Callable[..., Any], tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    given = {"ours": OURS, **changes}
    done = score({"ours/seed0": given.pop("ours")}, **given)
    assert done.code == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "scores").exists()
