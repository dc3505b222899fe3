"""Score texts with the judges of a stored folder, as the texts in it were scored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from eval.encoder import load as load_encoder
from eval.fluency import Teacher
from eval.human_texts import HumanTexts
from eval.infilling_table import Scored, plain
from eval.infilling_table import tabulate as tabulate_infills
from eval.mbr import Rule
from eval.oracles.judge import Judge
from eval.score import JUDGES, Key, frame, score_samples
from eval.score_infilling import infilling_metrics, key, pair_scorers, signed
from eval.score_infilling import score_samples as score_infills
from eval.select import select_samples
from eval.signatures import Signature, read_signatures, require_alike, sample_counts, task_signature
from eval.stored import stored_cells, stored_models, stored_targets
from eval.tables import Records, tabulate, target_sets
from pipeline.corpora.vocabulary import Vocabulary
from pipeline.errors import InputError
from pipeline.records import Sample, Score, Target, read_records
from pipeline.stored import signature_of
from pipeline.tasks import INFILLING, SYNTAX
from pipeline.withheld import withhold

RESULTS = Path("results")
READINGS = RESULTS / "cache" / "readings.sqlite"  # what judges have read, shared with every run
TABLES = ("control", "composition", "infilling")


class Evaluated(NamedTuple):
    """A method's texts on one task with everything that was computed of them.

    Attributes:
        frames: one row per text, by target set. marks: keys in which the signature differs, as was allowed.
    """

    targets: list[Target]
    samples: list[Sample]
    selected: list[Sample]
    scores: list[Score]
    table: pd.DataFrame
    frames: Mapping[str, pd.DataFrame]
    signature: Signature
    marks: set[str]


class Folder:
    """A stored folder: targets, judges, and the scores of every method."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.targets = stored_targets(path)
        self.models = stored_models(path)
        self.signatures = read_signatures(path / "tables" / "signatures.json")
        self._read: dict[str, tuple[list[Score], dict[Key, str]]] = {}
        if _is_hashed(self.targets.get(INFILLING, [])):
            self.targets[INFILLING] = self._with_sentences(self.targets[INFILLING])

    def _with_sentences(self, hashed: list[Target]) -> list[Target]:
        """The targets whose sentences must not be republished, if a run on this machine has them."""
        own = RESULTS / self.path.name / "targets" / f"{INFILLING}.jsonl"
        found = read_records(own, Target) if own.is_file() else []
        return found if withhold(found) == hashed else hashed

    def reported(self, task: str) -> list[Target]:
        """The targets of a task that results are reported on.

        Raises:
            InputError: hashes stand for their sentences, and no run on this machine has prepared them.
        """
        if _is_hashed(self.targets[task]):
            goal = RESULTS / self.path.name / "targets" / f"{task}.jsonl"
            how = (
                f"prepare them: snakemake --cores 1 --config scale={self.path.name} data_dir=FOLDER -- {goal}"
            )
            raise InputError(self.path, f"hashes stand for the sentences of {task}", how)
        return [target for target in self.targets[task] if target.reported]

    def signature(self, task: str) -> Signature:
        """What the stored numbers of a task depend on.

        Raises:
            InputError: none are stored.
        """
        if task not in self.signatures:
            raise InputError(
                self.path, f"nothing is stored of {task}", f"it has {', '.join(self.signatures)}"
            )
        return self.signatures[task]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words of the corpus that control tasks are about."""
        return Vocabulary.load(self.path / "vocabulary.json")

    @cached_property
    def teacher(self) -> Teacher:
        """The judge of fluency."""
        return Teacher(self.model("teacher"), self.vocabulary)

    @cached_property
    def human_texts(self) -> HumanTexts:
        """What scoring knows of human texts."""
        return HumanTexts.load(self.model("human_texts"), self.vocabulary)

    def model(self, name: str) -> Path:
        """The file of a judge.

        Raises:
            InputError: it is not stored.
        """
        if name not in self.models:
            raise InputError(
                self.path, f"no judge '{name}'", "store the scale again: python -m pipeline.store"
            )
        return self.models[name]

    def judges(self, task: str) -> list[Judge]:
        """The judges of syntax that score a task."""
        if task not in SYNTAX:
            return []
        from eval.oracles.load import load_judge

        stored = [name for name in JUDGES if f"{name}_parser" in self.models]
        files = {name: (self.model(f"{name}_tagger"), self.model(f"{name}_parser")) for name in stored}
        return [load_judge(name, *pair, READINGS) for name, pair in files.items()]

    def table(self) -> pd.DataFrame:
        """The rows of all tables."""
        files = [path for name in TABLES if (path := self.path / "tables" / f"{name}.csv").is_file()]
        return pd.concat([pd.read_csv(path, keep_default_na=False, na_values=[""]) for path in files]).assign(
            note=lambda table: table["note"].fillna("")
        )

    def frame(self, task: str, target_set: str, members: Collection[str]) -> pd.DataFrame:
        """The stored methods' texts on some targets: :func:`text_rows`."""
        scores, texts = self._stored(task)
        return text_rows([score for score in scores if score.target_id in members], texts, target_set)

    def _stored(self, task: str) -> tuple[list[Score], dict[Key, str]]:
        """Scores and texts of a task, read once for all its target sets."""
        if task not in self._read:
            self._read[task] = self._records(task)
        return self._read[task]

    def _records(self, task: str) -> tuple[list[Score], dict[Key, str]]:
        files = {kind: stored_cells(self.path, kind) for kind in ("samples", "scores")}
        cells = [cell for cell in files["scores"] if cell.split("/")[0] == task]
        scores = [score for cell in cells for score in read_records(files["scores"][cell], Score)]
        samples = [sample for cell in cells for sample in read_records(files["samples"][cell], Sample)]
        return scores, {key(sample): sample.text for sample in samples}


