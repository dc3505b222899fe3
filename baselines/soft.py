"""Soft texts: rows of logits over the vocabulary, read by a language model as mixtures of its word vectors.

DELOREAN and COLD infill with them; what both share stands here. Contexts are read once and kept as keys and
values, so a step reads nothing but the text itself.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from baselines.ranking import LanguageModelRanker, NextSentenceRanker, Ranker
from pipeline.decoding import left_padded
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel, padded
from pipeline.methods import ONLY_INFILLING, Method, Request
from pipeline.progress import Progress
from pipeline.tasks import INFILLING

History = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, each [B, heads, L, d / heads]."""
Step = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""Place and logits of its word [B, V] to what is kept of it and its vector [B, d]."""


class Context(NamedTuple):
    """What stands left of a soft text, padded on the left: its mask [B, L] and the next logits [B, V]."""

    history: History
    mask: Tensor
    logits: Tensor

    def repeat(self, times: int) -> Context:
        """Every row so many times, one behind the other."""
        history = [(k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)) for k, v in self.history]
        return Context(history, *(t.repeat_interleave(times, 0) for t in (self.mask, self.logits)))


class Padded(NamedTuple):
    """Token ids padded on the right and their mask, both [B, L]."""

    ids: Tensor
    mask: Tensor

    @classmethod
    def of(cls, model: LanguageModel, rows: Sequence[list[int]]) -> Padded:
        """The batch of these rows, which may be empty."""
        ids, mask = padded(rows, model.pad), padded([[1] * len(row) for row in rows], 0)
        return cls(ids.long().to(device()), mask.bool().to(device()))

    def repeat(self, times: int) -> Padded:
        """Every row so many times, one behind the other."""
        return Padded(*(tensor.repeat_interleave(times, 0) for tensor in self))


class Reading:
    """Reads on behind a context, which itself stays as it is."""

    def __init__(self, model: LanguageModel, context: Context) -> None:
        from transformers import DynamicCache

        self.model, self.mask = model, context.mask
        self.cache = DynamicCache(config=model.network.config)  # extended in place
        for layer, (keys, values) in enumerate(context.history):
            self.cache.update(keys, values, layer)

    def read(self, vectors: Tensor) -> Tensor:
        """Logits [B, n, V] of the words after each of these [B, n, d]."""
        count = vectors.shape[1]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(vectors), count)], 1)
        states = self.model.network.transformer(
            inputs_embeds=vectors, attention_mask=self.mask, past_key_values=self.cache, use_cache=True,
            position_ids=places(self.mask)[:, -count:],
        ).last_hidden_state  # fmt: skip
        return next_logits(self.model, states)


def next_logits(model: LanguageModel, states: Tensor) -> Tensor:
    """Logits [..., V] behind last hidden states [..., d]; what no text has is as unlikely as the last word.

    A gap's text goes on behind it, so it has no END either. Nothing is infinite, since norms are taken.
    """
    logits: Tensor = model.network.lm_head(states)
    logits[..., never(model)] = logits.amin(-1, keepdim=True)
    return logits


def never(model: LanguageModel) -> list[int]:
    """Tokens that no text in a gap may have."""
    return [*model.barred, model.end, model.unknown]


def places(mask: Tensor) -> Tensor:
    """Positions of texts padded on the left, from 0."""
    return (mask.cumsum(1) - 1).clamp(min=0)


@torch.no_grad()
def read_context(model: LanguageModel, given: Sequence[list[int]]) -> Context:
    """Read token ids, at least one per row."""
    ids, mask = left_padded(model, given)
    output = model.network.transformer(
        input_ids=ids, attention_mask=mask, position_ids=places(mask), use_cache=True
    )
    history = cast(History, [(layer.keys, layer.values) for layer in output.past_key_values.layers])
    return Context(history, mask, next_logits(model, output.last_hidden_state[:, -1]))


@torch.no_grad()
def unroll(model: LanguageModel, context: Context, words: int, step: Step) -> Tensor:
    """Go left to right: ``step`` makes each word from its logits. What it keeps, stacked [B, words, ...]."""
    reading, (made, vector) = Reading(model, context), step(0, context.logits)
    kept = [made]
    for place in range(1, words):
        made, vector = step(place, reading.read(vector[:, None])[:, 0])
        kept.append(made)
    return torch.stack(kept, 1)


def rollout(
    model: LanguageModel, context: Context, words: int, sharpness: float,
    mix: Callable[[int, Tensor], Tensor],
) -> Tensor:  # fmt: skip
    """A soft text [B, words, V], made by ``mix`` from the model's logits; softmax(. / sharpness) is read."""

    def step(place: int, logits: Tensor) -> tuple[Tensor, Tensor]:
        made = mix(place, logits)
        return made, soft_vectors(model, made / sharpness)

    return unroll(model, context, words, step)


def write(
    model: LanguageModel, context: Context, words: int, choose: Callable[[int, Tensor], Tensor]
) -> Tensor:
    """Token ids [B, words], each chosen from the model's logits behind the words before it."""

    def step(place: int, logits: Tensor) -> tuple[Tensor, Tensor]:
        chosen = choose(place, logits)
        return chosen, word_vectors(model, chosen)

    return unroll(model, context, words, step)


