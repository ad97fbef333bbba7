"""The runs of the early-stopping study, and what they say of each claim about one contrast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import pandas as pd

from headstart.statistics.claim_results import ClaimResult
from headstart.statistics.errors import NothingMeasuredError, UndecidableError
from headstart.studies.early_stopping import claim_results as findings
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.pretraining import (
    of_scratch,
    pretraining_helps,
    worth_words,
)
from headstart.studies.early_stopping.verdicts.accuracies import Accuracies
from headstart.studies.early_stopping.verdicts.comparable import comparable
from headstart.studies.early_stopping.verdicts.evidence import Question
from headstart.studies.early_stopping.verdicts.run_tables import (
    PRETRAIN,
    arms_as_modes,
    contrasts,
    describe,
    find_contrast,
)
from headstart.studies.early_stopping.verdicts.study_verdicts import primary_of
from headstart.studies.early_stopping.verdicts.verdicts import Verdict, verdict_table

Contrast = dict[str, object]
AMOUNT = ["source_images", "source_repeats"]
NAMED = {"source": "source", "model": "model", "target": "target", "arm": "mode"}
"""Column of settings and published values, and what a contrast calls it."""
SEVERAL = "A claim about source networks needs several of them."
# Names of tasks, models and arms are free; all other settings must agree where amounts are compared.
FREE = ["source", "model", "target", "arm", *AMOUNT]


class ClaimEvaluator:
    """What the runs say of each claim, about one contrast.

    `tables` are `measurements` and, where the study's own are at hand, `settings` and `published`.
    `requested` names the contrast; without it the first one that fine-tunes speaks. `verdicts` may be
    given where they are known, or none of the claims to evaluate reads one.

    Raises:
        NothingMeasuredError: there are no fine-tuning runs.
        TableError: they cannot be read, or `requested` does not name one contrast.
    """

    evaluators: ClassVar[Mapping[str, Callable[[ClaimEvaluator], ClaimResult]]]

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        params: Mapping[str, Any],
        requested: Mapping[str, object] | None = None,
        verdicts: list[Verdict] | None = None,
    ) -> None:
        self.tables = tables
        self._known: dict[str, Accuracies] = {}
        self.statistics = statistics = Statistics.model_validate(params.get("statistics", {}))
        self.table = arms_as_modes(tables["measurements"])
        found = contrasts(self.table)
        if not found:
            raise NothingMeasuredError(
                "there are no fine-tuning runs to evaluate: every row has mode 'pretrain'"
            )
        named = requested or primary_of(statistics)
        self.contrast: Contrast = find_contrast(found, named) if named else _first(found)
        if verdicts is None:
            options = statistics.margin, statistics.seed, statistics.fixed_rate
            verdicts = verdict_table(self.table, self.contrast, *options)
        self.verdicts = verdicts

    def about(self) -> str:
        """Return which runs speak, and whether anything here may be called a replication."""
        return f"Evaluated on: {describe(self.contrast)}. {self._protocol()}"

    def pretraining_helps(self) -> ClaimResult:
        """C0, at tuned rates."""
        worth, scratch = {}, None
        runs = self._runs(self.contrast, "tuned")
        if "data_transferred" in self.tables:
            worth = worth_words(self.tables["data_transferred"], self.contrast)
        if runs.given and "settings" in self.tables:
            scratch = of_scratch(self.table, self.contrast, self.tables["settings"])
        found = pretraining_helps(runs, worth, self.statistics.seed, scratch)
        if runs.given and found.status in ("supported", "contradicted"):
            return replace(found, status="undetermined", reason=f"{found.reason} {SEVERAL}")
        return found

    def earlier_start(self, question: Question = "fixed") -> ClaimResult:
        """C1, on the contrast itself at the highest rate, and C1T at tuned rates."""
        return self._earlier_start(
            [v for v in self.verdicts if v.contrast == self.contrast], question
        )

    def late_fall(self, question: Question = "fixed") -> ClaimResult:
        """C2 at the highest rate, and C2T at tuned rates."""
        runs = self._runs(self.contrast, question)
        rows = self.table[
            (self.table["mode"] == PRETRAIN)
            & (self.table["source"] == self.contrast["source"])
            & (self.table["model"] == self.contrast["model"])
            & (self.table["source_epoch"] == runs.epochs.max())
            & (self.table["metric"] == "accuracy")
            & (self.table["split"] == "train")
        ]
        margin, seed = self.statistics.margin, self.statistics.seed
        return findings.late_fall(runs, float(rows["value"].mean()), margin, seed)

    def source_amount(self) -> ClaimResult:
        """C3, on sources and models that differ in the amount of source training alone."""
        if "settings" not in self.tables:
            reason = "A table of runs does not say how much source training they had."
            return ClaimResult("not measured here", reason)
        amounts = {name: self._runs(one, "tuned") for name, one in self.by_amount().items()}
        by_amount = self._at_one_rate(amounts)
        return findings.source_amount(by_amount, self.statistics.margin, self.statistics.seed)

    def learning_rate(self) -> ClaimResult:
        """C4."""
        return findings.learning_rate(self._runs(self.contrast, "tuned"), self.statistics.seed)

    def relearning(self, question: Question = "fixed") -> ClaimResult:
        """C5 and C5T, as C1 and C1T, on the same source network with its own task as the target."""
        found = self.relearnt()
        if not found:
            return ClaimResult("not measured here", "No run relearns its source task.")
        return self._earlier_start([v for v in self.verdicts if v.contrast in found], question)

    @staticmethod
    def _earlier_start(verdicts: list[Verdict], question: Question) -> ClaimResult:
        asked = [verdict for verdict in verdicts if verdict.question == question]
        if not asked:
            return ClaimResult("not measured here", "Runs at one learning rate were not tuned.")
        if asked[0].one_network:
            text = f"{asked[0].reason} {SEVERAL}"
            return ClaimResult("undetermined", text)
        return findings.earlier_start(asked[0])

    def target_size(self) -> ClaimResult:
        """C6."""
        by_shots = {n: self._runs(one, "tuned") for n, one in self.by_shots().items()}
        if not by_shots:
            return findings.target_size({}, self.statistics.seed)
        return findings.target_size(self._at_one_rate(by_shots), self.statistics.seed)

    def relearnt(self) -> list[Contrast]:
        """Return the contrasts whose target is this one's source task, those of as many shots if any."""
        source, model, shots = (self.contrast[name] for name in ("source", "model", "shots"))
        found = [
            contrast
            for contrast in contrasts(self.table)
            if contrast["target"] == contrast["source"] == source and contrast["model"] == model
        ]
        return [contrast for contrast in found if contrast["shots"] == shots] or found

    def by_shots(self) -> dict[int, Contrast]:
        """Return the contrasts that differ from this one in their number of shots alone, itself too."""
        names = [name for name in self.contrast if name != "shots"]
        found = {
            int(str(contrast["shots"])): contrast
            for contrast in contrasts(self.table)
            if all(contrast[name] == self.contrast[name] for name in names)
            and str(contrast["shots"]).isdigit()
        }
        return dict(sorted(found.items()))

    def by_amount(self) -> dict[str, Contrast]:
        """Return the contrasts that differ from this one in the amount of source training, itself too."""
        if "settings" not in self.tables:
            return {}
        settings = self.tables["settings"]
        same = [name for name in settings.columns if name not in FREE]
        rows = settings.to_dict("records")
        mine = next(row for row in rows if self._is_about(row, self.contrast))
        found: dict[str, Contrast] = {}
        for row in rows:
            if row["target"] != mine["target"] or any(row[n] != mine[n] for n in same):
                continue
            for contrast in contrasts(self.table):
                shots = contrast["shots"] == self.contrast["shots"]
                if shots and self._is_about(row, contrast):
                    found.setdefault(amount_words(row), contrast)
        return found

    @staticmethod
    def _is_about(row: Mapping[Any, object], contrast: Contrast) -> bool:
        return all(row[column] == contrast[name] for column, name in NAMED.items())

    def _protocol(self) -> str:
        if "published" not in self.tables:
            return (
                "A table of runs does not tell its protocol: whatever holds here supports or "
                "contradicts a claim elsewhere, and replicates nothing."
            )
        published = self.tables["published"]
        mine = published["shots"] == str(self.contrast["shots"])
        for column, name in NAMED.items():
            mine &= published[column] == self.contrast[name]
        experiments = sorted(published.loc[mine, "experiment"].unique())
        if not experiments:
            return (
                "The protocol differs from the published ones: whatever holds here supports or "
                "contradicts a claim elsewhere, and replicates nothing."
            )
        return (
            f"The protocol is that of experiment {', '.join(experiments)}, as far as its logs tell; "
            "docs/presets.md lists the known differences."
        )

    def _runs(self, contrast: Contrast, question: Question = "fixed") -> Accuracies:
        name = describe(contrast)
        if name not in self._known:
            self._known[name] = comparable(self.table, contrast, self.statistics.fixed_rate)
        runs = self._known[name]
        return runs.at_fixed_rate() if question == "fixed" else runs

    def _at_one_rate(self, runs: Mapping[Any, Accuracies]) -> dict[Any, Accuracies]:
        """Return runs at the fixed rate, or the largest one up to it that all of them have."""
        shared = set.intersection(*(set(one.learning_rates) for one in runs.values()))
        limit = self.statistics.fixed_rate
        usable = {rate for rate in shared if limit is None or rate <= limit}
        if not shared:
            raise UndecidableError("the runs that are compared share no learning rate")
        rate = max(usable or shared)
        return {name: replace(one, fixed_rate=rate).at_fixed_rate() for name, one in runs.items()}


