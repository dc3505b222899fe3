"""The result table: aggregation by hand, absent cells, errors, and its Markdown."""

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

from eval.csv_tables import table_csv
from eval.layout import COMPOSITION_METHODS, METHODS
from eval.markdown import markdown_table, result_markdown
from eval.select import select_samples
from eval.tables import COLUMNS, explain, result_table, target_sets
from pipeline.records import Sample, Score, Target, write_records

NO_GUARDS = pd.DataFrame(columns=["task", "method", "target_set", "selection", "metric", "value"])


def text(target_id: str, index: int, ctrl: float, nll: float, tokens: int = 2, **changes) -> dict:  # type: ignore[no-untyped-def]
    keys = {"method": "diffusion_lm", "task": "semantic_content", "target_set": "ours", "seed": 0}
    keys |= {"target_id": target_id, "sample_index": index, "selected": index == 0}
    metrics = {"ctrl": ctrl, "lm_nll": nll, "lm_nll_sum": nll * tokens, "lm_tokens": tokens}
    metrics |= {"length": tokens - 1, "doubled": 0, "unk_rate": 0.0, "copied": 0}
    metrics |= {"fluent": 1.0, "repetitive": 0.0, "near_copy": 0.0, "joint_success": ctrl}
    return keys | metrics | changes


def two_targets(**changes) -> list[dict]:  # type: ignore[no-untyped-def]
    return [
        text("a", 0, 100, 1.0, **changes),
        text("a", 1, 0, 2.0, tokens=10, **{"doubled": 3, **changes}),
        text("b", 0, 100, 3.0, **{"copied": 1, "near_copy": 1, "joint_success": 0.0, **changes}),
        text("b", 1, 100, 5.0, **{"unk_rate": 50.0, **changes}),
    ]


def table(rows: list[dict], guards: pd.DataFrame = NO_GUARDS) -> pd.DataFrame:
    return result_table(pd.DataFrame(rows), guards)


def row(result: pd.DataFrame, metric: str, selection: str = "all", method: str = "diffusion_lm"):  # type: ignore[no-untyped-def]
    found = result.query("method == @method and selection == @selection and metric == @metric")
    assert len(found) == 1
    return found.iloc[0]


def test_values_by_hand() -> None:
    result = table(two_targets())
    assert tuple(result.columns) == COLUMNS
    assert row(result, "ctrl").value == 75
    assert row(result, "ctrl", "mbr").value == 100
    assert row(result, "lm_score").value == pytest.approx(math.exp((1.5 + 4) / 2))
    assert row(result, "lm_score_token").value == pytest.approx(math.exp((2 + 20 + 6 + 10) / 16))
    assert row(result, "mean_length").value == 3
    assert row(result, "doubled_rate").value == 25  # one of four texts, though it has three doubled words
    assert row(result, "copy_rate").value == row(result, "near_copy_rate").value == 25
    assert row(result, "joint_success").value == 50 and row(result, "fluent_rate").value == 100
    assert row(result, "empty_rate").value == 0
    assert row(table([text("a", 0, 0, 1.0, tokens=1), text("b", 0, 0, 1.0)]), "empty_rate").value == 50
    assert row(result, "unk_rate").value == 12.5
    counts = row(result, "ctrl")[["targets", "samples", "seeds"]].tolist()
    assert counts == [2, 4, 1]
    assert row(result, "ctrl", "mbr").samples == 2


def test_intervals_hold_the_value_and_follow_the_transform() -> None:
    rows = [text(f"t{i}", j, 100 * ((i + j) % 3 > 0), 1 + i / 30) for i in range(30) for j in range(4)]
    result = table(rows)
    for metric in ("ctrl", "lm_score"):
        low, value, high = row(result, metric)[["low", "value", "high"]]
        assert low < value < high
    assert row(result, "lm_score").low > math.e and row(result, "lm_score").high < math.exp(2)
    pd.testing.assert_frame_equal(result, table(rows))


