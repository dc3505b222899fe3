"""Table 6: published, released and our settings."""

from __future__ import annotations

from typing import Any

from eval.decoding_settings import settings_rows
from pipeline.settings import guidance_presets, resolve


def rows(methods: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    found = settings_rows(methods, guidance_presets()["released"])
    return {(task, method): values for task, method, *values in found}


def test_at_paper_scale_ours_are_the_published_ones() -> None:
    for (task, method), (published, released, ours) in rows(resolve("paper")["methods"]).items():
        if (task, method) == ("length", "diffusion_lm"):
            assert ours == "words held in place"
        else:
            assert [float(x) for x in ours.split(" / ")] == [float(x) for x in published.split(" / ")], (
                task,
                method,
            )
        assert (released == "–") == (method != "diffusion_lm")


def test_a_form_of_step_that_is_not_the_papers_is_told() -> None:
    found = rows(resolve("demo")["methods"])["parts_of_speech", "diffusion_lm"]
    assert found == ["0.0005 / 0.05", "0.0001 / 0.1 (sign)", "0.01 / 9 (gradient)"]


def test_a_method_that_was_not_run_has_no_settings() -> None:
    assert rows({})["length", "fudge"] == ["2.0", "–", "–"]
