"""Table 7: -log p of held-out texts in nats per token: exact for a language model, a bound for Diffusion-LM.

python -m eval.likelihood_table --spec SPEC --input likelihood/NAME=FILE ... --output csv=FILE markdown=FILE

SPEC holds ``published`` (the corpus' rows of the paper's Table 7, e.g. ``nll_E2E``; empty: none) and the
``seed`` of the intervals. Among the NAMEs are ``language_model`` (exact) and those of Diffusion-LMs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from eval.markdown import markdown_table
from eval.paper import read_table
from eval.select import cells
from eval.statistics import target_draws
from eval.verdicts import Estimate, Verdict, outcome, verdict_lines
from pipeline.command import Job, command
from pipeline.errors import InputError, nearest
from pipeline.files import write_text
from pipeline.records import Likelihood, read_records

EXACT = "language_model"
TERMS = ("prior", "diffusion", "first", "rounding")
TITLES = {
    EXACT: "language model, exact",
    "simple": "Diffusion-LM, simple loss, bound",
    "vlb": "Diffusion-LM trained on the bound, bound",
}
PUBLISHED = {EXACT: "AR-small", "simple": "Diffusion-small", "vlb": "Diffusion-small"}
COLUMNS = ("model", "bound", "nats_per_token", "low", "high", *TERMS, "texts", "tokens", "paper")
STATEMENT = "Diffusion-LM's bound is worse than the likelihood of a left-to-right language model (Table 7)"
_LEGEND = (
    "Nats per token (words and END) of the first held-out texts, with 95 % intervals over texts; lower is\n"
    "better. <= : a bound, the sum of its terms: prior, diffusion, first step, rounding (first may be\n"
    "negative: what the first noisy vector tells of the noise in x_0 is counted in diffusion). Nothing is\n"
    "clamped. Published: the paper's models are others (one-hot vectors, continuous time, 100M weights)."
)


class Row(NamedTuple):
    """One model: nats per token with its interval, and the mean of every term."""

    name: str
    nats: Estimate
    terms: Mapping[str, float]
    texts: int
    tokens: int
    paper: str

    @property
    def is_bound(self) -> bool:
        """Whether the likelihood is at least this good, rather than just this good."""
        return self.name != EXACT


def per_token(likelihoods: Sequence[Likelihood], seed: int) -> tuple[float, np.ndarray]:
    """Nats per token over all texts, and the same of texts drawn anew, [resamples]."""
    nats = np.array([sum(found.terms.values()) for found in likelihoods])
    tokens = np.array([found.tokens for found in likelihoods], dtype=float)
    draws = target_draws(len(nats), seed)
    return float(nats.sum() / tokens.sum()), (draws @ nats) / (draws @ tokens)


def estimate(value: float, resampled: np.ndarray) -> Estimate:
    """A value with its percentile interval."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def row(name: str, likelihoods: Sequence[Likelihood], seed: int, paper: Mapping[str, str]) -> Row:
    """The row of a model."""
    tokens = sum(found.tokens for found in likelihoods)
    terms = {
        term: sum(found.terms[term] for found in likelihoods) / tokens
        for term in (TERMS if name != EXACT else ())
    }
    nats = estimate(*per_token(likelihoods, seed))
    return Row(name, nats, terms, len(likelihoods), tokens, paper.get(PUBLISHED.get(name, ""), ""))


def published(dataset: str) -> dict[str, str]:
    """The paper's numbers for a corpus, by its name of the model."""
    table = read_table("table7_nll")
    return {str(line.method): str(line.value) for line in table[table["task"] == dataset].itertuples()}


def read(files: Mapping[str, Path]) -> dict[str, list[Likelihood]]:
    """The likelihoods of every model.

    Raises:
        InputError: an unknown model, no language model, or models that were not asked for the same texts.
    """
    if unknown := next((name for name in files if name not in TITLES), None):
        raise InputError(files[unknown], f"no model '{unknown}' in Table 7", nearest(unknown, TITLES))
    found = {name: read_records(path, Likelihood) for name, path in files.items()}
    if EXACT not in found:
        raise InputError("--input", f"'likelihood/{EXACT}' is missing", "add its file")
    asked = [(one.text_id, one.tokens) for one in found[EXACT]]
    for name, likelihoods in found.items():
        if [(one.text_id, one.tokens) for one in likelihoods] != asked:
            raise InputError(files[name], f"other texts than those of {EXACT}", "make both files anew")
    return {name: found[name] for name in TITLES if name in found}


def verdict(found: Mapping[str, Sequence[Likelihood]], seed: int) -> Verdict:
    """Whether every bound lies above the language model's likelihood, text by text."""
    exact, resampled = per_token(found[EXACT], seed)
    gaps = []
    for name, likelihoods in found.items():
        if name != EXACT:
            value, own = per_token(likelihoods, seed)
            gaps.append(estimate(value - exact, own - resampled))
    told = ", ".join(f"{gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]" for gap in gaps)
    return Verdict(STATEMENT, outcome(gaps), f"Nats per token above it: {told}.")


def table_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV."""
    lines = [
        [one.name, one.is_bound, *one.nats, *(one.terms.get(term) for term in TERMS), one.texts, one.tokens,
         one.paper]
        for one in rows
    ]  # fmt: skip
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    return str(table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def markdown(rows: Sequence[Row], told: Verdict) -> str:
    """The table with its legend and the verdict."""
    header = ["model", "nats per token", *TERMS, "texts", "tokens", "published"]
    body = [
        [
            TITLES[one.name],
            f"{'<= ' * one.is_bound}{one.nats.value:.2f} [{one.nats.low:.2f}, {one.nats.high:.2f}]",
            *(f"{one.terms[term]:.2f}" if term in one.terms else "–" for term in TERMS),
            str(one.texts), str(one.tokens), one.paper or "–",
        ]
        for one in rows
    ]  # fmt: skip
    parts = ["### Table 7: likelihood", _LEGEND, markdown_table(header, body), verdict_lines([told])]
    return "\n\n".join(parts) + "\n"


def main(job: Job) -> None:
    """Write the table."""
    seed, found = job.spec["seed"], read(cells(job.inputs, "likelihood"))
    paper = published(job.spec["published"])
    rows = [row(name, likelihoods, seed, paper) for name, likelihoods in found.items()]
    write_text(job.outputs["csv"], table_csv(rows))
    write_text(job.outputs["markdown"], markdown(rows, verdict(found, seed)))


if __name__ == "__main__":
    command(main, outputs=("csv", "markdown"), open_ended=True)
