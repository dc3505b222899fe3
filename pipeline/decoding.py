"""Decoding from a left-to-right language model: whole batches of texts behind their prompts.

Every sampled row has a generator of its own, so that a text does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.language_model import LanguageModel, padded

BATCH_ROWS = 128  # rows (beams) that are written together; 256 are slower on a CPU, whose caches they miss

Processor = Callable[[Tensor, Tensor], Tensor]
"""transformers' logits processor: token ids so far [B, L] and scores [B, V] to new scores."""
Steering = Callable[[Sequence[int]], list[Processor]]
"""The processors of a batch, by the numbers of its rows."""


def sample(
    model: LanguageModel, prompts: Sequence[list[int]], generators: Sequence[torch.Generator], longest: int,
    temperature: float, steering: Steering = lambda rows: [],
) -> list[list[int]]:  # fmt: skip
    """Ancestral samples: every token is drawn from the whole softmax of logits / ``temperature``.

    Args:
        prompts: token ids before START, one row per text; may be empty.
        generators: one CPU generator per row.
        longest: most words; a text that has not ended by then is cut.
        temperature: 0 is greedy.
        steering: processors of the logits before a token is drawn from them.

    Returns:
        The new token ids of each row before END. START, PAD and prompt-only words are never written.

    Raises:
        InputError: prompt and text are longer than the model's positions.
    """

    def processors(rows: Sequence[int]) -> list[Processor]:
        return [*steering(rows), GumbelNoise([generators[i] for i in rows], temperature)]

    return _in_batches(model, prompts, longest, 1, processors)


def search(model: LanguageModel, prompts: Sequence[list[int]], beams: int, longest: int) -> list[list[int]]:
    """Beam search for the text with the highest mean log-probability per token; one beam is greedy.

    Arguments, result and errors are those of :func:`sample`.
    """
    return _in_batches(model, prompts, longest, beams, lambda rows: [])


def sample_product(
    models: Sequence[LanguageModel], prompts: Sequence[Sequence[list[int]]], weights: Sequence[float],
    generators: Sequence[torch.Generator], longest: int, temperature: float,
) -> list[list[int]]:  # fmt: skip
    """Ancestral samples of a product of experts: p(word) is proportional to prod_k p_k(word | c_k)^w_k.

    Args:
        models: experts with equal tokens, except for words that only stand in prompts.
        prompts: of each expert, one per text.
        weights: w_k.

    The other arguments, result and errors are those of :func:`sample`.
    """
    written: list[list[int]] = []
    for first in range(0, len(generators), BATCH_ROWS):
        rows = slice(first, first + BATCH_ROWS)
        readers = [Reader(model, given[rows]) for model, given in zip(models, prompts, strict=True)]
        noise = GumbelNoise(generators[rows], temperature)
        written += _write(readers, weights, noise, longest)
    return written


class Reader:
    """Reads a batch of texts token by token, each behind its prompt, and says what may come next.

    Raises:
        InputError: a prompt is longer than the model's positions.
    """

    def __init__(self, model: LanguageModel, prompts: Sequence[list[int]]) -> None:
        from transformers import DynamicCache

        self.model, self.cache = model, DynamicCache(config=model.network.config)
        given = [[*prompt, model.start] for prompt in prompts]
        self.first, self.mask = left_padded(model, given)

    @torch.no_grad()
    def read(self, ids: Tensor) -> Tensor:
        """Log-probabilities [B, V] of the token after ``ids`` [B, L]; what no text may have is -inf."""
        if self.cache.get_seq_length():
            self.mask = torch.cat([self.mask, torch.ones_like(ids)], 1)
        self.model.check_length(self.mask.shape[1])
        places = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits = self.model.network(
            input_ids=ids, attention_mask=self.mask, position_ids=places, past_key_values=self.cache,
            use_cache=True, logits_to_keep=1,
        ).logits[:, -1].float()  # fmt: skip
        logits[:, self.model.barred] = -torch.inf
        return logits.log_softmax(-1)


