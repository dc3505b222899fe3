"""Parts of speech: the released scorer's numbers, the three definitions, and how the judge is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.success import SCORERS
from eval.success.parts_of_speech import agreement, paper, score
from pipeline.records import Target

REFERENCE = Path(__file__).parents[2] / "reference" / "diffusion_lm_reference.npz"
TAGS = ["DET", "NOUN", "VERB", "ADJ", "PUNCT"]
OUTPUTS = [TAGS, TAGS[:3], [*TAGS, "NOUN", "VERB"], ["NOUN", "DET", *TAGS[2:]], TAGS[1:]]


def target(tags: list[str] = TAGS) -> Target:
    return Target("pos-1", "parts_of_speech", {"tags": tags})


def test_the_released_score_and_the_papers_equal_the_released_scorer(syntax_judge: Any) -> None:
    scores = score(OUTPUTS, [target()] * 5, syntax_judge())
    released = np.load(REFERENCE)["score/pos_exact"].tolist()
    for key in ("ctrl", "ctrl_released"):
        assert [found[key] / 100 for found in scores] == pytest.approx(released, abs=1e-12)


def test_the_strict_score_cuts_and_pads_nothing(syntax_judge: Any) -> None:
    scores = score(OUTPUTS, [target()] * 5, syntax_judge())
    assert [found["ctrl_strict"] for found in scores] == pytest.approx([100, 60, 500 / 7, 60, 0])
    assert [found["length_mismatch"] for found in scores] == [0, 1, 1, 0, 1]


def test_a_newline_word_is_scored_but_for_the_strict_score(syntax_judge: Any) -> None:
    judge = syntax_judge(tags={"pub": "NOUN", "\n": "X"})
    found = SCORERS["parts_of_speech"]([["pub", "\n"]] * 2, [target(["NOUN", "X"]), target(["NOUN"])], judge)
    assert found[0] == {"ctrl": 100, "ctrl_released": 100, "ctrl_strict": 50, "length_mismatch": 0}
    assert found[1] == {"ctrl": 100, "ctrl_released": 100, "ctrl_strict": 100, "length_mismatch": 1}


def test_the_release_cleans_first(syntax_judge: Any) -> None:
    (found,) = score([["START", "DET", "PAD", "END"]], [target(["DET"])], syntax_judge())
    assert (found["ctrl"], found["ctrl_released"], found["ctrl_strict"]) == (0, 100, 0)


def test_an_empty_text_misses_everything(syntax_judge: Any) -> None:
    assert score([[]], [target()], syntax_judge()) == [
        {"ctrl": 0, "ctrl_released": 0, "ctrl_strict": 0, "length_mismatch": 1}
    ]


def test_all_texts_are_read_in_one_call_each_once(syntax_judge: Any) -> None:
    judge = syntax_judge()
    together = score([*OUTPUTS, *OUTPUTS], [target()] * 10, judge)
    assert judge.asked == [5]
    assert together == [score([text], [target()], syntax_judge())[0] for text in OUTPUTS] * 2
    assert paper(OUTPUTS, [target()] * 5, judge) == [{"ctrl": found["ctrl"]} for found in together[:5]]


def test_what_cannot_be_scored_is_an_error(syntax_judge: Any) -> None:
    with pytest.raises(ValueError, match="without a judge"):
        score([["a"]], [target()], None)
    with pytest.raises(ValueError, match="has no tags"):
        agreement([], [], 0)


def test_a_judge_that_skips_a_sentence_is_an_error(syntax_judge: Any) -> None:
    judge = syntax_judge()
    judge.tags = lambda sentences: []
    with pytest.raises(ValueError, match="what a judge says of them: 1 against 0"):
        paper([["a"]], [target()], judge)
