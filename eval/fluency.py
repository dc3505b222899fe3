"""Fluency: nats per token under the teacher language model (the paper's lm-score, Section 6.2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.corpora.vocabulary import Vocabulary
from pipeline.device import device
from pipeline.language_model import LanguageModel


class Teacher:
    """A judge of fluency. Words outside the corpus vocabulary count as UNK, as in the original.

    A pretrained model reads on the GPU if there is one; a word-level one is small and stays on the CPU, so
    that any machine repeats stored scores.

    Raises:
        InputError: the model is no teacher of this vocabulary.
    """

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        model, self.vocabulary = LanguageModel.load(path, vocabulary=vocabulary.digest()), vocabulary
        self.model = model if model.word_level else model.to(device())

    def token_losses(self, texts: list[list[str]]) -> list[np.ndarray]:
        """Nats of every predicted token of each text, END included; one float64 array per text."""
        known = [[word if word in self.vocabulary else "UNK" for word in words] for words in texts]
        return self.model.token_losses([self.model.row(words) for words in known])
