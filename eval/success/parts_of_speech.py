"""Parts of speech: are the words tagged as asked for? (paper section 6.1, Table 2)"""

from __future__ import annotations

from collections.abc import Sequence

from eval.oracles.judge import Judge
from eval.success.batch import Scores, in_one_call, required, without_newlines
from eval.success.semantic_content import released_words
from pipeline.records import Target


def score(texts: list[list[str]], targets: list[Target], judge: Judge | None) -> Scores:
    """Success of texts in percent, by three definitions; ``control["tags"]`` are the wanted tags c.

    - ``ctrl`` (paper, section 6.1): 100/|c| sum_i [tag_i(y) = c_i]; words that the text lacks are misses,
      further words are not looked at.
    - ``ctrl_released`` (control_gen/eval_control.py:179-205, 291-304, 391-437): the same after the released
      cleaning, newline kept, the tags cut or padded to the number of wanted ones. The release tags all texts
      of a target as one document; here each text is tagged alone.
    - ``ctrl_strict`` (ours): nothing cut or padded: equal tags over the larger of both numbers of words;
      newline dropped.

    ``length_mismatch`` is 1 if the text, as generated, has another number of words than wanted, else 0.
    """
    cleaned = [released_words(words) for words in texts]
    strict = [without_newlines(words) for words in texts]
    said = in_one_call(required(judge).tags, texts, cleaned, strict)
    scores = []
    for words, target, tags, tags_cleaned, tags_strict in zip(texts, targets, *said, strict=True):
        wanted = target.control["tags"]
        found = {
            "ctrl": agreement(tags, wanted, len(wanted)),
            "ctrl_released": agreement(tags_cleaned, wanted, len(wanted)),
            "ctrl_strict": agreement(tags_strict, wanted, max(len(tags_strict), len(wanted))),
        }
        scores.append(found | {"length_mismatch": float(len(words) != len(wanted))})
    return scores


def paper(texts: list[list[str]], targets: list[Target], judge: Judge | None) -> Scores:
    """Only ``ctrl`` of :func:`score`."""
    (said,) = in_one_call(required(judge).tags, texts)
    wanted = [target.control["tags"] for target in targets]
    return [{"ctrl": agreement(tags, goal, len(goal))} for tags, goal in zip(said, wanted, strict=True)]


def agreement(tags: Sequence[str], wanted: Sequence[str], out_of: int) -> float:
    """Percent of ``out_of`` positions at which both have the same tag.

    Raises:
        ValueError: nothing is wanted.
    """
    if not wanted:
        raise ValueError("a parts_of_speech target has no tags")
    return 100 * sum(tag == goal for tag, goal in zip(tags, wanted, strict=False)) / out_of
