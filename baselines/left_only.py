"""Left-only: a language model of stories goes on behind the left context, to the sentence end (Table 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from pipeline.decoding import BATCH_ROWS, GumbelNoise, Reader, left_padded
from pipeline.device import device
from pipeline.language_model import LanguageModel
from pipeline.methods import ONLY_INFILLING, Method, Request
from pipeline.progress import Progress
from pipeline.tasks import INFILLING

CHUNK = 1024  # texts between two progress lines
END_MARKS = (".", "!", "?")
CLOSING = ('"', "”")
Length = Callable[[Sequence[str]], int | None]
"""How many of the words are the text; None while it goes on."""


class LeftOnly(Method):
    """Settings: ``temperature`` (0 is greedy), ``longest`` (words). It never sees the right context."""

    tasks = frozenset({INFILLING})
    refusals = ONLY_INFILLING

    def write(self, requests: Sequence[Request], seed: int) -> Iterator[tuple[list[str], int, int]]:
        """Words and costs of each request; a sentence that does not end by itself is cut.

        Raises:
            InputError: the model is of another direction or vocabulary, or too short for a context.
        """
        path, digest = self.models["language_model"], self.vocabulary.digest()
        model = LanguageModel.load(path, vocabulary=digest, direction="forward").to(device())
        model.barred += [model.end, model.unknown]  # the story goes on behind the middle
        begun = [[model.start, *model.encode(request.target.control["left"].split())] for request in requests]
        return continuations(self, model, begun, requests, seed, sentence_length)


def sentence_length(words: Sequence[str]) -> int | None:
    """Words up to the first ``.``, ``!`` or ``?``, with the quotation mark that closes after it.

    None while there is no such word, or a quotation is open and the word after it is not known yet.
    """
    last = next((place for place, word in enumerate(words) if word in END_MARKS), None)
    if last is None or not _in_quotation(words[:last]):
        return None if last is None else last + 1
    after = words[last + 1 : last + 2]
    return last + 1 + (after[0] in CLOSING) if after else None


def _in_quotation(words: Sequence[str]) -> bool:
    """Whether a quotation is open behind the words."""
    return words.count('"') % 2 == 1 or words.count("“") > words.count("”")


def continuations(
    method: Method, model: LanguageModel, begun: Sequence[list[int]], requests: Sequence[Request], seed: int,
    length: Length = lambda words: None,
) -> Iterator[tuple[list[str], int, int]]:  # fmt: skip
    """Words and costs of a text for each request: what the model reads for it counts, as if it were alone."""
    settings, progress = method.settings, Progress(method.name, len(requests))
    for first in range(0, len(requests), CHUNK):
        chunk = range(first, min(first + CHUNK, len(requests)))
        given, generators = [begun[i] for i in chunk], [method.generator(requests[i], seed) for i in chunk]
        drawn = go_on(model, given, generators, settings["longest"], settings["temperature"], length)
        for ids, new in zip(given, drawn, strict=True):
            words = model.decode(new)[: settings["longest"]]
            yield words[: length(words)], len(ids) + len(new) - 1, 0
        progress.update(chunk.stop)


def go_on(
    model: LanguageModel, begun: Sequence[list[int]], generators: Sequence[torch.Generator], longest: int,
    temperature: float, length: Length = lambda words: None,
) -> list[list[int]]:  # fmt: skip
    """Ancestral samples behind texts that have begun.

    Args:
        begun: token ids, START among them, one row per text.
        generators: one CPU generator per row.
        longest: most words to write. temperature: 0 is greedy.
        length: a text whose length it knows has ended.

    Returns:
        All token ids drawn for each row; END is the last where the model ended the text.

    Raises:
        InputError: a text that has begun and the longest that may follow are longer than the positions.
    """
    most = model.most_tokens(longest)
    model.check_length(max(map(len, begun), default=0) + most - 1)

    def ended(ids: list[int]) -> bool:
        return ids[-1] == model.end or len(ids) == most or length(model.decode(ids)) is not None

    order = sorted(range(len(begun)), key=lambda i: (len(begun[i]), begun[i]))
    drawn: list[list[int]] = [[]] * len(begun)
    for rows in (order[i : i + BATCH_ROWS] for i in range(0, len(order), BATCH_ROWS)):
        noise = [generators[i] for i in rows]
        for row, new in zip(
            rows, _batch(model, [begun[i] for i in rows], noise, temperature, ended), strict=True
        ):
            drawn[row] = new
    return drawn


class _Continuation(Reader):
    """Reads texts that have begun, START among their tokens, and forgets those that have ended."""

    def __init__(self, model: LanguageModel, begun: Sequence[list[int]]) -> None:
        super().__init__(model, [[] for _ in begun])
        self.first, self.mask = left_padded(model, begun)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; one may stand there several times."""
        chosen = torch.tensor(rows, device=self.mask.device)
        self.mask = self.mask[chosen]
        self.cache.batch_select_indices(chosen)


def _batch(
    model: LanguageModel, begun: Sequence[list[int]], generators: Sequence[torch.Generator],
    temperature: float, ended: Callable[[list[int]], bool],
) -> list[list[int]]:  # fmt: skip
    """All tokens drawn; what several texts begin with is read once."""
    distinct = sorted(map(list, set(map(tuple, begun))))
    reader, drawn = _Continuation(model, distinct), [list[int]() for _ in begun]
    going, rows = list(range(len(begun))), [distinct.index(ids) for ids in begun]
    scores = reader.read(reader.first)[rows]
    while True:
        noise = GumbelNoise([generators[i] for i in going], temperature)
        tokens = noise(reader.first, scores).argmax(-1)
        for i, token in zip(going, tokens.tolist(), strict=True):
            drawn[i].append(token)
        kept = [row for row, i in enumerate(going) if not ended(drawn[i])]
        if not kept:
            return drawn
        reader.keep([rows[row] for row in kept])
        scores = reader.read(tokens[kept, None])
        going, rows = [going[row] for row in kept], list(range(len(kept)))


METHOD = LeftOnly