EVALUATORS: dict[str, Callable[[ClaimEvaluator], ClaimResult]] = {
    "pretraining_helps": ClaimEvaluator.pretraining_helps,
    "earlier_start": ClaimEvaluator.earlier_start,
    "earlier_start_tuned": partial(ClaimEvaluator.earlier_start, question="tuned"),
    "late_fall": ClaimEvaluator.late_fall,
    "late_fall_tuned": partial(ClaimEvaluator.late_fall, question="tuned"),
    "source_amount": ClaimEvaluator.source_amount,
    "learning_rate": ClaimEvaluator.learning_rate,
    "relearning": ClaimEvaluator.relearning,
    "relearning_tuned": partial(ClaimEvaluator.relearning, question="tuned"),
    "target_size": ClaimEvaluator.target_size,
}


def amount_words(row: Mapping[Any, object]) -> str:
    """Return an amount of source training in words."""
    images = "all images" if row["source_images"] == "all" else f"{row['source_images']}"
    repeats = int(str(row["source_repeats"]))
    return images if repeats == 1 else f"{images}, {repeats} times an epoch"


def _first(found: list[Contrast]) -> Contrast:
    """Return the first contrast on another task than its source, where nobody named one."""
    return next((c for c in found if c["target"] != c["source"]), found[0])


ClaimEvaluator.evaluators = EVALUATORS
