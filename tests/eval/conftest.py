"""What the tests of the judges' commands share: a tiny corpus and what scores texts beside it, untrained."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from eval.encoder import EncoderSettings, save
from eval.fluency import Teacher
from eval.human_texts import measure
from eval.train_encoder import new_model
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.human import reference_samples
from pipeline.language_model import LanguageModelSettings, build
from pipeline.provenance import write_sidecar
from pipeline.records import Sample, Target, Text, write_records
from pipeline.store import store

TEACHER = LanguageModelSettings("train", hidden=16, layers=1, heads=2, positions=32, dropout=0.0)
TRAINING = ["The Mill serves Thai food .", "The Mill is a pub .", "Aromi serves French food ."]


class Judges(NamedTuple):
    """The files that the commands read beside samples; none reads all of them."""

    corpus: Path
    vocabulary: Path
    teacher: Path
    human_texts: Path

    @property
    def inputs(self) -> dict[str, Path]:
        return self._asdict()


class SyntaxJudge:
    """Says what it was told; a word it was told nothing about is its own tag. ``asked`` counts sentences."""

    def __init__(self, trees: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None) -> None:
        self.known_trees, self.known_tags = dict(trees or {}) | {"": ""}, dict(tags or {})
        self.asked: list[int] = []

    def tags(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        self.asked.append(len(sentences))
        return [[self.known_tags.get(word, word) for word in words] for words in sentences]

    def trees(self, sentences: Sequence[Sequence[str]]) -> list[str]:
        self.asked.append(len(sentences))
        return [self.known_trees[" ".join(words)] for words in sentences]


@pytest.fixture(scope="session")
def syntax_judge() -> type[SyntaxJudge]:
    return SyntaxJudge


@pytest.fixture(scope="session")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Judges:
    folder = tmp_path_factory.mktemp("judges")
    names = ("corpus.jsonl", "vocabulary.json", "teacher.safetensors", "human_texts.safetensors")
    made = Judges(*(folder / name for name in names))
    texts = [Text(str(i), "train", text, text.split(" ")) for i, text in enumerate(TRAINING)]
    texts.append(Text("h", "human", "A human text", ["A", "human", "text"]))
    write_records(made.corpus, texts)
    vocabulary = Vocabulary.build([text.tokens for text in texts[:-1]], more_than=0)
    vocabulary.save(made.vocabulary)
    teacher = build(TEACHER, vocabulary, [], seed=0)
    teacher.save(made.teacher, TEACHER, vocabulary=vocabulary.digest())
    measure(texts, Teacher(made.teacher, vocabulary), seed=0).save(made.human_texts)
    return made


STORY_ENCODER = EncoderSettings("train", 2, "raw", hidden=16, layers=2, heads=2, positions=24, dropout=0.0)
LENGTHS = [Target(f"length-{n}", "length", {"length": n}, tuned_on=n == 3) for n in (3, 4)]
TEXTS = {
    "length-3": ["The Mill serves", "Thai food .", "The Mill serves"],
    "length-4": ["a pub .", "The Mill is a pub .", "x"],
}
CONTEXT = {"left": "Tom had a dog .", "right": "It came home ."}
STORIES = [
    Target("c1", "infilling", CONTEXT, ["The dog ran away .", "The dog was sad ."]),
    Target("c2", "infilling", CONTEXT, ["He called it .", "It was lost ."]),
]
SAMPLES = {
    "length/ours": [
        Sample("ours", "length", t, i, 0, s, 9, 0) for t in TEXTS for i, s in enumerate(TEXTS[t])
    ],
    "length/human": [Sample("human", "length", "length-3", 0, 0, "Aromi serves food", 0, 0)],
    "infilling/left_only": [
        Sample("left_only", "infilling", t, i, 0, s, 9, 0)
        for t in ("c1", "c2")
        for i, s in enumerate(["The dog ran .", "It was sad ."])
    ],
    "infilling/human": list(reference_samples(STORIES, 0)),
}


def made(path: Path, write: Callable[[Path], object]) -> Path:
    """A file with the sidecar of a job that made it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_sidecar(
        {"made": path}, {"file": str(path)}, {}, hashlib.sha256(str(path).encode()).hexdigest()
    ):
        write(path)
    return path


