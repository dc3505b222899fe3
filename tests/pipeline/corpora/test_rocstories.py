"""The reader of ROCStories: its two forms, its splits, and what it refuses."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.corpora.infilling import letters
from pipeline.corpora.rocstories import HOME, VALIDATION, read_rocstories
from pipeline.errors import InputError
from pipeline.records import Text

OFFICIAL = "storyid,storytitle,sentence1,sentence2,sentence3,sentence4,sentence5\r\n"
UNION = "storyid,sentence1,sentence2,sentence3,sentence4,sentence5,sources,in_roc_valid\n"
DOG = 'a1,The Dog,"Ann\'s dog, Rex, ran.", It fell.,It didn\'t bark.,"""Help"" said Ann.",They slept.\r\n'
DOG_WORDS = [
    ["Ann", "'s", "dog", ",", "Rex", ",", "ran", "."],
    ["It", "fell", "."],
    ["It", "did", "n't", "bark", "."],
    ['"', "Help", '"', "said", "Ann", "."],
    ["They", "slept", "."],
]


def row(n: int, source: str = "web", validation: int = 0) -> str:
    """A story of its own in the form of the union."""
    return f",A{n}.,B.,C.,D.,E.,{source},{validation}\n"


def read(folder: Path, **files: str | bytes) -> list[Text]:
    """Write the files (``name`` stands for ``name.csv``) and read the folder."""
    (folder / "rocstories").mkdir(exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / f"rocstories/{name}.csv").write_bytes(data)
    return read_rocstories(folder)


def names(stories: list[Text], split: str) -> set[str]:
    """The first words of a split's stories."""
    return {story.tokens[0] for story in stories if story.split == split}


def test_sentences_are_tokenised(tmp_path: Path) -> None:
    (story,) = read(tmp_path, spring=OFFICIAL + DOG)
    assert story.sentences == DOG_WORDS
    assert story.tokens == [word for sentence in DOG_WORDS for word in sentence]
    assert story.text == " ".join(story.tokens)
    assert story.split == "train"


def test_all_files_of_the_folder_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    more = "b,,F2.,B.,C.,D.,E.\n"
    (tmp_path / "rocstories").mkdir()
    (tmp_path / "rocstories/ROCStories__spring2016 - x.csv.gz").write_bytes(
        gzip.compress((OFFICIAL + DOG).encode())
    )
    (tmp_path / "rocstories/notes.txt").write_text("not a story")
    stories = read(tmp_path, winter2017="\ufeff" + OFFICIAL + more)
    assert [story.tokens[0] for story in stories] == ["Ann", "F2"]


def test_the_same_story_is_kept_once_with_the_same_id(tmp_path: Path) -> None:
    (alone,) = read(tmp_path, b=OFFICIAL + DOG)
    tokenised = ",Ann 's dog Rex ran .,It fell .,it didn t bark .,help said Ann .,They slept .,web,0\n"
    stories = read(tmp_path, a=UNION + tokenised + row(1))
    assert len(stories) == 2 and len({story.id for story in stories}) == 2
    assert stories[0].id == alone.id
    assert stories[0].tokens[:2] == ["Ann", "'s"] and "," not in stories[0].tokens, "the first file's form"


def test_story_cloze_and_validation_stories_are_not_learned_from(tmp_path: Path) -> None:
    cloze = [row(9, "Story Cloze 2016 val"), row(8, "web; Story Cloze 2016 test")]
    stories = read(tmp_path, union=UNION + row(1) + row(2, validation=1) + "".join(cloze) + row(3))
    assert names(stories, "train") == {"A1", "A3"}
    assert names(stories, "valid") == {"A2"}
    assert len(stories) == 3


def test_at_most_a_thousand_validation_stories_are_kept(tmp_path: Path) -> None:
    marked = "".join(row(n, validation=1) for n in range(VALIDATION + 50))
    stories = read(tmp_path, union=UNION + row(5000) + marked)
    assert names(stories, "train") == {"A5000"}
    assert len(names(stories, "valid")) == VALIDATION == 1000


def test_without_marks_one_in_twenty_is_for_validation(tmp_path: Path) -> None:
    rows = [f"x,y,A{n}.,B.,C.,D.,E.\n" for n in range(100)]
    stories = read(tmp_path, spring=OFFICIAL + "".join(rows))
    valid = names(stories, "valid")
    assert len(valid) == 5 and len(names(stories, "train")) == 95
    again = read(tmp_path, spring=OFFICIAL + "".join(reversed(rows)))
    assert names(again, "valid") == valid, "the order of the rows does not matter"
    assert again != stories and sorted(s.id for s in again) == sorted(s.id for s in stories)


@pytest.mark.parametrize("made", [False, True], ids=["no folder", "no CSV file"])
def test_without_stories_the_error_says_where_to_request_them(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "rocstories").mkdir()
    with pytest.raises(InputError) as caught:
        read_rocstories(tmp_path)
    assert str(caught.value).startswith(
        f"{tmp_path / 'rocstories'}: no {'CSV file' if made else 'such folder'}; "
    )
    assert HOME == "https://cs.rochester.edu/nlp/rocstories/" and HOME in str(caught.value)


BAD: dict[str, tuple[str | bytes, str]] = {
    "an empty sentence": (OFFICIAL + DOG + "b,t,A.,B., ,D.,E.\n", ":3: no sentence3"),
    "a short row": (OFFICIAL + DOG + "b,t,A.,B.,C.,D.\n", ":3: no sentence5"),
    "an unquoted comma": (OFFICIAL + DOG + "b,t,A, too.,B.,C.,D.,E.\n", ":3: more cells than columns"),
    "a missing column": (OFFICIAL.replace(",sentence4", "") + DOG, ":1: no column sentence4"),
    "other columns": ("InputSentence1,AnswerRightEnding\nA.,1\n", ":1: no column sentence1"),
    "an empty file": ("", ":1: no column sentence1"),
    "a header alone": (OFFICIAL, ": no stories"),
    "Story Cloze alone": (UNION + row(1, "Story Cloze 2016 val"), ": no stories"),
    "open quotation marks": (OFFICIAL + DOG + 'b,t,"A.,B.,C.,D.,E.\n', ":3: not CSV"),
    "not UTF-8": ((OFFICIAL + DOG).encode() + "b,t,Café.,B.,C.,D.,E.\n".encode("latin-1"), ":3: not UTF-8"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, a=UNION + row(1), bad=content)
    assert str(caught.value).startswith(f"{tmp_path / 'rocstories/bad.csv'}{message}")
    assert "\n" not in str(caught.value)


def test_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rocstories").mkdir()
    path = tmp_path / "rocstories/union.csv.gz"
    path.write_bytes(gzip.compress((UNION + row(1)).encode())[:-12])
    with pytest.raises(InputError, match="union.csv.gz: truncated or damaged"):
        read_rocstories(tmp_path)


@pytest.mark.real_data
def test_the_union_of_published_copies(real_data: Path) -> None:
    stories = read_rocstories(real_data)
    splits = [story.split for story in stories]
    assert len(stories) == splits.count("train") + splits.count("valid") == len({s.id for s in stories})
    assert splits.count("valid") == 1000
    for story in stories:
        assert story.sentences and len(story.sentences) == 5 and all(story.sentences)
        assert " ".join(story.tokens).split(" ") == story.tokens == story.text.split()
    assert len({letters(story.text) for story in stories}) == len(stories)
    assert stories[0].sentences[0] == "Jessa yawned loudly , hoping Marnie would take the hint .".split()  # type: ignore[index]
