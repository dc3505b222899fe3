"""The paper's statements about embeddings, parametrisation, schedule and network, held against the grids.

All differences are between logarithms of lm-scores, so they are told as factors between perplexities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from eval.verdicts import Estimate, Verdict, difference, outcome, undecided
from pipeline.factors import FACTORS

COLUMNS = ("cell", "corpus", *FACTORS, "metric", "seed", "value", "low", "high", "texts", "note")
Cells = Mapping[tuple[Any, ...], Estimate]  # by the values of some factors; untrained cells are absent


def panel(table: pd.DataFrame, corpus: str, varied: tuple[str, ...]) -> pd.DataFrame:
    """The rows of a corpus' cells that differ from its first one in nothing but these factors."""
    own = table[(table["corpus"] == corpus) & (table["network"] != "")]
    same = [name for name in FACTORS if name not in varied]
    first = own[same].iloc[:1]
    return own[(own[same] == first.to_numpy()).all(axis=1)] if len(own) else own


def trained_scores(table: pd.DataFrame, corpus: str, varied: tuple[str, ...]) -> Cells:
    """The log lm-scores of the trained cells of a panel, by the values of the varied factors."""
    rows = panel(table, corpus, varied)
    rows = rows[(rows["metric"] == "lm_score") & (rows["seed"] == "") & rows["low"].notna()]
    return {
        tuple(getattr(row, name) for name in varied): Estimate(row.value, row.low, row.high).log()
        for row in rows.itertuples(index=False)
        if not row.note.startswith("untrained")
    }


def ablation_verdicts(table: pd.DataFrame) -> dict[str, list[Verdict]]:
    """A verdict on each statement that the grids have cells for, by what varies in it."""
    found: dict[str, list[Verdict]] = {"embedding": []}
    for corpus in dict.fromkeys(table[table["network"] != ""]["corpus"]):
        if panel(table, corpus, ("embedding",))["embedding"].nunique() > 1:
            statement = f"Learned embeddings beat random ones ({corpus})"
            scores = trained_scores(table, corpus, ("embedding",))
            found["embedding"].append(better(statement, scores, "learned", "random"))
    found["parametrisation"] = [steady(trained_scores(table, "run", ("predict", "dimension")))]
    varied = ("schedule", "predict", "dimension")
    schedules = panel(table, "run", varied)
    if schedules["schedule"].nunique() > 1:
        found["schedule"] = [steadiest(schedules, trained_scores(table, "run", varied))]
    if panel(table, "run", ("network",))["network"].nunique() > 1:
        scores = trained_scores(table, "run", ("network",))
        found["network"] = [better("The Transformer beats the U-Net", scores, "transformer", "unet")]
    return found


def better(statement: str, scores: Cells, good: str, bad: str) -> Verdict:
    """Whether one value of a factor has the lower lm-score."""
    if missing := [name for name in (good, bad) if (name,) not in scores]:
        return undecided(statement, f"{' and '.join(missing)} untrained.")
    found = difference([scores[bad,]], [scores[good,]])
    return Verdict(statement, outcome([found]), f"lm of {bad} over {good}: {found.factor()}.")


def steady(scores: Cells) -> Verdict:
    """Whether epsilon gets worse from the smallest to the largest dimension, and x_0 less so.

    The dimensions are the smallest and the largest at which both are trained.
    """
    statement = "x0 stays steady over dimensions while epsilon collapses"
    both = sorted(d for kind, d in scores if kind == "x0" and ("eps", d) in scores)
    if len(both) < 2:
        return undecided(statement, f"dimensions at which both are trained: {len(both)}.")
    small, large = both[0], both[-1]
    x0, eps = (difference([scores[kind, large]], [scores[kind, small]]) for kind in ("x0", "eps"))
    numbers = f"lm at d {large} over d {small}: x0 {x0.factor()}, eps {eps.factor()}; one over the other"
    more = difference([eps], [x0])
    return Verdict(statement, outcome([eps, more]), f"{numbers} {more.factor()}.")


def steadiest(rows: pd.DataFrame, scores: Cells) -> Verdict:
    """Whether the lm-scores of sqrt spread less over parametrisations and dimensions than the others'.

    A spread is from the best to the worst of the settings that all schedules have.
    """
    statement = "The sqrt schedule is steadiest over dimensions and parametrisations"
    settings = {
        name: set(zip(part["predict"], part["dimension"], strict=True))
        for name, part in rows.groupby("schedule", sort=False)
    }
    common = sorted(set.intersection(*settings.values()))
    missing = [f"{s} {p} {d}" for s in settings for p, d in common if (s, p, d) not in scores]
    if missing or len(common) < 2:
        return undecided(statement, f"untrained: {', '.join(missing)}." if missing else "too few cells.")
    ends = {name: _ends(scores[name, p, d] for p, d in common) for name in settings}
    spreads = {name: difference([worst], [best]) for name, (worst, best) in ends.items()}
    more = [difference([spread], [spreads["sqrt"]]) for name, spread in spreads.items() if name != "sqrt"]
    told = ", ".join(f"{name} {spread.factor()}" for name, spread in spreads.items())
    return Verdict(statement, outcome(more), f"worst lm over best: {told}.")


def _ends(estimates: Iterator[Estimate]) -> tuple[Estimate, Estimate]:
    ordered = sorted(estimates)
    return ordered[-1], ordered[0]
