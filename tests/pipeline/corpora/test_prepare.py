"""The corpus command: what it writes for both corpora, and how it ends on bad data."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpora.e2e import read_e2e
from pipeline.corpora.prepare import without_targets
from pipeline.corpora.released import read_syntax_targets
from pipeline.corpora.vocabulary import SPECIALS, Vocabulary
from pipeline.records import Target, Text, read_records
from pipeline.tasks import check_targets

MODULE = "pipeline.corpora.prepare"
TASKS = ["length", "semantic_content", "unconditional"]
EMBEDDED: dict[str, Any] = {
    "name": "embedded", "form": "src1", "keep_newline": False, "vocabulary_more_than": 1, "human": 1,
    "sizes": {"train": 120, "human": 15, "valid": 10, "test": 5}, "data_dir": "", "download_dir": "nowhere",
    "seed": 0, "lengths": {"first": 6, "last": 8}, "tasks": TASKS, "threads": 1, "exclude_targets": False,
}  # fmt: skip
# Three meaning representations in the training file, four texts.
SRC1 = {
    "src1_train.txt": """name : The Mill | food : Thai||The Mill serves Thai food .
name : The Mill | food : Thai||At The Mill food is Thai .
name : Aromi | Type : pub||Aromi is a pub .
name : The Mill | Type : pub||The Mill is a pub .
""",
    "src1_valid.txt": "name : Aromi | food : Thai||Aromi is Thai .\n",
    "src1_test.txt": "name : Zizzi||Zizzi is a place .\n",
}
CSV = {
    "trainset.csv": 'mr,ref\n"name[The Mill], food[Thai]",The Mill serves Thai food.\n"name[Aromi]",Aromi.\n',
    "devset.csv": 'mr,ref\n"name[Aromi]",Aromi.\n',
    "testset_w_refs.csv": 'mr,ref\n"name[Aromi]",Aromi.\n',
}


@pytest.fixture
def prepare(run_command: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run the command into ``out``; keywords change the settings."""
    outputs = {"corpus": "corpus.jsonl", "vocabulary": "vocabulary.json", **{t: f"{t}.jsonl" for t in TASKS}}

    def run(**changes: Any) -> Any:
        paths = {name: tmp_path / "out" / file for name, file in outputs.items()}
        return run_command(MODULE, {**EMBEDDED, **changes}, {}, paths)

    return run


def e2e(folder: Path, files: dict[str, str | bytes], **changes: Any) -> dict[str, Any]:
    """Settings of a small E2E folder with these files."""
    for name, content in files.items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    settings = {"name": "e2e", "data_dir": str(folder), "vocabulary_more_than": 0, "seed": 1}
    return {**settings, "form": "csv" if "trainset.csv" in files else "src1", **changes}


def corpus(tmp_path: Path) -> list[Text]:
    return read_records(tmp_path / "out/corpus.jsonl", Text)


def targets(tmp_path: Path, task: str) -> list[Target]:
    return read_records(tmp_path / f"out/{task}.jsonl", Target)


# --- the embedded corpus


def test_the_embedded_corpus_has_the_sizes_asked_for(prepare: Callable[..., Any], tmp_path: Path) -> None:
    done = prepare()
    assert (done.code, done.stdout) == (0, "")
    texts = corpus(tmp_path)
    splits = [text.split for text in texts]
    assert {split: splits.count(split) for split in splits} == EMBEDDED["sizes"]
    words = Vocabulary.load(tmp_path / "out/vocabulary.json").words
    training = [word for text in texts if text.split == "train" for word in text.tokens]
    assert set(words) - set(SPECIALS) == {word for word in training if training.count(word) > 1}
    assert done.stderr.split("\n")[0].endswith(f"vocabulary {len(words)} entries")


def test_targets_are_those_of_the_training_texts(prepare: Callable[..., Any], tmp_path: Path) -> None:
    prepare()
    values = {(f, v) for t in corpus(tmp_path) if t.split == "train" for f, v in (t.fields or {}).items()}
    content = targets(tmp_path, "semantic_content")
    assert {(t.control["field"], t.control["value"]) for t in content} == values
    assert [t.control for t in targets(tmp_path, "length")] == [{"length": n} for n in (6, 7, 8)]
    assert len(targets(tmp_path, "unconditional")) == 1
    vocabulary = Vocabulary.load(tmp_path / "out/vocabulary.json")
    check_targets("here", [*content, *targets(tmp_path, "length")], vocabulary, longest=22)


