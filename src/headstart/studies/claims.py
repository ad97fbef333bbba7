"""Claims of the paper on early stopping, each judged on the tables at hand: `headstart claims`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from headstart.artifacts.keys import Job
from headstart.params import Statistics
from headstart.statistics import findings
from headstart.statistics.findings import Finding
from headstart.statistics.tables import (
    PRETRAIN,
    TableError,
    UndecidableError,
    contrasts,
    describe,
    find_contrast,
)
from headstart.statistics.tensors import Accuracies, accuracy_tensors
from headstart.statistics.verdicts import Verdict, verdict_table
from headstart.studies.verdicts import contrast_from_words, primary_of, runs_at_hand

CLAIMS = Path(__file__).resolve().parents[3] / "claims.yaml"
WIDTH = 100
Contrast = dict[str, object]


class ClaimsError(ValueError):
    """A claims file that cannot be used; the message names it and what to mend."""


class Claim(BaseModel):
    """One published claim, and which of the judges below speaks on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    statement: str
    statistic: str
    published: str
    source: str
    judged_by: Literal[
        "earlier_start", "late_fall", "source_size", "learning_rate", "relearning", "target_size"
    ]


class Claims(BaseModel):
    """All claims, and the names that a replication would have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    protocol: dict[Literal["source", "target", "model"], str]
    claims: dict[str, Claim]


def read_claims(path: Path = CLAIMS) -> Claims:
    """Read a claims file.

    Raises:
        ClaimsError: it is missing, no YAML, or holds a wrong key or value.
    """
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        return Claims.model_validate(raw)
    except FileNotFoundError:
        raise ClaimsError(f"{path}: no such file; it lies beside params.yaml in a clone") from None
    except YAMLError as error:
        raise ClaimsError(f"{path}: this is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ClaimsError(f"{path}: {where}: {problem['msg'].lower()}") from None


class Judge:
    """The runs at hand, and what they say of each claim about one contrast."""

    def __init__(self, table: pd.DataFrame, contrast: Contrast, statistics: Statistics) -> None:
        self.table, self.contrast, self.statistics = table, contrast, statistics
        self.verdicts = verdict_table(table, contrast, statistics.margin, statistics.seed)

    def finding(self, claim: Claim) -> Finding:
        """Return what the runs say of a claim; runs that allow no comparison leave it undetermined."""
        try:
            return getattr(self, claim.judged_by)()
        except UndecidableError as error:
            return Finding("undetermined", f"Not decided: {error}.")

    def earlier_start(self) -> Finding:
        """C1, on the contrast itself."""
        return findings.earlier_start(self._verdict(self.contrast))

    def late_fall(self) -> Finding:
        """C2."""
        runs = self._runs(self.contrast)
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

    def source_size(self) -> Finding:
        """C3: no table says how many source images there were."""
        others = [c["source"] for c in self._like("source")]
        reason = (
            f"Every run starts from the source task {others[0]}."
            if len(others) == 1
            else f"The tables do not say how many images {', '.join(map(str, others))} have."
        )
        return Finding("not measured here", reason)

    def learning_rate(self) -> Finding:
        """C4."""
        return findings.learning_rate(self._runs(self.contrast), self.statistics.seed)

    def relearning(self) -> Finding:
        """C5, on the same source network with its own task as the target."""
        found = [
            verdict
            for verdict in self.verdicts
            if verdict.contrast["target"] == verdict.contrast["source"] == self.contrast["source"]
            and verdict.contrast["model"] == self.contrast["model"]
        ]
        if not found:
            return Finding("not measured here", "No run relearns its source task.")
        same = [v for v in found if v.contrast["shots"] == self.contrast["shots"]]
        return findings.earlier_start((same or found)[0])

    def target_size(self) -> Finding:
        """C6."""
        counted = [c for c in self._like("shots") if str(c["shots"]).isdigit()]
        by_shots = {int(str(c["shots"])): self._runs(c) for c in counted}
        return findings.target_size(dict(sorted(by_shots.items())), self.statistics.seed)

    def _like(self, free: str) -> list[Contrast]:
        """Return the contrasts that differ from this one in `free` alone, itself included."""
        names = [name for name in self.contrast if name != free]
        return [
            contrast
            for contrast in contrasts(self.table)
            if all(contrast[name] == self.contrast[name] for name in names)
        ]

    def _runs(self, contrast: Contrast) -> Accuracies:
        return accuracy_tensors(self.table, contrast)

    def _verdict(self, contrast: Contrast) -> Verdict:
        return next(verdict for verdict in self.verdicts if verdict.contrast == contrast)


def claims_text(
    job: Job | None, file: Path | None, primary: Iterable[str] | None = None, path: Path = CLAIMS
) -> str:
    """Return every claim with its status on a file of runs, or on the study's own, for a person.

    `primary` are words such as `target=cyrillic` that name the contrast to judge by.
    """
    claims = read_claims(path)
    table = runs_at_hand(job, file)
    statistics = Statistics.model_validate(job.params["statistics"] if job else {})
    asked = contrast_from_words(primary or ()) or primary_of(statistics) or {}
    found = contrasts(table)
    if not found:
        raise TableError("there are no fine-tuning runs to judge: every row has mode 'pretrain'")
    judge = Judge(table, find_contrast(found, asked), statistics)
    lines = textwrap.wrap(f"Judged on: {describe(judge.contrast)}.", WIDTH)
    lines += textwrap.wrap(protocol_note(judge.contrast, claims.protocol), WIDTH)
    for name, claim in claims.claims.items():
        lines += ["", *_paragraphs(name, claim, judge.finding(claim))]
    return "\n".join(lines)


def protocol_note(
    contrast: Contrast, protocol: dict[Literal["source", "target", "model"], str]
) -> str:
    """Say whether anything here may be called a replication; a table cannot prove that it may."""
    different = [
        f"{name} {contrast[name]} instead of {value}"
        for name, value in protocol.items()
        if contrast[name] != value
    ]
    if different:
        return (
            f"The protocol differs from the published one ({'; '.join(different)}): whatever holds "
            "here supports or contradicts a claim elsewhere, and replicates nothing."
        )
    return (
        "Tasks and network have the published names; compare all settings with the published "
        "protocol before calling anything here a replication."
    )


def _paragraphs(name: str, claim: Claim, finding: Finding) -> list[str]:
    parts = {
        f"{name}  {finding.status.upper()}": claim.statement,
        "    here": finding.reason,
        "    published": f"{claim.published} [{claim.source}]",
        "    measured by": claim.statistic,
    }
    lines = []
    for head, text in parts.items():
        lines += textwrap.wrap(
            f"{head}: {text}", WIDTH, subsequent_indent="      ", break_on_hyphens=False
        )
    return lines
