"""From samples to scores: selection, coverage, metrics of one text, and the guards of a set."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.human_texts import HumanTexts, digest, fingerprint
from eval.score import check_coverage, corpus_guards, frame, score_samples
from eval.select import select_samples, split_words
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.records import Sample, Score, Target, read_records, write_records

TARGETS = [
    Target("s1", "semantic_content", {"field": "food", "value": "Japanese"}),
    Target("s2", "semantic_content", {"field": "price", "value": "£ 20 - 25"}),
]
TEXTS = {
    "s1": [
        "a b",
        "The pub serves Japanese food",
        "The pub serves Japanese food too",
        "Japanese Japanese UNK",
    ],
    "s2": ["it costs £ 20 - 25 .", "it costs £ 20 - 25 .", "", "x"],
}


VOCABULARY = Vocabulary.build([text.split(" ") for texts in TEXTS.values() for text in texts], more_than=0)
TRAINING, HELDOUT = ["a b", "The pub serves cheap food"], ["it costs less than £ 20 - 25 ."]


def human_texts(low: float = 0.5, high: float = 3.0) -> HumanTexts:
    prints = [[fingerprint(text.split(), VOCABULARY) for text in texts] for texts in (TRAINING, HELDOUT)]
    return HumanTexts(VOCABULARY, (low, high), *prints, {digest(text.split()) for text in TRAINING})


def sample(target_id: str, index: int, text: str, method: str = "ours", seed: int = 0) -> Sample:
    return Sample(
        method, "semantic_content", target_id, index, seed, text, forward_tokens=0, backward_passes=0
    )


def all_samples(method: str = "ours", seed: int = 0) -> list[Sample]:
    return [sample(t, i, text, method, seed) for t, texts in TEXTS.items() for i, text in enumerate(texts)]


def one_nat(texts: list[list[str]]) -> list[np.ndarray]:
    return [np.ones(len(text) + 1) for text in texts]


def scored(samples: list[Sample], **changes) -> list[Score]:  # type: ignore[no-untyped-def]
    arguments = {
        "selected": select_samples(samples),
        "targets": TARGETS,
        "human_texts": human_texts(),
        "token_losses": one_nat,
        "where": "samples/seed0.jsonl",
    }
    return score_samples(samples, **(arguments | changes))


def test_words_are_split_at_single_spaces_only() -> None:
    assert split_words("a £ 20\xa0 \n") == ["a", "£", "20\xa0", "\n"]
    assert split_words("") == []
    assert split_words(" a  b ") == ["a", "b"]


def test_one_text_is_selected_per_method_target_and_seed() -> None:
    samples = all_samples() + all_samples(seed=1) + all_samples("other")
    chosen = select_samples(samples)
    assert [(s.method, s.seed, s.target_id, s.sample_index) for s in chosen] == [
        *[("ours", 0, "s1", 1), ("ours", 0, "s2", 0)],
        *[("ours", 1, "s1", 1), ("ours", 1, "s2", 0)],
        *[("other", 0, "s1", 1), ("other", 0, "s2", 0)],
    ]
    # s1: a longer reference costs brevity (.82), a shorter one precision (.76); s2: the last of equals.
    assert [s.sample_index for s in select_samples(all_samples(), "released")] == [2, 1]


def test_the_selection_does_not_follow_the_order_of_the_file() -> None:
    backwards = select_samples(all_samples()[::-1])
    assert sorted(s.sample_index for s in backwards) == [0, 1]
    assert {s.target_id: s.sample_index for s in backwards} == {"s1": 1, "s2": 0}


def test_every_text_gets_every_metric() -> None:
    losses = {
        2: [1.0, 2.0, 6.0],
        5: [0.5] * 6,
        6: [0.5] * 7,
        3: [1.0] * 4,
        7: [1.0] * 8,
        0: [4.0],
        1: [1.0, 2.0],
    }
    scores = scored(all_samples(), token_losses=lambda texts: [np.array(losses[len(t)]) for t in texts])
    assert [(s.target_id, s.sample_index) for s in scores] == [(t, i) for t in ("s1", "s2") for i in range(4)]
    assert scores[0].metrics == {
        **{"ctrl": 0, "ctrl_released": 0, "ctrl_strict": 0},
        **{"lm_nll": 3, "lm_nll_sum": 9, "lm_tokens": 3},
        **{"length": 2, "doubled": 0, "unk_rate": 0},
        **{"copied": 1, "near_copy": 1, "fluent": 1, "repetitive": 0, "joint_success": 0},
    }
    doubled = scores[3].metrics
    assert (doubled["ctrl"], doubled["doubled"], doubled["copied"]) == (100, 1, 0)
    assert doubled["unk_rate"] == pytest.approx(100 / 3)
    empty = scores[6].metrics
    assert (empty["length"], empty["lm_tokens"], empty["lm_nll"], empty["ctrl"]) == (0, 1, 4, 0)
    assert [s.selected for s in scores] == [False, True, False, False, True, False, False, False]


def joint(samples: list[Sample], metric: str = "joint_success", **changes: Any) -> list[float]:
    return [score.metrics[metric] for score in scored(samples, **changes)]


def test_joint_success_needs_control_fluency_and_a_text_of_ones_own() -> None:
    """The second text of s1 is a word away from a training text, those of s2 two from a held-out one."""
    near = [1, 1, 1, 0, 1, 1, 1, 1]  # nothing and one word are near to "a b"
    assert joint(all_samples(), "near_copy") == near
    far = human_texts()
    far = replace(far, training=far.training[:1], heldout=[])
    assert joint(all_samples(), human_texts=far) == [0, 100, 100, 100, 100, 100, 0, 0]
    for low, high in ((1.1, 3.0), (0.1, 0.9)):
        assert joint(all_samples(), human_texts=replace(far, band=(low, high))) == [0] * 8
    assert joint(all_samples(), "fluent", human_texts=replace(far, band=(1.0, 1.0))) == [1] * 8


def test_a_repeated_value_is_no_joint_success() -> None:
    texts = [
        sample("s2", i, words)
        for i, words in enumerate(["£ 20 - 25 £ 20 - 25", "£ 20 - 25 or more than £ 20"])
    ]
    arguments = {"selected": texts[:1], "targets": TARGETS[1:]}
    assert joint(texts, "repetitive", **arguments) == [1, 0]
    assert joint(texts, **arguments) == [0, 100]


def test_the_human_row_may_be_held_out_text() -> None:
    texts = [sample("s2", 0, HELDOUT[0], name) for name in ("human", "ours")]
    targets = {"targets": TARGETS[1:]}
    assert joint(texts[:1], selected=texts[:1], **targets) == [100]
    assert joint(texts[1:], selected=texts[1:], **targets) == [0]
    assert joint(texts, "near_copy", selected=texts, **targets) == [0, 1]


def test_without_human_texts_nothing_is_held_against_a_text() -> None:
    metrics = scored(all_samples(), human_texts=None)[0].metrics
    assert not {"copied", "near_copy", "fluent", "joint_success"} & metrics.keys() and "lm_nll" in metrics


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (all_samples()[:-1], "3 samples of target 's2', seed 0, others 4"),
        (all_samples()[:4], "0 samples of target 's2'"),
        (all_samples() + all_samples(seed=1)[:4], "0 samples of target 's2', seed 1"),
        ([*all_samples(), all_samples()[2]], "2 times target 's1', sample 2, seed 0"),
        ([*all_samples(), sample("s3", 0, "a")], "unknown target 's3'; did you mean"),
    ],
)
def test_uneven_coverage_names_file_and_target(samples: list[Sample], message: str) -> None:
    with pytest.raises(InputError, match=f"^samples/seed0.jsonl: ours: {message}"):
        scored(samples, selected=[])


def test_methods_may_differ_in_their_number_of_samples() -> None:
    search = [sample(t, 0, texts[0], "search") for t, texts in TEXTS.items()]
    check_coverage(all_samples() + search, TARGETS, "here")
    assert len(scored(all_samples() + search)) == 10


@pytest.mark.parametrize(
    ("selected", "message"),
    [
        ([], "0 selected samples for .*'s1'"),
        (all_samples()[:4], "4 selected samples"),
        ([sample("s1", 9, "a")], "not among the samples"),
    ],
)
def test_a_selection_of_another_run_is_an_error(selected: list[Sample], message: str) -> None:
    with pytest.raises(InputError, match=message):
        scored(all_samples(), selected=selected)


def test_token_losses_must_fit_the_texts() -> None:
    with pytest.raises(ValueError, match="texts and their token losses: 8 against 7"):
        scored(all_samples(), token_losses=lambda texts: one_nat(texts)[:-1])
    with pytest.raises(ValueError, match="no token losses, or not finite ones, for: a b"):
        scored(all_samples(), token_losses=lambda texts: [np.zeros(0) for _ in texts])
    with pytest.raises(ValueError, match="not finite ones, for: a b"):
        scored(all_samples(), token_losses=lambda texts: [np.full(len(t) + 1, np.nan) for t in texts])


def test_an_unknown_task_is_named() -> None:
    samples = [replace(s, task="semantic_contents") for s in all_samples()]
    with pytest.raises(InputError, match="'semantic_contents'; did you mean 'semantic_content'"):
        scored(samples)


def test_the_frame_has_a_row_per_text_and_a_column_per_metric() -> None:
    table = frame(scored(all_samples()), "released")
    assert list(table.columns[:7]) == [
        *("method", "task", "target_id", "sample_index", "seed", "selected", "target_set"),
    ]
    assert table["selected"].dtype == bool and set(table["target_set"]) == {"released"}
    assert table.loc[4, "ctrl"] == 100 and len(table) == 8


def test_a_frame_of_two_tasks_has_gaps_but_takes_no_nan() -> None:
    first = Score("m", "length", "l1", 0, 0, True, {"ctrl": 100.0})
    second = Score("m", "semantic_content+syntax_tree", "c1", 0, 0, True, {"joint": 0.0})
    table = frame([first, second], "ours")
    assert table[["ctrl", "joint"]].isna().to_numpy().tolist() == [[False, True], [True, False]]
    with pytest.raises(ValueError, match="m, target 'l1': ctrl is nan"):
        frame([replace(first, metrics={"ctrl": math.nan})], "ours")


def test_corpus_guards_by_method_and_selection() -> None:
    samples = all_samples() + [replace(s, text="a a") for s in all_samples("other")]
    guards = corpus_guards(samples, select_samples(samples), "ours")
    values = guards.set_index(["method", "selection", "metric"])["value"]
    assert values["other", "all", "distinct_1"] == 1 / 16
    assert values["other", "mbr", "distinct_1"] == 1 / 4
    assert values["other", "all", "self_bleu"] == pytest.approx(100)
    assert values["ours", "mbr", "distinct_1"] == 1
    assert values["ours", "mbr", "self_bleu"] == 0
    assert values["ours", "all", "duplicate_rate"] == 25 and values["other", "mbr", "duplicate_rate"] == 100
    assert len(values) == 2 * 2 * 5


def test_a_block_of_the_corpus_guards_spans_many_targets() -> None:
    """128 targets x 2 samples; both samples of a target are equal, targets differ: every block is diverse."""
    samples = [sample(f"t{t:03}", i, f"w{t}") for t in range(128) for i in range(2)]
    guards = corpus_guards(samples, samples[::2], "ours").set_index(["selection", "metric"])["value"]
    assert guards["all", "distinct_1"] == guards["mbr", "distinct_1"] == 1


# --- tasks of syntax

TAGGED = [
    Target("p1", "parts_of_speech", {"tags": ["ADJ", "NOUN"]}, target_set="released"),
    Target("p2", "parts_of_speech", {"tags": ["NOUN"]}, target_set="tuning", tuned_on=True),
]


def tagged_samples(texts: list[str], target_id: str = "p1", method: str = "ours") -> list[Sample]:
    return [Sample(method, "parts_of_speech", target_id, i, 0, text, 0, 0) for i, text in enumerate(texts)]


def test_judges_read_all_texts_of_a_task_in_one_call(syntax_judge: Any) -> None:
    samples = tagged_samples(["ADJ NOUN", "ADJ", "ADJ NOUN"])
    judges = [syntax_judge(), syntax_judge(tags={"ADJ": "X"})]
    scores = scored(samples, selected=samples[:1], targets=TAGGED[:1], judges=judges)
    assert [(s.metrics["ctrl"], s.metrics["ctrl_judge2"]) for s in scores] == [(100, 50), (50, 0), (100, 50)]
    assert [judge.asked for judge in judges] == [[2], [2]]
    assert {"length_mismatch", "lm_nll", "length"} <= set(scores[0].metrics)


def test_a_task_of_syntax_needs_a_judge() -> None:
    samples = tagged_samples(["a"])
    with pytest.raises(InputError, match="parts_of_speech needs a judge.*judge1_tagger=FILE"):
        scored(samples, selected=samples, targets=TAGGED[:1])


def test_a_human_text_of_an_unknown_target_is_an_error_and_uneven_ones_are_not(syntax_judge: Any) -> None:
    human = tagged_samples(["a"], method="human")
    arguments = {"selected": human, "judges": [syntax_judge()]}
    with pytest.raises(InputError, match="human: unknown target 'p1'"):
        scored(human, targets=TAGGED[1:], **arguments)
    assert len(scored(human, targets=TAGGED, **arguments)) == 1


# --- the command


@pytest.fixture
def score(run_command: Callable[..., Any], judges: Any, tmp_path: Path) -> Callable[..., Any]:
    """Run the command on cells of samples; each is selected first. ``left_out`` is a file not given."""

    def run(cells: dict[str, list[Sample]], targets: list[Target] = TARGETS, left_out: str = "") -> Any:
        inputs, outputs = {"targets": tmp_path / "targets.jsonl", **judges.inputs}, {}
        write_records(inputs["targets"], targets)
        for cell, samples in cells.items():
            for kind, records in (("samples", samples), ("selected", select_samples(samples))):
                inputs[f"{kind}/{cell}"] = tmp_path / kind / f"{cell}.jsonl"
                write_records(inputs[f"{kind}/{cell}"], records)
            outputs[f"scores/{cell}"] = tmp_path / "scores" / f"{cell}.jsonl"
        for files in (inputs, outputs):
            files.pop(left_out, None)
        return run_command("eval.score", {"threads": 1}, inputs, outputs)

    return run


def scores_of(folder: Path, cell: str) -> list[Score]:
    return read_records(folder / "scores" / f"{cell}.jsonl", Score)


def test_every_cell_is_scored_text_by_text(score: Callable[..., Any], tmp_path: Path) -> None:
    copied = [sample(t.target_id, 0, "The Mill is a pub .", "human") for t in TARGETS[:1]]
    cells = {"ours/seed0": all_samples(), "ours/seed1": all_samples(seed=1), "human/seed0": copied}
    assert score(cells).code == 0
    for cell, samples in cells.items():
        found = scores_of(tmp_path, cell)
        assert [(s.method, s.seed, s.target_id, s.sample_index) for s in found] == [
            (s.method, s.seed, s.target_id, s.sample_index) for s in samples
        ]
        chosen = [(s.target_id, s.sample_index) for s in select_samples(samples)]
        assert [(s.target_id, s.sample_index) for s in found if s.selected] == chosen
    assert [s.metrics["copied"] for s in scores_of(tmp_path, "human/seed0")] == [1]
    assert not any(s.metrics["copied"] for s in scores_of(tmp_path, "ours/seed0"))
    assert scores_of(tmp_path, "ours/seed0")[1].metrics["ctrl"] == 100


def test_only_training_texts_count_as_copied(score: Callable[..., Any], tmp_path: Path) -> None:
    human = [sample("s1", 0, "A human text", "human")]
    assert score({"human/seed0": human}).code == 0
    assert scores_of(tmp_path, "human/seed0")[0].metrics["copied"] == 0


def test_texts_that_were_asked_for_nothing_have_no_control_success(
    score: Callable[..., Any], tmp_path: Path
) -> None:
    free = [replace(s, task="unconditional", target_id="any") for s in all_samples()[:4]]
    assert score({"ours/seed0": free}, [Target("any", "unconditional", {})]).code == 0
    names = (
        "lm_nll lm_nll_sum lm_tokens length doubled unk_rate copied near_copy fluent repetitive joint_success"
    )
    assert {frozenset(s.metrics) for s in scores_of(tmp_path, "ours/seed0")} == {frozenset(names.split())}


def test_where_nothing_is_asked_for_control_counts_as_satisfied(
    score: Callable[..., Any], tmp_path: Path
) -> None:
    free = [
        sample("any", i, words) for i, words in enumerate(["The pub costs £ 20 or 25 too", "A human text"])
    ]
    free = [replace(s, task="unconditional") for s in free]
    assert score({"ours/seed0": free}, [Target("any", "unconditional", {})]).code == 0
    for found in (score.metrics for score in scores_of(tmp_path, "ours/seed0")):
        assert found["joint_success"] == 100 * found["fluent"] * (1 - found["near_copy"])


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("selected/ours/seed0", "--input: 'selected/ours/seed0' is missing"),
        ("scores/ours/seed0", "--output: 'scores/ours/seed0' is missing"),
    ],
)
def test_a_cell_that_is_not_whole_is_bad_input(
    score: Callable[..., Any], tmp_path: Path, left_out: str, message: str
) -> None:
    done = score({"human/seed0": all_samples("human"), "ours/seed0": all_samples()}, left_out=left_out)
    assert done.code == 2
    assert done.stderr.startswith(f"error: {message}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "scores").exists()


def test_uneven_samples_end_the_command(score: Callable[..., Any], tmp_path: Path) -> None:
    done = score({"ours/seed0": all_samples()[:-1]})
    assert done.code == 2
    assert f"{tmp_path}/samples/ours/seed0.jsonl: ours: 3 samples of target 's2'" in done.stderr


@pytest.fixture
def score_syntax(
    run_command: Callable[..., Any],
    judges: Any,
    syntax_judge: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """Run the command on tags, with the given files of judges; what was loaded is kept in ``run.loaded``."""
    loaded: list[tuple[Any, ...]] = []

    def load_judge(*arguments: Any) -> Any:
        loaded.append(arguments)
        return syntax_judge()

    monkeypatch.setattr("eval.oracles.load.load_judge", load_judge)

    def run(files: list[str], samples: list[Sample], **spec: Any) -> Any:
        inputs = {"targets": tmp_path / "targets.jsonl", **judges.inputs}
        write_records(inputs["targets"], TAGGED)
        for kind in ("samples", "selected"):
            inputs[f"{kind}/ours/seed0"] = tmp_path / f"{kind}.jsonl"
            write_records(inputs[f"{kind}/ours/seed0"], samples)
        for name in files:
            inputs[name] = tmp_path / name
            inputs[name].write_text(name)
        outputs = {"scores/ours/seed0": tmp_path / "scores" / "ours" / "seed0.jsonl"}
        return run_command("eval.score", {"threads": 1, **spec}, inputs, outputs)

    run.loaded = loaded
    return run


JUDGES = ["judge1_tagger", "judge1_parser", "judge2_tagger", "judge2_parser"]


def test_reported_targets_are_scored_by_the_judges_given(score_syntax: Any, tmp_path: Path) -> None:
    """The target of the set ``tuning`` has no samples, and needs none."""
    assert score_syntax(JUDGES, tagged_samples(["ADJ NOUN"]), cache=str(tmp_path / "cache")).code == 0
    assert score_syntax.loaded == [
        (name, tmp_path / f"{name}_tagger", tmp_path / f"{name}_parser", tmp_path / "cache")
        for name in ("judge1", "judge2")
    ]
    metrics = scores_of(tmp_path, "ours/seed0")[0].metrics
    assert metrics["ctrl"] == metrics["ctrl_judge2"] == 100
    assert score_syntax(JUDGES[:2], tagged_samples(["ADJ NOUN"])).code == 0
    assert score_syntax.loaded[2:] == [("judge1", *(tmp_path / name for name in JUDGES[:2]), None)]
    assert "ctrl_judge2" not in scores_of(tmp_path, "ours/seed0")[0].metrics


def test_samples_of_targets_for_choosing_settings_are_refused(score_syntax: Any) -> None:
    done = score_syntax(JUDGES, tagged_samples(["NOUN"], "p2"))
    assert done.code == 2 and "ours: unknown target 'p2'" in done.stderr


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "--input: parts_of_speech needs a judge"),
        (JUDGES[:1], "--input: 'judge1_parser' is missing"),
        (JUDGES[2:], "--input: 'judge1_tagger' is missing"),
        (JUDGES[:3], "--input: 'judge2_parser' is missing"),
    ],
)
def test_half_a_judge_is_bad_input(files: list[str], message: str, score_syntax: Any) -> None:
    done = score_syntax(files, tagged_samples(["ADJ NOUN"]))
    assert done.code == 2
    assert done.stderr.startswith(f"error: {message}")
