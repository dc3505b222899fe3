"""Figure 3: do words of one part of speech lie together among the learned embeddings?

python -m eval.figure_3 --spec SPEC --input vectors=FILE corpus=FILE \\
    --output svg=FILE pdf=FILE png=FILE points=FILE numbers=FILE caption=FILE

The vectors are ``word, x0, x1, ...`` as CSV; the corpus has a judge's tags. SPEC holds ``seed``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from eval.csv_tables import read_table, table_csv
from eval.figures import new_figure, point, save, style
from eval.markdown import markdown_table
from eval.statistics import mean_interval
from pipeline.command import Job, command
from pipeline.errors import InputError
from pipeline.files import write_text
from pipeline.records import Text, read_records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEIGHBOURS = 5
CLEAR = 0.8  # share of a word's occurrences that must have one tag
RANDOM_TABLES, SHUFFLES = 20, 1000
DRAWN_TAGS = 9  # with colours and markers of their own; rarer ones are drawn as one
OTHER = "other"
LABELLED = 24  # words named in the picture: the most frequent ones


class Share(NamedTuple):
    """Percent of neighbours that share a word's tag, mean over words, with an interval of ``kind``."""

    vectors: str
    value: float
    low: float
    high: float
    kind: str


def clear_tags(texts: Iterable[Text]) -> dict[str, tuple[str, int]]:
    """Each word's tag and number of occurrences in the training texts, where :data:`CLEAR` have one tag."""
    counts: dict[str, Counter[str]] = {}
    for text in texts:
        if text.split == "train" and text.tags:
            for word, tag in zip(text.tokens, text.tags, strict=True):
                counts.setdefault(word, Counter())[tag] += 1
    found = {}
    for word, tags in counts.items():
        (tag, count), total = tags.most_common(1)[0], tags.total()
        if count >= CLEAR * total:
            found[word] = (tag, total)
    return found


def neighbours(vectors: np.ndarray) -> np.ndarray:
    """The :data:`NEIGHBOURS` nearest other rows of each row by Euclid's distance, [rows, neighbours]."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=NEIGHBOURS).fit(vectors).kneighbors(return_distance=False)


def agreement(tags: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Percent of each row's neighbours that have its tag, [rows]."""
    return 100 * (tags[near] == tags[:, None]).mean(1)


def shares(vectors: np.ndarray, tags: np.ndarray, seed: int) -> list[Share]:
    """The learned vectors, random ones with their lengths, and the learned ones with shuffled tags."""
    generator = np.random.default_rng(seed)
    near = neighbours(vectors)
    found = agreement(tags, near)
    bounds = mean_interval(found, np.arange(len(found)), seed, largest=100)
    random = [agreement(tags, neighbours(_redrawn(vectors, generator))).mean() for _ in range(RANDOM_TABLES)]
    shuffled = [agreement(generator.permutation(tags), near).mean() for _ in range(SHUFFLES)]
    return [
        Share("learned", float(found.mean()), bounds.low, bounds.high, "95 % interval over words"),
        _spread("random", random, f"middle 95 % of {RANDOM_TABLES} tables"),
        _spread("learned, tags shuffled", shuffled, f"middle 95 % of {SHUFFLES} shuffles"),
    ]


def _redrawn(vectors: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Vectors of the same lengths in random directions."""
    drawn = generator.standard_normal(vectors.shape)
    return drawn * (np.linalg.norm(vectors, axis=1) / np.linalg.norm(drawn, axis=1))[:, None]


def _spread(name: str, values: list[float], kind: str) -> Share:
    low, high = np.quantile(values, [0.025, 0.975])
    return Share(name, float(np.mean(values)), float(low), float(high), kind)


def on_a_plane(vectors: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE of the vectors, [rows, 2]; equal seeds give equal places."""
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(vectors) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors)


def point_table(vectors: pd.DataFrame, tags: Mapping[str, tuple[str, int]], seed: int) -> pd.DataFrame:
    """The words that have a clear tag: ``word, tag, occurrences, x, y, share``, the commonest first.

    Args:
        vectors: one row per word, indexed by it.

    Raises:
        InputError: fewer such words than neighbours are looked at.
    """
    kept = sorted((word for word in vectors.index if word in tags), key=lambda word: -tags[word][1])
    if len(kept) <= NEIGHBOURS:
        what = f"{len(kept)} words with a clear tag"
        raise InputError("corpus", what, f"more than {NEIGHBOURS} are needed: is it tagged?")
    table = vectors.loc[kept].to_numpy()
    names, counts = zip(*(tags[word] for word in kept), strict=True)
    places = on_a_plane(table, seed)
    columns = {"word": kept, "tag": names, "occurrences": counts, "x": places[:, 0], "y": places[:, 1]}
    return pd.DataFrame({**columns, "share": agreement(np.array(names), neighbours(table))})


