"""Training losses of Diffusion-LM (paper Section 4.1, Appendix E), one value per text.

``paper`` is the loss of the original's ``training_losses_e2e``, term by term; every term is a mean over
positions (and dimensions), so its parts weigh differently from the sums printed in the paper.
``words`` is the cross-entropy of the true words given the noisy text (the ``fast`` recipe).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.process import Process


def paper_terms(
    model: DiffusionLM,
    ids: Tensor,
    t: Tensor,
    x0_noise: Tensor,
    noise: Tensor,
    previous: Tensor | None = None,
    free: Tensor | None = None,
) -> dict[str, Tensor]:
    """The three terms of the end-to-end simple loss, each [B], and what they are made of.

    mse: ||x_0 - f(x_t, t)||^2, replaced at step 0 by ||Emb(w) - f(x_1, 1)||^2 (for ``eps``: the noise);
    rounding: -log p(w | x_0); prior: ||sqrt(abar_T) x_0||^2.

    Args:
        ids: words [B, L]. t: steps [B]. x0_noise, noise: standard normal [B, L, d].
        free: [B, L]; words elsewhere are clean in x_t and do not count (partial noising). None: all are free.
    """
    process = model.process
    clean = model.embedding(ids)
    x0 = clean + process.sigma[0] * x0_noise  # q(x_0 | w) = N(Emb(w), sigma_0^2 I)
    x_t = process.q_sample(x0, t, noise)
    if free is not None:
        x_t = torch.where(free[..., None], x_t, clean)
    output = model.output(x_t, t, process, previous)
    first = (t == 0)[:, None, None]
    if model.settings.predict == "eps":
        mse = torch.where(first, clean - process.x0_from_eps(x_t, output, t), noise - output)
    else:
        mse = torch.where(first, clean, x0) - output
    return {
        "mse": _mean(mse.square(), free),
        "rounding": _mean(word_loss(model.embedding.logits(x0), ids)[..., None], free),
        "prior": _mean(process.alpha_bar[-1] * x0.square(), free),
    }


def paper_loss(model: DiffusionLM, ids: Tensor, free: Tensor | None = None) -> Tensor:
    """The sum of the paper's terms, [B], at steps and noise drawn from torch's global generator."""
    t = uniform_steps(len(ids), model.process).to(ids.device)
    x0_noise, noise = torch.randn(2, *ids.shape, model.settings.dimension, device=ids.device)
    terms = paper_terms(model, ids, t, x0_noise, noise, free=free)
    return sum(terms.values(), torch.zeros(()))


def _mean(values: Tensor, free: Tensor | None) -> Tensor:
    """Mean over places (the ``free`` ones) and dimensions, [B, L, d] -> [B]."""
    if free is None:
        return values.mean((1, 2))
    return (values.mean(2) * free).sum(1) / free.sum(1)


def word_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Cross-entropy of words: [..., V], [...] -> nats [...]."""
    losses = nn.functional.cross_entropy(logits.float().flatten(0, -2), ids.flatten(), reduction="none")
    return losses.view_as(ids)


def words_loss(
    model: DiffusionLM, ids: Tensor, free: Tensor, mask: Tensor | None, free_only: bool = False
) -> Tensor:
    """Cross-entropy of the free words given the noisy text, averaged over them, one value per text [B].

    Words that are not ``free`` [B, L] (START and END of a canvas) stay clean in x_t; with ``free_only`` the
    network writes nothing at their places, which is the same loss for less work where many are known.
    Half of the texts see the model's own first estimate (self-conditioning, Chen et al. 2023).
    Draws from torch's global generator, which the training loop seeds at every step.
    """
    t = stratified_steps(len(ids), model.process).to(ids.device)
    clean = model.embedding(ids)
    noisy = model.process.q_sample(clean, t, torch.randn_like(clean))
    x_t = torch.where(free[..., None], noisy, clean)
    previous = None
    if model.settings.self_conditioning:
        previous = torch.zeros_like(x_t)
        half = len(ids) // 2  # rows are shuffled, so the first half is a random half
        with torch.no_grad():
            rows = None if mask is None else mask[:half]
            previous[:half] = model(x_t[:half], t[:half], model.process, None, rows).x0
    output = model.output(x_t, t, model.process, previous, mask, free if free_only else None)
    if free_only:
        losses = torch.zeros(ids.shape, device=ids.device).masked_scatter(free, word_loss(output, ids[free]))
    else:
        losses = word_loss(output, ids) * free
    return losses.sum(1) / free.sum(1).clamp(min=1)


def stratified_steps(rows: int, process: Process) -> Tensor:
    """One step per text, uniform over 0..T-1 and spread evenly over the batch; texts are in random order."""
    offsets = (torch.arange(rows) + torch.rand(rows)) / rows
    steps = (offsets * len(process)).long().clamp(max=len(process) - 1)
    return steps[torch.randperm(rows)]


def uniform_steps(rows: int, process: Process) -> Tensor:
    """One step per text, drawn uniformly and independently (the paper's choice)."""
    return torch.randint(len(process), (rows,))