def test_the_same_settings_write_the_same_bytes_and_another_seed_others(
    prepare: Callable[..., Any], tmp_path: Path
) -> None:
    def made(**changes: Any) -> dict[str, bytes]:
        assert prepare(**changes).code == 0
        kept = [path for path in (tmp_path / "out").iterdir() if not path.name.endswith(".run.json")]
        return {path.name: path.read_bytes() for path in kept}

    first = made()
    assert len(first) == 2 + len(TASKS)
    assert made() == first
    assert made(seed=1)["corpus.jsonl"] != first["corpus.jsonl"]


def test_the_sidecar_names_every_output(prepare: Callable[..., Any], tmp_path: Path) -> None:
    prepare()
    sidecar = json.loads((tmp_path / "out/corpus.jsonl.run.json").read_text())
    assert set(sidecar["outputs"]) == {"corpus", "vocabulary", *TASKS}
    assert all(output["sha256"] for output in sidecar["outputs"].values())
    assert sidecar["network_calls"] == 0


# --- E2E from a folder


def test_e2e_splits_hold_out_whole_meanings(prepare: Callable[..., Any], tmp_path: Path) -> None:
    assert prepare(**e2e(tmp_path / "data", SRC1)).code == 0
    texts = corpus(tmp_path)
    by_split = {s: [t for t in texts if t.split == s] for s in ("train", "human", "valid", "test")}
    assert sum(map(len, by_split.values())) == len(texts)
    assert [len(by_split[s]) for s in ("human", "valid", "test")] == [1, 1, 1]
    held = [t.fields for t in by_split["human"]]
    assert not [t for t in by_split["train"] if t.fields in held]
    assert {t.control["value"] for t in targets(tmp_path, "semantic_content")} == {
        value for t in by_split["train"] for value in (t.fields or {}).values()
    }


def test_the_vocabulary_counts_all_training_rows_and_the_newline(
    prepare: Callable[..., Any], tmp_path: Path
) -> None:
    """Held-out texts count too, and newlines where texts drop them: so the paper's 821 entries come out."""
    for keep_newline in (False, True):
        settings = e2e(tmp_path / "data", SRC1, vocabulary_more_than=2, keep_newline=keep_newline)
        assert prepare(**settings).code == 0
        words = Vocabulary.load(tmp_path / "out/vocabulary.json").words[len(SPECIALS) :]
        assert words == ("The", "Mill", ".", "\n", "is")
        assert all((text.tokens[-1] == "\n") == keep_newline for text in corpus(tmp_path))


def test_the_official_csv_is_read_too(prepare: Callable[..., Any], tmp_path: Path) -> None:
    assert prepare(**e2e(tmp_path / "data", CSV)).code == 0
    assert {text.text for text in corpus(tmp_path)} == {"The Mill serves Thai food .", "Aromi ."}


# --- the sentences of released targets


def released(folder: Path, *sentences: str) -> None:
    """The two files of released targets that hold these sentences."""
    (folder / "control_targets").mkdir(parents=True)
    for name in ("target_pos", "target_spans"):
        rows = (
            {"words_": s.split(" "), "pos": ["X"] * len(s.split(" ")), "spans": [[0, 1, "NP"]]}
            for s in sentences
        )
        content = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "control_targets" / f"{name}.json").write_text(content)


TARGETS = [
    "START The Mill serves Thai food . END",
    "START Aro mi is a pub . \n END",
    "START Zizzi is a place END",
]


def test_training_leaves_out_the_sentences_of_released_targets(
    prepare: Callable[..., Any], tmp_path: Path
) -> None:
    """However they were tokenised; other splits and the vocabulary stay as they are."""
    made = []
    for exclude in (False, True):
        settings = e2e(tmp_path / "data", SRC1, exclude_targets=exclude, human=1)
        if exclude:
            released(tmp_path / "data", *TARGETS)
        assert prepare(**settings).code == 0
        made.append((corpus(tmp_path), Vocabulary.load(tmp_path / "out/vocabulary.json").words))
    (before, words), (after, same_words) = made
    assert words == same_words
    learned = {t.text for t in before if t.split in ("train", "human")}
    assert len(learned) == 4
    left = {t.text for t in after if t.split in ("train", "human")}
    assert learned - left == {"The Mill serves Thai food .", "Aromi is a pub ."}
    assert [t for t in after if t.split in ("valid", "test")] == [
        t for t in before if t.split in ("valid", "test")
    ]


