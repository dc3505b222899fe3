"""The table of infilling: aggregation by hand, absent and refused cells, and its Markdown."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sacrebleu.metrics import BLEU

from eval.infilling import METRICS, Cider, bleu_statistics, corpus_bleu, rouge_l
from eval.infilling_markdown import infilling_markdown, paper_scale
from eval.infilling_table import Scored, quality, text_frame
from eval.layout import INFILLING_METHODS
from eval.score_infilling import infilling_metrics, key, signed
from eval.select import select_samples, split_words
from eval.tables import COLUMNS
from pipeline.human import reference_samples
from pipeline.records import Sample, Score, Target, write_records

SIGNATURE = "trained-12345678_L2_no-idf_version=0.3.12(hug_trans=4.57.6)"
TARGETS = [
    Target(
        "a",
        "infilling",
        {"left": "l", "right": "r"},
        ["The dog ran home .", "The dog was happy .", "It ran ."],
    ),
    Target("b", "infilling", {"left": "l", "right": "r"}, ["He called the dog .", "The dog ran ."]),
    Target("c", "infilling", {"left": "l", "right": "r"}, ["She was very happy ."], tuned_on=True),
]
TEXTS = {  # of each target; the first two are equal, so that MBR selects the first of them
    "diffusion_lm": [
        ["He was sad .", "The dog ran home .", "The dog ran home ."],
        ["He called .", "He called the cat .", "He called the cat ."],
        ["She ran .", "She was happy .", "She was happy ."],
    ],
    "left_only": [["It was a day ."], [""], ["He was very happy ."]],
}


def words_in_common(pairs: Any) -> np.ndarray:
    """A stand-in for BERTScore: the share of a text's words that its reference has, in percent."""
    shared = [(len(set(text.split()) & set(told.split())), len(set(text.split()))) for text, told in pairs]
    return np.array([100 * both / max(every, 1) for both, every in shared])


def of_method(method: str, seed: int = 0) -> list[Sample]:
    if method == "human":
        return list(reference_samples(TARGETS, seed))
    return [
        Sample(method, "infilling", target.target_id, i, seed, text, 10, 0)
        for target, texts in zip(TARGETS, TEXTS[method], strict=True)
        for i, text in enumerate(texts)
    ]


def scored(samples: list[Sample], signature: str = SIGNATURE, teacher: bool = True) -> list[Score]:
    cider = Cider([target.references or [] for target in TARGETS])
    scorers = {"ROUGE-L": rouge_l, "CIDEr": cider, "BERTScore": words_in_common}
    metrics = signed(infilling_metrics(samples, TARGETS, scorers), signature)
    chosen = select_samples(samples)
    found = []
    for sample, values in zip(samples, metrics, strict=True):
        words = split_words(sample.text)
        guards = {"length": float(len(words)), "doubled": 0.0, "unk_rate": 0.0, "copied": 0.0}
        if teacher:
            guards |= {"lm_nll_sum": 2.0 * len(words), "lm_tokens": float(len(words))}
        key = (sample.method, sample.task, sample.target_id, sample.sample_index, sample.seed)
        found.append(Score(*key, selected=sample in chosen, metrics=values | guards))
    return found


