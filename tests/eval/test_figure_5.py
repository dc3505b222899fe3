"""Figure 5: its rings, and what its caption says of them."""

from __future__ import annotations

import pandas as pd
import pytest

from eval.figure_5 import caption, computed, largest_difference

LEVELS = pd.DataFrame(
    {"schedule": ["sqrt"] * 10 + ["linear"] * 10, "step": [*range(10)] * 2, "noise": [0.1] * 10 + [0.2] * 10}
)


def test_the_computed_values_are_those_of_our_three_schedules() -> None:
    values = computed()
    assert set(values["schedule"]) == {"linear", "cosine", "sqrt"}
    first = values[values["step"] == 0].set_index("schedule")["noise"]
    assert first["sqrt"] == pytest.approx(0.121, abs=1e-3) and first["linear"] == pytest.approx(
        0.007, abs=1e-3
    )


def test_the_largest_difference_is_taken_at_the_steps_of_the_values() -> None:
    values = pd.DataFrame({"schedule": ["sqrt", "linear"], "step": [3, 4], "noise": [0.1, 0.25]})
    assert largest_difference(LEVELS, values) == pytest.approx(0.05)
    assert "differ from them by at most 0.050000" in caption(LEVELS, values)


def test_a_value_without_a_curve_is_a_difference_that_nobody_can_call_small() -> None:
    values = pd.DataFrame({"schedule": ["cosine"], "step": [3], "noise": [0.1]})
    assert pd.isna(largest_difference(LEVELS, values))


def test_without_values_the_caption_promises_no_rings() -> None:
    assert "Rings" not in caption(LEVELS, computed()[:0])