def test_what_does_not_vary_says_so() -> None:
    result = table(two_targets())
    ctrl, length = row(result, "ctrl", "mbr"), row(result, "mean_length", "mbr")
    assert ctrl.note.startswith("Wilson interval: ")
    assert ctrl.high == 100 and 0 < ctrl.low < 100
    assert length.note.startswith("no interval: all targets equal") and math.isnan(length.low)


def test_published_values_stand_beside_ours() -> None:
    result = table(two_targets())
    assert row(result, "ctrl").paper == 81.2
    assert row(result, "lm_score").paper == 2.55
    assert math.isnan(row(result, "mean_length").paper)
    assert row(result, "ctrl", method="fudge").paper == 69.9


def test_methods_that_were_not_run_have_empty_rows() -> None:
    result = table(two_targets())
    assert list(dict.fromkeys(result["method"])) == list(METHODS)
    human = row(result, "ctrl", method="human")
    assert math.isnan(human.value) and human.note == "not run" and human.targets == 0
    empty = result[result["value"].isna()]
    assert (empty["note"] != "").all()


def test_tasks_and_methods_have_a_fixed_order() -> None:
    methods, tasks = ("zeta", "ft_search", "human", "alpha"), ("length", "another", "semantic_content")
    rows = [entry for method in methods for task in tasks for entry in two_targets(method=method, task=task)]
    result = table(rows)
    assert list(dict.fromkeys(result["task"])) == ["semantic_content", "length", "another"]
    assert list(dict.fromkeys(result["method"])) == [*METHODS, "alpha", "zeta"]
    pd.testing.assert_frame_equal(result, table(rows[::-1]))


def test_a_metric_of_another_task_makes_no_row() -> None:
    other = two_targets(task="semantic_content+syntax_tree", semantic_ctrl=50.0, joint=0.0)
    for entry in other:
        del entry["ctrl"]
    result = table(two_targets() + other)
    metrics = result[result["method"] == "diffusion_lm"].groupby("task")["metric"].agg(set)
    assert {"ctrl"} == metrics["semantic_content"] & {"ctrl", "joint", "semantic_ctrl"}
    assert {"joint", "semantic_ctrl"} == metrics["semantic_content+syntax_tree"] & {
        "ctrl",
        "joint",
        "semantic_ctrl",
    }


def test_a_metric_that_one_method_lacks_is_an_empty_cell_with_a_note() -> None:
    result = table([*two_targets(ctrl_strict=100.0), *two_targets(method="fudge")])
    missing = row(result, "ctrl_strict", method="fudge")
    assert math.isnan(missing.value) and missing.note == "not measured" and missing.samples == 4


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("metric", ["ctrl", "lm_nll", "doubled"])
def test_a_broken_number_is_an_error(metric: str, value: float) -> None:
    rows = two_targets()
    rows[2][metric] = value
    with pytest.raises(ValueError, match=f"diffusion_lm ours .*: {metric} of 1 of . texts is not finite"):
        table(rows)


def guards_of(value: float) -> pd.DataFrame:
    keys = ["semantic_content", "diffusion_lm", "ours", "all", "distinct_1", value]
    return pd.DataFrame([keys, [*keys[:1], "fudge", *keys[2:5], 0.9]], columns=NO_GUARDS.columns)


def test_guards_of_the_whole_set_are_joined_by_cell() -> None:
    result = table(two_targets(), guards_of(0.25))
    assert row(result, "distinct_1").value == 0.25
    assert row(result, "distinct_1").note.startswith("no interval")
    assert result.query("metric == 'distinct_1' and selection == 'mbr'").empty
    with pytest.raises(ValueError, match="distinct_1 is not finite"):
        table(two_targets(), guards_of(math.nan))


def test_csv_has_fixed_decimals_and_comes_back() -> None:
    result = table(two_targets(), guards_of(1 / 3))
    lines = table_csv(result).splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert "semantic_content,human,ours,mbr,ctrl,,,,0,0,0,,not run" in lines
    assert any(",distinct_1,0.3333,,,2,4,1,," in line for line in lines)
    back = pd.read_csv(io.StringIO(table_csv(result)))
    assert result_markdown(back) == result_markdown(result)


