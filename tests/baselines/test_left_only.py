"""Left-only: one sentence behind the left context, whatever the right one, and whatever batch it is in."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from baselines import story_language_model
from baselines.left_only import LeftOnly, go_on, sentence_length
from pipeline.command import Job
from pipeline.corpora.infilling import examples
from pipeline.corpora.stories import story_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.decoding import sample
from pipeline.errors import InputError
from pipeline.language_model import LanguageModel, LanguageModelSettings
from pipeline.methods import Request, load_method
from pipeline.records import Target, write_records
from pipeline.tasks import INFILLING
from pipeline.training import TrainingSettings

MODEL = LanguageModelSettings("train", hidden=32, layers=2, heads=2, positions=64, dropout=0.0)
TRAINING = TrainingSettings(
    steps=80, batch_size=16, learning_rate=1e-2, warmup=5, weight_decay=0.0, clip=1.0, ema=0.9,
    muon_rate=0.02, precision="fp32", seed=0,
)  # fmt: skip


class World(NamedTuple):
    """A vocabulary, a model of each direction, and contexts."""

    vocabulary: Vocabulary
    models: dict[str, Path]
    targets: list[Target]

    def method(self, direction: str = "forward", **changes: Any) -> LeftOnly:
        settings = {"module": "baselines.left_only", "temperature": 1.0, "longest": 20, **changes}
        models = {"language_model": self.models[direction]}
        made = load_method("left_only", settings, self.vocabulary, models)
        assert isinstance(made, LeftOnly)
        return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("left_only")
    stories = story_texts(0, {"train": 400, "valid": 20})
    inputs = {"corpus": folder / "stories.jsonl", "vocabulary": folder / "vocabulary.json"}
    write_records(inputs["corpus"], stories)
    vocabulary = Vocabulary.build([story.tokens for story in stories], more_than=3)
    vocabulary.save(inputs["vocabulary"])
    models = {direction: folder / f"{direction}.safetensors" for direction in ("forward", "backward")}
    for direction, steps in {"forward": 100, "backward": 1}.items():
        training = asdict(replace(TRAINING, steps=steps))
        spec = {"model": asdict(MODEL), "training": training, "direction": direction, "examples": "stories"}
        story_language_model.main(Job(spec, inputs, {"model": models[direction]}))
    asked = examples([story for story in stories if story.split == "valid"], "neighbours")
    controls = [{"left": " ".join(e.left), "right": " ".join(e.right)} for e in asked]
    targets = [Target(f"story-{i}", INFILLING, c, ["x"]) for i, c in enumerate(controls)]
    return World(vocabulary, models, targets)


def requests(world: World, count: int) -> list[Request]:
    return [Request(target, index) for target in world.targets[::3] for index in range(2)][:count]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("He ran", None),
        ("He ran .", 3),
        ("No ! He ran .", 2),
        ("Did he run ? Yes", 4),
        ("Mr. Hill had 3.5 miles ... to run .", 9),
        ('He said , " run !', None),
        ('He said , " run ! "', 7),
        ('He said , " run ! Now " .', 6),
        ('He ran . " Stop ! "', 3),
        ("He said , “ run . ”", 7),
        ("He said , “ run ” . ”", 7),
        (". He", 1),
    ],
)
def test_a_sentence_ends_at_its_mark_or_at_the_quotation_mark_that_closes_after_it(
    text: str, expected: int | None
) -> None:
    assert sentence_length(text.split()) == expected


def test_a_text_is_one_sentence(world: World) -> None:
    texts = [made.text.split() for made in world.method().generate(world.targets, 5, seed=0)]
    assert len(texts) == 5 * len(world.targets)
    ended = [text for text in texts if sentence_length(text) == len(text)]
    assert len(ended) > 0.9 * len(texts)
    assert all(len(text) == 20 and sentence_length(text) is None for text in texts if text not in ended)
    assert len({tuple(text) for text in texts[:5]}) > 1
    assert not {"START", "END", "PAD"} & {word for text in texts for word in text}


def test_the_right_context_changes_nothing(world: World) -> None:
    asked = world.targets[:8]
    others = [replace(t, control={**t.control, "right": "END of another story"}) for t in asked]
    lefts = [replace(t, control={**t.control, "left": "But there was no milk ."}) for t in asked]
    texts, same, changed = (
        list(world.method().generate(targets, 2, 0)) for targets in (asked, others, lefts)
    )
    assert texts == same
    assert texts != changed


def test_a_text_does_not_depend_on_its_batch(world: World) -> None:
    writer, asked = world.method(), requests(world, 7)
    together = list(writer.write(asked, seed=3))
    assert together == [next(writer.write([request], seed=3)) for request in asked]
    assert together == list(writer.write(asked, seed=3))
    assert together != list(writer.write(asked, seed=4))


def rollout(model: LanguageModel, ids: list[int], longest: int) -> list[str]:
    """The likeliest next word, again and again, each time with the whole text read anew."""
    written: list[str] = []
    while sentence_length(written) is None and len(written) < longest:
        with torch.no_grad():
            logits = model.network(torch.tensor([ids])).logits[0, -1]
        logits[[*model.barred, model.end, model.unknown]] = -torch.inf
        ids = [*ids, int(logits.argmax())]
        written = [*written, *model.decode(ids[-1:])]
    return written


def test_greedy_is_the_likeliest_word_again_and_again(world: World) -> None:
    model = LanguageModel.load(world.models["forward"])
    written = world.method(temperature=0).generate(world.targets[:9], 2, seed=0)
    for target, first, second in zip(world.targets, written, written, strict=False):
        left = model.encode(target.control["left"].split())
        assert first.text == second.text == " ".join(rollout(model, [model.start, *left], 20))


def test_texts_behind_start_are_those_that_sampling_writes(world: World) -> None:
    """Sampling puts START behind a prompt; drawn from equal generators, both give the same tokens."""
    model = LanguageModel.load(world.models["forward"])
    prompts = [
        model.encode(target.control["left"].split()[: i % 4]) for i, target in enumerate(world.targets)
    ]
    made = [[torch.Generator().manual_seed(i) for i in range(len(prompts))] for _ in range(2)]
    expected = sample(model, prompts, made[0], 12, 1.0)
    begun = [[*prompt, model.start] for prompt in prompts]
    assert list(map(model.before_end, go_on(model, begun, made[1], 12, 1.0))) == expected


def test_every_token_that_is_read_counts(world: World) -> None:
    for longest in (1, 4, 20):
        written = world.method(longest=longest).generate(world.targets[:10], 1, seed=0)
        for target, made in zip(world.targets, written, strict=False):
            words = made.text.split()
            assert 0 < len(words) <= longest
            assert made.forward_tokens == 1 + len(target.control["left"].split()) + len(words) - 1
            assert made.backward_passes == 0


def test_unknown_words_are_read_as_unk(world: World) -> None:
    first, second = (
        Target("x", INFILLING, {"left": left, "right": "."}, ["x"])
        for left in ("Zebedee saw a START .", "UNK saw a brasserie .")
    )
    texts = [list(world.method().generate([target], 3, 0)) for target in (first, second)]
    assert texts[0] == texts[1]


def test_refusals(world: World) -> None:
    long = Target("x", INFILLING, {"left": "the " * 45, "right": "."}, ["x"])
    with pytest.raises(InputError, match="has 64 positions, but a text with its prompt needs 65"):
        list(world.method().generate([*world.targets, long], 1, 0))
    assert len(list(world.method(longest=19).generate([long], 1, 0))) == 1
    with pytest.raises(InputError, match="direction is 'backward', expected 'forward'"):
        list(world.method("backward").generate(world.targets[:1], 1, 0))
    words = Vocabulary((*world.vocabulary.words, "brasserie"))
    with pytest.raises(InputError, match="vocabulary is"):
        list(world._replace(vocabulary=words).method().generate(world.targets[:1], 1, 0))
    with pytest.raises(InputError, match="not applicable to length"):
        world.method().require("length")
