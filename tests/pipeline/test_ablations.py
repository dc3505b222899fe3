"""The cells of the grids: distinct, of the scales' settings, and few enough."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.ablations import ablation_cells, seeded, varied
from pipeline.errors import InputError
from pipeline.factors import factors
from pipeline.settings import resolve

COMMON: dict[str, Any] = {"model": {"dimension": 16, "seed": 1}, "training": {"steps": 5}, "sampling": {}}


def cells(**named: Any) -> dict[str, Any]:
    return ablation_cells({**COMMON, "cells": named})


def test_a_cell_is_the_common_model_with_its_own_settings() -> None:
    found = cells(baseline={}, wide={"model": {"dimension": 64}}, tale={"corpus": "stories"}, gone=None)
    assert list(found) == ["baseline", "wide", "tale"]
    assert found["wide"]["model"] == {"dimension": 64, "seed": 1}
    assert found["wide"]["training"] == {"steps": 5} and found["wide"]["corpus"] == "run"
    assert found["tale"]["corpus"] == "stories"


def test_two_cells_that_are_the_same_are_refused() -> None:
    with pytest.raises(InputError, match="ablations.cells.again: the same as 'baseline'"):
        cells(baseline={}, again={"model": {"dimension": 16}})


def test_a_seed_is_of_the_weights_and_of_the_data() -> None:
    cell = seeded(cells(baseline={})["baseline"], 7)
    assert (cell["model"]["seed"], cell["training"]["seed"]) == (7, 7)


@pytest.mark.parametrize(("scale", "most"), [("demo", 40), ("small", 12), ("paper", 40)])
def test_a_scale_has_the_paper_s_comparisons_in_few_trainings(scale: str, most: int) -> None:
    settings = resolve(scale)["ablations"]
    found = [factors(cell) for cell in ablation_cells(settings).values()]
    assert len({json.dumps(cell) for cell in found}) == len(found)
    assert len(found) * len(settings["seeds"]) <= most
    pairs = {(cell["predict"], cell["dimension"]) for cell in found if cell["corpus"] == "run"}
    wanted = (16, 128) if scale == "small" else (16, 64, 128, 256)
    assert pairs == {(predict, d) for predict in ("x0", "eps") for d in wanted}
    embeddings = {cell["embedding"] for cell in found}
    assert embeddings == {"learned", "random"} | ({"language_model"} if scale == "small" else set())


@pytest.mark.parametrize("scale", ["demo", "small", "paper"])
def test_the_grids_have_the_paper_s_losses_with_what_fast_adds(scale: str) -> None:
    for cell in ablation_cells(resolve(scale)["ablations"]).values():
        model = cell["model"]
        assert model["layout"] == "pad" and model["predict"] in ("x0", "eps")
        assert not model["self_conditioning"]
        assert model["normalised"] == (scale != "paper")


def test_an_unknown_key_of_a_cell_is_told() -> None:
    with pytest.raises(
        InputError, match=r"unknown key 'ablations\.cells\.baseline\.modle'; did you mean 'model'"
    ):
        resolve("demo", {"ablations": {"cells": {"baseline": {"modle": {}}}}})


def test_a_variant_changes_the_guidance_of_its_own_task() -> None:
    method = {
        "sampling": {"steps": 5, "eta": 1},
        "guidance": {"length": {"rate": 1}, "syntax_tree": {"rate": 2}},
    }
    found = varied(method, "length", {"sampling": {"steps": 9}, "guidance": {"rate": 3}, "samples": 2})
    assert found == {
        "sampling": {"steps": 9, "eta": 1},
        "guidance": {"length": {"rate": 3}, "syntax_tree": {"rate": 2}},
    }
    assert varied(method, "length", {}) == method


@pytest.mark.parametrize("scale", ["demo", "small", "paper"])
def test_every_sampling_group_varies_a_method_on_a_task_of_its_own(scale: str) -> None:
    settings = resolve(scale)
    for group in filter(None, settings["sampling_ablations"]["groups"].values()):
        assert group["task"] in settings["methods"][group["method"]]["tasks"]
        assert len(group["variants"]) > 1
