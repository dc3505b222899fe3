"""Score the cells of the ablation grids: lm-score with its guards, beside human texts, and verdicts.

python -m eval.ablations --spec SPEC --input corpus/NAME=FILE vocabulary/NAME=FILE teacher/NAME=FILE ... \\
    samples/CELL/seed0=FILE ... --output csv=FILE markdown=FILE

NAME is ``run`` or ``stories``. SPEC holds ``cells``, the corpus and the factors of each cell, and the
``seed`` of the human row's bootstrap. Rows of a single seed have that ``seed``; the others are over all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from eval.ablation_verdicts import COLUMNS, ablation_verdicts
from eval.csv_tables import table_csv
from eval.fluency import Teacher
from eval.guards import distinct_n, mean_length
from eval.markdown import interval_text, markdown_table, number_text
from eval.replicates import Replicates, cell_intervals
from eval.select import cells, require, split_words
from eval.statistics import NAN, Bounds, mean_interval
from eval.verdicts import verdict_lines
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.factors import FACTORS
from pipeline.files import write_text
from pipeline.human import HUMAN
from pipeline.records import Sample, Text, read_records

METRICS = ("lm_score", "distinct_4", "mean_length")
UNTRAINED = 300  # perplexity above which a cell is no model of its corpus
LEGEND = (
    "Cells: value [95 % interval over texts and training seeds]; lm: perplexity under the corpus' teacher,\n"
    "lower is better; by seed: that of each training seed. The losses are the paper's; embeddings are\n"
    "normalised and Muon trains where the recipe is `fast`.\n"
    f"untrained: lm above {UNTRAINED}, so that no verdict rests on the cell."
)


class Measured(NamedTuple):
    """The texts of one cell and training seed."""

    losses: np.ndarray  # nats per token of each text
    words: list[list[str]]

    @property
    def lengths(self) -> np.ndarray:
        """Words of each text."""
        return np.array([float(len(words)) for words in self.words])


class Corpus:
    """The texts of a corpus and the teacher that judges what is written like them.

    Raises:
        InputError: no text is held out from training.
    """

    def __init__(self, inputs: Mapping[str, Path], name: str) -> None:
        path = inputs[f"corpus/{name}"]
        self.teacher = Teacher(inputs[f"teacher/{name}"], Vocabulary.load(inputs[f"vocabulary/{name}"]))
        held_out = [text for text in read_records(path, Text) if text.split != "train"]
        human = [text for text in held_out if text.split == HUMAN] or held_out
        if len(human) < 2:
            raise InputError(path, "fewer than two texts beside those of training", "hold out more texts")
        self.human = self.measure([list(text.tokens) for text in human])

    def measure(self, words: list[list[str]]) -> Measured:
        """Judge texts."""
        return Measured(np.array([loss.mean() for loss in self.teacher.token_losses(words)]), words)


def read_cells(job: Job, corpora: Mapping[str, Corpus]) -> dict[str, dict[str, Measured]]:
    """The texts of every cell by training seed; cells in the order of their files.

    Raises:
        InputError: samples of a cell that the settings do not describe, or a cell without samples.
    """
    described: Mapping[str, Mapping[str, Any]] = job.spec["cells"]
    found: dict[str, dict[str, Measured]] = {}
    for cell, path in cells(job.inputs, "samples").items():
        name, _, seed = cell.partition("/seed")
        if name not in described:
            raise InputError(path, f"no cell '{name}' in the settings", "describe it in --spec")
        words = [split_words(sample.text) for sample in read_records(path, Sample)]
        found.setdefault(name, {})[seed] = corpora[described[name]["corpus"]].measure(words)
    if missing := next((name for name in described if name not in found), None):
        raise InputError("--input", f"no samples of cell '{missing}'", f"add samples/{missing}/seed0=FILE")
    return found


def ablation_table(
    measured: Mapping[str, Mapping[str, Measured]], described: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """All rows of the cells, in :data:`COLUMNS`."""
    fluency = {name: Replicates.of([m.losses for m in seeds.values()]) for name, seeds in measured.items()}
    lengths = {name: Replicates.of([m.lengths for m in seeds.values()]) for name, seeds in measured.items()}
    trained = [name for name, cell in fluency.items() if np.exp(cell.means.mean()) <= UNTRAINED]
    fluent, long = cell_intervals(fluency, trained), cell_intervals(lengths, trained)
    rows: list[tuple[Any, ...]] = []
    for name, seeds in measured.items():
        head = (name, *(described[name][key] for key in ("corpus", *FACTORS)))
        note = "" if name in trained else f"untrained: lm-score above {UNTRAINED}; "
        diversity = float(np.mean([distinct_n(m.words, 4) for m in seeds.values()]))
        whole = {
            "lm_score": (*np.exp([fluency[name].means.mean(), *fluent[name][:2]]), fluent[name].note),
            "distinct_4": (diversity, NAN, NAN, "mean over seeds"),
            "mean_length": (lengths[name].means.mean(), *long[name]),
        }
        texts = sum(len(m.words) for m in seeds.values())
        for metric, (*numbers, kind) in whole.items():
            rows.append((*head, metric, "", *numbers, texts, note + kind))
        for seed, m in seeds.items():
            value = np.exp(m.losses.mean())
            rows.append((*head, "lm_score", seed, value, NAN, NAN, len(m.words), note + "one seed"))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def human_rows(name: str, human: Measured, seed: int) -> Iterator[tuple[Any, ...]]:
    """The same numbers of held-out texts of a corpus."""
    head, count = (HUMAN, name, *[""] * len(FACTORS)), len(human.words)
    texts = np.arange(count)
    bounds: dict[str, tuple[float, Bounds]] = {
        "lm_score": (
            float(np.exp(human.losses.mean())),
            mean_interval(human.losses, texts, seed, transform=np.exp),
        ),
        "distinct_4": (distinct_n(human.words, 4), Bounds(NAN, NAN, "no interval: of the whole set")),
        "mean_length": (mean_length(human.words), mean_interval(human.lengths, texts, seed)),
    }
    for metric, (value, (low, high, _)) in bounds.items():
        yield (*head, metric, "", value, low, high, count, "held-out texts")


def ablation_markdown(table: pd.DataFrame) -> str:
    """One line per cell and corpus, the human row last; then the verdicts."""
    body = []
    for (_, name), rows in table.groupby(["corpus", "cell"], sort=False):
        whole = {row.metric: row for row in rows[rows["seed"] == ""].itertuples(index=False)}
        seeds = rows[rows["seed"] != ""]["value"]
        shown = [interval_text(whole[metric]) for metric in METRICS]
        own = [str(getattr(whole["lm_score"], key)) for key in ("corpus", *FACTORS)]
        state = "untrained" if whole["lm_score"].note.startswith("untrained") else ""
        by_seed = ", ".join(number_text(value, "lm_score") for value in seeds)
        body.append([name, *own, shown[0], by_seed, *shown[1:], state])
    header = ["cell", "corpus", *FACTORS, "lm", "by seed", "distinct-4", "length", ""]
    verdicts = verdict_lines(chain.from_iterable(ablation_verdicts(table).values()))
    parts = ("### Ablations: texts without control", LEGEND, markdown_table(header, body), verdicts)
    return "\n\n".join(parts) + "\n"


def main(job: Job) -> None:
    """Write table and verdicts."""
    described = job.spec["cells"]
    names = list(dict.fromkeys(cell["corpus"] for cell in described.values()))
    for kind in ("corpus", "vocabulary", "teacher"):
        require("--input", job.inputs, kind, names)
    corpora = {name: Corpus(job.inputs, name) for name in names}
    table = ablation_table(read_cells(job, corpora), described)
    human = [row for name in names for row in human_rows(name, corpora[name].human, job.spec["seed"])]
    table = pd.concat([table, pd.DataFrame(human, columns=list(COLUMNS))], ignore_index=True)
    write_text(job.outputs["csv"], table_csv(table))
    write_text(job.outputs["markdown"], ablation_markdown(table))


if __name__ == "__main__":
    command(main, outputs=("csv", "markdown"), open_ended=True)