def soft_vectors(model: LanguageModel, logits: Tensor) -> Tensor:
    """Mean word vectors [..., d] under softmax(logits)."""
    return logits.softmax(-1) @ model.network.transformer.wte.weight


def word_vectors(model: LanguageModel, ids: Tensor) -> Tensor:
    """Vectors [..., d] of tokens."""
    vectors: Tensor = model.network.transformer.wte(ids)
    return vectors


def likeliest(model: LanguageModel, logits: Tensor) -> Tensor:
    """The best tokens [...] of a text."""
    return barred(model, logits).argmax(-1)


def barred(model: LanguageModel, logits: Tensor) -> Tensor:
    """Logits [..., V] that are -inf for what no text may have."""
    return logits.index_fill(-1, torch.tensor(never(model), device=logits.device), -torch.inf)


def right_losses(model: LanguageModel, before: Tensor, vectors: Tensor, right: Padded) -> Tensor:
    """Mean cross-entropy [B] of the right side behind the tokens ``before`` [B, F] and a text [B, N, d]."""
    read = torch.cat([word_vectors(model, before), vectors, word_vectors(model, right.ids[:, :-1])], 1)
    states = model.network.transformer(inputs_embeds=read, use_cache=False).last_hidden_state
    states = states[:, -right.ids.shape[1] :][right.mask]  # padding costs no logits
    found = cross_entropy(model.network.lm_head(states), right.ids[right.mask], reduction="none")
    losses = torch.zeros_like(right.mask, dtype=found.dtype).masked_scatter(right.mask, found)
    return losses.sum(1) / right.mask.sum(1)


class Written(NamedTuple):
    """The words of a request and what they cost."""

    words: list[str]
    forward_tokens: int
    backward_passes: int


class SoftInfilling(Method):
    """What DELOREAN and COLD share as methods: models, batches, and how candidates are ranked.

    Settings: ``longest`` (words of a candidate), ``ranking`` (``language_model``, or the hub name or folder
    of a BERT with a next-sentence head), ``batch_size`` (requests), and those of the method.
    """

    tasks = frozenset({INFILLING})
    refusals = ONLY_INFILLING

    @abstractmethod
    def texts(self, requests: Sequence[Request], seed: int) -> list[Written]:
        """One batch."""

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Words and costs; requests with right sides of similar length share a batch.

        Raises:
            InputError: a model is of another direction, of another vocabulary or too short.
        """
        self.check(requests)
        order = sorted(range(len(requests)), key=lambda i: len(self.right(requests[i])))
        written: dict[int, Written] = {}
        progress, size = Progress(self.name, len(requests)), self.settings["batch_size"]
        for rows in (order[i : i + size] for i in range(0, len(order), size)):
            texts = self.texts([requests[i] for i in rows], seed)
            written |= dict(zip(rows, texts, strict=True))
            progress.update(len(written))
        yield from (written[i] for i in range(len(requests)))

    def check(self, requests: Sequence[Request]) -> None:
        """Check that the model can read every request's left, a longest text and right at once."""
        if (words := self.settings["words"]) >= (longest := self.settings["longest"]):
            what = f"is {words}, but a candidate has at most {longest} words"
            raise InputError(f"methods.{self.name}.words", what, "raise longest")
        for request in requests:
            if not self.right(request):
                what = "has nothing on the right"
                raise InputError(f"target '{request.target.target_id}'", what, "use left_only for it")
        around = max(len(self.left(request)) + len(self.right(request)) for request in requests)
        self.model.check_length(1 + around + longest)

    @cached_property
    def model(self) -> LanguageModel:
        """The language model, frozen."""
        return self.frozen("language_model", "forward")

    @cached_property
    def ranker(self) -> Ranker:
        """What ranks candidates."""
        if (ranking := self.settings["ranking"]) == "language_model":
            return LanguageModelRanker(self.model)
        return NextSentenceRanker(ranking)

    def frozen(self, name: str, direction: str) -> LanguageModel:
        """A model of the configuration.

        Raises:
            InputError: it is of another direction or vocabulary, or not word level.
        """
        path: Path = self.models[name]
        model = LanguageModel.load(path, vocabulary=self.vocabulary.digest(), direction=direction)
        if not model.word_level:
            how = "set the source of the stories' language model to train"
            raise InputError(path, "sub-word tokens cannot be cut into the words of a soft text", how)
        blocks: Any = model.network.transformer.h
        for block in blocks:
            block.mlp.act = nn.GELU(approximate="tanh")  # GPT-2's own, in one pass over memory
        return model.to(device()).requires_grad_(False)

    @staticmethod
    def left(request: Request) -> list[str]:
        """Words on the left."""
        words: list[str] = request.target.control["left"].split()
        return words

    @staticmethod
    def right(request: Request) -> list[str]:
        """Words on the right."""
        words: list[str] = request.target.control["right"].split()
        return words
