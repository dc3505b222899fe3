"""Control success, one module per task; each states the paper's, the released and the strict definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eval.success import length, semantic_content

Scorer = Callable[[list[str], Mapping[str, Any]], dict[str, float]]

SCORERS: dict[str, Scorer] = {
    "unconditional": lambda tokens, control: {},  # nothing is asked for
    "semantic_content": semantic_content.score,
    "length": length.score,
}
