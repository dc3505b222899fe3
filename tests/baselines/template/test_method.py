"""Rejection sampling: which draw is kept, what it depends on, what it costs, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import GPT2LMHeadModel

from baselines.template.method import RejectionSampling, satisfies
from pipeline.corpora.vocabulary import SPECIALS, Vocabulary
from pipeline.decoding import sample
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel, LanguageModelSettings, build
from pipeline.methods import Request, load_method
from pipeline.records import Sample, Target
from pipeline.tasks import COMPOSITIONS, TASKS

VOCABULARY = Vocabulary((*SPECIALS, *"The Mill is a cheap pub café £ .".split()))
SIZES = LanguageModelSettings("train", hidden=16, layers=1, heads=2, positions=16, dropout=0.0)
LONGEST = 12
LENGTHS = [Target(f"length-{n}", "length", {"length": n}) for n in range(1, LONGEST + 1)]
VALUES = [
    Target(value, "semantic_content", {"field": "any", "value": value})
    for value in ("pub", "café £", "The Mill is")
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model, whose texts differ in length."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("template") / "model.safetensors"
    build(SIZES, VOCABULARY, [], seed=0).save(path, SIZES, vocabulary=VOCABULARY.digest())
    return path


def method(model: Path, **settings: int) -> RejectionSampling:
    own = {"module": "baselines.template.method", "longest": LONGEST, **settings}
    made = load_method("template", own, VOCABULARY, {"language_model": model})
    assert isinstance(made, RejectionSampling)
    return made


def written(made: RejectionSampling, targets: list[Target], count: int = 5, seed: int = 0) -> list[Sample]:
    return list(made.generate(targets, count, seed))


def met(samples: list[Sample], targets: list[Target]) -> int:
    asked = {target.target_id: target for target in targets}
    return sum(satisfies(s.text.split(), asked[s.target_id]) for s in samples)


def test_satisfies() -> None:
    assert satisfies("a café £ .".split(), VALUES[1]) and not satisfies("£ café".split(), VALUES[1])
    assert satisfies("a pub".split(), LENGTHS[1]) and not satisfies("a pub .".split(), LENGTHS[1])
    assert not satisfies([], LENGTHS[0])


@pytest.mark.parametrize("targets", [LENGTHS, VALUES], ids=["length", "semantic_content"])
def test_more_draws_more_success(model: Path, targets: list[Target]) -> None:
    few, more, many = (met(written(method(model, draws=n), targets), targets) for n in (1, 4, 32))
    assert few < more < many
    default = written(method(model), targets)
    assert default == written(method(model, draws=16), targets)


class Drawn(NamedTuple):
    """One draw of a text."""

    words: list[str]
    tokens: int


def draws_of(made: RejectionSampling, file: Path, request: Request, seed: int) -> list[Drawn]:
    """Every draw of a request alone."""
    model = LanguageModel.load(file)
    found = []
    for own in made.seeds(request, seed):
        (new,) = sample(model, [[]], [torch.Generator().manual_seed(own)], LONGEST, 1.0)
        found.append(Drawn(model.decode(new), 1 + len(new)))
    return found


def test_the_first_draw_that_satisfies_is_kept_else_the_last(model: Path) -> None:
    made, accepted = method(model, draws=6), set[int]()
    targets = [*LENGTHS, *VALUES]
    for target, kept in zip(targets, written(made, targets, 1), strict=True):
        draws = draws_of(made, model, Request(target, 0), seed=0)
        good = [number for number, draw in enumerate(draws) if satisfies(draw.words, target)]
        number = good[0] if good else 5
        assert kept.text.split() == draws[number].words
        assert kept.forward_tokens == sum(draw.tokens for draw in draws[: number + 1])
        assert kept.backward_passes == 0
        accepted.add(number)
    assert len(accepted) > 3  # else it would prove little


def test_costs_are_the_tokens_that_the_model_reads(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone in its batch a text has no padding; the last word of a text that is cut counts, though unread."""
    made, request, read = method(model, draws=7), Request(VALUES[2], 0), []
    draws, forward = draws_of(made, model, request, seed=0), GPT2LMHeadModel.forward

    def counting(network: GPT2LMHeadModel, input_ids: torch.Tensor, **given: Any) -> Any:
        read.append(input_ids.numel())
        return forward(network, input_ids, **given)

    monkeypatch.setattr(GPT2LMHeadModel, "forward", counting)
    (found,) = written(made, [request.target], 1)
    cut = sum(len(draw.words) == LONGEST for draw in draws)
    assert cut < len(draws) and found.forward_tokens == sum(read) + cut == sum(draw.tokens for draw in draws)


def test_texts_and_costs_do_not_depend_on_batch_or_order(model: Path) -> None:
    made, targets = method(model), [*LENGTHS[:5], *VALUES[:2]]
    together = written(made, targets, 1)
    assert len({s.text for s in together}) > 3
    assert [written(made, [target], 1)[0] for target in targets] == together
    assert written(made, targets[::-1], 1) == together[::-1]
    assert [s.text for s in written(made, targets, 1, seed=1)] != [s.text for s in together]
    assert written(made, []) == []


def test_tasks_that_it_cannot_check_are_refused_with_a_reason(model: Path) -> None:
    made = method(model)
    for task in TASKS.keys() - made.tasks:
        with pytest.raises(InputError, match=rf"'template': not applicable to {task.replace('+', '.')}; "):
            next(made.generate([*LENGTHS, Target("x", task, {})], 1, 0))
        told = RejectionSampling.refusals[task]
        reasons = {"unconditional": "rejected", "infilling": "around"}
        assert reasons.get(task, "judge") in told
    assert TASKS.keys() - made.tasks >= COMPOSITIONS.keys()


def test_a_model_that_does_not_fit_is_told(model: Path) -> None:
    with pytest.raises(InputError, match="16 positions.*needs 17"):
        written(method(model, longest=17), LENGTHS)
    other = Vocabulary((*VOCABULARY.words, "brasserie"))
    made = RejectionSampling("template", {"longest": LONGEST}, other, {"language_model": model})
    with pytest.raises(InputError, match="vocabulary is"):
        written(made, LENGTHS)
