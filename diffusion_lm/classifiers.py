"""Guidance classifiers p(c | x_t) on noisy word vectors (paper Section 5.1, Appendix D): semantic content.

``fields`` reads a noisy text at once: every position scores every value, the scores of a value are
pooled over positions (log-sum-exp, so one place that states it is enough), and each field has a softmax
over its values and "none". ``words`` is the paper's form: a left-to-right Transformer that continues the
noisy words by the words of the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from diffusion_lm.denoiser import Denoiser, DiffusionLM
from diffusion_lm.encoder import TimeEmbedding
from diffusion_lm.objective import stratified_steps, word_loss
from diffusion_lm.process import Process
from pipeline.corpora.vocabulary import PAD

NONE = "none"


@dataclass(frozen=True)
class ClassifierSettings:
    """Shape and form of a guidance classifier; every key is described in the configuration schema."""

    form: str
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    time_channels: int
    dropout: float
    seed: int


def continued(settings: ClassifierSettings, model: DiffusionLM, outputs: int) -> Denoiser:
    """The denoiser's first layers with its weights, to be trained further, and a new last layer."""
    shape = replace(model.settings, layers=settings.layers, dropout=settings.dropout)
    body, start = Denoiser(shape, model.inputs, outputs), model.denoiser.state_dict()
    kept = {name: start[name] for name in body.state_dict() if not name.startswith("down.2")}
    body.load_state_dict(kept, strict=False)
    return body


class FieldClassifier(nn.Module):
    """One softmax per field over "none" and its values; a control is one column of all of them.

    The body is the denoiser's first layers, trained further from its weights: it knows noisy texts already.
    """

    def __init__(
        self, settings: ClassifierSettings, model: DiffusionLM, values: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__()
        torch.manual_seed(settings.seed)
        self.fields = sorted(values)
        pairs = [(field, value) for field in self.fields for value in (NONE, *sorted(values[field]))]
        self.columns = {pair: column for column, pair in enumerate(pairs)}
        self.widths = [1 + len(values[field]) for field in self.fields]
        self.body = continued(settings, model, len(self.columns))
        self.blank = model.inputs - model.settings.dimension  # the place of self-conditioning stays empty

    def log_probabilities(self, x: Tensor, time: Tensor, mask: Tensor) -> Tensor:
        """log p(field = value | x_t) of every column, [B, columns]."""
        x = nn.functional.pad(x, (0, self.blank))
        scores = self.body(x, time, mask).float().masked_fill(~mask[..., None], -torch.inf)
        pooled = scores.logsumexp(1)
        return torch.cat([part.log_softmax(-1) for part in pooled.split(self.widths, -1)], -1)

    def labels(self, fields: Mapping[str, str]) -> list[int]:
        """The column of each field that holds for a text."""
        return [self.columns[field, fields.get(field, NONE)] for field in self.fields]

    def control_loss(
        self, x: Tensor, time: Tensor, mask: Tensor, controls: Sequence[tuple[str, str]]
    ) -> Tensor:
        """-log p(field = value | x_t) of each text's own control, [B]."""
        columns = torch.tensor([self.columns[control] for control in controls], device=x.device)
        return -self.log_probabilities(x, time, mask).gather(1, columns[:, None])[:, 0]


class WordsClassifier(nn.Module):
    """The paper's form: [time, noisy words, field and value words] through a causal GPT-2 trunk."""

    def __init__(self, settings: ClassifierSettings, table: Tensor) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2Model

        torch.manual_seed(settings.seed)
        hidden, dimension = settings.hidden, table.shape[1]
        rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), settings.dropout)
        config = GPT2Config(
            vocab_size=1, n_positions=settings.positions, n_embd=hidden, n_layer=settings.layers,
            n_head=settings.heads, bos_token_id=0, eos_token_id=0, **rates,
        )  # fmt: skip
        self.table: Tensor
        self.register_buffer("table", table.detach().clone())
        self.up = nn.Sequential(
            nn.Linear(dimension, 4 * dimension), nn.Tanh(), nn.Linear(4 * dimension, hidden)
        )
        self.time = TimeEmbedding(settings.time_channels, hidden)
        self.trunk = GPT2Model(config)
        self.trunk.wte.requires_grad_(False)  # words come as vectors
        self.head = nn.Linear(hidden, len(table), bias=False)

    def label_loss(self, x: Tensor, time: Tensor, mask: Tensor, ids: Tensor, prompt: Tensor) -> Tensor:
        """Mean cross-entropy of the value words, [B].

        Args:
            ids: field and value words [B, M], padded with PAD. prompt: number of field words, [B].
        """
        noisy, label = self.up(x), self.up(self.table[ids])
        attended = torch.cat([mask.new_ones(len(x), 1), mask, ids != PAD], 1)
        places = (attended.cumsum(1) - 1).clamp(min=0)
        inputs = torch.cat([self.time(time)[:, None], noisy, label], 1)
        hidden = self.trunk(
            inputs_embeds=inputs, attention_mask=attended.long(), position_ids=places
        ).last_hidden_state
        start = 1 + x.shape[1]
        losses = word_loss(self.head(hidden[:, start : start + ids.shape[1] - 1]), ids[:, 1:])
        place = torch.arange(1, ids.shape[1], device=ids.device)
        counted = (place >= prompt[:, None]) & (ids[:, 1:] != PAD)
        return (losses * counted).sum(1) / counted.sum(1)


def noisy_batch(model: DiffusionLM, ids: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """x_t [B, L, d] of a batch of texts as the sampler will show them, and the network times [B]."""
    t = stratified_steps(len(ids), model.process).to(ids.device)
    with torch.no_grad():
        clean = model.embedding(ids)
        noisy = model.process.q_sample(clean, t, torch.randn_like(clean))
    return torch.where(free[..., None], noisy, clean), times(model.process, t)


def times(process: Process, t: Tensor) -> Tensor:
    """Network times of steps, [B]."""
    return torch.as_tensor(process.time, dtype=torch.float32)[t.cpu()].to(t.device)
