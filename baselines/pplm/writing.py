"""Writing under PPLM: perturb, read, fuse with the unperturbed distribution, draw, and on to the next token.

Prompts are empty, so all unfinished texts of a batch have the same length; those that end leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.pplm.attribute import AttributeModel
from baselines.pplm.perturbation import (
    History,
    Moment,
    PerturbationSettings,
    log_probabilities,
    perturb,
    read,
)
from pipeline.decoding import GumbelNoise
from pipeline.language_model import LanguageModel


@dataclass(frozen=True)
class WritingSettings:
    """``fusion``: the share of the perturbed distribution; ``top_k``: how many words can be drawn."""

    perturbation: PerturbationSettings
    fusion: float
    top_k: int


@dataclass
class Unfinished:
    """The texts of a batch that have not ended; tensors have one row per text."""

    rows: list[int]  # their numbers in the batch
    token: Tensor  # x_t [B]
    history: History  # H_t
    unperturbed: History  # U, without x_t
    hidden: Tensor  # sum of the unperturbed hidden states before x_t [B, d]
    norms: Tensor  # largest gradient norms so far [layers, B]
    wanted: AttributeModel

    @classmethod
    def start(cls, model: LanguageModel, wanted: AttributeModel, texts: int) -> Unfinished:
        """Texts of which only START is given."""
        config, device = model.network.config, model.network.device
        token = torch.full((texts,), model.start, device=device)
        hidden = torch.zeros(texts, config.n_embd, device=device)
        norms = torch.zeros(config.n_layer, texts, device=device)
        return cls(list(range(texts)), token, [], [], hidden, norms, wanted)

    def keep(self, going: Tensor) -> Unfinished:
        """Only the texts where ``going`` [B] is True."""
        if going.all():
            return self
        rows = [row for row, goes in zip(self.rows, going.tolist(), strict=True) if goes]
        history, unperturbed = _select(self.history, going), _select(self.unperturbed, going)
        hidden, norms, wanted = self.hidden[going], self.norms[:, going], self.wanted.select(going)
        return Unfinished(rows, self.token[going], history, unperturbed, hidden, norms, wanted)


@torch.no_grad()
def write(
    model: LanguageModel, wanted: AttributeModel, generators: Sequence[torch.Generator],
    settings: WritingSettings, longest: int,
) -> list[list[int]]:  # fmt: skip
    """New token ids of each text, END included; a text that has not ended at ``longest`` words is cut.

    The first word is not steered: behind START alone there is no history to perturb, as in the original
    (run_pplm.py:563, 583).

    Raises:
        InputError: ``longest`` does not fit the model's positions.
    """
    steps = model.most_tokens(longest)
    model.check_length(steps + wanted.horizon)
    texts: list[list[int]] = [[] for _ in generators]
    unfinished = Unfinished.start(model, wanted, len(generators))
    for _ in range(steps):
        log_q = next_log_probabilities(model, unfinished, settings)
        noise = GumbelNoise([generators[row] for row in unfinished.rows], temperature=1.0)
        unfinished.token = draw(log_q, settings.top_k, noise)
        for row, token in zip(unfinished.rows, unfinished.token.tolist(), strict=True):
            texts[row].append(token)
        unfinished = unfinished.keep(unfinished.token != model.end)
        if not unfinished.rows:
            break
    return texts


def next_log_probabilities(model: LanguageModel, texts: Unfinished, settings: WritingSettings) -> Tensor:
    """Read x_t with and without perturbation; log q + constant of the next token [B, V] (Section 3.3).

    q is proportional to p^fusion u^(1 - fusion). The perturbation stays in the history for later tokens.
    """
    token = model.network.transformer.wte(texts.token)
    plain = read(model, texts.unperturbed, token)
    log_u = log_probabilities(model, plain.hidden)
    moment = Moment(token, texts.history, plain.history, log_u, texts.hidden)
    texts.unperturbed, texts.hidden = plain.history, texts.hidden + plain.hidden
    if not moment.history:
        texts.history = plain.history
        return log_u
    perturbed = perturb(model, moment, texts.wanted, settings.perturbation, texts.norms)
    hidden, texts.history = read(model, perturbed, token)
    return settings.fusion * log_probabilities(model, hidden) + (1 - settings.fusion) * log_u


def draw(log_q: Tensor, top_k: int, noise: GumbelNoise) -> Tensor:
    """One token of each row [B], drawn from its ``top_k`` likeliest."""
    from transformers import TopKLogitsWarper

    kept = TopKLogitsWarper(top_k)(None, log_q)
    return noise(kept, kept).argmax(-1)


def cost(tokens: int, updates: int, horizon: int) -> tuple[int, int]:
    """Tokens that the language model reads, and backward passes, for a text of ``tokens`` with its END.

    START is read once. Every later token is read without perturbation, in each update together with
    ``horizon`` soft tokens, and once more behind the final history; the last one drawn is not read.
    """
    steered = tokens - 1
    return 1 + steered * (2 + updates * (1 + horizon)), steered * updates


def _select(history: History, going: Tensor) -> History:
    return [(keys[going], values[going]) for keys, values in history]
