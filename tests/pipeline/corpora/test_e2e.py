"""The E2E reader: both forms, where it looks, what it refuses, and the held-out human rows."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.corpora.e2e import FILES, Form, download_e2e, hold_out, read_e2e
from pipeline.corpora.tokenizer import spacy_tokens
from pipeline.errors import InputError
from pipeline.records import Text

SRC1 = (
    "name : The Mill | Type : pub | price : £ 20 - 25 | family friendly : yes"
    "||The Mill is family - friendly , it 's cheap . \n"
)
CSV = (
    'mr,ref\r\n"name[The Mill], eatType[pub], priceRange[£20-25], familyFriendly[yes]",'
    '"The Mill is  family-friendly, it\'s cheap."\r\n'
)
MILL = {"name": "The Mill", "Type": "pub", "price": "£ 20 - 25", "family friendly": "yes"}

both_forms = pytest.mark.parametrize(("form", "content"), [("src1", SRC1), ("csv", CSV)], ids=["src1", "csv"])


def write(folder: Path, form: Form, content: str) -> Path:
    """Write the three files of a form with the same content; returns the training file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES[form].values():
        (folder / name).write_bytes(content.encode())
    return folder / FILES[form]["train"]


def failure(folder: Path, form: Form) -> str:
    """The message with which reading ends."""
    with pytest.raises(InputError) as caught:
        read_e2e(folder, form)
    return str(caught.value)


@both_forms
def test_both_forms_give_the_same_record(tmp_path: Path, form: Form, content: str) -> None:
    write(tmp_path, form, content)
    tokens = ["The", "Mill", "is", "family", "-", "friendly", ",", "it", "'s", "cheap", "."]
    splits = read_e2e(tmp_path, form)
    assert list(splits) == ["train", "valid", "test"]
    assert splits["valid"] == [
        Text("valid-00000", "valid", "The Mill is family - friendly , it 's cheap .", tokens, MILL)
    ]


@both_forms
def test_the_newline_is_a_word_only_on_request(tmp_path: Path, form: Form, content: str) -> None:
    write(tmp_path, form, content)
    kept, dropped = (read_e2e(tmp_path, form, keep_newline=keep)["train"][0] for keep in (True, False))
    assert kept.tokens == [*dropped.tokens, "\n"] == spacy_tokens(SRC1.split("||")[1])
    assert kept.text == dropped.text == "The Mill is family - friendly , it 's cheap ."


@pytest.mark.parametrize(
    ("form", "content", "place"),
    [("src1", SRC1, "e2e/src1"), ("src1", SRC1, "e2e"), ("csv", CSV, "e2e/official"), ("csv", CSV, "e2e")],
    ids=["src1 in e2e/src1", "src1 in e2e", "csv in e2e/official", "csv in e2e"],
)
def test_it_looks_in_the_usual_places(tmp_path: Path, form: Form, content: str, place: str) -> None:
    write(tmp_path / place, form, content)
    assert read_e2e(tmp_path, form)["test"][0].fields == MILL


def test_gzipped_files_are_read(tmp_path: Path) -> None:
    plain = write(tmp_path, "src1", SRC1)
    plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert read_e2e(tmp_path, "src1")["train"][0].fields == MILL


def test_a_csv_text_may_run_over_lines_and_hold_commas(tmp_path: Path) -> None:
    row = '"name[The Mill], near[Café Rouge]","Near Café Rouge,\r\nThe ""Mill"""\r\n'
    write(tmp_path, "csv", f"mr,ref\r\n{row}{row}")
    first, second = read_e2e(tmp_path, "csv")["train"]
    assert first.text == second.text == 'Near Café Rouge , The " Mill "'
    assert second.id == "train-00001"


def test_a_missing_file_names_the_folder_and_both_remedies(tmp_path: Path) -> None:
    message = failure(tmp_path, "src1")
    assert message.startswith(f"{tmp_path}: no src1_train.txt")
    assert "set data_dir" in message and "leave data_dir empty to download" in message


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (f"{SRC1}name : The Mill\n", 2, "no '||'"),
        (f"{SRC1}name : The Mill||\n", 2, "no text"),
        ("nam : The Mill||A pub . \n", 1, "unknown field 'nam'; did you mean 'name'?"),
        ("The Mill||A pub . \n", 1, "unknown field 'The Mill'"),
        ("name : ||A pub . \n", 1, "field 'name' has no value"),
        ("name : A | name : B||A pub . \n", 1, "field 'name' stands twice"),
    ],
)
def test_bad_src1_lines_are_named(tmp_path: Path, content: str, line: int, problem: str) -> None:
    path = write(tmp_path, "src1", content)
    assert failure(tmp_path, "src1").startswith(f"{path}:{line}: {problem}")


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", 1, "wrong columns []"),
        ("MR\nname[A]\n", 1, "wrong columns ['MR']"),
        (f"{CSV}name[A],a pub,again\n", 3, "3 columns"),
        (f"{CSV}\nname[A],a pub\n", 3, "0 columns"),
        (f"{CSV}name A,a pub\n", 3, "meaning does not parse: 'name A'"),
        (f"{CSV}name[A] food,a pub\n", 3, "meaning does not parse"),
        (f"{CSV}foot[French],a pub\n", 3, "unknown field 'foot'; did you mean 'food'?"),
        (f"{CSV}name[A],\n", 3, "no text"),
        (f'{CSV}name[A],"a pub\n', 3, "not CSV"),
    ],
)
def test_bad_csv_rows_are_named(tmp_path: Path, content: str, line: int, problem: str) -> None:
    path = write(tmp_path, "csv", content)
    assert failure(tmp_path, "csv").startswith(f"{path}:{line}: {problem}")


