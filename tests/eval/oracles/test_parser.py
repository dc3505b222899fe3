"""The parser: what it learns, words that trees cannot hold, its files, and interrupted training."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import nltk
import pytest
import torch
from safetensors.torch import load_file

from eval.oracles import parser
from eval.oracles.treebanks import Bracketed
from pipeline import checkpoint, training
from pipeline.errors import InputError
from pipeline.rehearsal.hub import write_parser
from pipeline.store import _in_bf16
from pipeline.trees import read_tree, spans


@pytest.fixture(scope="module")
def model(world: Any) -> Any:
    return parser.load(world.parser)


def words_of(world: Any, split: str = "test") -> list[list[str]]:
    return [sentence.words for sentence in world.bracketed(split)]


def agreement(gold: list[Bracketed], found: list[str]) -> float:
    """F1 of labelled spans, each sentence's as a set."""
    pairs = [(set(spans(s.tree)), set(spans(tree))) for s, tree in zip(gold, found, strict=True)]
    return 2 * sum(len(a & b) for a, b in pairs) / sum(len(a) + len(b) for a, b in pairs)


def test_it_learns_what_it_is_shown(world: Any, model: Any) -> None:
    known = world.bracketed("train")
    found = parser.parse(model, words_of(world, "train"))
    assert agreement(known, found) > 0.75
    tags = [
        pair
        for s, t in zip(known, found, strict=True)
        for pair in zip(read_tree(s.tree).tags, read_tree(t).tags, strict=True)
    ]
    assert sum(wanted == tag for wanted, tag in tags) > 0.9 * len(tags)
    chance = parser.build(world.parser_settings, known).eval()
    assert agreement(known, parser.parse(chance, words_of(world, "train"))) < 0.2


def test_trees_are_one_line_with_the_words_of_the_sentence(world: Any, model: Any) -> None:
    for words, tree in zip(words_of(world), parser.parse(model, words_of(world)), strict=True):
        assert "\n" not in tree and tree.startswith("(TOP ")
        assert read_tree(tree).words == words == nltk.Tree.fromstring(tree).leaves()


@pytest.mark.parametrize(
    ("words", "leaves"),
    [
        (["pub"], ["pub"]),
        (["."], ["."]),
        (["(", "a", "pub", ")"], ["-LRB-", "a", "pub", "-RRB-"]),
        (["日本", "Ω", "\x00"], ["日本", "Ω", "\x00"]),
        (["w" * 300], ["w" * 300]),
        (["\n"], ["_"]),  # the newline word, which models may write
        (["A", "pub", "\n"], ["A", "pub", "_"]),
        ([":)", "f(x)", "a\u00a0b"], [":-RRB-", "f-LRB-x-RRB-", "a_b"]),
    ],
)
def test_any_words_give_a_tree(model: Any, words: list[str], leaves: list[str]) -> None:
    (tree,) = parser.parse(model, [words])
    assert read_tree(tree).words == leaves == nltk.Tree.fromstring(tree).leaves()


def test_sentences_read_alone_or_together_get_the_same_trees(world: Any, model: Any) -> None:
    sentences = [*words_of(world)[:4], ["pub"], ["(", "日本", ")"], ["A", "pub", "\n"]]
    alone = [parser.parse(model, [words])[0] for words in sentences]
    assert parser.parse(model, sentences) == alone
    assert parser.parse(model, sentences[::-1], tokens=30) == alone[::-1]
    assert parser.parse(model, []) == []


# --- files


def test_a_stored_copy_is_this_very_parser(world: Any, model: Any, tmp_path: Path) -> None:
    """Saved in bf16, to which storing rounds weights, so that no tree differs."""
    assert {weight.dtype for weight in load_file(world.parser).values()} == {torch.bfloat16}
    _in_bf16(world.parser, tmp_path / "stored.safetensors")
    stored, again = parser.load(tmp_path / "stored.safetensors"), tmp_path / "again.safetensors"
    parser.save(again, stored, world.parser_settings, "embedded_first")
    assert again.read_bytes() == world.parser.read_bytes()
    wanted = parser.parse(model, words_of(world))
    for other in (stored, parser.load(again)):
        assert not other.training
        assert parser.parse(other, words_of(world)) == wanted


def trained(world: Any, work: Path, path: Path, steps: int = 6) -> bytes:
    """The bytes of a short training, with dropout."""
    settings = replace(world.parser_settings, hidden=16, dropout=0.2, joined=0.5)
    sentences = world.bracketed("train")
    new = parser.build(settings, sentences)
    parser.fit(new, sentences, settings, replace(world.training, steps=steps), work, "parser", "run")
    parser.save(path, new, settings, "embedded_first")
    return path.read_bytes()


