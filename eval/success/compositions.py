"""Compositions: a value and a form of sentence at once (paper section 7.2, Table 4)."""

from __future__ import annotations

from typing import NamedTuple

from eval.oracles.judge import Judge
from eval.success import parts_of_speech, semantic_content, syntax_tree
from eval.success.batch import Scorer, Scores
from pipeline.records import Target


class Half(NamedTuple):
    """The syntactic half of a composition: the name of its metrics, and its scorers."""

    name: str
    score: Scorer
    paper: Scorer


HALVES = {
    "semantic_content+syntax_tree": Half("syntax", syntax_tree.score, syntax_tree.paper),
    "semantic_content+parts_of_speech": Half("pos", parts_of_speech.score, parts_of_speech.paper),
}


def score(half: Half, texts: list[list[str]], targets: list[Target], judge: Judge | None) -> Scores:
    """Success of texts, 0 to 100, in both halves and at once.

    ``semantic_ctrl`` and ``syntax_ctrl`` or ``pos_ctrl`` (paper, Table 4), each with ``_released`` and
    ``_strict``, are the scores of the single tasks. The paper does not say how often both hold; ours are

    - ``joint``: semantic_ctrl times the syntactic half / 100, the degree of the one where the other holds;
    - ``joint_strict``: 100 if the value is contained and the syntactic half is exactly 100, else 0.

    ``length_mismatch`` is that of the syntactic half.
    """
    scores = []
    for semantic, syntactic in zip(_semantic(texts, targets), half.score(texts, targets, judge), strict=True):
        degree = syntactic["ctrl"]
        own = {f"{half.name}_{key}" if "ctrl" in key else key: value for key, value in syntactic.items()}
        joint = _joint(semantic, degree) | {"joint_strict": 100.0 * (semantic["ctrl"] == degree == 100)}
        scores.append({f"semantic_{key}": value for key, value in semantic.items()} | own | joint)
    return scores


def paper(half: Half, texts: list[list[str]], targets: list[Target], judge: Judge | None) -> Scores:
    """Of :func:`score` only what a judge has a say in by the paper's definition, and ``joint``."""
    both = zip(_semantic(texts, targets), half.paper(texts, targets, judge), strict=True)
    return [{f"{half.name}_ctrl": s["ctrl"]} | _joint(semantic, s["ctrl"]) for semantic, s in both]


def _semantic(texts: list[list[str]], targets: list[Target]) -> Scores:
    return [semantic_content.score(w, target.control) for w, target in zip(texts, targets, strict=True)]


def _joint(semantic: dict[str, float], degree: float) -> dict[str, float]:
    return {"joint": semantic["ctrl"] * degree / 100}