def test_a_text_that_only_contains_a_target_stays(tmp_path: Path) -> None:
    released(tmp_path, "START Aromi is a pub END")
    texts = [
        Text(str(n), "train", text, text.split())
        for n, text in enumerate(["Aromi is a pub .", "Aromi is a pub"])
    ]
    assert without_targets(texts, tmp_path) == texts[:1]


def test_excluding_targets_needs_their_files(prepare: Callable[..., Any], tmp_path: Path) -> None:
    done = prepare(**e2e(tmp_path / "data", SRC1, exclude_targets=True))
    assert done.code == 2 and "target_pos.json: no such file" in done.stderr
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.real_data
def test_the_released_sentences_are_training_sentences(real_data: Path) -> None:
    texts = read_e2e(real_data / "e2e/src1", "src1")["train"]
    left = without_targets(texts, real_data)
    gone = {"".join(text.text.split()) for text in texts} - {"".join(text.text.split()) for text in left}
    wanted = {"".join(target.words) for target in read_syntax_targets(real_data)}
    assert gone == wanted and len(wanted) > 190


# --- bad input


def broken(files: dict[str, str], name: str, content: str | bytes | None) -> dict[str, str | bytes]:
    """The files with one changed, or (None) left out."""
    rest: dict[str, str | bytes] = {key: value for key, value in files.items() if key != name}
    return rest if content is None else {**rest, name: content}


packed = gzip.compress("".join(f"name : {n}||a pub {n} .\n" for n in range(500)).encode(), mtime=0)
latin = "name : Café||A café .\n".encode("latin-1")
BAD: dict[str, tuple[dict[str, str | bytes], str]] = {
    "missing file": (broken(SRC1, "src1_valid.txt", None), "data: no src1_valid.txt or src1_valid.txt.gz"),
    "no folder": ({}, "data: no src1_train.txt"),
    "truncated gz": (
        {**broken(SRC1, "src1_train.txt", None), "src1_train.txt.gz": packed[:-20]},
        "src1_train.txt.gz: truncated or damaged",
    ),
    "wrong columns": (
        broken(CSV, "devset.csv", "ref,mr\nAromi.,name[Aromi]\n"),
        "devset.csv:1: wrong columns ['ref', 'mr']",
    ),
    "a column too many": (
        broken(CSV, "trainset.csv", CSV["trainset.csv"] + "name[Zizzi],Zizzi.,x\n"),
        "trainset.csv:4: 3 columns",
    ),
    "not UTF-8": (
        broken(SRC1, "src1_train.txt", SRC1["src1_train.txt"].encode() + latin),
        "src1_train.txt:5: not UTF-8",
    ),
    "empty corpus": (broken(SRC1, "src1_train.txt", ""), "src1_train.txt: no rows"),
    "empty csv": (broken(CSV, "trainset.csv", ""), "trainset.csv:1: wrong columns []"),
    "header only": (broken(CSV, "trainset.csv", "mr,ref\n"), "trainset.csv: no rows"),
    "too few to hold out": (
        broken(SRC1, "src1_train.txt", "name : Aromi||Aromi .\n" * 3),
        "E2E: cannot hold out 1 of 3 texts",
    ),
}


def nothing_left(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("files", "message"), BAD.values(), ids=BAD)
def test_bad_data_is_one_line_exit_code_2_and_no_output(
    prepare: Callable[..., Any], tmp_path: Path, files: dict[str, str | bytes], message: str
) -> None:
    done = prepare(**e2e(tmp_path / "data", files))
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr
    assert nothing_left(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": {"first": 9, "last": 8}}, "task 'length': no targets"),
        ({"tasks": [*TASKS, "syntax"]}, "task: no such task as 'syntax'"),
        ({"name": "e2e", "data_dir": "gone"}, "gone: no src1_train.txt"),
    ],
    ids=["no lengths", "unknown task", "no folder"],
)
def test_bad_settings_leave_no_output_either(
    prepare: Callable[..., Any], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    done = prepare(**changes)
    assert done.code == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert nothing_left(tmp_path / "out")


def test_every_task_needs_an_output(run_command: Callable[..., Any], tmp_path: Path) -> None:
    names = ("corpus", "vocabulary", "length")
    done = run_command(MODULE, EMBEDDED, {}, {name: tmp_path / "out" / name for name in names})
    assert done.code == 2
    assert "--output: 'semantic_content' is missing; add semantic_content=FILE" in done.stderr
    assert nothing_left(tmp_path / "out")