def test_markdown_cells_and_shape() -> None:
    rows = [text(f"t{i}", 0, 100 * (i % 4 > 0), 1 + i / 40) for i in range(40)]
    markdown = result_markdown(table([*rows, *two_targets(task="length", method="zeta")], guards_of(0.125)))
    result = table(rows)
    ctrl = row(result, "ctrl")
    assert f"75.0 [{ctrl.low:.1f}, {ctrl.high:.1f}] (81.2)" in markdown
    assert "| – (69.9)" in markdown  # fudge, published only
    assert "0.125" in markdown
    blocks = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 6  # two selections, each with checks and guards
    header = [cell.strip() for cell in blocks[0][0].strip("|").split("|")]
    assert header == ["method", "semantic_content ctrl", "semantic_content lm", "length ctrl", "length lm"]
    assert [line.split("|")[1].strip() for line in blocks[0][2:]] == [*METHODS, "zeta"]
    assert [line.split("|")[2].strip() for line in blocks[1][2:]] == ["diffusion_lm", "zeta"]
    for block in blocks:
        assert len({len(line) for line in block}) == 1


def test_target_sets_are_kept_apart() -> None:
    result = table([*two_targets(), *[r | {"ctrl": 0.0} for r in two_targets(target_set="released")]])
    ours = result.query("target_set == 'ours' and metric == 'ctrl' and method == 'diffusion_lm'")
    assert ours["value"].tolist() == [100, 75]
    assert "released targets" in result_markdown(result)


def test_rows_of_another_length_are_an_error() -> None:
    assert markdown_table(["a"], [["bc"]]) == "| a  |\n| -- |\n| bc |"
    with pytest.raises(ValueError):
        markdown_table(["a", "b"], [["c"]])


def test_values_do_not_depend_on_the_order_of_the_texts() -> None:
    rows = [text(f"t{i}", j, 100 * (i % 2), 0.1 * i + j) for i in range(9) for j in range(3)]
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    assert table_csv(table(rows)) == table_csv(table(shuffled))


# --- tasks of syntax, and compositions

COMPOSED = "semantic_content+parts_of_speech"


def of_syntax(target_set: str = "heldout", **changes) -> list[dict]:  # type: ignore[no-untyped-def]
    success = {"ctrl_judge2": 50.0, "ctrl_released": 0.0, "length_mismatch": 0.0}
    rows = two_targets(task="parts_of_speech", target_set=target_set, **{**success, **changes})
    return [row | {"length_mismatch": float(row["target_id"] == "a")} for row in rows]


def composed(**changes) -> list[dict]:  # type: ignore[no-untyped-def]
    success = {"semantic_ctrl": 100.0, "pos_ctrl": 50.0, "pos_ctrl_judge2": 40.0, "joint": 50.0}
    success |= {"joint_strict": 0.0, "semantic_ctrl_strict": 100.0, "length_mismatch": 0.0}
    rows = two_targets(task=COMPOSED, target_set="heldout", **{**success, **changes})
    return [{key: value for key, value in row.items() if key != "ctrl"} for row in rows]


def tables_of(markdown: str) -> list[list[list[str]]]:
    blocks = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block] for block in blocks]


def test_texts_of_another_length_are_a_rate_where_a_task_asks_for_a_length() -> None:
    result = table([*of_syntax(), *two_targets(target_set="heldout")])
    rates = result.query("metric == 'mismatch_rate' and selection == 'all'")
    assert rates[["task", "method", "value"]].to_numpy().tolist() == [["parts_of_speech", "diffusion_lm", 50]]


def test_a_released_control_stands_for_the_targets_that_have_none_of_their_own() -> None:
    rows = [r | {"ctrl_released_targets": math.nan} for r in of_syntax("released")[:2]]
    rows += [r | {"ctrl_released_targets": 10.0} for r in of_syntax("released")[2:]]
    result = table([*rows, *of_syntax("heldout")])
    found = result.query("metric == 'ctrl_released_targets' and selection == 'all'")
    assert found[["target_set", "value", "targets"]].to_numpy().tolist() == [["released", (50 + 10) / 2, 2]]


