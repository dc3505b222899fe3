"""Fluency: nats per token under the teacher language model (the paper's lm-score, Section 6.2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.corpora.vocabulary import Vocabulary
from pipeline.language_model import LanguageModel


class Teacher:
    """A judge of fluency. Words outside the corpus vocabulary count as UNK, as in the original.

    Raises:
        InputError: the model is no teacher of this vocabulary.
    """

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        self.model, self.vocabulary = LanguageModel.load(path, vocabulary=vocabulary.digest()), vocabulary

    def token_losses(self, texts: list[list[str]]) -> list[np.ndarray]:
        """Nats of every predicted token of each text, END included; one float64 array per text."""
        known = [[word if word in self.vocabulary else "UNK" for word in words] for words in texts]
        return self.model.token_losses([self.model.row(words) for words in known])
