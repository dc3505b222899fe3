"""The tagger: what it learns, what a file of it keeps, and which pretrained ones are taken."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import spacy

from eval.oracles import tagger
from pipeline import checkpoint
from pipeline.errors import InputError
from pipeline.store import _in_bf16


def words_of(world: Any, split: str = "test") -> list[list[str]]:
    return [sentence.words for sentence in world.tagged(split)]


def test_it_learns_the_embedded_corpus(world: Any) -> None:
    """Of sentences it has not seen: most words have one tag there."""
    found = tagger.tag(tagger.load(world.tagger), words_of(world))
    pairs = [
        pair
        for s, tags in zip(world.tagged("test"), found, strict=True)
        for pair in zip(s.tags, tags, strict=True)
    ]
    assert sum(wanted == tag for wanted, tag in pairs) > 0.9 * len(pairs)


def test_a_saved_tagger_says_the_same_and_two_trainings_write_the_same_bytes(
    world: Any, tmp_path: Path
) -> None:
    settings = replace(world.tagger_settings, steps=3)
    sentences, files = world.tagged("train")[:20], [tmp_path / f"{n}.safetensors" for n in range(3)]
    for path, seed in zip(files, (0, 0, 1), strict=True):
        nlp = tagger.fit(sentences, replace(settings, seed=seed), "tagger")
        tagger.save(path, nlp, settings, "ewt")
        if seed == 0:
            assert tagger.tag(tagger.load(path), words_of(world)) == tagger.tag(nlp, words_of(world))
    first, second, other = (path.read_bytes() for path in files)
    assert first == second != other
    header, _ = checkpoint.load(files[0], tagger.KIND)
    assert (header["trained_on"], header["settings"]) == ("ewt", asdict(settings))


def test_sentences_read_alone_or_together_get_the_same_tags(world: Any) -> None:
    nlp = tagger.load(world.tagger)
    sentences = [*words_of(world)[:7], ["x"], ["(", "日本", ")"], ["\n"], ["a" * 100, "."]]
    together = tagger.tag(nlp, sentences)
    assert together == [tagger.tag(nlp, [words])[0] for words in sentences]
    assert [len(tags) for tags in together] == [len(words) for words in sentences]
    assert tagger.tag(nlp, []) == []


def test_a_stored_tagger_is_the_same_tagger(world: Any, tmp_path: Path) -> None:
    """Storing rounds weights to bf16; its bytes are none of them."""
    _in_bf16(world.tagger, tmp_path / "stored.safetensors")
    stored = tagger.load(tmp_path / "stored.safetensors")
    assert tagger.tag(stored, words_of(world)) == tagger.tag(tagger.load(world.tagger), words_of(world))


# --- pretrained


def test_a_folder_of_spacy_can_be_the_source(world: Any, run_command: Any, tmp_path: Path) -> None:
    nlp = tagger.load(world.tagger)
    nlp.to_disk(tmp_path / "folder")
    shape = {"width": 32, "depth": 1, "rows": 200, "dropout": 0.1, "steps": 15, "batch_size": 32}
    model = {**shape, "learning_rate": 0.02, "seed": 0}
    spec = {"source": str(tmp_path / "folder"), "treebank": "ewt", "model": model, "data_dir": "gone"}
    done = run_command("eval.oracles.train_tagger", spec, {}, {"model": tmp_path / "tagger.safetensors"})
    assert done.code == 0, done.stderr
    assert (tmp_path / "tagger.safetensors").stat().st_size < 1000
    assert tagger.tag(tagger.load(tmp_path / "tagger.safetensors"), words_of(world)) == tagger.tag(
        nlp, words_of(world)
    )


def test_a_pretrained_pipeline_gives_its_universal_tags(world: Any, tmp_path: Path) -> None:
    """Not its fine-grained ones, from which a component of its own derives them."""
    nlp = tagger.load(world.tagger)
    nlp.add_pipe("attribute_ruler").add([[{"TAG": "PUNCT"}]], {"POS": "SYM"})
    nlp.to_disk(tmp_path / "folder")
    tagger.refer(tmp_path / "tagger.safetensors", str(tmp_path / "folder"))
    assert tagger.tag(tagger.load(tmp_path / "tagger.safetensors"), [["A", "pub", "."]])[0][-1] == "SYM"


def source_of(kind: str, world: Any, folder: Path) -> str:
    if kind == "missing":
        return "en_core_web_none"
    if kind == "no folder of spaCy":
        folder.mkdir()
        return str(folder)
    nlp = spacy.blank("de" if kind == "German" else "en")
    if kind == "German":
        nlp.add_pipe("tagger", source=tagger.load(world.tagger))
    nlp.to_disk(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no tagger 'en_core_web_none' ("),
        ("no folder of spaCy", "no tagger '"),
        ("German", "is no tagger of English; give an English pipeline with a tagger"),
        ("no tagger in it", "is no tagger of English; give an English pipeline with a tagger"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*W113.*:UserWarning")  # the German one has another vocabulary
def test_what_is_no_tagger_of_english_is_refused(
    kind: str, message: str, world: Any, run_command: Any, tmp_path: Path
) -> None:
    spec = {"source": source_of(kind, world, tmp_path / "folder")}
    done = run_command("eval.oracles.train_tagger", spec, {}, {"model": tmp_path / "out" / "m.safetensors"})
    assert done.code == 2 and done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == done.stderr.splitlines()[-1:] and message in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_gone_is_told_when_it_is_read(world: Any, tmp_path: Path) -> None:
    tagger.load(world.tagger).to_disk(tmp_path / "folder")
    tagger.refer(tmp_path / "tagger.safetensors", str(tmp_path / "folder"))
    (tmp_path / "folder").rename(tmp_path / "elsewhere")
    with pytest.raises(
        InputError, match=r"tagger\.safetensors: no tagger '.*folder' \(.*; run python -m spacy"
    ):
        tagger.load(tmp_path / "tagger.safetensors")


def test_files_of_another_kind(world: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds a syntax parser; a part-of-speech tagger is needed"):
        tagger.load(world.parser)
    with pytest.raises(InputError, match="no such checkpoint; train the part-of-speech tagger first"):
        tagger.load(tmp_path / "gone.safetensors")


def test_the_command_trains_on_its_half(world: Any, run_command: Any, tmp_path: Path) -> None:
    model = {**asdict(world.tagger_settings), "steps": 2}
    spec = {"source": "train", "treebank": "embedded_second", "model": model, "data_dir": ""}
    outputs = {"model": tmp_path / "tagger.safetensors"}
    done = run_command("eval.oracles.train_tagger", spec, {"corpus": world.corpus}, outputs)
    assert done.code == 0, done.stderr
    assert checkpoint.load(outputs["model"], tagger.KIND)[0]["trained_on"] == "embedded_second"
    done = run_command("eval.oracles.train_tagger", spec, {}, {"model": tmp_path / "other.safetensors"})
    assert done.code == 2 and "'corpus' is missing for embedded_second" in done.stderr


def test_a_pipeline_without_universal_tags_is_refused(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("tagger").add_label("NNP")
    nlp.initialize()
    nlp.to_disk(tmp_path / "folder")
    with pytest.raises(InputError, match="gives no universal tags; give one with attribute_ruler or morph"):
        tagger.refer(tmp_path / "tagger.safetensors", str(tmp_path / "folder"))


def test_a_source_that_was_trained_again_is_another_judge(world: Any, tmp_path: Path) -> None:
    """The file that stands for it differs, so no cached reading of the old one is used."""
    nlp = tagger.load(world.tagger)
    files = [tmp_path / "first.safetensors", tmp_path / "second.safetensors"]
    for file in files:
        nlp.to_disk(tmp_path / "folder")
        tagger.refer(file, str(tmp_path / "folder"))
        model = nlp.get_pipe("tagger").model
        node = next(n for n in model.walk() if n.has_param("b"))
        node.set_param("b", node.get_param("b") + 1)
    assert files[0].read_bytes() != files[1].read_bytes()