def test_an_interrupted_training_ends_with_the_same_bytes(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(world, tmp_path / "whole", tmp_path / "whole.safetensors")
    update, loop, steps = training.Trainer.update, training.train, list[int]()

    def broken(self: training.Trainer, loss: Any) -> float:
        steps.append(self.step)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return update(self, loss)

    monkeypatch.setattr(training.Trainer, "update", broken)
    monkeypatch.setattr(parser, "train", partial(loop, save_every=0.0))  # a state after every step
    with pytest.raises(KeyboardInterrupt):
        trained(world, tmp_path / "cut", tmp_path / "cut.safetensors")
    assert not (tmp_path / "cut.safetensors").exists()
    assert trained(world, tmp_path / "cut", tmp_path / "cut.safetensors") == whole
    assert steps == [0, 1, 2, 3, 3, 4, 5]


def test_two_trainings_of_the_command_write_the_same_bytes(
    world: Any, run_command: Any, tmp_path: Path
) -> None:
    settings = asdict(replace(world.parser_settings, hidden=16))
    spec = {
        "source": "train", "treebank": "embedded_second", "model": settings, "data_dir": "",
        "training": asdict(replace(world.training, steps=2)),
    }  # fmt: skip
    made = []
    for seed in (0, 0, 1):
        changed = {**spec, "model": {**settings, "seed": seed}}
        done = run_command(
            "eval.oracles.train_parser",
            changed,
            {"corpus": world.corpus},
            {"model": tmp_path / "m.safetensors"},
        )
        assert done.code == 0, done.stderr
        made.append((tmp_path / "m.safetensors").read_bytes())
    assert made[0] == made[1] != made[2]
    assert checkpoint.load(tmp_path / "m.safetensors", parser.KIND)[0]["trained_on"] == "embedded_second"


# --- what it is trained on


def test_a_share_of_the_sentences_is_followed_by_another(world: Any) -> None:
    """As one tree with the constituents of both; texts longer than ``longest`` are left out."""
    sentences = [s for s in world.bracketed("test") if len(s.words) < 20]
    settings = replace(world.parser_settings, joined=0.5, longest=30)
    joined = parser.join(sentences, settings)
    assert joined[: len(sentences)] == sentences
    assert 0 < len(joined) - len(sentences) <= len(sentences) // 2
    trees = {tuple(s.words): read_tree(s.tree).constituents for s in sentences}
    for words, text in joined[len(sentences) :]:
        tree = read_tree(text)
        assert tree.words == words and len(words) <= 30
        cuts = [n for n in range(1, len(words)) if tuple(words[:n]) in trees and tuple(words[n:]) in trees]
        assert len(cuts) == 1
        moved = [
            s._replace(first=s.first + cuts[0], last=s.last + cuts[0]) for s in trees[tuple(words[cuts[0] :])]
        ]
        assert tree.constituents == [*trees[tuple(words[: cuts[0]])], *moved]
    assert parser.join(sentences, settings) == joined
    assert parser.join(sentences, replace(settings, seed=1)) != joined
    short = parser.join(sentences, replace(settings, longest=10, joined=0))
    assert short == [s for s in sentences if len(s.words) <= 10]


# --- pretrained


THAT = Bracketed(
    "that opens at 8".split(), "(TOP (SBAR (IN that) (S (VP (VBZ opens) (PP (IN at) (NP (NN 8)))))))"
)


def as_benepar(path: Path, model: Any) -> Path:
    """A file as benepar's own training writes it."""
    config = {name: model.config[name] for name in ("tag_vocab", "label_vocab", "char_vocab", "hparams")}
    torch.save({"config": config, "state_dict": model.state_dict()}, path)
    return path


def untrained(world: Any) -> Any:
    """A parser with all labels of English."""
    return parser.build(world.parser_settings, [*world.bracketed("train"), THAT]).eval()


def test_a_file_of_benepar_can_be_the_source(world: Any, run_command: Any, tmp_path: Path) -> None:
    model = untrained(world)
    source = as_benepar(tmp_path / "parser.pt", model)
    output = {"model": tmp_path / "parser.safetensors"}
    done = run_command("eval.oracles.train_parser", {"source": str(source)}, {}, output)
    assert done.code == 0, done.stderr
    assert output["model"].stat().st_size < 1000
    same = parser.load(output["model"])
    assert not same.training
    assert parser.parse(same, words_of(world)) == parser.parse(model, words_of(world))
    source.unlink()
    with pytest.raises(InputError, match=r"parser\.safetensors: no parser '.*parser\.pt'; run python -c"):
        parser.load(output["model"])


@pytest.fixture(scope="module")
def subwords(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A parser in the form of benepar_en3, which reads the sub-words of a small T5."""
    folder = tmp_path_factory.mktemp("hub") / "benepar_en3"
    texts = [text for text in world.texts if text.split == "train"]
    write_parser(folder, texts, d_model=16, num_layers=1, num_heads=2, d_kv=8, d_ff=32)
    parser.refer(folder / "parser.safetensors", str(folder))
    return parser.load(folder / "parser.safetensors")


def test_a_folder_as_benepar_publishes_it_can_be_the_source(world: Any, subwords: Any) -> None:
    for words, tree in zip(words_of(world), parser.parse(subwords, words_of(world)), strict=True):
        assert read_tree(tree).words == words
        assert spans(tree), "even random weights find constituents"


@pytest.mark.parametrize("word", r"\n \x00 \x7f \u200b \ufffd \u2581 \ufeff \u00ad \u0301".split())
def test_words_without_a_subword_are_read_as_if_they_had_one(subwords: Any, word: str) -> None:
    spelled = word.encode().decode("unicode_escape")
    (tree,) = parser.parse(subwords, [["A", spelled, spelled, "pub", spelled]])
    assert len(read_tree(tree).words) == 5


def test_a_text_of_many_subwords_is_read(subwords: Any) -> None:
    (tree,) = parser.parse(subwords, [["qxzvwjk" * 4] * 60])
    assert len(read_tree(tree).words) == 60


def german(path: Path, world: Any) -> Path:
    model = untrained(world)
    labels = model.config["label_vocab"]
    model.config["label_vocab"] = {label.replace("NP", "NX"): number for label, number in labels.items()}
    return as_benepar(path, model)


def text(path: Path, world: Any) -> Path:
    path.write_text("a pub")
    return path


def something_else(path: Path, world: Any) -> Path:
    torch.save({"weights": torch.ones(2)}, path)
    return path


def trained_here(path: Path, world: Any) -> Path:
    return Path(world.parser)


def folder(path: Path, world: Any) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("make", [text, something_else, trained_here, folder, german])
def test_what_is_no_benepar_model_of_english_is_refused(
    make: Any, world: Any, run_command: Any, tmp_path: Path
) -> None:
    source = make(tmp_path / "model.pt", world)
    output = {"model": tmp_path / "out" / "m.safetensors"}
    done = run_command("eval.oracles.train_parser", {"source": str(source)}, {}, output)
    what = "is no parser of English; give one with Penn" if make is german else "is no benepar model ("
    assert (done.code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert f"m.safetensors: '{source}' {what}" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["benepar_none", "gone/parser.pt"])
def test_a_missing_model_says_how_to_get_it(source: str, run_command: Any, tmp_path: Path) -> None:
    done = run_command(
        "eval.oracles.train_parser", {"source": source}, {}, {"model": tmp_path / "m.safetensors"}
    )
    assert (done.code, done.stderr.count("\n")) == (2, 1)
    assert (
        f"no parser '{source}'; run python -c \"import benepar; benepar.download('{source}')\"" in done.stderr
    )


def test_nothing_of_a_model_is_run(run_command: Any, tmp_path: Path) -> None:
    """A file whose unpickling would make a folder is refused, and the folder is not made."""

    class Evil:
        def __reduce__(self) -> Any:
            return Path.mkdir, (tmp_path / "made",)

    torch.save({"config": Evil(), "state_dict": {}}, tmp_path / "evil.pt")
    spec = {"source": str(tmp_path / "evil.pt")}
    done = run_command("eval.oracles.train_parser", spec, {}, {"model": tmp_path / "m.safetensors"})
    assert done.code == 2 and "is no benepar model" in done.stderr
    assert not (tmp_path / "made").exists()


def test_files_of_another_kind(world: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds a part-of-speech tagger; a syntax parser is needed"):
        parser.load(world.tagger)
    with pytest.raises(InputError, match="no such checkpoint; train the syntax parser first"):
        parser.load(tmp_path / "gone.safetensors")
    header, weights = checkpoint.load(world.parser, parser.KIND)
    header["config"]["hparams"]["d_model"] //= 2
    header["config"]["hparams"]["d_kv"] //= 2
    checkpoint.save(tmp_path / "other.safetensors", parser.KIND, header, weights)
    with pytest.raises(InputError, match="checkpoint of another configuration"):
        parser.load(tmp_path / "other.safetensors")
