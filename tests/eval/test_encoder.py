"""BERTScore's model: equal to what bert-score computes, told apart by its signature, refused in one line."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import bert_score
import numpy as np
import pytest
import torch

from eval.encoder import KIND, Encoder, EncoderSettings, _Sentence, load, word_tokenizer
from eval.train_encoder import ASKED, hide, masked_loss, new_model, sentence_rows
from pipeline import checkpoint
from pipeline.corpora.vocabulary import END, PAD, SPECIALS, START, Vocabulary
from pipeline.errors import InputError
from pipeline.records import Text, write_records

SETTINGS = EncoderSettings("train", 0, "raw", hidden=16, layers=2, heads=2, positions=12, dropout=0.1)
TRAINING = {"steps": 2, "batch_size": 4, "learning_rate": 1e-3, "warmup": 0, "weight_decay": 0.0}
TRAINING |= {"clip": 1.0, "ema": 0.9, "muon_rate": 0.0, "precision": "fp32", "seed": 0}
COUNTS = torch.ones(30)
STORY = ["Tom had a dog .", "The dog ran .", "Tom was sad .", "He called the dog .", "It came home ."]
TEXTS = ["The dog ran home .", "Tom was UNK [SEP]", "the dog", "a a a", "It called Tom , it did"]
REFERENCES = [["The dog came ."], ["Tom was sad .", "He ran ."], ["the dog .", "dog"], ["a dog"], STORY]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A corpus of one training story, and one that must not be learned from, with the vocabulary."""
    folder = tmp_path_factory.mktemp("stories")
    told = [sentence.split() for sentence in STORY]
    unseen = [["Nobody", "learns", "this"]] * 5
    texts = [Text("t", "train", " ".join(STORY), " ".join(STORY).split(), sentences=told)]
    write_records(folder / "corpus.jsonl", [*texts, Text("v", "valid", "", ["Nobody"], sentences=unseen)])
    Vocabulary.build(told, more_than=0).save(folder / "vocabulary.json")
    return {"corpus": folder / "corpus.jsonl", "vocabulary": folder / "vocabulary.json"}


Train = Callable[..., Any]


