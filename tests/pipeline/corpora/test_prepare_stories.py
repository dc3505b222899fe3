"""The story command: both corpora, the choice of contexts, what it tells, and how it ends on bad data."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpora.infilling import examples, infilling_target, overlap
from pipeline.corpora.prepare_stories import choose, fitting, read_corpus
from pipeline.corpora.rocstories import HOME
from pipeline.corpora.stories import retellings, story_texts
from pipeline.corpora.vocabulary import SPECIALS, Vocabulary
from pipeline.errors import InputError
from pipeline.records import Target, Text, read_records
from pipeline.tasks import check_targets

MODULE = "pipeline.corpora.prepare_stories"
SIZES = {"train": 300, "valid": 20, "test": 30}
EMBEDDED: dict[str, Any] = {
    "name": "embedded", "seed": 3, "sizes": SIZES, "vocabulary_more_than": 1, "context": "neighbours",
    "targets": 12, "tuning": 5, "most_words": 40, "data_dir": "", "download_dir": "nowhere", "threads": 1,
}  # fmt: skip
NAMES = {"corpus": "corpus.jsonl", "vocabulary": "vocabulary.json", "infilling": "infilling.jsonl"}
both_contexts = pytest.mark.parametrize("context", ["neighbours", "ends"])


@pytest.fixture
def prepare(run_command: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run the command into ``out``; keywords change the settings."""

    def run(**changes: Any) -> Any:
        paths = {name: tmp_path / "out" / file for name, file in NAMES.items()}
        return run_command(MODULE, {**EMBEDDED, **changes}, {}, paths)

    return run


def corpus(tmp_path: Path) -> list[Text]:
    return read_records(tmp_path / "out" / NAMES["corpus"], Text)


def targets(tmp_path: Path) -> list[Target]:
    return read_records(tmp_path / "out" / NAMES["infilling"], Target)


# --- the embedded corpus


def test_what_is_written_is_what_was_asked_for(prepare: Callable[..., Any], tmp_path: Path) -> None:
    done = prepare()
    assert (done.code, done.stdout) == (0, "")
    stories, asked = corpus(tmp_path), targets(tmp_path)
    assert stories == story_texts(3, SIZES)
    assert [(t.target_set, t.tuned_on) for t in asked] == [("all", False)] * 12 + [("tuning", True)] * 5
    training = [word for story in stories if story.split == "train" for word in story.tokens]
    vocabulary = Vocabulary.load(tmp_path / "out" / NAMES["vocabulary"])
    assert set(vocabulary.words) - set(SPECIALS) == {w for w in training if training.count(w) > 1}
    check_targets("here", asked, vocabulary, longest=40)


@both_contexts
def test_contexts_come_from_held_out_stories_with_their_middle_sentence(
    prepare: Callable[..., Any], tmp_path: Path, context: Any
) -> None:
    prepare(context=context)
    found: dict[tuple[str, str], set[str]] = {}
    for split, tuned_on in (("test", False), ("valid", True)):
        held_out = [story for story in corpus(tmp_path) if story.split == split]
        for example in examples(held_out, context):
            left, middle, right = map(" ".join, example)
            found.setdefault((left, right), set()).add(middle)
        asked = [target for target in targets(tmp_path) if target.tuned_on == tuned_on]
        for target in asked:
            told = found[target.control["left"], target.control["right"]]
            assert told <= set(target.references or [])
            assert len(set(target.references or [])) == len(target.references or []) >= 2 * len(told)


def test_references_are_the_middle_sentence_in_every_way_of_its_plot(
    prepare: Callable[..., Any], tmp_path: Path
) -> None:
    """With the words of its own story, which the context need not name."""
    prepare(targets=0)
    ways = retellings(3, SIZES)
    told: dict[tuple[str, str], set[str]] = {}
    for story in corpus(tmp_path):
        for index, (left, _, right) in enumerate(examples([story], "neighbours"), 1):
            if story.split == "test":
                told.setdefault((" ".join(left), " ".join(right)), set()).update(ways[story.id][index])
    asked = [target for target in targets(tmp_path) if target.reported]
    assert len(asked) > 60
    for target in asked:
        assert set(target.references or []) == told[target.control["left"], target.control["right"]]


def test_a_story_is_one_of_its_retellings() -> None:
    ways = retellings(3, SIZES)
    stories = story_texts(3, SIZES)
    assert [story.id for story in stories] == list(ways)
    for story in stories:
        assert [len(told) for told in ways[story.id]] == [2] * 5
        for sentence, told in zip(story.sentences or [], ways[story.id], strict=True):
            assert " ".join(sentence) in told and "{" not in "".join(told)


