"""Figure 3: which words have a tag, and whether clusters are found where they are and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval.figure_3 import NEIGHBOURS, agreement, caption, clear_tags, draw, neighbours, point_table, shares
from eval.figures import save
from pipeline.errors import InputError
from pipeline.records import Text

TAGS = np.array(["NOUN"] * 30 + ["VERB"] * 30)


def text(tokens: str, tags: str, split: str = "train") -> Text:
    return Text("t", split, tokens, tokens.split(), tags=tags.split())


def clustered(distance: float) -> np.ndarray:
    """Two clouds of 30 vectors each, so far apart."""
    vectors = np.random.default_rng(1).standard_normal((60, 8))
    vectors[:, 0] += np.repeat([distance, -distance], 30) / 2  # lengths say nothing
    return vectors


def test_a_word_has_a_tag_if_four_fifths_of_its_occurrences_in_training_have_it() -> None:
    texts = [
        text("the place place", "DET NOUN NOUN"),
        text("place place place", "NOUN NOUN VERB"),
        text("place the", "VERB DET", split="valid"),
    ]
    assert clear_tags(texts) == {"the": ("DET", 1), "place": ("NOUN", 5)}
    assert "place" not in clear_tags([*texts, text("place", "VERB")])


def test_no_word_is_its_own_neighbour() -> None:
    near = neighbours(clustered(0))
    assert near.shape == (60, NEIGHBOURS)
    assert not (near == np.arange(60)[:, None]).any()


def test_agreement_by_hand() -> None:
    near = np.array([[1, 2], [0, 2], [0, 1]])
    assert agreement(np.array(["A", "A", "B"]), near).tolist() == [50, 50, 0]


def test_clusters_are_told_from_chance() -> None:
    learned, random, shuffled = shares(clustered(20), TAGS, seed=0)
    assert learned.value == 100
    assert learned.low > max(random.high, shuffled.high)
    assert 40 < shuffled.value < 60  # both tags have half of the words
    assert 40 < random.value < 60


def test_vectors_without_clusters_look_like_chance() -> None:
    learned, random, shuffled = shares(clustered(0), TAGS, seed=0)
    assert learned.low < shuffled.high and learned.low < random.high


def table(distance: float) -> tuple[pd.DataFrame, dict[str, tuple[str, int]]]:
    words = [f"w{place}" for place in range(60)]
    counts = [100 - place for place in range(60)]
    vectors = pd.DataFrame(clustered(distance), index=words)
    return vectors, {
        word: (tag, count) for word, tag, count in zip(words, TAGS.tolist(), counts, strict=True)
    }


def test_points_are_the_words_with_a_tag_and_equal_seeds_give_equal_places() -> None:
    vectors, tags = table(20)
    del tags["w3"]
    points = point_table(vectors, tags, seed=0)
    assert points["word"].tolist() == [f"w{place}" for place in range(60) if place != 3]
    pd.testing.assert_frame_equal(points, point_table(vectors, tags, seed=0))
    nouns, verbs = (points.loc[points["tag"] == tag, ["x", "y"]].to_numpy() for tag in ("NOUN", "VERB"))
    apart = np.linalg.norm(nouns.mean(0) - verbs.mean(0))
    assert apart > nouns.std() and apart > verbs.std()


def test_too_few_tagged_words_are_an_error() -> None:
    vectors, tags = table(0)
    with pytest.raises(InputError, match="1 words with a clear tag"):
        point_table(vectors, {"w0": tags["w0"]}, seed=0)


@pytest.mark.parametrize(("distance", "verdict"), [(20, "that holds here"), (0, "that does not show here")])
def test_the_caption_says_what_the_numbers_say(tmp_path: Path, distance: float, verdict: str) -> None:
    vectors, tags = table(distance)
    points = point_table(vectors, tags, seed=0)
    numbers = shares(vectors.to_numpy(), TAGS, seed=0)
    told = caption(points, numbers, words=64)
    assert verdict in told and "4 of 64 words have none" in told
    save(draw(points, numbers), {"svg": tmp_path / "f.svg"})
    assert (tmp_path / "f.svg").stat().st_size > 1000
