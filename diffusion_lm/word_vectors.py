"""The word embeddings that a diffusion model has learned, for those who may not open the model (Figure 3).

python -m diffusion_lm.word_vectors --spec SPEC --input diffusion=FILE vocabulary=FILE --output table=FILE

The table has a row for each word, ``word`` and the vector that the diffusion works on; the special words
(START, END, UNK, PAD) are left out. SPEC holds nothing of its own.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from torch import Tensor

from diffusion_lm.train import load
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import SPECIALS, Vocabulary
from pipeline.files import write_text


def vector_table(words: Sequence[str], vectors: Tensor) -> str:
    """Words and their vectors [words, d] as CSV, six significant digits."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["word", *(f"x{place}" for place in range(vectors.shape[1]))])
    for word, vector in zip(words, vectors.tolist(), strict=True):
        writer.writerow([word, *(f"{x:.6g}" for x in vector)])
    return text.getvalue()


def main(job: Job) -> None:
    """Write the table."""
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    model, _ = load(job.inputs["diffusion"], vocabulary)
    first = len(SPECIALS)
    vectors = model.embedding.table.detach().cpu()[first:]
    write_text(job.outputs["table"], vector_table(vocabulary.words[first:], vectors))


if __name__ == "__main__":
    command(main, inputs=("diffusion", "vocabulary"), outputs=("table",))