@both_contexts
def test_no_training_story_holds_a_context_and_no_context_is_in_both_sets(context: str) -> None:
    many = {"train": 2000, "valid": 100, "test": 100}
    made = read_corpus({**EMBEDDED, "sizes": many, "context": context})
    training = [story for story in made.stories if story.split == "train"]
    assert overlap([*made.reported, *made.tuning], training).contexts == 0
    ids = [target.target_id for target in [*made.reported, *made.tuning]]
    assert len(set(ids)) == len(ids)
    assert len(made.reported) < 300, "some contexts of held-out stories are told in training, too"


def test_the_same_settings_write_the_same_bytes_and_another_seed_others(
    prepare: Callable[..., Any], tmp_path: Path
) -> None:
    def made(**changes: Any) -> dict[str, bytes]:
        assert prepare(**changes).code == 0
        return {name: (tmp_path / "out" / name).read_bytes() for name in NAMES.values()}

    first = made()
    assert made() == first
    other = made(seed=4)
    assert all(other[name] != first[name] for name in ("corpus.jsonl", "infilling.jsonl"))


# --- the choice of contexts


def contexts(count: int) -> list[Target]:
    return [infilling_target("a " * n + ".", "b .", ["c ."]) for n in range(1, count + 1)]


def test_the_choice_depends_on_the_seed_and_not_on_the_order() -> None:
    pool = contexts(40)
    first = choose(pool, 10, seed=0)
    assert choose(pool[::-1], 10, seed=0) == first == choose(pool, 20, seed=0)[:10]
    assert len({tuple(t.target_id for t in choose(pool, 10, seed)) for seed in range(5)}) == 5


def test_no_count_means_all() -> None:
    pool = contexts(7)
    assert len(choose(pool, None, 0)) == 7
    assert choose(pool, 0, 0) == []


@pytest.mark.parametrize(("pool", "count"), [(3, 4), (0, None), (0, 1)])
def test_too_few_contexts_are_refused(pool: int, count: int | None) -> None:
    with pytest.raises(InputError, match=f"contexts: only {pool} of {count or 1} wanted"):
        choose(contexts(pool), count, 0)


def test_a_context_must_leave_room_for_a_word() -> None:
    lengths = [len(" ".join(target.control.values()).split()) for target in fitting(contexts(10), 9)]
    assert lengths == [4, 5, 6, 7, 8]


# --- what it tells


def test_the_counts_are_told(prepare: Callable[..., Any], tmp_path: Path) -> None:
    lines = prepare(vocabulary_more_than=60, most_words=19).stderr.splitlines()[:4]
    asked, stories = targets(tmp_path), corpus(tmp_path)
    vocabulary = Vocabulary.load(tmp_path / "out" / NAMES["vocabulary"])
    assert lines[0] == (
        "stories: train 300, valid 20, test 30; 0 left out, for they hold a context; "
        f"vocabulary {len(vocabulary)} entries"
    )
    counts = [sum(len(t.references or []) for t in asked if t.tuned_on == tuned) for tuned in (False, True)]
    made = read_corpus(EMBEDDED)
    pools = [*made.reported, *made.tuning]
    too_long = len(pools) - len(fitting(pools, 19))
    assert too_long > 0
    assert lines[1] == (
        f"contexts: 12 with {counts[0]} references, for tuning 5 with {counts[1]}; "
        f"{too_long} longer ones left out"
    )
    left = [word for t in asked if t.reported for word in t.control["left"].split()]
    share = sum(word not in vocabulary for word in left) / len(left)
    assert share > 0 and lines[2].startswith(f"unknown words: left {share:.1%}, right ")
    known = overlap(asked, [story for story in stories if story.split == "train"]).references
    assert lines[3] == (
        f"training stories hold 0 of the 17 contexts, and {known} of the {sum(counts)} references "
        "as a sentence"
    )


# --- ROCStories and aNLG


def rocstories(folder: Path, stories: list[str]) -> dict[str, Any]:
    """Settings of a folder with these stories (words, one for a sentence) and four contexts of aNLG."""
    rows = "".join(",".join(f"{word}." for word in story.split()) + "\n" for story in stories)
    header = ",".join(f"sentence{i}" for i in range(1, 6))
    (folder / "rocstories").mkdir(parents=True)
    (folder / "rocstories/stories.csv").write_text(f"{header}\n{rows}")
    (folder / "anlg").mkdir()
    asked = {f"{n}-1": {"obs1": f"{n}first.", "obs2": f"{n}last."} for n in ("one", "two", "three")}
    dev = {"four-1": {"obs1": "Four!", "obs2": "End.", "gold_labels": ["Why?", "Ran!"]}}
    for name, content in (
        ("dev_cleanup", dev),
        ("test_cleanup_no_label", asked),
        ("test_cleanup_ref", {name: [f"{name} middle.", "Dog!"] for name in asked}),
    ):
        (folder / f"anlg/{name}.json").write_text(json.dumps(content))
    return {
        "name": "rocstories", "data_dir": str(folder), "vocabulary_more_than": 0, "targets": 2, "tuning": 1
    }  # fmt: skip


