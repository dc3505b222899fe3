"""COLD as a method: what must not matter, what is drawn, costs, and every refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.cold.langevin import Draws
from baselines.cold.method import Cold
from pipeline.errors import InputError
from pipeline.language_model import LanguageModelSettings, build
from pipeline.methods import Request, load_method
from pipeline.records import Target
from pipeline.seeding import generator
from pipeline.tasks import TASKS

SETTINGS = {
    "module": "baselines.cold.method", "words": 8, "longest": 16, "iterations": 6, "chains": 1,
    "rate": 0.1, "constraint": 0.5, "keyword_weight": 0.05, "forward_share": 0.6, "top_k": 5, "noise": 1.0,
    "ranking": "language_model", "batch_size": 64,
}  # fmt: skip


def method(stories: Any, models: dict[str, Path] | None = None, **changes: Any) -> Cold:
    made = load_method("cold", SETTINGS | changes, stories.vocabulary, models or stories.models)
    assert isinstance(made, Cold)
    return made


def texts(made: Cold, requests: list[Request], seed: int = 0) -> list[list[str]]:
    return [words for words, _, _ in made.write(requests, seed)]


def test_texts_are_single_sentences_of_known_words(stories: Any) -> None:
    for words in texts(method(stories), stories.requests(8)):
        assert 0 < len(words) <= 16 and "." not in words[3:-1]
        assert all(word in stories.vocabulary or word == "UNK" for word in words)


@pytest.mark.parametrize("chains", [1, 3])
def test_a_text_and_its_cost_do_not_depend_on_the_batch(stories: Any, chains: int) -> None:
    asked, made = stories.requests(7), method(stories, chains=chains)
    together = list(made.write(asked, 0))
    assert together == [next(made.write([request], 0)) for request in asked]
    assert together == list(method(stories, chains=chains, batch_size=3).write(asked, 0))
    assert together[::-1] == list(made.write(asked[::-1], 0))


def test_samples_and_seeds_differ(stories: Any) -> None:
    made = method(stories, top_k=10)
    first = texts(made, stories.requests(7))
    assert first == texts(made, stories.requests(7))
    assert first != texts(made, stories.requests(7), seed=1)
    assert first != texts(made, stories.requests(7, index=1))


def test_chains_differ_by_their_noise_alone(stories: Any) -> None:
    """Without any, and with no keywords to place, they end alike."""
    requests, calm = stories.requests(5), {"noise": 0.0, "keyword_weight": 0.0}
    one, three = (method(stories, chains=chains, **calm) for chains in (1, 3))
    assert texts(one, requests) == texts(three, requests)


def test_one_word_allowed_and_a_right_side_without_keywords_is_greedy(stories: Any) -> None:
    """All settings give the same words: the language model's own."""
    controls = [{"left": " ".join(gap.left), "right": "She did it ."} for gap in stories.gaps[:5]]
    requests = [Request(Target(f"t{i}", "infilling", c), 0) for i, c in enumerate(controls)]
    calm = texts(method(stories, top_k=1, rate=0.0, noise=0.0), requests)
    assert calm == texts(method(stories, top_k=1, rate=0.5, constraint=0.9), requests, seed=1)


def test_costs_follow_the_settings(stories: Any) -> None:
    """Left and START, 7 first words; right and START; in 4 iterations twice 7 words, and 8 and right; 7 words
    when they are chosen, and 16 to complete them.
    """
    requests = stories.requests(3)
    sides = [[len(r.target.control[side].split()) for side in ("left", "right")] for r in requests]
    both = list(method(stories, iterations=4).write(requests, 0))
    alone = list(method(stories, iterations=4, forward_share=1.0).write(requests, 0))
    fluent = list(method(stories, iterations=4, forward_share=1.0, constraint=0.0).write(requests, 0))
    for (left, right), *costs in zip(sides, both, alone, fluent, strict=True):
        least = 1 + left + 7 + 4 * 7 + 7 + 16
        future, backward = 4 * (8 + right), 1 + right + 4 * 7
        assert [cost[1] for cost in costs] == [least + future + backward, least + future, least]
        assert [cost[2] for cost in costs] == [4, 4, 4]
    many = list(method(stories, iterations=4, chains=3).write(requests, 0))
    assert all(three[2] == 12 and 2 * one[1] < three[1] < 4 * one[1] + 100
               for one, three in zip(both, many, strict=True))  # fmt: skip


def test_forward_share_1_needs_no_backward_model(stories: Any) -> None:
    alone = {"language_model": stories.models["language_model"]}
    requests = stories.requests(3)
    both = texts(method(stories, forward_share=1.0), requests)
    assert texts(method(stories, alone, forward_share=1.0), requests) == both


@pytest.mark.parametrize(
    "change",
    [{"rate": 1.0}, {"constraint": 0.9}, {"keyword_weight": 20.0}, {"forward_share": 0.1}, {"top_k": 2},
     {"noise": 0.0}, {"iterations": 3}, {"words": 6}],
)  # fmt: skip
def test_every_setting_counts(stories: Any, change: dict[str, Any]) -> None:
    """For the ids that chains end with, before they are cut to sentences."""
    sides = [(gap.left, gap.right) for gap in stories.gaps[:6]]
    ends = [
        made.write_chains(made.gap(sides), Draws([generator(i) for i in range(6)], 1))
        for made in (method(stories, rate=0.5), method(stories, **{"rate": 0.5} | change))
    ]
    assert not torch.equal(*ends)


# --- refusals


@pytest.mark.parametrize("task", sorted(set(TASKS) - {"infilling"}))
def test_other_tasks_are_refused_with_the_reason(stories: Any, task: str) -> None:
    with pytest.raises(InputError, match=f"not applicable to .*; {Cold.refusals[task]}"):
        list(method(stories).generate([Target("t", task, {})], 1, 0))


def test_a_context_longer_than_the_model_is_refused(stories: Any) -> None:
    control = {"left": " ".join(["the"] * 30), "right": " ".join(["the"] * 18)}
    with pytest.raises(InputError, match="has 64 positions, but a text with its prompt needs 65"):
        list(method(stories).write([Request(Target("long", "infilling", control), 0)], 0))


@pytest.mark.parametrize("name", ["language_model", "backward_language_model"])
def test_a_model_of_the_wrong_direction_is_refused(stories: Any, name: str) -> None:
    turned = {**stories.models, name: stories.models[({*stories.models} - {name}).pop()]}
    with pytest.raises(InputError, match=r"direction is '\w+', expected '\w+'"):
        next(method(stories, turned).write(stories.requests(1), 0))


def test_a_short_backward_model_is_refused(stories: Any, tmp_path: Path) -> None:
    """8 words behind START and the right side."""
    sizes = LanguageModelSettings("train", hidden=16, layers=1, heads=2, positions=10, dropout=0.0)
    header = {"vocabulary": stories.vocabulary.digest(), "direction": "backward"}
    path = tmp_path / "short.safetensors"
    build(sizes, stories.vocabulary, [], seed=0).save(path, sizes, **header)
    models, right = {**stories.models, "backward_language_model": path}, "She lost it ."
    request = Request(Target("t", "infilling", {"left": "He ran .", "right": right}), 0)
    with pytest.raises(InputError, match="has 10 positions, but a text with its prompt needs 12"):
        next(method(stories, models).write([request], 0))