def _is_hashed(targets: list[Target]) -> bool:
    """Whether hashes stand for sentences; a hash of a hash is itself."""
    return any(target.task == INFILLING for target in targets) and withhold(targets) == targets


def text_rows(scores: Sequence[Score], texts: Mapping[Key, str], target_set: str) -> pd.DataFrame:
    """One row per text (:func:`eval.score.frame`), with its ``text``; BERTScore under its plain name."""
    told = [texts[key(score)] for score in scores]
    return frame(list(map(plain, scores)), target_set).assign(text=told)


def evaluate(folder: Folder, samples: Sequence[Sample], allow: Collection[str], seed: int) -> Evaluated:
    """Select among the texts of one method and task, score them, and tabulate.

    Args:
        allow: keys in which the signature may differ from the stored one.
        seed: of the intervals.

    Raises:
        InputError: the signature differs, or the stored folder lacks what the task needs.
    """
    task, written = samples[0].task, {sample.target_id for sample in samples}
    targets = [target for target in folder.reported(task) if target.target_id in written]
    theirs = folder.signature(task)
    rule: Rule = theirs["mbr_rule"]  # type: ignore[assignment]
    models = {name: signature_of(path) for name, path in folder.models.items()}
    signature = task_signature(targets, max(sample_counts(samples).values()), rule, models)
    marks = require_alike(signature, theirs, allow)
    selected = select_samples(samples, rule)
    scored = _score_infills if task == INFILLING else _score_controlled
    scores, table = scored(folder, targets, samples, selected, seed)
    texts, frames = {key(sample): sample.text for sample in samples}, {}
    for target_set in dict.fromkeys(target.target_set for target in targets):
        members = {target.target_id for target in targets if target.target_set == target_set}
        frames[target_set] = text_rows([s for s in scores if s.target_id in members], texts, target_set)
    own = table[table["method"] == samples[0].method]
    return Evaluated(targets, list(samples), selected, scores, own, frames, signature, marks)


def _score_controlled(
    folder: Folder, targets: list[Target], samples: Sequence[Sample], selected: list[Sample], seed: int
) -> tuple[list[Score], pd.DataFrame]:  # fmt: skip
    task = targets[0].task
    judges, losses = folder.judges(task), folder.teacher.token_losses
    scores = score_samples(samples, selected, targets, folder.human_texts, losses, judges)
    records = Records(scores, list(samples), selected)
    return scores, tabulate(records, target_sets(targets), {task}, seed)


def _score_infills(
    folder: Folder, targets: list[Target], samples: Sequence[Sample], selected: list[Sample], seed: int
) -> tuple[list[Score], pd.DataFrame]:  # fmt: skip
    encoder = load_encoder(folder.model("story_encoder"))
    scorers = pair_scorers(encoder, folder.reported(INFILLING), folder.path)
    metrics = signed(infilling_metrics(samples, targets, scorers), encoder.signature)
    scores = score_infills(samples, selected, metrics, targets, training_sentences=None)
    texts = {key(sample): sample.text for sample in samples}
    scored = Scored(list(map(plain, scores)), texts, encoder.signature)
    return scores, tabulate_infills(scored, targets, seed)
