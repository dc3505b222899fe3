"""How one method differs from the others on the same targets, metric by metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from eval.comparison import Difference, Scores, corpus_difference, holm, paired_difference
from eval.infilling import METRICS, STATISTICS, corpus_bleu
from eval.layout import headline
from pipeline.tasks import INFILLING

COLUMNS = (
    *("task", "target_set", "selection", "method", "metric", "other", "difference", "low", "high"),
    *("p", "p_holm", "test", "detectable", "targets", "note"),
)
LOWER_IS_BETTER = ("lm_score",)
BLEU = METRICS[0]


class Measure(NamedTuple):
    """A metric: the column of the texts it is made from, and how their mean is shown and bounded."""

    column: str
    transform: Callable[[Any], Any] | None = None
    largest: float | None = None


def measures(task: str) -> dict[str, Measure]:
    """The metrics of a task that differences are told of; those of Table 5 but BLEU for infilling."""
    if task == INFILLING:
        return {name: Measure(name, largest=100.0 if name == "ROUGE-L" else None) for name in METRICS[1:]}
    success = [metric for metric in headline(task) if metric not in LOWER_IS_BETTER]
    found = {metric: Measure(metric, largest=100.0) for metric in (*success, "joint_success")}
    return found | {"lm_score": Measure("lm_nll", transform=np.exp)}


def differences(
    ours: pd.DataFrame, others: pd.DataFrame, seed: int, selections: Sequence[str]
) -> pd.DataFrame:
    """One row per selection, other method and metric, in :data:`COLUMNS`: ours minus theirs.

    ``p_holm`` is corrected for all comparisons of one selection (Holm, 1979).

    Args:
        ours: one row per text (:func:`eval.score.frame`) of one method, task and target set.
        others: the same of other methods.
        seed: of the draws.
        selections: ``all``, ``mbr`` or ``first``.

    Raises:
        ValueError: a method with targets that ours has no texts of.
    """
    parts = [_corrected(list(_rows(ours, others, seed, selection))) for selection in selections]
    return pd.concat(parts, ignore_index=True)


def taken(texts: pd.DataFrame, selection: str) -> pd.DataFrame:
    """The texts that a selection takes."""
    if selection == "all":
        return texts
    return texts[texts["selected"] if selection == "mbr" else texts["sample_index"] == 0]


def _rows(
    ours: pd.DataFrame, others: pd.DataFrame, seed: int, selection: str
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    mine = taken(ours, selection)
    task, target_set, method = (mine[name].iloc[0] for name in ("task", "target_set", "method"))
    for other, texts in others.groupby("method", sort=False):
        shared = mine[mine["target_id"].isin(texts["target_id"])]  # people did not write to every target
        for metric, found in _differences(task, shared, taken(texts, selection), seed):
            value, low, high, p, test, detectable, note = found
            targets = shared["target_id"].nunique()
            yield (
                *(task, target_set, selection, method, metric, other, value, low, high),
                *(p, np.nan, test, detectable, targets, note),
            )


def _differences(
    task: str, ours: pd.DataFrame, theirs: pd.DataFrame, seed: int
) -> Iterator[tuple[str, Difference]]:  # fmt: skip
    same = _texts(ours) == _texts(theirs)
    if same:  # their scores are equal but for rounding, which depends on the batch
        ours = theirs
    if task == INFILLING and theirs[STATISTICS[0]].notna().all():  # people's are against other references
        yield BLEU, _bleu_difference(ours, theirs, seed)
    for metric, (column, transform, largest) in measures(task).items():
        if all(column in texts and texts[column].notna().all() for texts in (ours, theirs)):
            pair = (_scores(ours, column), _scores(theirs, column))
            yield metric, paired_difference(*pair, seed, transform, largest, same_texts=same)


def _texts(frame: pd.DataFrame) -> set[tuple[Any, ...]]:
    return set(zip(frame["target_id"], frame["sample_index"], frame["seed"], frame["text"], strict=True))


def _scores(texts: pd.DataFrame, column: str) -> Scores:
    """All seeds are of one trained model, which the intervals take as given."""
    return Scores(texts[column].to_numpy(dtype=float), texts["target_id"].to_numpy())


def _bleu_difference(ours: pd.DataFrame, theirs: pd.DataFrame, seed: int) -> Difference:
    """Every target counts once: its statistics are means over its texts (as in the table)."""
    means = [texts.groupby("target_id")[list(STATISTICS)].mean().to_numpy() for texts in (ours, theirs)]
    return corpus_difference(means[0], means[1], corpus_bleu, seed)


def _corrected(rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if len(table):
        table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    return table


def better(row: Any) -> str:
    """What a row says: better, worse, or undecided after correction at 5 %."""
    if not row.p_holm <= 0.05:
        return "undecided"
    gain = -row.difference if row.metric in LOWER_IS_BETTER else row.difference
    return "better" if gain > 0 else "worse"