@pytest.fixture(scope="module")
def train(
    run_command: Callable[..., Any], stories: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Train:
    """Run the command; keywords change the settings of the model. ``run.path`` is the file it wrote."""

    def run(training: dict[str, Any] = TRAINING, **changes: Any) -> Any:
        run.path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
        spec = {"model": asdict(SETTINGS) | changes, "training": training, "threads": 1}
        return run_command("eval.train_encoder", spec, stories, {"model": run.path})

    return run


@pytest.fixture(scope="module")
def trained(train: Train) -> Path:
    done = train()
    assert done.code == 0, done.stderr
    return train.path


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model and its tokenizer as a folder of transformers."""
    made, path = load(trained), tmp_path_factory.mktemp("folder") / "little-bert"
    made.network.save_pretrained(path)
    made.tokenizer.save_pretrained(path)
    return path


def best(encoder: Encoder, texts: Sequence[str] = TEXTS) -> list[float]:
    """The score of each text against its best reference."""
    return [
        float(encoder([(text, told) for told in group]).max())
        for text, group in zip(texts, REFERENCES, strict=True)
    ]


@pytest.mark.parametrize("layer", [1, 2])
def test_scores_are_those_of_bert_score_with_the_same_folder(train: Train, folder: Path, layer: int) -> None:
    assert train(layer=layer).code == 0
    scores = bert_score.score(TEXTS, REFERENCES, model_type=str(folder), num_layers=layer)
    assert best(load(train.path)) == pytest.approx((100 * scores[2]).tolist(), abs=1e-4)
    assert 0 < min(float(score.min()) for score in scores) < 0.99


def test_a_rescaled_score_is_that_of_bert_score_with_the_same_baseline(
    train: Train, folder: Path, tmp_path: Path
) -> None:
    baseline = tmp_path / "baseline.csv"
    baseline.write_text("LAYER,P,R,F\n0,.1,.1,.1\n1,.2,.2,.2\n2,.3,.35,.4\n")
    assert train(scale=str(baseline)).code == 0
    *_, expected = bert_score.score(
        TEXTS, REFERENCES, model_type=str(folder), num_layers=2, lang="en", rescale_with_baseline=True,
        baseline_path=str(baseline),
    )  # fmt: skip
    rescaled = load(train.path)
    assert best(rescaled) == pytest.approx((100 * expected).tolist(), abs=2e-4)
    assert rescaled([("", "a dog")]).tolist() == pytest.approx([100 * (0 - 0.4) / 0.6])
    assert rescaled.signature.endswith("-custom-rescaled(0.40000)")


def test_a_text_without_words_has_raw_zero(trained: Path) -> None:
    encoder = load(trained)
    assert encoder([("", "a dog"), (" ", "a dog")]).tolist() == [0, 0]
    alone, mixed = encoder([("a dog", "The dog")]), encoder([("", "Tom"), ("a dog", "The dog")])
    assert mixed[1] == pytest.approx(alone[0], abs=1e-5)
    assert len(encoder([])) == 0


def test_words_that_point_away_from_each_other_count_as_nothing(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F1 of precision and recall of opposite signs is out of all bounds."""

    def scores(*_: Any, **__: Any) -> torch.Tensor:
        return torch.tensor([[0.2184, -0.2, 4.75], [-0.1, -0.2, -0.13], [0.5, 0.5, 0.5]])

    monkeypatch.setattr("bert_score.utils.bert_cos_score_idf", scores)
    assert load(trained)([("a", "dog"), ("the", "dog"), ("The", "dog")]).tolist() == [0, 0, 50]


def test_a_text_equal_to_its_reference_has_100(trained: Path) -> None:
    assert load(trained)([("a dog", "a dog")]) == pytest.approx([100], abs=1e-4)


def test_longer_texts_than_the_model_reads_are_cut(trained: Path) -> None:
    encoder = load(trained)
    words = ["dog"] * (SETTINGS.positions - 2)
    cut, whole = encoder([(" ".join([*words, "Tom", "Tom"]), "a dog")]), encoder([(" ".join(words), "a dog")])
    assert cut == pytest.approx(whole, abs=1e-5)


def test_words_have_the_numbers_of_the_vocabulary(stories: dict[str, Path]) -> None:
    vocabulary = Vocabulary.load(stories["vocabulary"])
    tokenizer = word_tokenizer(vocabulary.words, 12)
    text = "The dog never came , UNK ran"
    assert tokenizer.encode(text) == [START, *vocabulary.encode(text.split()), END]
    assert tokenizer.pad_token_id == PAD and tokenizer.mask_token_id == len(vocabulary)


def test_the_place_of_a_sentence_in_a_set_is_the_same_in_every_run() -> None:
    """That of a string is not; and sets of bert-score are what batches are made of."""
    assert hash(_Sentence("The dog ran .")) == zlib.crc32(b"The dog ran .")
    assert _Sentence("a") == "a" and len({_Sentence("a"), _Sentence("a")}) == 1


# --- training


def test_the_same_command_twice_writes_the_same_bytes(train: Train, trained: Path) -> None:
    assert train().code == 0
    assert train.path.read_bytes() == trained.read_bytes()


def test_only_sentences_of_training_stories_that_fit_are_learned_from(stories: dict[str, Path]) -> None:
    vocabulary = Vocabulary.load(stories["vocabulary"])
    rows = sentence_rows(stories["corpus"], vocabulary, positions=6)
    assert [vocabulary.decode(row[1:]) for row in rows] == [STORY[i].split() for i in (1, 2, 4)]
    assert all((row[0], row[-1]) == (START, END) for row in rows)


def test_words_and_no_specials_are_asked_for_at_the_rate_of_bert() -> None:
    torch.manual_seed(0)
    mask = 50
    ids = torch.randint(len(SPECIALS), mask, (400, 30))
    ids[:, 0], ids[:, -1] = START, PAD
    seen, asked = hide(ids, mask)
    words = ids >= len(SPECIALS)
    assert not asked[~words].any()
    assert (seen[~asked] == ids[~asked]).all()
    shares = [asked[words], seen[asked] == mask, seen[asked] == ids[asked]]
    found = [float(share.float().mean()) for share in shares]
    assert found == pytest.approx([ASKED, 0.8, 0.1], abs=0.03)
    assert seen.max() == mask and seen.min() == START


def test_a_new_model_tells_sentences_apart_by_their_words() -> None:
    """Equal words in other places are nearer to one another than other words in equal places."""
    torch.manual_seed(0)
    network = new_model(SETTINGS, COUNTS).bert.eval()
    with torch.no_grad():
        states = network(torch.tensor([[5, 6, 7, 8], [8, 7, 6, 5], [9, 10, 11, 12]])).last_hidden_state
    states = states / states.norm(dim=-1, keepdim=True)
    same_words = (states[0] * states[1].flip(0)).sum(-1).mean()
    same_places = (states[0] * states[2]).sum(-1).mean()
    assert same_words > same_places + 0.3


def test_a_new_model_expects_words_as_often_as_they_occur() -> None:
    torch.manual_seed(0)
    counts = torch.tensor([0.0, 0, 0, 0, 99, 9, 9])
    model = new_model(SETTINGS, counts)
    with torch.no_grad():
        model.cls.predictions.transform.LayerNorm.weight.zero_()  # what a sentence says is left out
        told = model.cls(torch.zeros(1, 1, SETTINGS.hidden)).softmax(-1)[0, 0]
    assert told[4:7].tolist() == pytest.approx([100 / 125, 10 / 125, 10 / 125])


def test_hidden_words_are_learned() -> None:
    torch.manual_seed(0)
    model = new_model(replace(SETTINGS, dropout=0.0), COUNTS)
    ids = torch.tensor([[START, *range(first, first + 8), END] for first in (4, 12, 20)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(120):
        loss = masked_loss(model, ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-20:]) < np.log(8) < np.mean(losses[:20]) - 1  # knows which eight words


def test_a_batch_in_which_no_word_is_asked_for_has_loss_zero() -> None:
    torch.manual_seed(0)
    assert masked_loss(new_model(SETTINGS, COUNTS), torch.tensor([[START, END]])).item() == 0


# --- signatures and sources


def test_unlike_numbers_have_unlike_signatures(train: Train, trained: Path) -> None:
    signatures = [load(trained).signature]
    for changes in ({"layer": 1}, {"training": TRAINING | {"seed": 1}}):
        assert train(**changes).code == 0
        signatures.append(load(train.path).signature)
    assert len(set(signatures)) == 3
    assert signatures[0].startswith("trained-") and "_L2_no-idf_version=" in signatures[0]
    assert train(layer=2).code == 0
    assert load(train.path).signature == signatures[0]


def test_a_local_folder_gives_the_same_scores_under_its_own_name(
    train: Train, trained: Path, folder: Path
) -> None:
    assert train(source=str(folder), layer=2).code == 0
    referred = load(train.path)
    assert best(referred) == pytest.approx(best(load(trained)), abs=1e-4)
    assert referred.signature.startswith("little-bert@") and str(folder.parent) not in referred.signature
    assert checkpoint.load(train.path, KIND)[1] == {}


def test_a_folder_that_changed_since_is_refused(train: Train, trained: Path, tmp_path: Path) -> None:
    made = load(trained)
    made.network.save_pretrained(tmp_path)
    made.tokenizer.save_pretrained(tmp_path)
    assert train(source=str(tmp_path), layer=2).code == 0
    with torch.no_grad():
        made.network.embeddings.word_embeddings.weight.add_(1)
    made.network.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is not the model that it stands for; write the encoder again"):
        load(train.path)


def refusal(done: Any) -> str:
    assert done.code == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_hub_model_without_a_network_is_refused_in_one_line(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = refusal(train(source="nobody/no-such-bert", layer=3))
    assert told.startswith("error: nobody/no-such-bert: cannot be loaded (")
    assert "give a hub name that can be reached, a local folder" in told
    assert not train.path.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": 3}, "model.layer: there is no layer 3; give one from 1 to 2, or 0 for the last"),
        ({"layer": -1}, "--spec.model.layer: -1 is less than the minimum of 0"),
        ({"scale": "published"}, "model.scale: bert-score has no baseline for 'train'"),
        ({"scale": "nowhere.csv"}, "nowhere.csv: no such file"),
        (
            {"source": "bert-large-own"},
            "model.layer: bert-score has none for 'bert-large-own'; give the layer",
        ),
        ({"positions": 4}, "no sentence to learn from"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_settings_that_cannot_be_met(train: Train, changes: dict[str, Any], message: str) -> None:
    assert message in refusal(train(**changes))
    assert not train.path.exists()


def test_a_baseline_without_the_layer_is_refused(train: Train, tmp_path: Path) -> None:
    (tmp_path / "baseline.csv").write_text("LAYER,P,R,F\n0,.1,.1,.1\n1,.2,.2,.2\n")
    assert "no baseline of layer 2" in refusal(train(scale=str(tmp_path / "baseline.csv")))


def test_published_baselines_are_read_at_the_layer_of_the_model() -> None:
    from eval.encoder import read_scale

    settings = replace(SETTINGS, source="roberta-large", scale="published").resolved()
    assert settings.layer == 17
    assert read_scale(settings) == ("published", pytest.approx(0.83122575))


def test_another_kind_of_file_is_no_encoder(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "m.safetensors", "language model", {}, {})
    with pytest.raises(InputError, match="holds a language model; a BERTScore encoder is needed"):
        load(tmp_path / "m.safetensors")
