"""What the grids say about the paper's statements, on made-up numbers."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pandas as pd
import pytest

from eval.ablation_verdicts import COLUMNS, ablation_verdicts, panel
from eval.verdicts import FAILS, HOLDS, UNDECIDED, Verdict
from pipeline.factors import FACTORS

BASE = {
    "corpus": "run", "network": "transformer", "embedding": "learned", "predict": "x0",
    "dimension": 16, "schedule": "sqrt",
}  # fmt: skip


def cell(value: float, spread: float = 1.1, **changes: Any) -> tuple[Any, ...]:
    """The row of a cell's lm-score; its interval is from value / spread to value * spread."""
    own = {**BASE, **changes}
    head = (str(changes), own["corpus"], *(own[name] for name in FACTORS))
    note = "untrained: lm-score above 300" if value > 300 else ""
    return (*head, "lm_score", "", value, value / spread, value * spread, 512, note)


def table(*rows: tuple[Any, ...]) -> pd.DataFrame:
    human = ("human", "run", *[""] * len(FACTORS), "lm_score", "", 3.0, 2.9, 3.1, 300, "")
    return pd.DataFrame([*rows, human], columns=list(COLUMNS))


def told(*rows: tuple[Any, ...]) -> list[Verdict]:
    return list(chain.from_iterable(ablation_verdicts(table(*rows)).values()))


def outcomes(*rows: tuple[Any, ...]) -> dict[str, str]:
    return {verdict.statement.split()[0]: verdict.outcome for verdict in told(*rows)}


@pytest.mark.parametrize(("random", "expected"), [(20, HOLDS), (11, UNDECIDED), (5, FAILS), (400, UNDECIDED)])
def test_embeddings(random: float, expected: str) -> None:
    """An untrained cell supports no verdict, however bad it looks."""
    assert outcomes(cell(10), cell(random, embedding="random"))["Learned"] == expected


def test_each_corpus_has_a_verdict_on_embeddings_against_its_own_first_cell() -> None:
    stories = {"corpus": "stories", "dimension": 32}
    rows = (
        cell(10),
        cell(20, embedding="random"),
        cell(20, **stories),
        cell(9, **stories, embedding="random"),
    )
    found = {v.statement: v.outcome for v in told(*rows)}
    assert found["Learned embeddings beat random ones (run)"] == HOLDS
    assert found["Learned embeddings beat random ones (stories)"] == FAILS


@pytest.mark.parametrize(
    ("eps", "x0", "expected"),
    [
        ((10, 100), (10, 11), HOLDS),
        ((10, 100), (10, 90), UNDECIDED),  # x0 collapses as well
        ((10, 10), (10, 10), UNDECIDED),
        ((20, 8), (10, 10), FAILS),
        ((10, 500), (10, 10), UNDECIDED),
    ],
)
def test_dimensions(eps: tuple[float, float], x0: tuple[float, float], expected: str) -> None:
    rows = [
        cell(value, predict=kind, dimension=d)
        for kind, values in (("x0", x0), ("eps", eps))
        for d, value in zip((16, 128), values, strict=True)
    ]
    assert outcomes(*rows)["x0"] == expected


def test_dimensions_are_compared_where_both_parametrisations_are_trained() -> None:
    values = {
        ("x0", 16): 10,
        ("x0", 64): 11,
        ("x0", 256): 9,
        ("eps", 16): 10,
        ("eps", 64): 60,
        ("eps", 256): 900,
    }
    rows = [cell(value, predict=kind, dimension=d) for (kind, d), value in values.items()]
    (verdict,) = told(*rows)
    assert verdict.outcome == HOLDS and "lm at d 64 over d 16" in verdict.numbers


@pytest.mark.parametrize(
    ("cosine", "expected"),
    [((10, 80), HOLDS), ((10, 12), UNDECIDED), ((12, 12), FAILS), ((10, 700), UNDECIDED)],
)
def test_the_steadiest_schedule_has_the_smallest_spread(cosine: tuple[float, float], expected: str) -> None:
    rows = [
        cell(value, schedule=name, predict=predict)
        for name, values in (("sqrt", (10, 13)), ("cosine", cosine))
        for predict, value in zip(("x0", "eps"), values, strict=True)
    ]
    assert outcomes(*rows)["The"] == expected


def test_a_steadier_schedule_refutes() -> None:
    rows = [
        cell(value, schedule=name, predict=predict)
        for name, values in (("sqrt", (10, 60)), ("cosine", (10, 12)), ("linear", (10, 200)))
        for predict, value in zip(("x0", "eps"), values, strict=True)
    ]
    assert outcomes(*rows)["The"] == FAILS


def test_the_network() -> None:
    assert outcomes(cell(10), cell(15, network="unet"))["The"] == HOLDS


def test_a_panel_has_the_cells_that_differ_in_its_factors_alone() -> None:
    rows = (cell(1), cell(2, dimension=64), cell(3, dimension=64, predict="eps"), cell(4, network="unet"))
    assert panel(table(*rows), "run", ("dimension",))["value"].tolist() == [1, 2]
    assert panel(table(*rows), "run", ("dimension", "predict"))["value"].tolist() == [1, 2, 3]
