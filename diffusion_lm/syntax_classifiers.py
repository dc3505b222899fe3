"""Guidance classifiers p(c | x_t) for syntax (paper Section 5.1, Appendix D): a tagger and a span classifier.

Both read noisy vectors by one of two bodies. ``body`` continues the denoiser's own layers from its weights;
``paper`` is the original's, an encoder of BERT's shape from scratch whose first token is the time.

What a text is asked for is a row of class numbers, IGNORED where nothing is asked: one for each word (tags),
or for each span of words (trees). Cells (first, last) stand in the order of ``last``, then ``first``, so the
row of a short text is the beginning of a long one's, and rows of a batch are padded like texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn

from diffusion_lm.classifiers import ClassifierSettings, continued
from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.encoder import LAYER_NORM_EPSILON, Encoder, TimeEmbedding
from pipeline.corpora.vocabulary import SPECIALS
from pipeline.errors import InputError
from pipeline.tasks import UNIVERSAL_TAGS
from pipeline.trees import CHAIN, Span

IGNORED = -100  # a place or cell that nothing is asked of
NO_LABEL = ""  # class 0 of a span that is no constituent
BERT_SCALE = 0.02  # standard deviation of BERT's initial weights


@dataclass(frozen=True)
class SyntaxSettings(ClassifierSettings):
    """Settings of a syntax classifier: ``pair`` is the width in which a span's ends meet (0: the body's).

    ``full_chart`` counts every place of a padded text, START, END and PAD too, as the original does.
    """

    pair: int = 0
    full_chart: bool = False


class TimeTokenBody(nn.Module):
    """The original's trunk: [time, noisy words] through an encoder of BERT's shape and initialisation."""

    def __init__(self, settings: SyntaxSettings, dimension: int, outputs: int) -> None:
        super().__init__()
        hidden = settings.hidden
        self.up = nn.Sequential(
            nn.Linear(dimension, 4 * dimension), nn.Tanh(), nn.Linear(4 * dimension, hidden)
        )
        self.positions = nn.Embedding(settings.positions, hidden)
        self.norm = nn.LayerNorm(hidden, LAYER_NORM_EPSILON)
        self.dropout = nn.Dropout(settings.dropout)
        self.encoder = Encoder(
            hidden, settings.layers, settings.heads, settings.intermediate, settings.dropout
        )
        self.head = nn.Linear(hidden, outputs)
        self.apply(_as_bert)
        self.time = TimeEmbedding(settings.time_channels, hidden)

    def forward(self, x: Tensor, time: Tensor, mask: Tensor) -> Tensor:
        """Outputs of the words alone, [B, L, d] -> [B, L, outputs]."""
        h = torch.cat([self.time(time)[:, None], self.up(x)], 1)  # [B, 1 + L, H]
        h = self.norm(h + self.positions.weight[: h.shape[1]])
        seen = torch.cat([mask.new_ones(len(mask), 1), mask], 1)
        return self.head(self.encoder(self.dropout(h), seen)[:, 1:])


def _as_bert(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=BERT_SCALE)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class SyntaxClassifier(nn.Module):
    """What tagger and span classifier share: the body, and which places of a text count."""

    def __init__(self, settings: SyntaxSettings, model: DiffusionLM, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(settings.seed)
        shape, continues = model.settings, settings.form == "body"
        if not continues and settings.positions <= shape.positions:
            what = f"{settings.positions} positions are too few for the time and {shape.positions} words"
            raise InputError("classifier's model.positions", what, f"give at least {shape.positions + 1}")
        self.body: nn.Module = (
            continued(settings, model, outputs)
            if continues
            else TimeTokenBody(settings, shape.dimension, outputs)
        )
        self.blank = model.inputs - shape.dimension if continues else 0  # no self-conditioning here
        self.full_chart, self.layout, self.positions = settings.full_chart, shape.layout, shape.positions
        self.start = 0 if self.full_chart else 1  # the first place that counts

    def read(self, x: Tensor, time: Tensor, mask: Tensor) -> Tensor:
        """The body's outputs, [B, L, d] -> [B, L, outputs]; places outside ``mask`` [B, L] are unseen."""
        return self.body(nn.functional.pad(x, (0, self.blank)), time, mask)

    def counted(self, words: int) -> int:
        """How many places of a text count: its words, or with ``full_chart`` all places of its row."""
        if not self.full_chart:
            return words
        return words + 2 if self.layout == "canvas" else self.positions

    def loss(self, x: Tensor, time: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """-log p of all that the ``rows`` [B, M] of class numbers ask for, summed over each text, [B]."""
        raise NotImplementedError


class TagClassifier(SyntaxClassifier):
    """One softmax over the universal tags for every place; in the paper's form over START, END, ... too."""

    def __init__(self, settings: SyntaxSettings, model: DiffusionLM) -> None:
        framed = settings.form == "paper" or settings.full_chart
        classes = (*SPECIALS, *UNIVERSAL_TAGS) if framed else UNIVERSAL_TAGS
        super().__init__(settings, model, len(classes))
        self.tags = {tag: number for number, tag in enumerate(classes)}

    def row(self, tags: Sequence[str]) -> Tensor:
        """The class of each place that counts, int16 [M]."""
        names = list(tags)
        if self.full_chart:
            names = ["START", *tags, "END", *["PAD"] * (self.counted(len(tags)) - len(tags) - 2)]
        return torch.tensor([self.tags[name] for name in names], dtype=torch.int16)

    def loss(self, x: Tensor, time: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """-sum_i log p(tag_i | x_t) of each text, [B] (Appendix D)."""
        return asked_loss(self.read(x, time, mask)[:, self.start : self.start + rows.shape[1]], rows)


class SpanClassifier(SyntaxClassifier):
    """One softmax over labels and "none" for every span of words; ``labels`` are those known beside "none".

    The original's head is Linear, tanh, Linear on the pair (h_last, h_first). The first Linear is a sum of
    two maps, so the body's last layer makes both for every place: n projections for n^2 / 2 spans.

    ``lengths`` [labels, positions, positions] counts the training texts by a label of theirs, the last word
    of its span, and their number of words: p(length | span) is what a canvas' length is drawn from.
    """

    def __init__(self, settings: SyntaxSettings, model: DiffusionLM, labels: Iterable[str]) -> None:
        width = model.settings.hidden if settings.form == "body" else settings.hidden
        pair = settings.pair or width
        super().__init__(settings, model, 2 * pair)
        self.labels = {label: number for number, label in enumerate((NO_LABEL, *sorted(labels)))}
        self.label = nn.Linear(pair, len(self.labels), bias=False)
        self.lengths: Tensor
        shape = (len(self.labels), model.settings.positions, model.settings.positions)
        self.register_buffer("lengths", torch.zeros(shape, dtype=torch.int32))
        if settings.form == "paper":
            _as_bert(self.label)

    def number(self, label: str) -> int:
        """The class of a label; of an unknown chain that of its outermost label, or IGNORED."""
        return self.labels.get(label, self.labels.get(label.split(CHAIN)[0], IGNORED))

    def count_lengths(self, texts: Iterable[tuple[Iterable[Span], int]]) -> None:
        """Fill ``lengths`` from the spans and the number of words of each training text."""
        counts = Counter((self.labels[s.label], s.last, words) for spans, words in texts for s in spans)
        places = torch.tensor(list(counts)).unbind(1)
        self.lengths[places] = torch.tensor(list(counts.values()), dtype=torch.int32)

    def row(self, spans: Iterable[Span], words: int) -> Tensor:
        """The class of every cell of a text's chart, int16 [M]: a constituent's label, or none."""
        places, shift = self.counted(words), 1 - self.start
        numbers = [self.labels[NO_LABEL]] * cell(0, places)
        for first, last, label in spans:
            numbers[cell(first + shift, last + shift)] = self.number(label)
        return torch.tensor(numbers, dtype=torch.int16)

    def scores(self, firsts: Tensor, lasts: Tensor) -> Tensor:
        """Label logits of spans whose ends have these projections, [..., P], [..., P] -> [..., labels]."""
        return self.label(torch.tanh(firsts + lasts)).float()

    def loss(self, x: Tensor, time: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """-sum over all spans of log p(label or none | x_t) of each text, [B] (Appendix D)."""
        places = isqrt(2 * rows.shape[1])  # M = places * (places + 1) / 2
        last, first = torch.tril_indices(places, places, device=x.device)  # in the order of ``last``
        firsts, lasts = self.read(x, time, mask)[:, self.start :].chunk(2, -1)
        return asked_loss(self.scores(firsts.index_select(1, first), lasts.index_select(1, last)), rows)

    def span_loss(
        self, x: Tensor, time: Tensor, mask: Tensor, ends: tuple[Tensor, Tensor], labels: Tensor
    ) -> Tensor:
        """-log p(label | x_t) of one span of each text, [B]: no other cell is computed.

        Args:
            ends: first and last word from 0, each [B]. labels: classes [B].
        """
        rows, (first, last) = torch.arange(len(x), device=x.device), ends
        firsts, lasts = self.read(x, time, mask)[:, 1:].chunk(2, -1)
        return nn.functional.cross_entropy(
            self.scores(firsts[rows, first], lasts[rows, last]), labels, reduction="none"
        )


def cell(first: int, last: int) -> int:
    """The number of a span's cell; ``cell(0, n)`` is how many cells n places have."""
    return last * (last + 1) // 2 + first


def asked_loss(logits: Tensor, rows: Tensor) -> Tensor:
    """Cross-entropy summed over each text, [B, M, classes], [B, M] -> [B]; IGNORED costs nothing."""
    losses = nn.functional.cross_entropy(
        logits.float().flatten(0, 1), rows.long().flatten(), ignore_index=IGNORED, reduction="none"
    )
    return losses.view(rows.shape).sum(1)


def batch_rows(rows: Sequence[Tensor], device: torch.device) -> Tensor:
    """Rows of class numbers as one batch [B, M], IGNORED behind the shorter ones."""
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=IGNORED).to(device)
