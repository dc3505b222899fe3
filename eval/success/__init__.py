"""Control success, one module per task; each states the paper's, the released and the strict definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from eval.oracles.judge import Judge
from eval.success import compositions, length, parts_of_speech, semantic_content, syntax_spans, syntax_tree
from eval.success.batch import Scorer, Scores, each
from pipeline.records import Target

SCORERS: dict[str, Scorer] = {
    "unconditional": each(lambda words, control: {}),  # nothing is asked for
    "semantic_content": each(semantic_content.score),
    "length": each(length.score),
    "parts_of_speech": parts_of_speech.score,
    "syntax_tree": syntax_tree.score,
    "syntax_spans": syntax_spans.score,
    **{task: partial(compositions.score, half) for task, half in compositions.HALVES.items()},
}
PAPER: dict[
    str, Scorer
] = {  # of the tasks that need a judge, what the judge decides by the paper's definition
    "parts_of_speech": parts_of_speech.paper,
    "syntax_tree": syntax_tree.paper,
    "syntax_spans": syntax_spans.paper,
    **{task: partial(compositions.paper, half) for task, half in compositions.HALVES.items()},
}
RELEASED_TARGETS = "_released_targets"
SECOND_JUDGE = "_judge2"
ENOUGH = 90  # percent of a control that has degrees (tags, trees) at which a text counts as satisfying it


def success(task: str, texts: list[list[str]], targets: list[Target], judges: Sequence[Judge] = ()) -> Scores:
    """Every success score of every text (one target per text).

    Beside the scores of the task's own scorer, which asks the first judge, a task of syntax has its paper
    scores by the second judge, if there is one (``_judge2``), and against the control of the released target
    file, where a target has that too (``_released_targets``).

    Raises:
        KeyError: no such task.
        ValueError: a task of syntax without a judge.
    """
    scores = SCORERS[task](texts, targets, judges[0] if judges else None)
    if task not in PAPER:
        return scores
    if len(judges) > 1:
        for found, second in zip(scores, PAPER[task](texts, targets, judges[1]), strict=True):
            found |= {key + SECOND_JUDGE: value for key, value in second.items()}
    places = [i for i, target in enumerate(targets) if target.released is not None]
    asked = [replace(targets[i], control=targets[i].control | (targets[i].released or {})) for i in places]
    released = PAPER[task]([texts[i] for i in places], asked, judges[0])
    for place, found in zip(places, released, strict=True):
        scores[place] |= {key + RELEASED_TARGETS: v for key, v in found.items() if key.endswith("ctrl")}
    return scores


def satisfied(scores: Mapping[str, float]) -> bool:
    """Whether a text does what its target asks for, by the paper's definitions; of a composition both halves.

    Tags and trees are met by degrees, of which 90 % are enough; where nothing is asked for, any text will do.
    """
    return all(value >= ENOUGH for name, value in scores.items() if name.endswith("ctrl"))
