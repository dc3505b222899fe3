"""Which words of the right side are wanted before it."""

from __future__ import annotations

from typing import Any

import pytest

from baselines.cold.keywords import keywords


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("His cousin lost the kite .", "cousin lost kite"),
        ("Anna bought the kite , and Anna lost the kite .", "Anna bought kite lost"),
        ("Guitar lessons were hard .", "guitar lessons"),
        ("She had it .", ""),
        ("The zeppelin lost Anna .", "lost Anna"),
    ],
)
def test_keywords_are_known_content_words(stories: Any, words: str, wanted: str) -> None:
    """Once each; a first word without its capital where the vocabulary has it so, a name with it."""
    assert keywords(stories.model, words.split()) == wanted.split()
