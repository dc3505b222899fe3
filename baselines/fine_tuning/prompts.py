"""Controls as words: the prompts of fine-tuned language models (released code: run_clm.py:435-477, 740-745,
1048-1070, 1121-1124, 1171-1210)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.errors import InputError
from pipeline.language_model import LanguageModel
from pipeline.records import Target, Text
from pipeline.tasks import (
    LENGTH,
    PARTS_OF_SPEECH,
    SEMANTIC_CONTENT,
    SYNTAX_SPANS,
    SYNTAX_TREE,
    UNIVERSAL_TAGS,
    part_control,
)
from pipeline.trees import MASK

Control = Mapping[str, Any]
_LEAF = re.compile(r"\([^\s()]+ [^\s()]+\)")
_BRACKETS = re.compile(rf"\([^\s()]*|\)|{re.escape(MASK)}")


class Serialisation(NamedTuple):
    """How the controls of a task become words."""

    prompt: Callable[[Control], list[str]]
    stated: Callable[[Text], list[Control]]  # the controls that a training text fulfils
    askable: Callable[[Sequence[Text], int], list[Control]]  # all that prompts must be able to say


def _field_prompt(control: Control) -> list[str]:
    return [*control["field"].split(), ":", *control["value"].split()]


def _stated_fields(text: Text) -> list[Control]:
    return [{"field": field, "value": value} for field, value in (text.fields or {}).items()]


def _tree_prompt(control: Control) -> list[str]:
    return _BRACKETS.findall(_LEAF.sub(MASK, control["tree"]))


def _span_prompt(control: Control) -> list[str]:
    return [str(control["first"]), str(control["last"]), control["label"]]


def _stated_spans(text: Text) -> list[Control]:
    return [{"first": first, "last": last, "label": label} for first, last, label in text.spans or []]


def _stated_by_all(
    serialise: Callable[[Text], list[Control]],
) -> Callable[[Sequence[Text], int], list[Control]]:
    return lambda texts, most_words: [control for text in texts for control in serialise(text)]


def _stated_tags(text: Text) -> list[Control]:
    return [{"tags": text.tags}] if text.tags else []


def _stated_tree(text: Text) -> list[Control]:
    return [{"tree": text.tree}] if text.tree else []


def _askable_spans(texts: Sequence[Text], most_words: int) -> list[Control]:
    labels = dict.fromkeys(control["label"] for text in texts for control in _stated_spans(text))
    return [{"first": word, "last": word, "label": label} for word in range(most_words) for label in labels]


SERIALISATIONS: dict[str, Serialisation] = {
    SEMANTIC_CONTENT: Serialisation(_field_prompt, _stated_fields, _stated_by_all(_stated_fields)),
    PARTS_OF_SPEECH: Serialisation(
        lambda control: list(control["tags"]),
        _stated_tags,
        lambda texts, most_words: [{"tags": UNIVERSAL_TAGS}],
    ),
    SYNTAX_TREE: Serialisation(_tree_prompt, _stated_tree, _stated_by_all(_stated_tree)),
    SYNTAX_SPANS: Serialisation(_span_prompt, _stated_spans, _askable_spans),
    LENGTH: Serialisation(
        lambda control: [str(control["length"])],
        lambda text: [{"length": len(text.tokens)}],
        lambda texts, most_words: [{"length": words} for words in range(most_words + 1)],
    ),
}


def prompt(task: str, control: Control) -> list[str]:
    """The words of a control.

    ``food : Fast food``; the tags; the bracketed tree without tags, its leaves ``*``; first word, last word
    and label of a span; the number of words.
    """
    return SERIALISATIONS[task].prompt(control)


def extra_words(task: str, texts: Sequence[Text], most_words: int) -> list[str]:
    """Every word of every prompt of a task, once, so that a word-level model has a token for each.

    A pretrained model spells them in its own tokens, as in the release.
    """
    askable = SERIALISATIONS[task].askable(texts, most_words)
    return list(dict.fromkeys(word for control in askable for word in prompt(task, control)))


def prompt_ids(model: LanguageModel, target: Target, part: str | None = None) -> list[int]:
    """The token ids of a target's control, or of one ``part`` of a composition's.

    Raises:
        InputError: a word of it is none of the model's.
    """
    task = part or target.task
    words = prompt(task, part_control(target.control, task))
    ids = model.encode_prompt(words)
    if model.unknown in ids:
        what = f"the model's prompts cannot say '{' '.join(words)}'"
        raise InputError(f"target '{target.target_id}'", what, "ask for a control of the training texts")
    return ids