@pytest.mark.parametrize(("form", "content"), [("src1", ""), ("csv", "mr,ref\n")])
def test_an_empty_corpus_is_refused(tmp_path: Path, form: Form, content: str) -> None:
    path = write(tmp_path, form, content)
    assert failure(tmp_path, form).startswith(f"{path}: no rows")


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "src1", SRC1)
    path.write_bytes(SRC1.encode() + "name : A||Café . \n".encode("latin-1"))
    assert failure(tmp_path, "src1").startswith(f"{path}:2: not UTF-8")


def test_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    plain = write(tmp_path, "src1", SRC1)
    packed = plain.with_name(f"{plain.name}.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes())[:-12])
    plain.unlink()
    assert failure(tmp_path, "src1").startswith(f"{packed}: truncated or damaged")


def restaurant(i: int, name: str) -> Text:
    return Text(f"train-{i:05d}", "train", "a pub", ["a", "pub"], {"name": name, "Type": "pub"})


@pytest.fixture
def texts() -> list[Text]:
    return [restaurant(i, f"Pub {i % 7}") for i in range(28)]


def test_held_out_texts_share_no_meaning_with_training(texts: list[Text]) -> None:
    training, human = hold_out(texts, 6, seed=0)
    assert len(human) == 6 and {text.split for text in human} == {"human"}
    assert len(training) == 20, "two whole meanings of four texts left, two texts of them in neither list"
    assert not {text.fields["name"] for text in training} & {text.fields["name"] for text in human}  # type: ignore[index]
    assert [text.id for text in training] == sorted(text.id for text in training)


def test_the_order_of_fields_does_not_matter() -> None:
    fields = {"name": "A", "Type": "pub"}, {"Type": "pub", "name": "A"}, {"name": "B", "Type": "pub"}
    texts = [Text(f"train-{i}", "train", "a", ["a"], meaning) for i, meaning in enumerate(fields)]
    training, human = hold_out(texts, 1, seed=0)
    assert {text.id for text in training} in ({"train-0", "train-1"}, {"train-2"})
    assert len(human) == 1


def test_the_seed_alone_chooses(texts: list[Text]) -> None:
    choices = {tuple(text.id for text in hold_out(texts, 4, seed)[1]) for seed in range(20)}
    assert len(choices) > 3
    assert hold_out(texts, 4, 1) == hold_out(texts, 4, 1)


def test_nothing_held_out_keeps_everything(texts: list[Text]) -> None:
    assert hold_out(texts, 0, 0) == (texts, [])


def test_too_many_held_out_is_refused(texts: list[Text]) -> None:
    with pytest.raises(InputError, match="cannot hold out 25 of 28 texts"):
        hold_out(texts, 25, 0)


def test_download_checks_what_it_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.corpora.e2e.URL", (tmp_path / "none.zip").as_uri())
    with pytest.raises(InputError, match=r"put trainset.csv, devset.csv, testset_w_refs.csv in a folder"):
        download_e2e(tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


@pytest.fixture(scope="module")
def forms(real_data: Path) -> dict[Form, dict[str, list[Text]]]:
    return {"src1": read_e2e(real_data, "src1"), "csv": read_e2e(real_data, "csv")}


@pytest.mark.real_data
def test_row_counts_are_the_published_ones(forms: dict[Form, dict[str, list[Text]]]) -> None:
    for splits in forms.values():
        assert [len(texts) for texts in splits.values()] == [42_061, 4_672, 4_693]


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "equal"), [("train", 42_061), ("valid", 4_672), ("test", 4_583)])
def test_csv_gives_the_rows_of_src1(forms: dict[Form, dict[str, list[Text]]], split: str, equal: int) -> None:
    pairs = list(zip(forms["src1"][split], forms["csv"][split], strict=True))
    assert sum(one.tokens == other.tokens for one, other in pairs) == equal
    assert all(one.fields == other.fields and one.id == other.id for one, other in pairs)


@pytest.mark.real_data
def test_real_held_out_rows_share_no_meaning(forms: dict[Form, dict[str, list[Text]]]) -> None:
    training, human = hold_out(forms["src1"]["train"], 1_000, seed=101)
    meanings = [{frozenset((text.fields or {}).items()) for text in texts} for texts in (training, human)]
    assert len(human) == 1_000 and not meanings[0] & meanings[1]
