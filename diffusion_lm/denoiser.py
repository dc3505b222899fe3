"""f_theta(x_t, t): the denoiser (paper Section 6.1, Appendix B) and the model around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffusion_lm.embedding import Embedding, nearness
from diffusion_lm.encoder import LAYER_NORM_EPSILON, Encoder, TimeEmbedding
from diffusion_lm.process import Process
from diffusion_lm.unet import UNet


@dataclass(frozen=True)
class ModelSettings:
    """Shape and form of a Diffusion-LM; every key is described in the configuration schema."""

    words: int
    dimension: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    time_channels: int
    dropout: float
    embedding: str
    normalised: bool
    predict: str
    self_conditioning: bool
    layout: str
    diffusion_steps: int
    schedule: str
    seed: int
    network: str = "transformer"


class Prediction(NamedTuple):
    """What the denoiser says of a noisy text: x_0 estimate [B, L, d] and word logits [B, L, V]."""

    x0: Tensor
    logits: Tensor


class Denoiser(nn.Module):
    """Noisy vectors and time to output vectors, [B, L, in] -> [B, L, out] (Appendix B)."""

    def __init__(self, settings: ModelSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = settings.hidden
        self.time = TimeEmbedding(settings.time_channels, hidden)
        self.up = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden))
        self.positions = nn.Embedding(settings.positions, hidden)
        self.norm = nn.LayerNorm(hidden, LAYER_NORM_EPSILON)
        self.dropout = nn.Dropout(settings.dropout)
        self.encoder = _encoder(settings)
        self.down = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, outputs))

    def forward(
        self, x: Tensor, time: Tensor, mask: Tensor | None = None, places: Tensor | None = None
    ) -> Tensor:
        """Read texts at network times [B]; nobody sees places where ``mask`` [B, L] is False.

        With ``places`` [B, L] there are outputs where it is True only, [N, out].
        """
        h = self.up(x) + self.positions.weight[: x.shape[1]] + self.time(time)[:, None]  # [B, L, H]
        h = self.encoder(self.dropout(self.norm(h)), mask)
        return self.down(h if places is None else h[places])


def _encoder(settings: ModelSettings) -> nn.Module:
    """The network between the input and output layers."""
    if settings.network == "unet":
        return UNet(settings.hidden, settings.layers, settings.dropout)
    return Encoder(settings.hidden, settings.layers, settings.heads, settings.intermediate, settings.dropout)


class DiffusionLM(nn.Module):
    """Embedding and denoiser, with one reading of the network's output.

    ``predict`` says what the output is: ``x0`` (paper Section 4.2), ``eps`` (its ablation), or
    ``words``, logits whose expected embedding is the x_0 estimate (the ``fast`` recipe).
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.process = Process.of(settings.schedule, settings.diffusion_steps)
        d = settings.dimension
        self.embedding = Embedding(settings.words, d, settings.embedding, settings.normalised, settings.seed)
        self.inputs = 2 * d if settings.self_conditioning else d  # what the network reads per place
        self.denoiser = Denoiser(settings, self.inputs, settings.words if settings.predict == "words" else d)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        process: Process,
        previous: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Prediction:
        """Estimate x_0 from x_t [B, L, d] at steps ``t`` [B] of ``process``.

        ``previous`` is the last estimate of x_0 (self-conditioning; zeros when absent), ``mask`` [B, L]
        is False beyond the end of a text.
        """
        return self.read(self.output(x_t, t, process, previous, mask), x_t, t, process)

    def output(
        self,
        x_t: Tensor,
        t: Tensor,
        process: Process,
        previous: Tensor | None = None,
        mask: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """The network's raw output, [B, L, d] or [B, L, V]; with ``places`` that of these alone, [N, ...]."""
        time = torch.as_tensor(process.time, dtype=torch.float32)[t.cpu()].to(x_t.device)
        if self.settings.self_conditioning:
            x_t = torch.cat([x_t, torch.zeros_like(x_t) if previous is None else previous], dim=-1)
        return self.denoiser(x_t, time, mask, places)

    def read(self, output: Tensor, x_t: Tensor, t: Tensor, process: Process) -> Prediction:
        """The x_0 estimate and word logits that an output stands for."""
        if self.settings.predict == "words":
            logits = output.float()
            return Prediction(logits.softmax(-1) @ self.embedding.table, logits)
        x0 = process.x0_from_eps(x_t, output, t) if self.settings.predict == "eps" else output
        return Prediction(x0, self.embedding.logits(x0))

    def round(self, prediction: Prediction, forbidden: Tensor) -> tuple[Tensor, Tensor]:
        """How near every word is to a prediction, [B, L, V], and its x_0 estimate [B, L, d].

        Nearness is that to the x_0 estimate (the clamping trick, paper Section 4.2), or the likelihood
        where the network predicts words. ``forbidden`` [B, 1, V] is True where a word is out.
        """
        if self.settings.predict == "words":
            logits = prediction.logits.masked_fill(forbidden, -torch.inf)
            return logits, logits.softmax(-1) @ self.embedding.table
        return nearness(prediction.x0, self.embedding.table).masked_fill(forbidden, -torch.inf), prediction.x0


def load_released(model: DiffusionLM, state: Mapping[str, Any]) -> None:
    """Load a state dictionary of the original release (TransformerNetModel2) into ``model``.

    The table is ``word_embedding.weight``: in released EMA files ``lm_head.weight`` holds the raw one.
    """
    state = {key: torch.as_tensor(value) for key, value in state.items()}
    ours = {"embedding.weight": state["word_embedding.weight"], "embedding.bias": state["lm_head.bias"]}
    renames = {
        "time_embed": "time", "input_up_proj": "up", "position_embeddings": "positions",
        "LayerNorm": "norm", "output_down_proj": "down",
    }  # fmt: skip
    for theirs, name in renames.items():
        found = {key: value for key, value in state.items() if key.startswith(theirs + ".")}
        ours |= {f"denoiser.{name}{key[len(theirs) :]}": value for key, value in found.items()}
    for index in range(model.settings.layers):
        ours |= _released_layer(state, index)
    model.load_state_dict(ours)


def _released_layer(state: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    theirs, ours = f"input_transformers.layer.{index}.", f"denoiser.encoder.layers.{index}."
    renames = {
        "attention.output.dense": "attention_out", "attention.output.LayerNorm": "attention_norm",
        "intermediate.dense": "up", "output.dense": "down", "output.LayerNorm": "norm",
    }  # fmt: skip
    layer = {}
    for kind in ("weight", "bias"):
        parts = [state[f"{theirs}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
        layer[f"{ours}attention_in.{kind}"] = torch.cat(parts)
        layer |= {f"{ours}{name}.{kind}": state[f"{theirs}{key}.{kind}"] for key, name in renames.items()}
    return layer
