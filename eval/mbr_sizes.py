"""Quality of infills against the number of candidates that MBR chooses from (paper Section 5.2).

python -m eval.mbr_sizes --spec SPEC \\
    --input targets/infilling=FILE samples/CELL=FILE scores/CELL=FILE ... --output csv=FILE markdown=FILE

A CELL is ``infilling/method/seed0``. SPEC holds ``mbr_rule``, ``sizes`` and ``seed``. The candidates are the
first samples of each context; sizes that a method has not enough samples for are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from eval.csv_tables import table_csv
from eval.infilling import METRICS, signature
from eval.infilling_table import quality, read_scored, text_frame
from eval.layout import INFILLING_METHODS, ordered
from eval.markdown import cell_text, markdown_table
from eval.mbr import Rule, choose, utility_matrices
from eval.tables import NAN
from pipeline.command import Job, command
from pipeline.files import write_text
from pipeline.human import HUMAN
from pipeline.records import Target, read_records
from pipeline.tasks import INFILLING

COLUMNS = (
    *("task", "method", "candidates", "metric", "value", "low", "high"),
    *("targets", "samples", "seeds", "paper", "note"),
)
_LEGEND = "Cells: value [95 % interval over contexts]; higher is better. Candidates are the first samples."


def choices(texts: pd.DataFrame, sizes: Sequence[int], rule: Rule) -> dict[int, pd.DataFrame]:
    """The MBR choice of each context and seed from its first k samples, by k; ``texts`` are of one method."""
    groups = [group.sort_values("sample_index") for _, group in texts.groupby(["target_id", "seed"])]
    utilities = utility_matrices([group["words"].tolist() for group in groups])
    fewest = min(map(len, groups))
    return {
        size: pd.concat(
            group.iloc[[choose(utility[:size, :size], rule)]]
            for group, utility in zip(groups, utilities, strict=True)
        )
        for size in sizes
        if size <= fewest
    }


def size_table(
    texts: pd.DataFrame, encoder: str, sizes: Sequence[int], rule: Rule, seed: int
) -> pd.DataFrame:
    """The metrics of Table 5 by method and number of candidates, in :data:`COLUMNS`.

    Args:
        texts: :func:`eval.infilling_table.text_frame`.
        encoder: signature of their BERTScore.
        seed: of the bootstrap.
    """
    rows = [
        row
        for method in ordered(texts["method"], INFILLING_METHODS)
        if method != HUMAN
        for size, chosen in choices(texts[texts["method"] == method], sizes, rule).items()
        for row in _rows(method, size, chosen, encoder, seed)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(method: str, size: int, chosen: pd.DataFrame, encoder: str, seed: int) -> Iterator[tuple[Any, ...]]:
    measured = quality(chosen, seed)
    for metric in METRICS:
        value, low, high, note = measured[metric].estimate
        counts = (chosen["target_id"].nunique(), len(chosen), chosen["seed"].nunique())
        note = "; ".join(filter(None, (signature(metric, encoder), note)))
        yield INFILLING, method, size, metric, value, low, high, *counts, NAN, note


def size_markdown(table: pd.DataFrame) -> str:
    """One line per method and number of candidates."""
    body = []
    for (method, size), rows in table.groupby(["method", "candidates"], sort=False):
        by_metric = {row.metric: row for row in rows.itertuples(index=False)}
        shown = (cell_text(by_metric[metric], refused=False) for metric in METRICS)
        body.append([method, str(size), *shown])
    parts = (
        "### Infilling: candidates of MBR",
        _LEGEND,
        markdown_table(["method", "candidates", *METRICS], body),
    )
    return "\n\n".join(parts) + "\n"


def main(job: Job) -> None:
    """Write the table over all reported contexts."""
    targets = [t for t in read_records(job.inputs["targets/infilling"], Target) if t.reported]
    scored = read_scored(job, targets)
    texts = text_frame(scored, "all", [target.target_id for target in targets])
    spec = job.spec
    table = size_table(texts, scored.signature, spec["sizes"], spec["mbr_rule"], spec["seed"])
    write_text(job.outputs["csv"], table_csv(table))
    write_text(job.outputs["markdown"], size_markdown(table))


if __name__ == "__main__":
    command(main, inputs=("targets/infilling",), outputs=("csv", "markdown"), open_ended=True)
