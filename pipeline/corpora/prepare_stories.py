"""Prepare the story corpus and what infilling is asked on.

python -m pipeline.corpora.prepare_stories --spec SPEC --output corpus=FILE vocabulary=FILE infilling=FILE

SPEC: ``name`` (embedded, rocstories), ``seed``, ``vocabulary_more_than``, ``targets`` (contexts reported on;
0: all), ``tuning`` (contexts that settings are chosen on), ``most_words`` (a context and one word between
must not be longer); for embedded ``sizes`` and ``context`` (neighbours, ends), for rocstories ``data_dir``
and ``download_dir``. Embedded contexts come from held-out stories, those of ROCStories from aNLG. No
training story holds a context of either set of targets.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.command import Job, command
from pipeline.corpora.anlg import anlg_folder, read_anlg
from pipeline.corpora.infilling import (
    Context,
    examples,
    infilling_target,
    overlap,
    unknown_share,
    unseen,
    without_contexts,
)
from pipeline.corpora.rocstories import HOME, read_rocstories
from pipeline.corpora.stories import retellings, story_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError, nearest
from pipeline.records import Target, Text, write_records
from pipeline.tasks import TUNING


class Corpus(NamedTuple):
    """Stories, and the contexts that there are: to report on, and to choose settings on."""

    stories: list[Text]
    reported: list[Target]
    tuning: list[Target]
    withheld: int = 0  # stories left out because they hold one of these contexts


def read_corpus(spec: dict[str, Any]) -> Corpus:
    """The corpus that the settings name; no training story holds a context of it.

    Raises:
        InputError: an unknown name, no training stories, or what the readers raise.
    """
    if spec["name"] not in _CORPORA:
        raise InputError("name", f"no such story corpus as '{spec['name']}'", nearest(spec["name"], _CORPORA))
    corpus = _CORPORA[spec["name"]](spec)
    if not _of_split(corpus.stories, "train"):
        raise InputError(spec["name"], "no training stories", "check the data folder or the sizes")
    return corpus


def _embedded(spec: dict[str, Any]) -> Corpus:
    """Contexts of the splits test and valid, but for those that a training story happens to hold too."""
    try:
        stories = story_texts(spec["seed"], spec["sizes"])
        ways = retellings(spec["seed"], spec["sizes"])
    except ValueError as error:
        raise InputError("sizes", str(error), "lower them") from None
    training = _of_split(stories, "train")
    reported, tuning = (
        unseen(_asked(_of_split(stories, split), ways, spec["context"]), training)
        for split in ("test", "valid")
    )
    taken = {target.target_id for target in reported}
    return Corpus(stories, reported, [target for target in tuning if target.target_id not in taken])


def _asked(stories: Sequence[Text], ways: dict[str, list[list[str]]], context: Context) -> list[Target]:
    """Every context of the stories, with all that the grammar can tell between its two sentences."""
    references: dict[tuple[str, str], dict[str, None]] = {}
    for story in stories:
        for index, (left, _, right) in enumerate(examples([story], context), 1):
            told = references.setdefault((" ".join(left), " ".join(right)), {})
            told |= dict.fromkeys(ways[story.id][index])
    return [infilling_target(left, right, told) for (left, right), told in references.items()]


def _rocstories(spec: dict[str, Any]) -> Corpus:
    """ROCStories without the stories that aNLG's contexts are taken from; its test contexts are reported."""
    data = Path(spec["data_dir"])
    if not spec["data_dir"]:
        raise InputError("data_dir", "is not set", f"ROCStories cannot be downloaded: request it at {HOME}")
    stories = read_rocstories(data)
    anlg = read_anlg(anlg_folder(data, Path(spec["download_dir"])))
    kept = without_contexts(stories, [*anlg["dev"], *anlg["test"]])
    return Corpus(kept, anlg["test"], anlg["dev"], len(stories) - len(kept))


_CORPORA: dict[str, Callable[[dict[str, Any]], Corpus]] = {"embedded": _embedded, "rocstories": _rocstories}


def choose(contexts: Sequence[Target], count: int | None, seed: int) -> list[Target]:
    """``count`` of the contexts, or all, in an order keyed by ``seed``; a larger count only adds to them.

    Raises:
        InputError: there are fewer, or none at all.
    """
    wanted = max(1, len(contexts)) if count is None else count
    if len(contexts) < wanted:
        how = "ask for fewer, allow longer ones (most_words), or give more stories"
        raise InputError("contexts", f"only {len(contexts)} of {wanted} wanted", how)
    return sorted(contexts, key=lambda target: _key(seed, target))[:wanted]


def _key(seed: int, target: Target) -> str:
    return hashlib.sha256(f"infilling {seed} {target.source_id}".encode()).hexdigest()


def fitting(contexts: Sequence[Target], most_words: int) -> list[Target]:
    """The contexts that leave room for a word: not longer than ``most_words`` with it."""
    return [t for t in contexts if len(" ".join(t.control.values()).split()) + 1 <= most_words]


def main(job: Job) -> None:
    """Write the stories, their vocabulary and the targets, those that settings are chosen on last."""
    spec = job.spec
    corpus = read_corpus(spec)
    reported, tuning = (fitting(pool, spec["most_words"]) for pool in (corpus.reported, corpus.tuning))
    too_long = len(corpus.reported) + len(corpus.tuning) - len(reported) - len(tuning)
    reported = choose(reported, spec["targets"] or None, spec["seed"])
    tuning = choose(tuning, spec["tuning"], spec["seed"])
    words = (story.tokens for story in _of_split(corpus.stories, "train"))
    vocabulary = Vocabulary.build(words, spec["vocabulary_more_than"])
    marked = [replace(target, tuned_on=True, target_set=TUNING) for target in tuning]
    write_records(job.outputs["infilling"], [*reported, *marked])
    vocabulary.save(job.outputs["vocabulary"])
    write_records(job.outputs["corpus"], corpus.stories)
    for line in describe(corpus, reported, tuning, vocabulary, too_long):
        print(line, file=sys.stderr)


def describe(
    corpus: Corpus,
    reported: Sequence[Target],
    tuning: Sequence[Target],
    vocabulary: Vocabulary,
    too_long: int,
) -> Iterator[str]:
    """What a preparation made, as lines."""
    splits = Counter(story.split for story in corpus.stories)
    counts = ", ".join(f"{split} {count}" for split, count in splits.items())
    yield (
        f"stories: {counts}; {corpus.withheld} left out, for they hold a context; "
        f"vocabulary {len(vocabulary)} entries"
    )
    both = [*reported, *tuning]
    yield (
        f"contexts: {len(reported)} with {_references(reported)} references, for tuning {len(tuning)} with "
        f"{_references(tuning)}; {too_long} longer ones left out"
    )
    shares = {key: [target.control[key] for target in reported] for key in ("left", "right")}
    shares["references"] = [reference for target in reported for reference in target.references or []]
    unknown = (f"{name} {unknown_share(sentences, vocabulary):.1%}" for name, sentences in shares.items())
    yield f"unknown words: {', '.join(unknown)}"
    held = overlap(both, _of_split(corpus.stories, "train"))
    yield (
        f"training stories hold {held.contexts} of the {len(both)} contexts, and {held.references} of the "
        f"{_references(both)} references as a sentence"
    )


def _references(targets: Sequence[Target]) -> int:
    return sum(len(target.references or []) for target in targets)


def _of_split(stories: Sequence[Text], split: str) -> list[Text]:
    return [story for story in stories if story.split == split]


if __name__ == "__main__":
    command(main, outputs=("corpus", "vocabulary", "infilling"), section="properties/stories")
