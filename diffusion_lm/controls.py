"""What a syntax control asks of a text: how long it must be, and the classifier's loss that steers it there.

Each loss is -log p(c | x_t) per text, [B], for points x [B, L, d] and network times [B] (paper Appendix D).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from diffusion_lm.syntax_classifiers import SpanClassifier, TagClassifier, batch_rows
from pipeline.errors import InputError, nearest
from pipeline.records import Target
from pipeline.tasks import LENGTH, PARTS_OF_SPEECH, SYNTAX_SPANS, SYNTAX_TREE, UNIVERSAL_TAGS, parts
from pipeline.trees import read_tree, spans

NoisyLoss = Callable[[Tensor, Tensor], Tensor]

EXACT = frozenset({LENGTH, PARTS_OF_SPEECH, SYNTAX_TREE})  # controls that say how long a text is
_WORDS: Mapping[str, Callable[[Mapping[str, Any], str], int]] = {
    LENGTH: lambda control, where: control["length"],
    PARTS_OF_SPEECH: lambda control, where: len(control["tags"]),
    SYNTAX_TREE: lambda control, where: len(read_tree(control["tree"], where).words),
    SYNTAX_SPANS: lambda control, where: control["last"] + 1,
}


def fewest_words(target: Target, most: int) -> int:
    """The fewest words of a text that can meet a target's control; 0 where any number can.

    Raises:
        InputError: more than ``most``, or the control's tree does not parse.
    """
    where = place(target)
    words = max([_WORDS[part](target.control, where) for part in parts(target.task) if part in _WORDS] or [0])
    if words > most:
        raise InputError(where, f"a text of {words} words does not fit", f"ask for at most {most}")
    return words


def tells_length(task: str) -> bool:
    """Whether a task's control says how long a text is."""
    return not EXACT.isdisjoint(parts(task))


def tags_loss(classifier: TagClassifier, targets: Sequence[Target], mask: Tensor) -> NoisyLoss:
    """-sum_i log p(tag_i | x) over the words of the text.

    Raises:
        InputError: a tag that is none of the universal ones.
    """
    for target in targets:
        for tag in target.control["tags"]:
            if tag not in UNIVERSAL_TAGS:
                raise InputError(place(target), f"unknown tag '{tag}'", nearest(str(tag), UNIVERSAL_TAGS))
    rows = batch_rows([classifier.row(target.control["tags"]) for target in targets], mask.device)
    return lambda x, time: classifier.loss(x, time, mask, rows)


def tree_loss(classifier: SpanClassifier, targets: Sequence[Target], mask: Tensor) -> NoisyLoss:
    """-sum over all spans of log p(label or none | x); a label unknown to the classifier asks for nothing."""
    trees = [target.control["tree"] for target in targets]
    rows = [classifier.row(spans(tree), len(read_tree(tree).words)) for tree in trees]
    batch = batch_rows(rows, mask.device)
    return lambda x, time: classifier.loss(x, time, mask, batch)


def span_loss(classifier: SpanClassifier, targets: Sequence[Target], mask: Tensor) -> NoisyLoss:
    """-log p(label | x) of the one span asked for.

    Raises:
        InputError: no such span, or a label that the classifier has not learned.
    """
    for target in targets:
        first, last, label = (target.control[key] for key in ("first", "last", "label"))
        if not 0 <= first <= last:
            raise InputError(place(target), f"no span from {first} to {last}", "count words from 0")
        if label not in classifier.labels:
            what = f"the classifier does not know the label '{label}'"
            raise InputError(place(target), what, nearest(label, classifier.labels))
    asked = [(t.control["first"], t.control["last"], classifier.number(t.control["label"])) for t in targets]
    first_words, last_words, labels = torch.tensor(asked, device=mask.device).unbind(1)
    return lambda x, time: classifier.span_loss(x, time, mask, (first_words, last_words), labels)


def place(target: Target) -> str:
    """How an error names a target."""
    return f"target '{target.target_id}'"


SYNTAX_LOSSES: Mapping[str, Callable[[Any, Sequence[Target], Tensor], NoisyLoss]] = {
    PARTS_OF_SPEECH: tags_loss,
    SYNTAX_TREE: tree_loss,
    SYNTAX_SPANS: span_loss,
}
