"""What scoring knows of human texts: which texts are copies of them, and how fluent people are.

python -m eval.human_texts --spec SPEC --input corpus=FILE vocabulary=FILE teacher=FILE \\
    --output human_texts=FILE

SPEC holds ``seed``, ``released_targets`` (whether targets were made from the released ones, whose sentences
need not be texts of the corpus) and ``data_dir``. The file has no text in it: a fingerprint has one of 64
letters per word, so that about a dozen words of E2E share each.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from eval.fluency import Teacher
from pipeline import checkpoint
from pipeline.command import Job, command
from pipeline.corpora.released import Released, read_composition_targets, read_syntax_targets, target_folder
from pipeline.corpora.vocabulary import SPECIALS, UNK, Vocabulary
from pipeline.errors import InputError
from pipeline.records import Text, read_records

KIND, TRAINING = "human_texts", "train"
EDITS = 2  # word edits within which a text is a near copy
PERCENTILES = (2.5, 97.5)
MOST_MEASURED = 2000  # held-out texts whose fluency is measured
BUCKETS, FIRST = 64, ord("0")
ByLength = Mapping[int, list[str]]


@dataclass(frozen=True)
class HumanTexts:
    """Fingerprints of training and held-out texts, digests of training texts, and people's fluency.

    Attributes:
        band: the 2.5th and 97.5th percentile of the nats per predicted token of held-out texts.
        training, heldout: distinct fingerprints (:func:`fingerprint`).
        copies: :func:`digest` of every training text.
    """

    vocabulary: Vocabulary
    band: tuple[float, float]
    training: Sequence[str]
    heldout: Sequence[str]
    copies: Set[int]

    def is_fluent(self, nats_per_token: float) -> bool:
        """Whether a text is as likely as people's: neither less nor more than all but a few of theirs."""
        return self.band[0] <= nats_per_token <= self.band[1]

    def is_copy(self, words: Sequence[str]) -> bool:
        """Whether the text, word for word, is a training text."""
        return digest(words) in self.copies

    def near_copies(self, texts: Sequence[Sequence[str]], heldout: bool = True) -> list[bool]:
        """Whether each text is within two word edits of a human one; unknown words are all the same word.

        Args:
            heldout: whether held-out texts count beside training texts.
        """
        prints = [fingerprint(words, self.vocabulary) for words in texts]
        shelves = [self._training, self._heldout] if heldout else [self._training]
        near = {print_ for shelf in shelves for print_ in _near(set(prints), shelf)}
        return [print_ in near for print_ in prints]

    @cached_property
    def _training(self) -> ByLength:
        return _by_length(self.training)

    @cached_property
    def _heldout(self) -> ByLength:
        return _by_length(self.heldout)

    def save(self, path: Path) -> None:
        """Write everything but the vocabulary, of which the header has the digest."""
        weights = {"copies": torch.tensor(sorted(self.copies), dtype=torch.int64)}
        for name, prints in (("training", self.training), ("heldout", self.heldout)):
            joined = "".join(sorted(prints)).encode("ascii")  # sorted by letters, so by nothing of the corpus
            weights[name] = torch.tensor(list(joined), dtype=torch.uint8)
            weights[f"{name}_lengths"] = torch.tensor([len(p) for p in sorted(prints)], dtype=torch.int16)
        settings = {"band": list(self.band), "vocabulary": self.vocabulary.digest()}
        checkpoint.save(path, KIND, settings, weights)

    @classmethod
    def load(cls, path: Path, vocabulary: Vocabulary) -> HumanTexts:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: no such file, or one of another kind or vocabulary.
        """
        settings, weights = checkpoint.load(path, KIND)
        checkpoint.require(path, settings, {"vocabulary": vocabulary.digest()})
        low, high = settings["band"]
        training, heldout = (
            _cut(weights[name], weights[f"{name}_lengths"]) for name in ("training", "heldout")
        )
        return cls(vocabulary, (low, high), training, heldout, set(weights["copies"].tolist()))


def fingerprint(words: Iterable[str], vocabulary: Vocabulary) -> str:
    """One of 64 letters per word: a hash, so that equal words have equal letters and few others do."""
    return "".join(_letter(word if word in vocabulary else SPECIALS[UNK]) for word in words)


def digest(words: Sequence[str]) -> int:
    """64 bits of a hash of the whole text."""
    return int.from_bytes(_hash(" ".join(words), 8), "big", signed=True)


def measure(
    texts: Sequence[Text], teacher: Teacher, seed: int, released: Sequence[Sequence[str]] = ()
) -> HumanTexts:
    """What scoring must know of a corpus; fluency is that of at most 2,000 held-out texts, drawn.

    Args:
        released: the words of sentences that targets were made from, in the corpus or not.

    Raises:
        InputError: the corpus has no held-out texts.
    """
    training = [text.tokens for text in texts if text.split == TRAINING]
    heldout = [text for text in texts if text.split != TRAINING]
    if not heldout:
        raise InputError("corpus", "no held-out texts", "fluency is measured on another split than 'train'")
    drawn = sorted(heldout, key=lambda text: _hash(f"{seed} {text.id}", 8))[:MOST_MEASURED]
    nats = [losses.mean() for losses in teacher.token_losses([text.tokens for text in drawn])]
    low, high = np.percentile(nats, PERCENTILES)
    return HumanTexts(
        teacher.vocabulary,
        (float(low), float(high)),
        sorted({fingerprint(words, teacher.vocabulary) for words in training}),
        sorted({fingerprint(w, teacher.vocabulary) for w in (*(text.tokens for text in heldout), *released)}),
        {digest(words) for words in training},
    )


def _hash(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def _letter(word: str) -> str:
    return chr(FIRST + _hash(word, 1)[0] % BUCKETS)


def _by_length(prints: Iterable[str]) -> ByLength:
    groups: dict[int, list[str]] = defaultdict(list)
    for print_ in prints:
        groups[len(print_)].append(print_)
    return groups


def _near(prints: Set[str], shelf: ByLength) -> Iterable[str]:
    """Those within :data:`EDITS` edits of one on the shelf; only like lengths are compared."""
    for length, group in _by_length(prints).items():
        alike = [other for n in range(length - EDITS, length + EDITS + 1) for other in shelf.get(n, ())]
        if alike:
            edits = cdist(group, alike, scorer=Levenshtein.distance, score_cutoff=EDITS, dtype=np.uint8)
            yield from (group[i] for i in np.flatnonzero(edits.min(axis=1) <= EDITS))


def _cut(letters: torch.Tensor, lengths: torch.Tensor) -> list[str]:
    joined = bytes(letters.tolist()).decode("ascii")
    ends = np.cumsum(lengths.tolist())
    return [joined[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]


def main(job: Job) -> None:
    """Measure a corpus and write what scoring needs of it."""
    teacher = Teacher(job.inputs["teacher"], Vocabulary.load(job.inputs["vocabulary"]))
    texts, released = read_records(job.inputs["corpus"], Text), list[Released]()
    if job.spec["released_targets"]:
        data = target_folder(job.spec["data_dir"])
        released = [*read_syntax_targets(data), *read_composition_targets(data)]
    human_texts = measure(texts, teacher, job.spec["seed"], [target.words for target in released])
    human_texts.save(job.outputs["human_texts"])


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary", "teacher"), outputs=("human_texts",))
