"""The paper's statement about the number of steps, held against the sampling ablations."""

from __future__ import annotations

import math

import pandas as pd

from eval.verdicts import Estimate, Verdict, difference, outcome, undecided

COLUMNS = (
    *("group", "task", "variant", "metric", "value", "low", "high"),
    *("targets", "texts", "forward_tokens", "backward_passes", "note"),
)
MARGIN = 1.1  # so many times the lm-score of all steps is as good as it


def enough_steps(table: pd.DataFrame, few: str = "200", all_steps: str = "2000") -> Verdict:
    """Whether few steps reach the lm-score of all of them, but for :data:`MARGIN` (paper Section 6.1)."""
    statement = f"{few} steps are enough (lm at most {MARGIN} times that of {all_steps})"
    rows = table[(table["group"] == "steps") & (table["metric"] == "lm_score")].set_index("variant")
    if not {few, all_steps} <= set(rows.index):
        return undecided(statement, "one of them was not run.")
    own, best = (Estimate(*rows.loc[name, ["value", "low", "high"]]).log() for name in (few, all_steps))
    ratio, margin = difference([own], [best]), math.log(MARGIN)
    below = Estimate(margin - ratio.value, margin - ratio.high, margin - ratio.low)
    return Verdict(statement, outcome([below]), f"lm of {few} over {all_steps} steps: {ratio.factor()}.")
