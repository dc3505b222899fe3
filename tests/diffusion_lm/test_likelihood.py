"""Both likelihood commands: the same texts, tokens counted alike, the exact one that of the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion_lm.train import main as train
from pipeline.command import Job
from pipeline.corpora.grammar import restaurant_texts
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.language_model import LanguageModelSettings, build
from pipeline.records import Likelihood, read_records, write_records
from pipeline.settings import resolve

SPEC = {"texts": 3, "split": "valid", "most_words": 22, "threads": 1}
MODEL = {
    **{"hidden": 16, "layers": 1, "heads": 2, "intermediate": 32, "time_channels": 8, "dropout": 0},
    **{"dimension": 4, "positions": 24, "diffusion_steps": 20},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A corpus, its vocabulary, a language model and a Diffusion-LM, both hardly trained."""
    folder = tmp_path_factory.mktemp("likelihood")
    texts = restaurant_texts(0, {"train": 60, "valid": 5})
    write_records(folder / "corpus.jsonl", texts)
    words = Vocabulary.build([text.tokens for text in texts if text.split == "train"], more_than=1)
    words.save(folder / "vocabulary.json")
    sizes = LanguageModelSettings("train", hidden=16, layers=1, heads=2, positions=24, dropout=0.0)
    build(sizes, words, [], seed=0).save(folder / "lm.safetensors", sizes, vocabulary=words.digest())
    found = {"corpus": folder / "corpus.jsonl", "vocabulary": folder / "vocabulary.json"}
    for layout, predict in (("pad", "x0"), ("canvas", "words")):
        changes = {"model": {**MODEL, "layout": layout, "predict": predict}, "training": {"steps": 3}}
        given = resolve("paper", {"diffusion": changes})["diffusion"]
        train(Job(given, found, {"model": folder / f"{layout}.safetensors"}))
    models = {name: folder / f"{name}.safetensors" for name in ("lm", "pad", "canvas")}
    return {**found, **models}


def likelihoods(
    run_command: Callable[..., Any], files: dict[str, Path], module: str, model: str, path: Path, **more: Any
) -> list[Likelihood]:
    inputs = {"corpus": files["corpus"], "vocabulary": files["vocabulary"], "model": files[model]}
    done = run_command(module, {**SPEC, **more}, inputs, {"likelihood": path})
    assert done.code == 0, done.stderr
    return read_records(path, Likelihood)


def test_both_tell_of_the_same_texts(run_command: Any, files: dict[str, Path], tmp_path: Path) -> None:
    exact = likelihoods(run_command, files, "pipeline.likelihood", "lm", tmp_path / "exact.jsonl")
    bound = likelihoods(
        run_command, files, "diffusion_lm.likelihood", "pad", tmp_path / "bound.jsonl", steps=20, seed=0
    )
    asked = [text for text in restaurant_texts(0, {"train": 60, "valid": 5}) if text.split == "valid"][:3]
    expected = [(text.id, len(text.tokens) + 1) for text in asked]
    assert [(one.text_id, one.tokens) for one in exact] == expected
    assert [(one.text_id, one.tokens) for one in bound] == expected
    assert all(set(one.terms) == {"prior", "diffusion", "first", "rounding"} for one in bound)


def test_the_exact_one_is_that_of_the_library(
    run_command: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    from pipeline.language_model import LanguageModel

    found = likelihoods(run_command, files, "pipeline.likelihood", "lm", tmp_path / "exact.jsonl")
    model = LanguageModel.load(files["lm"])
    text = next(
        text for text in restaurant_texts(0, {"train": 60, "valid": 5}) if text.id == found[0].text_id
    )
    ids = torch.tensor([model.row(text.tokens).ids])
    with torch.no_grad():
        mean = model.network(input_ids=ids, labels=ids).loss
    assert found[0].terms["exact"] == pytest.approx(float(mean) * found[0].tokens, rel=1e-5)


def test_a_bound_needs_whole_rows(run_command: Any, files: dict[str, Path], tmp_path: Path) -> None:
    inputs = {"corpus": files["corpus"], "vocabulary": files["vocabulary"], "model": files["canvas"]}
    spec = {**SPEC, "steps": 20, "seed": 0}
    done = run_command("diffusion_lm.likelihood", spec, inputs, {"likelihood": tmp_path / "bound.jsonl"})
    assert done.code == 2 and "layout 'canvas' has no likelihood of whole texts" in done.stderr
