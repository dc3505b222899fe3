"""Infilling (paper Section 6.4): the sentences around are known places of a canvas, the slots are free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffusion_lm.controls import place
from diffusion_lm.denoiser import ModelSettings
from diffusion_lm.sampling import FREE
from pipeline.corpora.vocabulary import END, PAD, START, UNK, Vocabulary
from pipeline.errors import InputError
from pipeline.records import Target

SLOTS_FIRST = "slots_first"  # in a checkpoint's header: its rows begin with the slots


@dataclass(frozen=True)
class InfillingSettings:
    """How a sentence is filled in; every key is described in the configuration schema."""

    slots: int
    framed: bool
    free_length: bool
    precision: str

    @property
    def barred(self) -> tuple[int, ...]:
        """Words that fill no slot; with ``free_length`` a slot may stay empty (PAD)."""
        return (START, END, UNK) if self.free_length else (START, END, UNK, PAD)


def sentences_around(target: Target, vocabulary: Vocabulary) -> tuple[list[int], list[int]]:
    """Word ids of the sentences left and right of the one to be written."""
    left, right = (vocabulary.encode(target.control[side].split()) for side in ("left", "right"))
    return left, right


def slots_first(left: Sequence[int], slots: Sequence[int], right: Sequence[int]) -> list[int]:
    """START left slots right END, turned so that it begins with the slots.

    So a slot has the same position in every row, however long the left sentence is: less is to be learned.
    """
    return [*slots, *right, END, START, *left]


def infilling_row(
    target: Target, vocabulary: Vocabulary, settings: InfillingSettings, model: ModelSettings, turned: bool
) -> list[int]:
    """Left sentence, FREE slots, right sentence (original infill.py:83-86).

    Args:
        turned: the model has learned rows that begin with the slots (:func:`slots_first`). Else the settings
            tell: ``framed`` is between START and END, and padded where the model's texts are; the original
            does neither.

    Raises:
        InputError: the row is longer than the model's positions.
    """
    left, right = sentences_around(target, vocabulary)
    slots = [FREE] * settings.slots
    row = [*left, *slots, *right]
    if turned:
        row = slots_first(left, slots, right)
    elif settings.framed:
        row = [START, *row, END]
    require_room(target, row, model.positions)
    padded = settings.framed and model.layout == "pad"
    return [*row, *[PAD] * (model.positions - len(row))] if padded else row


def require_room(target: Target, row: Sequence[int], positions: int) -> None:
    """Check that a target's row is not longer than the model's positions.

    Raises:
        InputError: it is.
    """
    if len(row) > positions:
        what = f"sentences and slots take {len(row)} places, the model has {positions}"
        raise InputError(place(target), what, "shorten the sentences, or ask for fewer slots")
