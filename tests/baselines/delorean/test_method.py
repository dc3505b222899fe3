"""DELOREAN as a method: better than reading the left alone, what must not matter, and every refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from baselines.delorean.method import Delorean
from baselines.ranking import Candidate, LanguageModelRanker
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel
from pipeline.methods import Request, load_method
from pipeline.records import Target
from pipeline.tasks import TASKS

SETTINGS = {
    "module": "baselines.delorean.method", "words": 10, "longest": 16, "passes": 3, "iterations": 2,
    "mix": 0.88, "step": 0.01, "first_temperature": 1.0, "backward_temperature": 1.0,
    "forward_temperature": 1.0, "ranking": "language_model", "batch_size": 64,
}  # fmt: skip
LEFT_ALONE = {"passes": 1, "iterations": 0, "mix": 1.0}


def method(stories: Any, models: dict[str, Path] | None = None, **changes: Any) -> Delorean:
    made = load_method("delorean", SETTINGS | changes, stories.vocabulary, models or stories.models)
    assert isinstance(made, Delorean)
    return made


def texts(stories: Any, requests: list[Request], **changes: Any) -> list[list[str]]:
    return [words for words, _, _ in method(stories, **changes).write(requests, 0)]


def fit_of(stories: Any, requests: list[Request], written: list[list[str]]) -> float:
    """Mean score of the ranking: how well texts go with the left, and the right with them."""
    sides = [(r.target.control["left"].split(), r.target.control["right"].split()) for r in requests]
    asked = [Candidate(left, words, right) for (left, right), words in zip(sides, written, strict=True)]
    return sum(LanguageModelRanker(stories.model).scores(asked)) / len(asked)


def test_texts_fit_better_than_those_that_see_the_left_alone(stories: Any) -> None:
    requests = stories.requests(8)
    alone, both = texts(stories, requests, **LEFT_ALONE), texts(stories, requests)
    assert fit_of(stories, requests, both) > fit_of(stories, requests, alone)


def test_texts_are_single_sentences(stories: Any) -> None:
    for words in texts(stories, stories.requests(8)):
        assert 0 < len(words) <= 16 and "." not in words[:-1]
        assert all(word in stories.vocabulary or word == "UNK" for word in words)


def test_a_text_and_its_cost_do_not_depend_on_the_batch(stories: Any) -> None:
    asked, made = stories.requests(7), method(stories)
    together = list(made.write(asked, 0))
    assert len({len(request.target.control["right"].split()) for request in asked}) > 1
    assert together == [next(made.write([request], 0)) for request in asked]
    assert together == list(method(stories, batch_size=3).write(asked, 0))
    assert together[::-1] == list(made.write(asked[::-1], 0))


def test_nothing_is_drawn(stories: Any) -> None:
    first, other = stories.requests(3), stories.requests(3, index=1)
    assert list(method(stories).write(first, 0)) == list(method(stories).write(other, 1))


def test_costs_follow_the_settings(stories: Any) -> None:
    """One candidate is not ranked: 1 + left, 9 soft words; 15 forward, twice 10 words and right."""
    requests = stories.requests(3)
    for request, (_, read, passes) in zip(
        requests, method(stories, passes=1).write(requests, 0), strict=True
    ):
        left, right = (len(request.target.control[side].split()) for side in ("left", "right"))
        assert (read, passes) == (1 + left + 9 + 15 + 2 * (10 + right), 2)
    ranked = [read for _, read, _ in method(stories, passes=4, step=0.05).write(requests, 0)]
    first = [read for _, read, _ in method(stories, passes=1).write(requests, 0)]
    assert all(many > 2.5 * one for one, many in zip(first, ranked, strict=True))


def test_the_ranker_chooses_among_the_passes(stories: Any) -> None:
    """One of the opposite taste chooses worse texts; a next-sentence model takes the same place."""
    made, requests = method(stories, step=0.1, mix=0.5), stories.requests(8)

    class Opposite(LanguageModelRanker):
        def scores(self, candidates: Any) -> list[float]:
            return [-score for score in super().scores(candidates)]

    best = [words for words, _, _ in made.write(requests, 0)]
    made.ranker = Opposite(stories.model)
    worst = [words for words, _, _ in made.write(requests, 0)]
    assert fit_of(stories, requests, worst) < fit_of(stories, requests, best) - 0.01


# --- refusals


@pytest.mark.parametrize("task", sorted(set(TASKS) - {"infilling"}))
def test_other_tasks_are_refused_with_the_reason(stories: Any, task: str) -> None:
    with pytest.raises(InputError, match=f"not applicable to .*; {Delorean.refusals[task]}"):
        list(method(stories).generate([Target("t", task, {})], 1, 0))


def test_a_context_longer_than_the_model_is_refused(stories: Any) -> None:
    control = {"left": " ".join(["the"] * 30), "right": " ".join(["the"] * 18)}
    with pytest.raises(InputError, match="has 64 positions, but a text with its prompt needs 65"):
        list(method(stories).write([Request(Target("long", "infilling", control), 0)], 0))


def test_a_gap_with_nothing_on_the_right_is_refused(stories: Any) -> None:
    bare = Request(Target("bare", "infilling", {"left": "She lost it .", "right": ""}), 0)
    with pytest.raises(InputError, match="target 'bare': has nothing on the right"):
        list(method(stories).write([bare], 0))


def test_models_of_other_training_are_refused(stories: Any) -> None:
    backward = {"language_model": stories.models["backward_language_model"]}
    with pytest.raises(InputError, match=r"direction is 'backward', expected 'forward'"):
        next(method(stories, backward).write(stories.requests(1), 0))
    larger = Vocabulary((*stories.vocabulary.words, "more"))
    with pytest.raises(InputError, match="vocabulary is"):
        next(load_method("d", SETTINGS, larger, stories.models).write(stories.requests(1), 0))


def test_a_model_of_sub_words_is_refused(stories: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sub_words = LanguageModel.load(stories.models["language_model"])
    sub_words.word_level = False
    monkeypatch.setattr(LanguageModel, "load", lambda *given, **expected: sub_words)
    with pytest.raises(InputError, match="sub-word tokens cannot be cut"):
        next(method(stories).write(stories.requests(1), 0))


def test_more_soft_words_than_the_longest_text_are_refused(stories: Any) -> None:
    with pytest.raises(InputError, match=r"methods\.delorean\.words: is 16, but .* at most 16 words"):
        next(method(stories, words=16).write(stories.requests(1), 0))


def test_an_unknown_ranking_is_refused(stories: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: not a BERT for ranking"):
        next(method(stories, ranking=str(tmp_path / "none")).write(stories.requests(1), 0))
