"""Little corpora: the readers of the published files take them, and they hold what the scale asks for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipeline.corpora.anlg import read_anlg
from pipeline.corpora.e2e import hold_out, read_e2e
from pipeline.corpora.infilling import without_contexts
from pipeline.corpora.released import read_composition_targets, read_syntax_targets
from pipeline.corpora.rocstories import read_rocstories
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.records import Text
from pipeline.rehearsal.corpora import RELEASED, STATED, write_corpora
from pipeline.settings import resolve
from pipeline.tasks import LENGTH, SEMANTIC_CONTENT, field_values, make_targets

S = resolve("rehearsal")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    write_corpora(path)
    return path


@pytest.fixture(scope="module")
def e2e(folder: Path) -> dict[str, list[Text]]:
    return read_e2e(folder, S["corpus"]["form"])


def test_every_value_that_a_meaning_may_state_is_a_target_which_the_vocabulary_can_express(
    e2e: dict[str, list[Text]],
) -> None:
    training, human = hold_out(e2e["train"], S["corpus"]["human"], S["corpus"]["seed"])
    assert {field: set(values) for field, values in field_values(training).items()} == {
        field: set(values) for field, values in STATED.items()
    }
    words = Vocabulary.build((text.tokens for text in training), S["corpus"]["vocabulary_more_than"])
    targets = make_targets(SEMANTIC_CONTENT, training, S["lengths"])
    assert all(word in words for target in targets for word in target.control["value"].split())
    assert {value for text in human for value in (text.fields or {}).values()} & {
        target.control["value"] for target in targets if not target.tuned_on
    }


def test_people_have_written_texts_of_the_lengths_asked_for(e2e: dict[str, list[Text]]) -> None:
    training, human = hold_out(e2e["train"], S["corpus"]["human"], S["corpus"]["seed"])
    lengths = {target.control["length"] for target in make_targets(LENGTH, training, S["lengths"])}
    assert lengths <= {len(text.tokens) for text in human}


def test_there_are_enough_held_out_sentences_that_no_training_text_repeats(
    e2e: dict[str, list[Text]],
) -> None:
    training = {text.text for text in e2e["train"]}
    heldout = {text.text for split in ("valid", "test") for text in e2e[split]} - training
    assert len(heldout) >= S["syntax"]["targets"]


def test_released_targets_are_sentences_with_tags_a_span_and_a_stated_value(folder: Path) -> None:
    syntax, composed = read_syntax_targets(folder), read_composition_targets(folder)
    assert len(syntax) == len(composed) == RELEASED
    for target, other in zip(syntax, composed, strict=True):
        assert target.words == other.words and len(target.words) == len(target.tags)
        assert target.span is not None and 0 <= target.span[0] <= target.span[1] < len(target.words)
        assert other.attribute is not None and other.attribute[1] in " ".join(other.words)


def test_there_are_as_many_contexts_as_asked_for_and_few_stories_hold_one(folder: Path) -> None:
    stories, contexts = read_rocstories(folder), read_anlg(folder)
    asked = [*contexts["dev"], *contexts["test"]]
    kept = without_contexts(stories, asked)
    assert Counter(story.split for story in kept)["train"] > 0.9 * len(stories) > 200
    assert len(contexts["test"]) >= S["stories"]["targets"] and len(contexts["dev"]) >= S["stories"]["tuning"]
    assert all(len(target.references or []) == 3 for target in asked)


def test_the_same_files_are_written_every_time(folder: Path, tmp_path: Path) -> None:
    write_corpora(tmp_path)
    written = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(written) > 10
    for name in written:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
