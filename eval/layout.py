"""What the result tables show, and in which order: tasks, methods, target sets and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eval.success import PAPER, SECOND_JUDGE
from eval.success.compositions import HALVES
from pipeline.tasks import COMPOSITIONS, UNCONDITIONAL

ALL_TARGETS, UNTOUCHED = "all", "untouched"  # untouched: those of all on which no setting was chosen
RELEASED, HELDOUT = "released", "heldout"
TARGET_SETS = (ALL_TARGETS, UNTOUCHED, RELEASED, HELDOUT)
TASKS = (
    *(UNCONDITIONAL, "semantic_content", "parts_of_speech", "syntax_tree", "syntax_spans", "length"),
    *COMPOSITIONS,
)
METHODS = ("human", "unguided", "pplm", "fudge", "diffusion_lm", "ft_sample", "ft_search")
COMPOSITION_METHODS = ("human", "unguided", "fudge", "diffusion_lm", "ft_poe")
INFILLING_METHODS = ("left_only", "delorean", "cold", "diffusion_lm", "diffuseq", "ar_infilling", "human")
CHEATERS = ("cheat_retrieval", "cheat_repeat", "cheat_source", "cheat_shuffle")  # no methods (eval.cheaters)
METHOD_ORDER = (*METHODS, *(name for name in COMPOSITION_METHODS if name not in METHODS))
ALL_METHODS = (*METHOD_ORDER, *INFILLING_METHODS)
REFUSED = "not applicable: "  # begins the note of a cell that the method cannot fill; its reason follows
SELECTIONS = {"mbr": "one text per target and seed, selected by MBR", "all": "all samples"}


def methods(task: str) -> tuple[str, ...]:
    """The methods that a table of the task names whether they were run or not."""
    if task == UNCONDITIONAL:
        return ()
    return COMPOSITION_METHODS if task in COMPOSITIONS else METHODS


def success_metrics(task: str) -> dict[str, str]:
    """The main success metrics of a task, each with the title of its column."""
    if task not in COMPOSITIONS:
        return {"ctrl": "ctrl"}
    half = HALVES[task].name
    return {"semantic_ctrl": "semantic", f"{half}_ctrl": half, "joint": "joint"}


def paper_pair(task: str) -> tuple[str, ...]:
    """The paper's own numbers: control success (of a composition that of both halves) and lm-score."""
    return (*(metric for metric in success_metrics(task) if metric != "joint"), "lm_score")


def headline(task: str) -> dict[str, str]:
    """The metrics of the main table, each with the title of its column; a second judge beside the first."""
    columns = {}
    for metric, title in success_metrics(task).items():
        columns[metric] = title
        if task in PAPER and metric.endswith("ctrl") and metric != "semantic_ctrl":
            columns[metric + SECOND_JUDGE] = "judge 2"
    return columns | {"lm_score": "lm"}


def method_rows(names: Iterable[str]) -> list[str]:
    """The distinct methods in the order of the tables, the cheaters behind all others."""
    found = ordered(names, METHOD_ORDER)
    return [*(name for name in found if name not in CHEATERS), *(name for name in CHEATERS if name in found)]


def ordered(names: Iterable[str], first: Sequence[str]) -> list[str]:
    """The distinct names: those of ``first`` in its order, then the others by alphabet."""
    return sorted(set(names), key=lambda name: (first.index(name) if name in first else len(first), name))