def test_a_second_judge_has_a_column_and_no_row_where_nothing_was_run() -> None:
    result = table(of_syntax())
    assert result.query("method == 'fudge'")["metric"].unique().tolist() == ["ctrl", "lm_score"]
    main, definitions, checks, guards = tables_of(result_markdown(result))[:4]
    assert main[0] == ["method", *(f"parts_of_speech {name}" for name in ("ctrl", "judge 2", "lm"))]
    assert definitions[0] == ["task", "method", "ctrl_released", "mismatch_rate"]
    assert checks[0] == [
        *("task", "method", "joint_success", "fluent_rate", "repetitive_rate", "near_copy_rate", "copy_rate"),
    ]
    assert guards[0][:4] == ["task", "method", "lm_score_token", "mean_length"]
    assert "second judge" in result_markdown(result) and "second judge" not in result_markdown(
        table(two_targets())
    )


def test_published_values_stand_beside_every_target_set() -> None:
    result = table([*of_syntax("released"), *of_syntax("heldout")])
    found = result.query("method == 'diffusion_lm' and metric == 'ctrl' and selection == 'mbr'")
    assert found[["target_set", "paper"]].to_numpy().tolist() == [["heldout", 90.0], ["released", 90.0]]


def test_the_legend_says_whether_released_sentences_were_trained_on() -> None:
    result = table([*of_syntax("released"), *of_syntax("heldout")])
    assert "kept out" not in result_markdown(result)
    assert result_markdown(result, excluded=True).count("were kept out of training") == 2
    assert result_markdown(result, excluded=False).count("were not kept out of training") == 2


def test_target_sets_have_a_fixed_order() -> None:
    sets = ("zeta", "heldout", "untouched", "released", "all")
    markdown = result_markdown(table([row for name in sets for row in two_targets(target_set=name)]))
    places = [
        markdown.index(f"({name} targets)") for name in ("all", "untouched", "released", "heldout", "zeta")
    ]
    assert places == sorted(places)


def test_a_main_table_does_not_get_wider_than_six_columns() -> None:
    tasks = ("parts_of_speech", "syntax_tree", "syntax_spans", "length")
    rows = [row | {"task": task} for task in tasks for row in of_syntax()]
    main, second = [block for block in tables_of(result_markdown(table(rows))) if block[0][0] == "method"][:2]
    assert main[0][1:] == [f"{t} {c}" for t in tasks[:2] for c in ("ctrl", "judge 2", "lm")]
    assert second[0][1:] == [f"{tasks[2]} {c}" for c in ("ctrl", "judge 2", "lm")] + [
        "length ctrl",
        "length lm",
    ]


def test_a_composition_shows_both_halves_and_their_joint_success() -> None:
    result = table(composed())
    assert list(dict.fromkeys(result["method"])) == list(COMPOSITION_METHODS)
    empty = result.query("method == 'ft_poe' and selection == 'all'").set_index("metric")
    assert empty.index.tolist() == ["semantic_ctrl", "pos_ctrl", "joint", "lm_score"]
    assert empty["paper"].tolist()[:2] == [29.4, 10.5]
    markdown = result_markdown(result, "Composition")
    main, definitions, _ = tables_of(markdown)[:3]
    assert f"#### {COMPOSED}" in markdown and "### Composition: " in markdown
    assert main[0] == ["method", "semantic", "pos", "judge 2", "joint", "lm"]
    assert definitions[0] == ["task", "method", "semantic_ctrl_strict", "joint_strict", "mismatch_rate"]
    assert [line[0] for line in main[2:]] == list(COMPOSITION_METHODS)


# --- cheaters