class GumbelNoise:
    """Makes a greedy step a draw: argmax(logits + temperature * Gumbel noise) follows the softmax.

    Each row draws from its own generator, one number per word and step, also after its END.
    """

    def __init__(self, generators: Sequence[torch.Generator], temperature: float) -> None:
        self.generators, self.temperature = generators, temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Noisy scores [B, V]; ``input_ids`` belongs to the interface of logits processors."""
        uniform = torch.empty(scores.shape)
        for row, generator in zip(uniform, self.generators, strict=True):
            row.uniform_(generator=generator)
        uniform.clamp_(min=torch.finfo(uniform.dtype).tiny)  # log(0) would be infinite
        noise = uniform.log_().neg_().log_().neg_()
        noisy: Tensor = scores + self.temperature * noise.to(scores.device)
        return noisy


def left_padded(model: LanguageModel, given: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Token ids [B, L], padded on the left, and their mask."""
    ids = padded([row[::-1] for row in given], model.pad).flip(1)
    mask = padded([[1] * len(row) for row in given], 0).flip(1)
    return ids.to(model.network.device), mask.to(model.network.device)


def _in_batches(
    model: LanguageModel, prompts: Sequence[list[int]], longest: int, beams: int, steering: Steering
) -> list[list[int]]:
    """Write rows of similar prompt length together."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    written: list[list[int]] = [[]] * len(prompts)
    size = max(1, BATCH_ROWS // beams)
    for rows in (order[i : i + size] for i in range(0, len(order), size)):
        given = [[*prompts[i], model.start] for i in rows]
        for row, new in zip(rows, _continue(model, given, longest, beams, steering(rows)), strict=True):
            written[row] = new
    return written


@torch.no_grad()
def _continue(
    model: LanguageModel, given: Sequence[list[int]], longest: int, beams: int, processors: list[Processor]
) -> list[list[int]]:
    """Continue one batch; positions follow from the mask."""
    from transformers import LogitsProcessorList

    ids, mask = left_padded(model, given)
    steps = model.most_tokens(longest)
    model.check_length(ids.shape[1] + steps - 1)
    new = model.network.generate(
        ids, attention_mask=mask, max_new_tokens=steps, do_sample=False, num_beams=beams,
        suppress_tokens=model.barred or None, logits_processor=LogitsProcessorList(processors),
    )[:, ids.shape[1] :]  # fmt: skip
    return [model.before_end(row) for row in new.tolist()]


def _write(
    readers: Sequence[Reader], weights: Sequence[float], noise: GumbelNoise, longest: int
) -> list[list[int]]:
    """One batch of a product of experts."""
    model, steps = readers[0].model, list[Tensor]()
    read = [reader.first for reader in readers]
    most = model.most_tokens(longest)
    for reader in readers:
        reader.model.check_length(reader.first.shape[1] + most - 1)
    ended = torch.zeros(len(read[0]), dtype=torch.bool, device=read[0].device)
    while len(steps) < most and not ended.all():
        scores = [reader.read(ids) for reader, ids in zip(readers, read, strict=True)]
        steps.append(noise(read[0], _product(scores, weights, model.barred)).argmax(-1))
        ended |= steps[-1] == model.end
        read = [steps[-1][:, None]] * len(readers)
    return [model.before_end(row) for row in torch.stack(steps, 1).tolist()]


def _product(scores: Sequence[Tensor], weights: Sequence[float], barred: Sequence[int]) -> Tensor:
    """Logits [B, V] of the product over the words of the first expert; its prompt-only words come last."""
    product = torch.zeros_like(scores[0])
    for weight, log_probabilities in zip(weights, scores, strict=True):
        if weight:  # 0 times -inf is no number
            common = min(product.shape[1], log_probabilities.shape[1])
            product[:, :common] += weight * log_probabilities[:, :common]
    product[:, barred] = -torch.inf
    return product
