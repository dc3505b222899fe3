"""The energy of COLD: fluency in both directions, the right side's likelihood, and its keywords.

Symbols are those of Qin et al. (2022), Section 3: a soft text y [B, N, V] of logits. Line numbers are those
of cold_decoding.py in the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from baselines.soft import (
    Context,
    Padded,
    Reading,
    barred,
    likeliest,
    never,
    right_losses,
    soft_vectors,
    word_vectors,
)
from pipeline.language_model import LanguageModel

FUTURE_SHARPNESS = 0.3  # temperature of the words before the right side (:292)
REPETITION = 1e4  # how much a word that comes next is barred from right to left (:274)
LEAST = -20.0  # log-probability that a keyword's is raised to (bleuloss.py:32)


@dataclass(frozen=True)
class EnergySettings:
    """``constraint`` c and ``keyword_weight`` w, ``forward_share`` rho of the fluency from left to right, and
    how many words it allows at a place beside keywords, ``top_k``.
    """

    constraint: float
    keyword_weight: float
    forward_share: float
    top_k: int


class Gap(NamedTuple):
    """What stands around a batch of texts; ``reversed_right`` is read by the model from right to left."""

    left: Context
    last: Tensor  # last token on the left [B, 1]
    right: Padded
    reversed_right: Context | None
    keywords: Padded

    def repeat(self, times: int) -> Gap:
        """Every row so many times, one behind the other."""
        reversed_right = self.reversed_right and self.reversed_right.repeat(times)
        last, right, keywords = (
            self.last.repeat_interleave(times, 0),
            *(part.repeat(times) for part in (self.right, self.keywords)),
        )
        return Gap(self.left.repeat(times), last, right, reversed_right, keywords)


class Terms(NamedTuple):
    """The parts of the energy, each [B]."""

    forward: Tensor
    backward: Tensor
    future: Tensor
    keywords: Tensor


class Allowed(NamedTuple):
    """The words that may stand at each place: token ids [B, N, K], and which of them count."""

    ids: Tensor
    mask: Tensor

    def of(self, logits: Tensor) -> Tensor:
        """Their logits [B, N, K]; -inf where none counts."""
        return logits.gather(2, self.ids).masked_fill(~self.mask, -torch.inf)

    def best(self, logits: Tensor) -> Tensor:
        """The likeliest of them at each place [B, N]."""
        return self.ids.gather(2, self.of(logits).argmax(2, keepdim=True))[..., 0]


class Energy:
    """The energy of a batch of soft texts. The words that are allowed follow the text as it was last seen."""

    def __init__(
        self, model: LanguageModel, backward: LanguageModel | None, gap: Gap, settings: EnergySettings
    ) -> None:
        self.model, self.backward, self.gap, self.settings = model, backward, gap, settings
        self.allowed: Allowed | None = None

    def total(self, terms: Terms) -> Tensor:
        """(1 - c) (rho E_forward + (1 - rho) E_backward) + c (E_future + w E_keywords), [B] (:314-319)."""
        c, rho = self.settings.constraint, self.settings.forward_share
        fluency = rho * terms.forward + (1 - rho) * terms.backward
        return (1 - c) * fluency + c * (terms.future + self.settings.keyword_weight * terms.keywords)

    def terms(self, soft: Tensor, gumbel: Tensor) -> Terms:
        """All parts (:232-312); ``gumbel`` noise [B, N, K] places the keywords."""
        log_y, zeros = soft.log_softmax(-1), soft.new_zeros(len(soft))
        return Terms(
            self.forward_term(soft, log_y),
            self.backward_term(soft, log_y) if self.settings.forward_share < 1 else zeros,
            self.future_term(soft) if self.settings.constraint else zeros,
            self.keyword_term(log_y, gumbel),
        )

    def forward_term(self, soft: Tensor, log_y: Tensor) -> Tensor:
        """Mean cross-entropy to the language model's words behind the text's own, as they are now.

        The original reads softmax(y / 0.001), which is one word nearly always; here it is that word.
        """
        with torch.no_grad():
            seen = soft.detach()
            words = self.allowed.best(seen) if self.allowed else likeliest(self.model, seen)
            logits = following(self.model, self.gap.left, words)
            self.allowed = allow(self.model, logits, self.gap.keywords, self.settings.top_k)
            wanted = self.allowed.of(logits).softmax(-1)
        return -(wanted * log_y.gather(2, self.allowed.ids)).sum(-1).mean(1)

    def backward_term(self, soft: Tensor, log_y: Tensor) -> Tensor:
        """Mean cross-entropy to the words before the text's own and the right side, read from right to left.

        What comes next must not come twice (:268-278).
        """
        assert self.backward is not None and self.gap.reversed_right is not None
        with torch.no_grad():
            words = likeliest(self.backward, soft.detach())
            logits = following(self.backward, self.gap.reversed_right, words.flip(1)).flip(1)
            next_words = logits[:, 1:].softmax(-1)
            logits[:, :-1] -= REPETITION * next_words
            wanted = logits.softmax(-1)
        return -(wanted * log_y).sum(-1).mean(1)

    def future_term(self, soft: Tensor) -> Tensor:
        """Mean cross-entropy of the right side behind the left side's last word and the text (:292-307).

        The words are sharpened, but the gradient passes as if they were not.
        """
        sharp = soft + (soft / FUTURE_SHARPNESS - soft).detach()
        return right_losses(self.model, self.gap.last, soft_vectors(self.model, sharp), self.gap.right)

    def keyword_term(self, log_y: Tensor, gumbel: Tensor) -> Tensor:
        """-log of a soft unigram BLEU: each keyword is wanted where Gumbel noise puts it (bleuloss.py)."""
        keywords = self.gap.keywords
        found = log_y.gather(2, keywords.ids[:, None].expand(-1, log_y.shape[1], -1)).clamp(min=LEAST)
        told = (found * (found + gumbel).softmax(1)).sum(1)
        return -(told * keywords.mask).sum(1) / keywords.mask.sum(1).clamp(min=1)


def following(model: LanguageModel, context: Context, words: Tensor) -> Tensor:
    """Logits [B, N, V] of the word at each place behind the context and the words [B, N] before it."""
    read = Reading(model, context).read(word_vectors(model, words[:, :-1]))
    return torch.cat([context.logits[:, None], read], 1)


def allow(model: LanguageModel, logits: Tensor, keywords: Padded, top_k: int) -> Allowed:
    """The ``top_k`` likeliest words that a text may have at each place of logits [B, N, V], and keywords."""
    likely = barred(model, logits).topk(min(top_k, logits.shape[-1] - len(never(model)))).indices
    more = keywords.ids[:, None].expand(-1, logits.shape[1], -1)
    again = (more[..., None] == likely[..., None, :]).any(-1)
    mask = torch.cat([torch.ones_like(likely, dtype=torch.bool), keywords.mask[:, None] & ~again], 2)
    return Allowed(torch.cat([likely, more], 2), mask)