@pytest.fixture
def tabulate(run_command: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run the command on methods; keywords replace the scores of cells, or add inputs."""

    def run(
        *methods: str, scores: dict[str, list[Score]] | None = None, left_out: str = "", **more: Path
    ) -> Any:
        inputs: dict[str, Path] = {"targets/infilling": tmp_path / "targets.jsonl", **more}
        write_records(inputs["targets/infilling"], TARGETS)
        for method in methods or ("diffusion_lm", "left_only", "human"):
            samples = of_method(method)
            records = {"samples": samples, "scores": (scores or {}).get(method) or scored(samples)}
            for kind, found in (*records.items(), ("selected", select_samples(samples))):
                name = f"{kind}/infilling/{method}/seed0"
                inputs[name] = tmp_path / f"{name}.jsonl"
                write_records(inputs[name], found)
            sidecar = {"settings": {}, "outputs": {}, "seconds": 4.5, "device": "cpu"}
            path = inputs[f"samples/infilling/{method}/seed0"]
            path.with_name(path.name + ".run.json").write_text(json.dumps(sidecar))
        inputs.pop(left_out, None)
        outputs = {"csv": tmp_path / "infilling.csv", "markdown": tmp_path / "infilling.md"}
        return run_command("eval.infilling_table", {"seed": 0, "threads": 1}, inputs, outputs)

    return run


def row(folder: Path, metric: str, method: str = "diffusion_lm", selection: str = "mbr", **where: str) -> Any:
    found = pd.read_csv(folder / "infilling.csv", keep_default_na=False, na_values={"value": [""]})
    wanted = {"metric": metric, "method": method, "selection": selection, "target_set": "all", **where}
    for column, value in wanted.items():
        found = found[found[column] == value]
    assert len(found) == 1, wanted
    return found.iloc[0]


def blocks(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The tables of the Markdown by their number and title, each a list of rows by column."""
    found: dict[str, list[dict[str, str]]] = {}
    title = ""
    for block in (folder / "infilling.md").read_text().split("\n\n"):
        if block.startswith("#"):
            title = f"{title.split(' / ')[0]} / {block}" if block.startswith("####") else block
        if block.startswith("|"):
            lines = [[c.strip() for c in line.strip("|").split("|")] for line in block.strip().splitlines()]
            found[title] = [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]
    return found


MBR = "### Infilling: one text per context, selected by MBR (all contexts)"
FIRST = "### Infilling: the first sample of each context (all contexts)"


def test_values_by_hand(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    done = tabulate()
    assert done.code == 0, done.stderr
    assert list(pd.read_csv(tmp_path / "infilling.csv").columns) == list(COLUMNS)
    # MBR: "The dog ran home ." is a reference, "He called the cat ." and "She was happy ." miss a word
    assert row(tmp_path, "ROUGE-L").value == pytest.approx(100 * (1 + 3 / 4 + 6 / 7) / 3, abs=1e-4)
    assert row(tmp_path, "BERTScore").value == pytest.approx(100 * (1 + 4 / 5 + 1) / 3, abs=1e-4)
    bleu = BLEU(lowercase=True, tokenize="none", force=True)
    texts = [texts[1] for texts in TEXTS["diffusion_lm"]]
    streams = [
        [(t.references or [])[i] if i < len(t.references or []) else None for t in TARGETS] for i in range(3)
    ]
    assert row(tmp_path, "BLEU-4").value == pytest.approx(bleu.corpus_score(texts, streams).score, abs=1e-4)
    cider = Cider([target.references or [] for target in TARGETS])
    pairs = [[(text, told) for told in t.references or []] for text, t in zip(texts, TARGETS, strict=True)]
    assert row(tmp_path, "CIDEr").value == pytest.approx(
        np.mean([cider(group).mean() for group in pairs]), abs=1e-4
    )
    assert row(tmp_path, "ROUGE-L")[["targets", "samples", "seeds"]].tolist() == [3, 3, 1]
    assert row(tmp_path, "mean_length").value == pytest.approx((5 + 5 + 4) / 3, abs=1e-4)
    assert row(tmp_path, "lm_score_token").value == pytest.approx(math.exp(2), abs=1e-4)
    assert row(tmp_path, "distinct_1").value == pytest.approx(12 / 14, abs=1e-4)


def test_the_first_samples_stand_beside_the_selected_ones(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    """A method with one sample per context has the same values in both."""
    assert tabulate().code == 0
    assert row(tmp_path, "mean_length", selection="first").value == pytest.approx((4 + 3 + 3) / 3, abs=1e-4)
    assert row(tmp_path, "ROUGE-L", selection="first").value < row(tmp_path, "ROUGE-L").value
    for metric in (*METRICS, "mean_length", "distinct_1"):
        first, chosen = (row(tmp_path, metric, "left_only", s) for s in ("first", "mbr"))
        assert first.value == chosen.value
        assert first.paper == "" or metric == "mean_length"


def test_leaving_one_out_by_hand(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    """Context c has one reference, so no row here has it; equal weight for a with three and b with two."""
    assert tabulate().code == 0
    human, ours = row(tmp_path, "ROUGE-L_loo", "human", "all"), row(tmp_path, "ROUGE-L_loo")
    assert human.value == pytest.approx(100 * ((1 / 2 + 1 / 2 + 1 / 3) / 3 + 4 / 7) / 2, abs=1e-4)
    assert (human.targets, human.samples) == (2, 5)
    assert ours.value == pytest.approx(100 * ((1 / 2 + 1 + 1) / 3 + (2 / 7 + 3 / 4) / 2) / 2, abs=1e-4)
    assert (ours.targets, ours.samples) == (2, 2)
    told = [target.references or [] for target in TARGETS[:2]]
    statistics = [
        np.mean([bleu_statistics(one, [r for r in group if r != one]) for one in group], axis=0)
        for group in told
    ]
    expected = float(corpus_bleu(np.sum(statistics, axis=0)))
    assert row(tmp_path, "BLEU-4_loo", "human", "all").value == pytest.approx(expected, abs=1e-4)


def test_the_human_row_has_no_metric_that_would_compare_a_text_with_itself(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    assert tabulate().code == 0
    found = pd.read_csv(tmp_path / "infilling.csv").query("method == 'human' and target_set == 'all'")
    assert not set(found["metric"]) & set(METRICS)
    assert {f"{metric}_loo" for metric in METRICS} <= set(found["metric"])
    assert set(found["selection"]) == {"all"}


def test_intervals_are_over_contexts_and_hold_the_value(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    assert tabulate().code == 0
    for metric in METRICS:
        found = row(tmp_path, metric)
        assert float(found.low) <= found.value <= float(found.high)
        assert float(found.low) < float(found.high)


def test_one_context_has_no_interval() -> None:
    (sample, score) = of_method("diffusion_lm")[0], scored(of_method("diffusion_lm"))[0]
    plain = {name.partition("|")[0]: value for name, value in score.metrics.items()}
    one = Scored([replace(score, metrics=plain)], {key(sample): sample.text}, SIGNATURE)
    single = quality(text_frame(one, "all", ["a"]), seed=0)
    assert math.isnan(single["BLEU-4"].estimate.low)
    assert single["BLEU-4"].estimate.note == "no interval: all resamples equal"


def test_signatures_stand_in_the_notes(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    assert tabulate().code == 0
    assert row(tmp_path, "BERTScore").note.startswith(f"{SIGNATURE}; ")
    assert row(tmp_path, "BERTScore_loo").note.startswith(SIGNATURE)
    assert row(tmp_path, "BLEU-4").note.startswith("sacrebleu nrefs:var|case:lc|eff:no|tok:none|smooth:exp|")
    assert "IDF of all targets; " in row(tmp_path, "CIDEr").note


def test_bertscore_of_two_encoders_never_stands_in_one_table(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    other = {"left_only": scored(of_method("left_only"), SIGNATURE.replace("L2", "L1"))}
    done = tabulate(scores=other)
    assert done.code == 2 and done.stderr.count("\n") == 1
    assert "left_only/seed0.jsonl: BERTScore of trained-12345678_L1_" in done.stderr
    assert "score both with one encoder" in done.stderr
    assert not (tmp_path / "infilling.csv").exists()


def test_published_numbers_stand_beside_the_mbr_choice_but_for_bertscore(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    assert tabulate().code == 0
    assert [float(row(tmp_path, metric).paper) for metric in METRICS[:3]] == [7.1, 28.3, 30.7]
    assert row(tmp_path, "BERTScore").paper == ""
    assert float(row(tmp_path, "ROUGE-L", "delorean").paper) == 19.1
    markdown = (tmp_path / "infilling.md").read_text()
    told = "Published BERTScore is left out where it is of another model or scale: "
    assert f"{told}left_only, delorean, cold, diffusion_lm, ar_infilling." in markdown


@pytest.mark.parametrize(
    ("signature", "methods"),
    [
        ("roberta-large_L17_no-idf_version=0.3.12(hug_trans=4.57.6)", {"diffusion_lm", "ar_infilling"}),
        (
            "roberta-large@1234abcd_L17_no-idf_version=0.3.12(hug_trans=5.1.0)",
            {"diffusion_lm", "ar_infilling"},
        ),
        (
            "roberta-large_L17_no-idf_version=0.3.12(hug_trans=4.57.6)-rescaled",
            {"left_only", "delorean", "cold"},
        ),
        ("roberta-large_L17_no-idf_version=0.3.12(hug_trans=4.57.6)-custom-rescaled(0.80000)", set()),
        ("roberta-large_L16_no-idf_version=0.3.12(hug_trans=4.57.6)", set()),
        ("roberta-base_L10_no-idf_version=0.3.12(hug_trans=4.57.6)", set()),
        (SIGNATURE, set()),
        ("", set()),
    ],
)
def test_the_two_scales_of_the_papers_column(signature: str, methods: set[str]) -> None:
    printed = {"left_only", "delorean", "cold", "diffusion_lm", "ar_infilling"}
    assert {method for method in printed if paper_scale(method, signature)} == methods


def test_with_the_papers_model_its_numbers_are_printed_on_their_own_scale(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    raw = "roberta-large_L17_no-idf_version=0.3.12(hug_trans=4.57.6)"
    both = {method: scored(of_method(method), raw) for method in ("diffusion_lm", "left_only")}
    assert tabulate(*both, scores=both).code == 0
    assert float(row(tmp_path, "BERTScore").paper) == 89
    assert row(tmp_path, "BERTScore", "left_only").paper == ""
    assert "another model or scale: left_only, delorean, cold.\n" in (tmp_path / "infilling.md").read_text()


def test_the_markdown_has_the_rows_and_columns_of_the_paper(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    assert tabulate().code == 0
    found = blocks(tmp_path)
    assert [line["method"] for line in found[MBR]] == [m for m in INFILLING_METHODS if m != "human"]
    assert list(found[MBR][0]) == ["method", *METRICS, "s"]
    ours, cold = found[MBR][3], found[MBR][2]
    value, low, high = (row(tmp_path, "ROUGE-L")[key] for key in ("value", "low", "high"))
    assert ours["ROUGE-L"] == f"{value:.1f} [{float(low):.1f}, {float(high):.1f}] (28.3)"
    assert "(" not in found[FIRST][3]["ROUGE-L"]
    assert cold == {"method": "cold", "BLEU-4": "– (1.8)", "ROUGE-L": "– (19.5)", "CIDEr": "– (10.7)"} | {
        "BERTScore": "–", "s": "–",
    }  # fmt: skip
    assert ours["s"] == "0.500" and found[MBR][0]["s"] == "1.50"  # 4.5 seconds for nine texts, and for three
    beneath = found[f"{MBR} / #### Leaving one reference out"]
    assert [line["method"] for line in beneath] == ["left_only", "diffusion_lm", "human"]
    guards = found[f"{MBR} / #### Guards"]
    assert [line["method"] for line in guards] == ["left_only", "diffusion_lm", "human"]
    assert guards[1]["lm_score_token"] == "7.39" and guards[1]["distinct_1"] == "0.857"
    assert SIGNATURE in (tmp_path / "infilling.md").read_text()


def test_the_seconds_stand_in_no_csv(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    assert tabulate().code == 0
    assert "seconds" not in (tmp_path / "infilling.csv").read_text()


def test_a_markdown_survives_the_csv(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    assert tabulate().code == 0
    back = pd.read_csv(io.StringIO((tmp_path / "infilling.csv").read_text()), keep_default_na=True)
    back["note"] = back["note"].fillna("")
    seconds = {"diffusion_lm": 0.5, "left_only": 1.5}
    assert infilling_markdown(back, seconds) == (tmp_path / "infilling.md").read_text()


def test_contexts_that_no_setting_was_chosen_on_have_a_table_of_their_own(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    assert tabulate().code == 0
    assert row(tmp_path, "ROUGE-L", target_set="untouched").targets == 2
    assert "selected by MBR (untouched contexts)" in (tmp_path / "infilling.md").read_text()


def test_methods_without_samples_have_rows_that_say_so(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    refusals = tmp_path / "refusals.json"
    refusals.write_text(json.dumps({"cold": {"infilling": "it has no backward model"}}))
    assert tabulate("left_only", refusals=refusals).code == 0
    assert row(tmp_path, "BLEU-4", "diffuseq").note == "not run"
    assert row(tmp_path, "BLEU-4_loo", "human", "all").note == "not run"
    assert row(tmp_path, "CIDEr", "cold").note == "not applicable: it has no backward model"
    assert blocks(tmp_path)[MBR][2]["CIDEr"] == "n/a (10.7)"
    assert "n/a: cold (infilling): it has no backward model." in (tmp_path / "infilling.md").read_text()


def test_without_a_teacher_there_is_no_perplexity(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    assert (
        tabulate("left_only", scores={"left_only": scored(of_method("left_only"), teacher=False)}).code == 0
    )
    assert "lm_score_token" not in (tmp_path / "infilling.md").read_text()


def test_neither_the_order_of_the_cells_nor_a_second_run_changes_a_byte(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    def made(*methods: str) -> list[bytes]:
        assert tabulate(*methods).code == 0
        return [(tmp_path / name).read_bytes() for name in ("infilling.csv", "infilling.md")]

    assert made() == made() == made("human", "left_only", "diffusion_lm")


def test_refusals(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    ours = scored(of_method("diffusion_lm"))
    left_out = "scores/infilling/left_only/seed0"
    for changes, message in (
        ({"scores": {"diffusion_lm": ours[:-1]}}, "diffusion_lm/seed0.jsonl: not the scores of "),
        ({"scores": {"diffusion_lm": [replace(ours[0], seed=1), *ours[1:]]}}, "score the samples again"),
        ({"left_out": left_out}, f"--input: '{left_out}' is missing"),
        ({"left_out": "targets/infilling"}, "--input: 'targets/infilling' is missing"),
    ):
        done = tabulate(**changes)
        assert done.code == 2 and done.stderr.count("\n") == 1
        assert message in done.stderr
        assert not (tmp_path / "infilling.csv").exists()