@pytest.fixture(scope="session")
def stories() -> list[Target]:
    """The contexts of the stored folder, whose sentences are withheld there."""
    return STORIES


@pytest.fixture(scope="session")
def stored_folder(
    run_command: Callable[..., Any], judges: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A stored folder of two tasks, made by the commands of the workflow."""
    root = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_everything(run_command, judges.inputs, Path("results/x"))
        store("x")
    yield root / "results/stored/x"


def run_everything(run_command: Callable[..., Any], judges: dict[str, Path], x: Path) -> None:
    words = sorted({word for target in STORIES for told in target.references or [] for word in told.split()})
    vocabulary = Vocabulary.build([words], more_than=0)
    encoder = new_model(STORY_ENCODER, torch.ones(len(vocabulary)))
    files = {
        **{
            name: made(x / f"models/{name}.safetensors", lambda p, n=name: shutil.copy(judges[n], p))
            for name in ("teacher", "human_texts")
        },
        "vocabulary": made(x / "vocabulary.json", lambda p: shutil.copy(judges["vocabulary"], p)),
        "encoder": made(
            x / "models/story_encoder.safetensors", lambda p: save(p, STORY_ENCODER, vocabulary, encoder)
        ),
        "stories": x / "stories.jsonl",
        "words": x / "stories_vocabulary.json",
    }
    vocabulary.save(files["words"])
    write_records(files["stories"], [Text("s", "train", "", [], sentences=[["The", "dog", "ran", "."]])])
    targets = {
        f"targets/{task}": made(x / f"targets/{task}.jsonl", lambda p, t=of_task: write_records(p, t))
        for task, of_task in (("length", LENGTHS), ("infilling", STORIES))
    }
    scorers: dict[str, dict[str, Path]] = {
        "length": {
            **{name: files[name] for name in ("vocabulary", "teacher", "human_texts")},
            "targets": targets["targets/length"],
        },
        "infilling": {
            **{"targets": targets["targets/infilling"], "corpus": files["stories"]},
            **{"vocabulary": files["words"], "encoder": files["encoder"]},
        },
    }
    for cell, samples in SAMPLES.items():
        made(x / f"samples/{cell}/seed0.jsonl", lambda p, s=samples: write_records(p, s))

    def run(module: str, spec: dict[str, Any], inputs: dict[str, Path], outputs: dict[str, Path]) -> None:
        done = run_command(module, spec, inputs, outputs)
        assert done.code == 0, done.stderr

    def cells(kind: str, task: str, whole: bool = False) -> dict[str, Path]:
        """Files of a task by cell, which a table names with its task."""
        names = [name for name in SAMPLES if name.split("/")[0] == task]
        return {
            f"{kind}/{name if whole else name.split('/')[1]}/seed0": x / f"{kind}/{name}/seed0.jsonl"
            for name in names
        }

    for task, command in (("length", "eval.score"), ("infilling", "eval.score_infilling")):
        samples, selected = cells("samples", task), cells("selected", task)
        run("eval.select", {"mbr_rule": "paper"}, samples, selected)
        run(command, {}, {**scorers[task], **samples, **selected}, cells("scores", task))
        table = {
            n: f for kind in ("samples", "selected", "scores") for n, f in cells(kind, task, True).items()
        }
        table[f"targets/{task}"] = targets[f"targets/{task}"]
        tables, name = {"length": ("eval.tables", "control"), "infilling": ("eval.infilling_table",) * 2}[
            task
        ]
        name = name.removeprefix("eval.").removesuffix("_table")
        outputs = {kind: x / f"tables/{name}.{end}" for kind, end in (("csv", "csv"), ("markdown", "md"))}
        run(tables, {"seed": 0}, table, outputs)
    texts = {n: f for task in ("length", "infilling") for n, f in cells("samples", task, True).items()}
    models = {f"models/{name}": files[name] for name in ("teacher", "human_texts")}
    models["models/story_encoder"] = files["encoder"]
    signatures = {"signatures": x / "tables/signatures.json"}
    run("eval.signatures", {"mbr_rule": "paper"}, {**targets, **texts, **models}, signatures)