def test_training_leaves_out_the_stories_of_contexts(prepare: Callable[..., Any], tmp_path: Path) -> None:
    stories = [
        "dog ran and then slept",
        "Twofirst ran it was TWOLAST",
        "cat four it end ran",
        "onefirst ran it cat slept",
    ]
    done = prepare(**rocstories(tmp_path / "data", stories))
    assert done.code == 0
    assert [story.tokens[0] for story in corpus(tmp_path)] == ["dog", "onefirst"]
    assert "stories: train 2; 2 left out" in done.stderr
    assert "hold 0 of the 3 contexts, and 3 of the 6 references" in done.stderr
    words = Vocabulary.load(tmp_path / "out" / NAMES["vocabulary"]).words[len(SPECIALS) :]
    assert words == ("dog", ".", "ran", "and", "then", "slept", "onefirst", "it", "cat")


def test_reported_contexts_are_test_contexts_and_tuning_ones_dev(
    prepare: Callable[..., Any], tmp_path: Path
) -> None:
    prepare(**rocstories(tmp_path / "data", ["A B C D E"]))
    *reported, tuning = targets(tmp_path)
    assert len(reported) == 2 and {t.target_id for t in reported} < {"one-1", "two-1", "three-1"}
    assert (tuning.target_id, tuning.target_set, tuning.tuned_on) == ("four-1", "tuning", True)
    assert tuning.references == ["Why ?", "Ran !"]
    for target in [*reported, tuning]:
        context = f"{target.control['left']}\n{target.control['right']}"
        assert target.source_id == hashlib.sha256(context.encode()).hexdigest()


def test_anlg_alone_may_be_downloaded(
    prepare: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = rocstories(tmp_path / "data", ["A B C D E"])
    home = (tmp_path / "data/anlg").rename(tmp_path / "home")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in home.iterdir()}
    monkeypatch.setattr("pipeline.corpora.anlg.URL", f"{home.as_uri()}/")
    monkeypatch.setattr("pipeline.corpora.anlg.FILES", sums)
    assert prepare(**settings, download_dir=str(tmp_path / "downloads")).code == 0
    assert len(targets(tmp_path)) == 3
    assert {path.name for path in (tmp_path / "downloads/anlg").iterdir()} == set(sums)


@pytest.mark.real_data
def test_the_published_stories_and_contexts(real_data: Path) -> None:
    made = read_corpus({**EMBEDDED, "name": "rocstories", "data_dir": str(real_data)})
    training = [story for story in made.stories if story.split == "train"]
    assert len(training) == 39472
    assert (len(made.reported), len(made.tuning)) == (3561, 1780)
    assert overlap([*made.reported, *made.tuning], training).contexts == 0
    assert 900 < len(made.stories) - len(training) <= 1000
    assert made.withheld == 1001


# --- bad input


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown corpus": ({"name": "rocstory"}, "--spec.name: 'rocstory' is not one of"),
    "an unknown context": ({"context": "middle"}, "--spec.context: 'middle' is not one of"),
    "no folder": (
        {"name": "rocstories"},
        f"data_dir: is not set; ROCStories cannot be downloaded: request it at {HOME}",
    ),
    "no training stories": ({"sizes": {"test": 9, "valid": 9}}, "--spec.sizes: 'train' is a required"),
    "too many targets": ({"targets": 500}, "contexts: only "),
    "too many for tuning": ({"tuning": 500}, "contexts: only "),
    "contexts too long": ({"most_words": 5}, "contexts: only 0 of 12 wanted"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_bad_settings_are_one_line_exit_code_2_and_no_output(
    prepare: Callable[..., Any], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    done = prepare(**changes)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}") and done.stderr.count("\n") == 1
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_more_stories_than_there_are_is_one_line_too(
    prepare: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.corpora.grammar.PATIENCE", 0)  # the first repeated story counts as the last
    done = prepare(sizes={"train": 100_000, "valid": 1, "test": 1})
    assert done.code == 2 and done.stderr.startswith("error: sizes: too few different texts")


def test_bad_data_is_one_line_too(prepare: Callable[..., Any], tmp_path: Path) -> None:
    done = prepare(**rocstories(tmp_path / "data", ["A B C D E", "A B C D"]))
    assert done.code == 2
    assert re.fullmatch(r"error: \S+/stories.csv:3: no sentence5; .*\n", done.stderr)