def beside_cheaters() -> list[dict]:  # type: ignore[type-arg]
    """Methods and cheaters by (ctrl, nats); one cheater beats every method but zeta, which is likelier."""
    numbers = {"human": (100, 1.0), "fudge": (80, 2.0), "zeta": (90, 0.5), "cheat_source": (50, 3.0)}
    numbers |= {"unguided": (50, 9.0), "cheat_retrieval": (100, 1.0)}
    return [text(t, 0, ctrl, nats, method=name) for name, (ctrl, nats) in numbers.items() for t in ("a", "b")]


def test_cheaters_stand_behind_all_methods_in_tables_of_their_own() -> None:
    result = table(beside_cheaters())
    assert list(dict.fromkeys(result["method"])) == [*METHODS, "zeta", "cheat_retrieval", "cheat_source"]
    markdown = result_markdown(result)
    assert markdown.count("#### Cheaters\n") == 2  # of two selections
    main, cheaters, checks, guards = tables_of(markdown)[:4]
    assert [line[0] for line in main] == ["method", "-" * len("diffusion_lm"), *METHODS, "zeta"]
    assert [line[0] for line in cheaters] == ["cheater", "-" * 15, "cheat_retrieval", "cheat_source"]
    assert main[0][1:] == cheaters[0][1:]
    for block in (checks, guards):
        assert [line[1] for line in block[-3:]] == ["zeta", "cheat_retrieval", "cheat_source"]


def test_what_cheaters_beat_on_the_papers_own_numbers_is_told() -> None:
    """Equal numbers count as beaten, and so does a method that is better in one of them only does not."""
    told = "cheaters equal or beat (semantic_content): human by 1 of 2, unguided by 2 of 2, fudge by 1 of 2."
    assert result_markdown(table(beside_cheaters())).count(f"By control and lm alone {told}\n") == 2
    assert "cheaters equal" not in result_markdown(table(two_targets()))


def test_of_a_composition_both_halves_count_and_their_product_does_not() -> None:
    better = composed(method="cheat_source", joint=10.0)
    told = f"cheaters equal or beat ({COMPOSED}): diffusion_lm by 1 of 1."
    assert told in result_markdown(table([*composed(), *better]))
    worse = composed(method="cheat_source", pos_ctrl=49.0)
    assert f"({COMPOSED}): no method." in result_markdown(table([*composed(), *worse]))


# --- what a method cannot do

REFUSALS = {"pplm": {"parts_of_speech": "it has no positions", "length": "it sees no end"}, "fudge": {}}


def refused(rows: list[dict], refusals: dict[str, dict[str, str]] = REFUSALS) -> pd.DataFrame:
    return explain(table(rows), refusals)


def under(markdown: str, table: int) -> list[str]:
    """What stands directly beneath a table, before the next table or heading."""
    blocks = markdown.split("\n\n")
    first = [i for i, block in enumerate(blocks) if block.startswith("|")][table] + 1
    last = next((i for i in range(first, len(blocks)) if blocks[i][0] in "|#"), len(blocks))
    return [block.rstrip() for block in blocks[first:last]]


def test_the_reason_stands_where_a_method_cannot_do_a_task() -> None:
    result = refused([*of_syntax(), *two_targets(task="semantic_content", target_set="heldout")])
    notes = {(r.task, r.method): r.note for r in result.itertuples() if r.method in ("pplm", "fudge")}
    assert notes == {
        ("parts_of_speech", "pplm"): "not applicable: it has no positions",
        ("parts_of_speech", "fudge"): "not run",
        ("semantic_content", "pplm"): "not run",
        ("semantic_content", "fudge"): "not run",
    }


def test_without_refusals_nothing_changes_and_texts_beat_a_refusal() -> None:
    rows = [*of_syntax(), *of_syntax("heldout", method="pplm")]
    pd.testing.assert_frame_equal(refused(rows, {}), table(rows))
    pd.testing.assert_frame_equal(refused(rows), table(rows))


def test_what_a_method_cannot_do_is_na_in_every_column_of_the_task() -> None:
    """Also in that of the second judge, which has no row where there are no texts."""
    result = refused(of_syntax())
    main = tables_of(result_markdown(result))[0]
    cells = {line[0]: line[1:] for line in main[2:]}
    assert list(cells) == list(METHODS)
    assert cells["pplm"] == ["n/a"] * 3
    assert cells["fudge"] == ["– (27.0)", "–", "– (7.96)"]
    assert main[0][2] == "parts_of_speech judge 2"


