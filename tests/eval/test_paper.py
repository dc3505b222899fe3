"""The published numbers under our names."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.paper import FOLDER, METHODS, RESULT_TABLES, published, read_table
from pipeline.errors import InputError


@pytest.mark.parametrize(
    ("task", "method", "metric", "value"),
    [
        ("semantic_content", "diffusion_lm", "ctrl", 81.2),
        ("semantic_content", "diffusion_lm", "lm_score", 2.55),
        ("semantic_content", "pplm", "ctrl", 9.9),
        ("length", "ft_search", "ctrl", 100.0),
        ("syntax_spans", "ft_sample", "ctrl", 26.3),
        ("semantic_content+parts_of_speech", "ft_poe", "pos_ctrl", 10.5),
        ("semantic_content+syntax_tree", "fudge", "syntax_ctrl", 15.4),
        ("infilling", "ar_infilling", "CIDEr", 26.9),
        ("infilling", "cold", "BLEU-4", 1.8),
    ],
)
def test_published_values(task: str, method: str, metric: str, value: float) -> None:
    assert published(task, method, metric) == value


@pytest.mark.parametrize(
    ("task", "method", "metric"),
    [
        ("length", "pplm", "ctrl"),  # a dash in the table
        ("infilling", "delorean", "human_eval"),  # n/a
        ("semantic_content", "unguided", "ctrl"),
        ("semantic_content", "diffusion_lm", "distinct_1"),
        ("semantic_content", "diffusion_lm", "lr"),  # a setting of Table 6, not a result
    ],
)
def test_what_the_paper_does_not_print_is_none(task: str, method: str, metric: str) -> None:
    assert published(task, method, metric) is None


def test_every_label_of_the_result_tables_has_our_name() -> None:
    labels = {label for name in RESULT_TABLES for label in read_table(name)["method"]}
    assert labels == set(METHODS)


def test_cells_are_kept_as_printed() -> None:
    table = read_table("appb_settings")
    assert set(table["value"]) >= {"1e-4", "16;64;128;256"}
    assert (FOLDER / "README.md").is_file()


def test_a_missing_table_is_named() -> None:
    with pytest.raises(InputError, match="nowhere.*no such file"):
        read_table("table2_main_control", Path("nowhere"))
