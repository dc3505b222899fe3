"""Differences between a method and the others: what they are of, their correction and their verdicts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from eval.comparison import Scores, holm, paired_difference
from eval.differences import COLUMNS, better, differences
from eval.infilling import STATISTICS, bleu_statistics, corpus_bleu

TARGETS, SAMPLES = 40, 3


def texts(method: str, rate: float, seed: int = 0, task: str = "semantic_content") -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rows = TARGETS * SAMPLES
    success = 100.0 * (generator.random(rows) < rate)
    return pd.DataFrame(
        {
            "method": method,
            "task": task,
            "target_set": "all",
            "target_id": np.repeat([f"t{i:02}" for i in range(TARGETS)], SAMPLES),
            "sample_index": np.tile(range(SAMPLES), TARGETS),
            "seed": 0,
            "selected": np.tile([True, False, False], TARGETS),
            "ctrl": success,
            "joint_success": success * (generator.random(rows) < 0.5),
            "lm_nll": 2 + generator.random(rows) - rate,
            "text": [f"{method} {i}" for i in range(rows)],
        }
    )


def row(table: pd.DataFrame, **wanted: str) -> SimpleNamespace:
    found = table[(table[list(wanted)] == list(wanted.values())).all(axis=1)]
    assert len(found) == 1
    return SimpleNamespace(**found.iloc[0].to_dict())


def test_every_selection_metric_and_method_has_a_row_in_the_order_given() -> None:
    others = pd.concat([texts("b", 0.5, 1), texts("a", 0.5, 2)])
    table = differences(texts("ours", 0.9), others, 0, ["mbr", "all"])
    assert tuple(table.columns) == COLUMNS
    keys = list(zip(table["selection"], table["other"], table["metric"], strict=True))
    metrics = ("ctrl", "joint_success", "lm_score")
    assert keys == [(s, other, metric) for s in ("mbr", "all") for other in "ba" for metric in metrics]


def test_a_method_against_itself_differs_by_exactly_nothing() -> None:
    ours = texts("ours", 0.7)
    rounded = ours.assign(method="stored", lm_nll=ours["lm_nll"] + 1e-7)  # scored in another batch
    table = differences(ours, rounded, 0, ["mbr", "all"])
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)
    assert (table[["p", "p_holm"]] == 1).all(axis=None)
    assert [better(r) for r in table.itertuples()] == ["undecided"] * len(table)


def test_differences_are_those_of_the_selected_texts_or_of_all() -> None:
    ours, other = texts("ours", 0.9), texts("other", 0.4, 1)
    table = differences(ours, other, 3, ["mbr", "all"])
    for selection, part in (("mbr", lambda t: t[t["selected"]]), ("all", lambda t: t)):
        pair = [Scores(*(part(t)[n].to_numpy() for n in ("ctrl", "target_id"))) for t in (ours, other)]
        expected = paired_difference(*pair, 3, largest=100.0)
        found = row(table, selection=selection, metric="ctrl")
        assert (found.difference, found.low, found.high, found.p) == expected[:4]
        assert found.targets == TARGETS


def test_perplexity_is_shown_as_such_and_lower_is_better() -> None:
    ours, other = texts("ours", 0.9), texts("other", 0.4, 1)
    found = row(differences(ours, other, 0, ["all"]), metric="lm_score")
    expected = np.exp(ours["lm_nll"].mean()) - np.exp(other["lm_nll"].mean())
    assert found.difference == pytest.approx(expected) and expected < 0
    assert better(found) == "better"


def test_p_values_are_corrected_over_one_selection() -> None:
    others = pd.concat([texts("b", 0.8, 1), texts("a", 0.7, 2)])
    table = differences(texts("ours", 0.9), others, 0, ["mbr", "all"])
    for _, part in table.groupby("selection"):
        assert part["p_holm"].tolist() == holm(part["p"].to_numpy()).tolist()
        assert (part["p_holm"] >= part["p"]).all()


def test_a_metric_that_one_of_them_lacks_is_left_out() -> None:
    other = texts("other", 0.4, 1).assign(joint_success=np.nan)
    table = differences(texts("ours", 0.9), other, 0, ["all"])
    assert list(table["metric"]) == ["ctrl", "lm_score"]


def test_bleu_of_infills_is_that_of_all_contexts_together() -> None:
    told, frames = "Tom ran home .", []
    for method, said in (("ours", "Tom ran home ."), ("other", "Tom ran away .")):
        written = [said if i % 2 else "He sat ." for i in range(TARGETS * SAMPLES)]
        counts = pd.DataFrame([bleu_statistics(text, [told]) for text in written], columns=list(STATISTICS))
        scores = texts(method, 0.5, task="infilling").assign(text=written)
        frames.append(scores.join(counts).assign(**{"ROUGE-L": 1.0, "CIDEr": 2.0, "BERTScore": 3.0}))
    table = differences(frames[0], frames[1], 0, ["all"])
    assert list(table["metric"]) == ["BLEU-4", "ROUGE-L", "CIDEr", "BERTScore"]
    sums = [frame[list(STATISTICS)].to_numpy().sum(axis=0) for frame in frames]
    value = [float(corpus_bleu(total / SAMPLES)) for total in sums]  # a target counts once
    assert row(table, metric="BLEU-4").difference == pytest.approx(value[0] - value[1])


def test_references_have_no_bleu_against_themselves() -> None:
    told = pd.DataFrame([bleu_statistics("He sat .", ["He sat ."])], columns=list(STATISTICS))
    ours = texts("ours", 0.5, task="infilling").join(
        told.iloc[[0] * TARGETS * SAMPLES].reset_index(drop=True)
    )
    human = ours.assign(method="human", **dict.fromkeys(STATISTICS, np.nan))
    assert differences(ours, human, 0, ["all"]).empty


def test_targets_that_people_did_not_write_to_are_left_out() -> None:
    ours, human = texts("ours", 0.9), texts("human", 0.5, 1).query("target_id != 't03'")
    found = row(differences(ours, human, 0, ["all"]), metric="ctrl")
    assert found.targets == TARGETS - 1
    wanted = ours.query("target_id != 't03'")["ctrl"].mean() - human["ctrl"].mean()
    assert found.difference == pytest.approx(wanted)


def test_methods_with_more_targets_are_refused() -> None:
    with pytest.raises(ValueError, match="targets"):
        differences(texts("ours", 0.9).query("target_id != 't03'"), texts("other", 0.5), 0, ["all"])