def test_a_published_value_stays_beside_na() -> None:
    result = refused(two_targets(), {"pplm": {"semantic_content": "it has no gradient"}})
    cells = {line[0]: line[1:] for line in tables_of(result_markdown(result))[0][2:]}
    assert cells["pplm"] == ["n/a (9.9)", "n/a (5.32)"]
    assert cells["ft_search"] == ["– (89.9)", "– (1.78)"]


def test_every_reason_has_one_line_beneath_its_table() -> None:
    tasks = ("parts_of_speech", "syntax_tree", "length")
    rows = [row | {"task": task} for task in tasks for row in of_syntax()]
    reasons = {"pplm": {**REFUSALS["pplm"], "syntax_tree": "it has no positions"}}
    markdown = result_markdown(refused(rows, reasons | {"fudge": {"length": "it sees no end"}}))
    assert under(markdown, 0) == ["n/a: pplm (parts_of_speech, syntax_tree): it has no positions."]
    assert under(markdown, 1) == ["n/a: pplm, fudge (length): it sees no end."]
    assert "n/a" not in result_markdown(table(rows))


def test_a_composition_tells_what_its_methods_cannot_do() -> None:
    result = refused(composed(), {"fudge": {COMPOSED: "one control only"}, "pplm": {COMPOSED: "no"}})
    markdown = result_markdown(result, "Composition")
    cells = {line[0]: line[1:] for line in tables_of(markdown)[0][2:]}
    assert cells["fudge"] == ["n/a (64.5)", "n/a (24.1)", "n/a", "n/a", "n/a (3.52)"]
    assert under(markdown, 0) == [f"n/a: fudge ({COMPOSED}): one control only."]


def test_reasons_survive_the_csv() -> None:
    result = refused(of_syntax(), {"pplm": {"parts_of_speech": 'no "positions", and no words'}})
    back = pd.read_csv(io.StringIO(table_csv(result)))
    assert result_markdown(back) == result_markdown(result)
    assert 'no "positions", and no words.' in result_markdown(back)


def test_every_success_metric_has_a_row() -> None:
    names = ("semantic_ctrl_strict", "pos_ctrl_released_targets", "joint_judge2", "joint_strict")
    result = table([row | dict.fromkeys(names, 1.0) for row in composed()])
    assert set(names) <= set(result["metric"])


def test_in_which_sets_a_target_counts() -> None:
    def sets(**changes: Any) -> list[str]:
        first = Target("t", "length", {"length": 3}, **changes)
        return target_sets([first, replace(first, target_id="u", target_set="all", tuned_on=True)])[
            "length", "t"
        ]

    assert sets() == ["all", "untouched"]
    assert sets(tuned_on=True) == ["all"]
    assert sets(target_set="released") == ["released"]
    assert sets(target_set="tuning", tuned_on=True) == []
    assert target_sets([Target("t", "length", {"length": 3})]) == {("length", "t"): ["all"]}


# --- the command

TARGETS = [
    Target("food=Thai", "semantic_content", {"field": "food", "value": "Thai"}, tuned_on=True),
    Target("food=French", "semantic_content", {"field": "food", "value": "French"}),
    Target("food=Fast", "semantic_content", {"field": "food", "value": "Fast"}),
    Target("any", "unconditional", {}),
]
SUCCESS = {
    "food=Thai": [0.0, 0.0],
    "food=French": [100.0, 0.0],
    "food=Fast": [100.0, 100.0],
    "any": [0.0, 0.0],
    "c": [100.0, 0.0],
}
CELLS = ["semantic_content/diffusion_lm", "semantic_content/human", "unconditional/human"]


COMPOSED_TARGET = Target(
    "c", COMPOSED, {"field": "food", "value": "Thai", "tags": ["ADJ"]}, target_set="heldout"
)


