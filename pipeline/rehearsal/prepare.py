"""Write what a rehearsal of the paper's scale needs: little data, and models of random weights.

python -m pipeline.rehearsal.prepare

Both go to ``results/rehearsal``, where the scale ``rehearsal`` looks for them. Nothing is downloaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.command import Parser, exit_codes, set_threads
from pipeline.rehearsal.corpora import restaurants, write_corpora
from pipeline.rehearsal.hub import write_hub

FOLDER = Path("results/rehearsal")


def main(words: Sequence[str]) -> None:
    """Write the corpora, then the models."""
    Parser(prog="pipeline.rehearsal.prepare", description=__doc__).parse_args(words)
    set_threads(1)
    write_corpora(FOLDER / "data")
    write_hub(FOLDER / "hub", restaurants()["train"])
    print(f"corpora and models of a rehearsal: {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    with exit_codes():
        main(sys.argv[1:])
