"""Train a language model of whole stories, left to right or right to left; left-only, DELOREAN and COLD read
them (paper Section 6.4).

python -m baselines.story_language_model --spec SPEC --input corpus=FILE vocabulary=FILE --output model=FILE

SPEC has ``model``, ``training`` and ``direction``: ``forward``, or ``backward`` for rows whose words go from
the last to the first, between the same START and END. ``examples`` says what a row is: ``stories``, or a
sentence between its ``neighbours`` or between the story's ``ends``, so that a context from within a story
does not read like its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from pipeline.command import Job, command
from pipeline.corpora.infilling import Context, examples
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.language_model import LanguageModel, LanguageModelSettings, Row, build, padded
from pipeline.records import Text, read_records
from pipeline.training import Batches, TrainingSettings, train

STEPS = {"forward": 1, "backward": -1}  # through the words of a story


def main(job: Job) -> None:
    """Train on the training stories, words outside the vocabulary as UNK; save with the direction."""
    if (direction := job.spec["direction"]) not in STEPS:
        raise InputError("direction", f"cannot be '{direction}'", nearest(str(direction), STEPS))
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    settings, training = LanguageModelSettings(**job.spec["model"]), TrainingSettings(**job.spec["training"])
    model = build(settings, vocabulary, [], training.seed).to(device())
    stories = [story for story in read_records(job.inputs["corpus"], Text) if story.split == "train"]
    told = told_texts(stories, job.spec["examples"])
    known = [[word if word in vocabulary else "UNK" for word in words] for words in told]
    rows = [model.row(words[:: STEPS[direction]]) for words in known]
    fit(model, rows, training, job, f"story_language_model {direction}")
    model.save(job.outputs["model"], settings, vocabulary=vocabulary.digest(), direction=direction)


def told_texts(stories: Sequence[Text], kind: Context | Literal["stories"]) -> list[list[str]]:
    """The words of whole stories, or of three sentences at a time (:func:`examples`)."""
    if kind == "stories":
        return [story.tokens for story in stories]
    return [[word for sentence in example for word in sentence] for example in examples(stories, kind)]


def fit(model: LanguageModel, rows: Sequence[Row], settings: TrainingSettings, job: Job, name: str) -> None:
    """Train on the mean loss per token of batches of similar length, in half the time on a CPU.

    Rows longer than the model's positions are left out.

    Raises:
        InputError: no row fits.
    """
    positions = model.network.config.n_positions
    fitting = [row for row in rows if len(row.ids) <= positions]
    if not fitting:
        what = f"no row of {name} fits {positions} positions"
        raise InputError(job.inputs["corpus"], what, "raise its model.positions, or add training stories")
    _quicken(model)
    batches = Batches(len(fitting), settings.batch_size, settings.seed, [len(row.ids) for row in fitting])

    def loss(step: int) -> Tensor:
        return mean_loss(model, [fitting[i] for i in batches.at(step)])

    train(model, loss, settings, job.work, name, job.signature)


def mean_loss(model: LanguageModel, rows: Sequence[Row]) -> Tensor:
    """Mean cross-entropy of the tokens after the prompts; only their logits are computed."""
    ids = padded([row.ids for row in rows], model.pad).to(model.network.device)
    learned = padded([[0] * row.prompt + [1] * (len(row.ids) - row.prompt) for row in rows], 0)
    places = learned[:, 1:].bool().to(ids.device)
    hidden = model.network.transformer(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    logits = model.network.lm_head(hidden[places]).float()
    return nn.functional.cross_entropy(logits, ids[:, 1:][places])


def _quicken(model: LanguageModel) -> None:
    """The same function in fewer passes over memory: GELU at once, attention written out."""
    blocks: Any = model.network.transformer.h
    for block in blocks:
        block.mlp.act = nn.GELU(approximate="tanh")
    if model.network.device.type == "cpu":
        model.network.set_attn_implementation("eager")


if __name__ == "__main__":
    command(
        main, inputs=("corpus", "vocabulary"), outputs=("model",), section="properties/story_language_model"
    )