def cell_records(cell: str) -> tuple[list[Sample], list[Score]]:
    """Two texts per target (the human row has none for one of them), their success as :data:`SUCCESS`."""
    task, method = cell.split("/")
    samples, scores = [], []
    for target in [*TARGETS, COMPOSED_TARGET]:
        if target.task != task or (method, target.target_id) == ("human", "food=Fast"):
            continue
        for index, ctrl in enumerate(SUCCESS[target.target_id]):
            key = (method, task, target.target_id, index, 0)
            samples.append(Sample(*key, f"{method} text {target.target_id}", 1, 0))
            metrics = text(target.target_id, index, ctrl, 1.0 + index)
            success = {"semantic_content": {"ctrl": ctrl}, COMPOSED: {"joint": ctrl}}.get(task, {})
            kept = {"lm_nll", "lm_nll_sum", "lm_tokens", "length", "doubled", "unk_rate", "copied"}
            kept |= {"fluent", "repetitive", "near_copy", "joint_success"}
            metrics = success | {name: float(metrics[name]) for name in kept}
            scores.append(Score(*key, selected=index == 0, metrics=metrics))
    return samples, scores


@pytest.fixture
def tabulate(run_command: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run the command on :data:`CELLS`, in the order given; ``left_out`` is an input not given."""

    def run(
        cells: list[str] = CELLS,
        left_out: str = "",
        targets: list[Target] = TARGETS,
        prefix: str = "",
        **more: Path,
    ) -> Any:
        inputs: dict[str, Path] = {**more}
        for task in sorted({target.task for target in targets}):
            inputs[f"targets/{task}"] = tmp_path / f"{task}.jsonl"
            write_records(inputs[f"targets/{task}"], [t for t in targets if t.task == task])
        for cell in cells:
            samples, scores = cell_records(cell)
            for kind, records in (
                ("samples", samples),
                ("selected", select_samples(samples)),
                ("scores", scores),
            ):
                inputs[f"{kind}/{cell}/seed0"] = tmp_path / kind / f"{cell}.jsonl"
                write_records(inputs[f"{kind}/{cell}/seed0"], records)
        inputs.pop(left_out, None)
        outputs = {"csv": tmp_path / "control.csv", "markdown": tmp_path / "control.md"}
        if prefix:
            outputs |= {f"{prefix}csv": tmp_path / "part.csv", f"{prefix}markdown": tmp_path / "part.md"}
        return run_command("eval.tables", {"seed": 0, "threads": 1}, inputs, outputs)

    return run


def cell_of(folder: Path, target_set: str, method: str, metric: str, **where: str) -> Any:
    wanted = {"task": "semantic_content", "selection": "all", "target_set": target_set, "method": method}
    found = pd.read_csv(folder / "control.csv")
    for key, value in {**wanted, **where, "metric": metric}.items():
        found = found[found[key] == value]
    assert len(found) == 1
    return found.iloc[0]


def test_rows_over_all_targets_and_over_the_untouched_ones(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    """The tuned target fails always, so leaving it out raises the value."""
    assert tabulate().code == 0
    every, untouched = (cell_of(tmp_path, s, "diffusion_lm", "ctrl") for s in ("all", "untouched"))
    assert (every.value, every.targets, every.samples) == (50, 3, 6)
    assert (untouched.value, untouched.targets, untouched.samples) == (75, 2, 4)
    human = cell_of(tmp_path, "untouched", "human", "ctrl")
    assert (human.value, human.targets) == (50, 1)
    assert every.paper == untouched.paper == 81.2
    markdown = (tmp_path / "control.md").read_text()
    assert "(all targets)" in markdown and "(untouched targets)" in markdown


def test_guards_are_those_of_the_target_set(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    """Both texts of a target are equal: 6 texts of 3 words have 5 different ones, 4 texts have 4."""
    tabulate()
    values = [cell_of(tmp_path, s, "diffusion_lm", "distinct_1").value for s in ("all", "untouched")]
    assert values == pytest.approx([5 / 18, 4 / 12], abs=1e-4)


def test_the_unconditional_task_has_fluency_but_no_success(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    tabulate()
    for target_set in ("all", "untouched"):
        fluent = cell_of(tmp_path, target_set, "human", "lm_score", task="unconditional")
        assert fluent.value == pytest.approx(math.exp(1.5), abs=1e-4)
    found = pd.read_csv(tmp_path / "control.csv").query("task == 'unconditional' and metric == 'ctrl'")
    assert found["value"].isna().all()


def test_neither_the_order_of_the_cells_nor_a_second_run_changes_a_byte(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    def made(**changes: Any) -> list[bytes]:
        assert tabulate(**changes).code == 0
        return [(tmp_path / name).read_bytes() for name in ("control.csv", "control.md")]

    assert made() == made() == made(cells=CELLS[::-1])


def test_where_settings_saw_every_target_there_is_one_target_set(
    tabulate: Callable[..., Any], tmp_path: Path
) -> None:
    assert tabulate(CELLS[:2], targets=[replace(target, tuned_on=True) for target in TARGETS]).code == 0
    assert set(pd.read_csv(tmp_path / "control.csv")["target_set"]) == {"all"}


@pytest.mark.parametrize("kind", ["selected", "scores"])
def test_a_cell_that_is_not_whole_is_bad_input(
    tabulate: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    done = tabulate(left_out=f"{kind}/{CELLS[0]}/seed0")
    assert done.code == 2
    assert f"--input: '{kind}/{CELLS[0]}/seed0' is missing" in done.stderr
    assert not (tmp_path / "control.csv").exists()


def test_compositions_have_tables_of_their_own(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    cells, targets = [*CELLS, f"{COMPOSED}/diffusion_lm"], [*TARGETS, COMPOSED_TARGET]
    assert tabulate(cells, targets=targets, prefix="composition_").code == 0
    assert COMPOSED not in set(pd.read_csv(tmp_path / "control.csv")["task"])
    part = pd.read_csv(tmp_path / "part.csv")
    assert set(part["task"]) == {COMPOSED} and set(part["target_set"]) == {"heldout"}
    joint = part.query("method == 'diffusion_lm' and metric == 'joint' and selection == 'all'")
    assert joint["value"].tolist() == [50]
    assert (tmp_path / "part.md").read_text().startswith("### Composition: ")
    before = (tmp_path / "control.csv").read_bytes()
    assert tabulate().code == 0
    assert (tmp_path / "control.csv").read_bytes() == before


def test_without_compositions_their_table_is_empty(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    assert tabulate(prefix="composition_").code == 0
    assert (tmp_path / "part.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert "No method was run." in (tmp_path / "part.md").read_text()


def test_the_command_reads_what_methods_cannot_do(tabulate: Callable[..., Any], tmp_path: Path) -> None:
    """For single tasks and compositions alike, each in its own table."""
    refusals = tmp_path / "refusals.json"
    reasons = {"pplm": {"semantic_content": "no gradient"}, "ft_poe": {COMPOSED: "no experts"}}
    refusals.write_text(json.dumps(reasons))
    cells, targets = [*CELLS, f"{COMPOSED}/diffusion_lm"], [*TARGETS, COMPOSED_TARGET]
    done = tabulate(cells, targets=targets, prefix="composition_", refusals=refusals)
    assert done.code == 0, done.stderr
    assert cell_of(tmp_path, "all", "pplm", "ctrl").note == "not applicable: no gradient"
    assert cell_of(tmp_path, "all", "fudge", "ctrl").note == "not run"
    assert "n/a: pplm (semantic_content): no gradient." in (tmp_path / "control.md").read_text()
    assert f"n/a: ft_poe ({COMPOSED}): no experts." in (tmp_path / "part.md").read_text()


def test_texts_of_unknown_targets_are_bad_input(tabulate: Callable[..., Any]) -> None:
    done = tabulate(left_out="targets/unconditional")
    assert done.code == 2
    assert "no target 'any' of unconditional" in done.stderr