def draw(points: pd.DataFrame, numbers: list[Share]) -> Figure:
    """The words on a plane, and beside them how often neighbours share a tag."""
    with style():
        figure = new_figure(9, 5)
        plane, measured = figure.subplots(1, 2, width_ratios=[3.2, 1])
        _draw_words(plane, points)
        _draw_shares(measured, numbers)
    return figure


def _draw_words(axes: Axes, points: pd.DataFrame) -> None:
    common = points["tag"].value_counts().index[:DRAWN_TAGS].tolist()
    shown = points["tag"].where(points["tag"].isin(common), OTHER)
    for number, tag in enumerate([*common, *({OTHER} & set(shown))]):
        rows = points[shown == tag]
        look = {**point(number), "s": 26, "alpha": 0.75, "linewidths": 0}
        axes.scatter(rows["x"], rows["y"], label=f"{tag} ({len(rows)})", **look)
    for row in points[:LABELLED].itertuples():
        axes.annotate(str(row.word), (row.x, row.y), xytext=(3, 3), textcoords="offset points", fontsize=6.5)
    axes.set(title="t-SNE of the learned word embeddings", xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.02), ncols=5, handletextpad=0.1, columnspacing=1)


def _draw_shares(axes: Axes, numbers: list[Share]) -> None:
    for number, share in enumerate(numbers):
        around = [[max(0, share.value - share.low)], [max(0, share.high - share.value)]]  # rounding errors
        axes.errorbar([number], [share.value], yerr=around, capsize=4, **point(number))
        axes.annotate(
            f"{share.value:.0f} %", (number, share.value), xytext=(7, -3), textcoords="offset points"
        )
    names = [share.vectors.replace(", ", ",\n") for share in numbers]
    axes.set(xlim=(-0.5, len(numbers) - 0.2), ylim=(0, 100), ylabel="neighbours with the word's tag, %")
    axes.set_xticks(range(len(numbers)), names, rotation=30, ha="right")
    axes.set_title(f"{NEIGHBOURS} nearest neighbours")


def caption(points: pd.DataFrame, numbers: list[Share], words: int) -> str:
    """What the figure shows, in numbers; ``words`` are those of the vocabulary."""
    learned, random, shuffled = numbers
    clusters = "that holds" if learned.low > max(random.high, shuffled.high) else "that does not show"
    told = (
        f"The learned embeddings of {len(points)} words, coloured by the part of speech that at least "
        f"{CLEAR:.0%} of a word's occurrences have; {words - len(points)} of {words} words have none and are "
        f"left out. The paper says that words of one part of speech cluster: {clusters} here. Of a word's "
        f"{NEIGHBOURS} nearest neighbours (by Euclid's distance, the one that rounding uses) this share has "
        "its tag, in percent; random: random directions with the learned vectors' lengths."
    )
    parts = [
        "### Figure 3: parts of speech among the learned embeddings",
        *(told, _share_table(numbers)),
        *("By tag, beside the share of the other words that have it:", _tag_table(points)),
    ]
    return "\n\n".join(parts) + "\n"


def _share_table(numbers: list[Share]) -> str:
    body = [[s.vectors, f"{s.value:.1f} [{s.low:.1f}, {s.high:.1f}]", s.kind] for s in numbers]
    return markdown_table(["vectors", "neighbours with the same tag", "interval"], body)


def _tag_table(points: pd.DataFrame) -> str:
    by_tag = points.groupby("tag")["share"].agg(["size", "mean"]).sort_values("size", ascending=False)
    others = len(points) - 1
    body = [
        [t, str(size), f"{mean:.1f}", f"{100 * (size - 1) / others:.1f}"]
        for t, size, mean in by_tag.itertuples()
    ]
    return markdown_table(["tag", "words", "neighbours with the same tag", "chance"], body)


def main(job: Job) -> None:
    """Draw the figure; write its data and its caption."""
    seed = job.spec["seed"]
    vectors = read_table(job.inputs["vectors"], ("word",), None, "diffusion_lm.word_vectors")
    vectors = vectors.set_index("word")
    tags = clear_tags(read_records(job.inputs["corpus"], Text))
    points = point_table(vectors, tags, seed)
    numbers = shares(vectors.loc[points["word"]].to_numpy(), points["tag"].to_numpy(), seed)
    save(draw(points, numbers), job.outputs)
    write_text(job.outputs["points"], table_csv(points))
    write_text(job.outputs["numbers"], table_csv(pd.DataFrame(numbers)))
    write_text(job.outputs["caption"], caption(points, numbers, len(vectors)))


if __name__ == "__main__":
    outputs = ("svg", "pdf", "png", "points", "numbers", "caption")
    command(main, inputs=("vectors", "corpus"), outputs=outputs)
