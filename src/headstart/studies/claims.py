"""Step `claims`: every claim in `claims.yaml`, judged on the tables of its study.

A study that makes claims has an entry in `STUDIES`: how its tables are opened, and a function for
every name that may stand under `judged_by`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from headstart.artifacts.files import read_table, write_json
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, Work, open_artifact
from headstart.params import Statistics
from headstart.statistics.findings import Finding
from headstart.statistics.report import read_runs
from headstart.statistics.tables import TableError, UndecidableError, contrasts, find_contrast
from headstart.studies import early_claims, invariance_claims
from headstart.studies.knowledge import claims as knowledge_claims
from headstart.studies.verdicts import contrast_from_words

CLAIMS = Path(__file__).resolve().parents[3] / "claims.yaml"
WIDTH = 100


class OpenTables(Protocol):
    """The tables of a study, opened by those who judge on them."""

    def about(self) -> str:
        """Return which runs speak, in words."""


@dataclass(frozen=True)
class Study:
    """How a study's tables are opened for judging, and its judges by name."""

    open: Callable[[Mapping[str, pd.DataFrame], Statistics, Mapping[str, object]], Any]
    judges: Mapping[str, Callable[[Any], Finding]]


STUDIES = {
    "early_stopping": Study(early_claims.Judge, early_claims.JUDGES),
    "knowledge": Study(knowledge_claims.Judge, knowledge_claims.JUDGES),
    "invariance": Study(invariance_claims.Judge, invariance_claims.JUDGES),
}


class ClaimsError(ValueError):
    """A claims file that cannot be used; the message names it and what to mend."""


class Claim(BaseModel):
    """One published claim, which runs it needs, and which judge of its study speaks on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    statement: str
    statistic: str
    needs: str
    published: str
    source: str
    judged_by: str
    unit: str = "points"

    @model_validator(mode="after")
    def _known(self) -> Claim:
        if self.study not in STUDIES:
            raise ValueError(f"study {self.study!r} is not one of {', '.join(STUDIES)}")
        judges = STUDIES[self.study].judges
        if self.judged_by not in judges:
            raise ValueError(f"judged_by {self.judged_by!r} is not one of {', '.join(judges)}")
        return self


class Claims(BaseModel):
    """The paper of each study, and all claims."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    papers: dict[str, str]
    claims: dict[str, Claim]

    def of(self, study: str) -> dict[str, Claim]:
        """Return the claims of one study."""
        return {name: claim for name, claim in self.claims.items() if claim.study == study}


class StudyTables(Mapping[str, pd.DataFrame]):
    """The tables in an artifact, each read when it is asked for."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __getitem__(self, name: str) -> pd.DataFrame:
        return read_table(self.artifact.file(f"{name}.parquet"))

    def __iter__(self) -> Iterator[str]:
        files = self.artifact.manifest["files"]
        return (Path(name).stem for name in files if name.endswith(".parquet"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def make(job: Job, work: Work) -> Mapping[str, Any]:
    """Judge all claims; write `claims.json` and the same as a table, `claims.csv`."""
    claims = read_claims()
    statistics = Statistics.model_validate(job.params["statistics"])
    judged_on, rows = {}, []
    artifacts = zip(job.inputs["tables"], work.inputs["tables"], strict=True)
    tables = {one.name: StudyTables(artifact) for one, artifact in artifacts}
    for study in dict.fromkeys(claim.study for claim in claims.claims.values()):
        judged_on[study], found = judge_study(claims, study, tables.get(study), statistics)
        rows += [record(name, claims.claims[name], finding) for name, finding in found.items()]
    _say(rows, work)
    content = {"papers": claims.papers, "judged_on": judged_on, "claims": rows}
    write_json(work.out / "claims.json", content)
    pd.DataFrame(rows).to_csv(work.out / "claims.csv", index=False, float_format="%.6g")
    return {"summary": {"claims": len(rows)}}


def _say(rows: list[dict[str, Any]], work: Work) -> None:
    """Print a line for each claim that these tables speak on, and one for all others."""
    silent = [row["claim"] for row in rows if row["status"] == "not measured here"]
    for row in rows:
        work.say(
            f"{row['claim']} {row['status']}: {row['statement']}", detail=row["claim"] in silent
        )
        work.say(row["reason"], detail=True)
    if silent:
        work.say(f"not measured here: {', '.join(silent)}; claims.json says what each one needs")


def judge_study(
    claims: Claims,
    study: str,
    tables: Mapping[str, pd.DataFrame] | None,
    statistics: Statistics,
    asked: Mapping[str, object] | None = None,
) -> tuple[str, dict[str, Finding]]:
    """Return on what a study's claims are judged, and the finding on each; nothing at hand is no error.

    `asked` names what to judge by, in place of what the statistics name.
    """
    mine = claims.of(study)
    if tables is None:
        reason = "This study was not run."
        return reason, dict.fromkeys(mine, Finding("not measured here", reason))
    try:
        opened = STUDIES[study].open(tables, statistics, asked or {})
    except TableError as error:
        reason = f"Not decided: {str(error).rstrip('.')}."
        return reason, dict.fromkeys(mine, Finding("undetermined", reason))
    return opened.about(), {name: finding(opened, claim) for name, claim in mine.items()}


def finding(opened: OpenTables, claim: Claim) -> Finding:
    """Return what the runs say of a claim; runs that allow no comparison leave it undetermined."""
    try:
        return STUDIES[claim.study].judges[claim.judged_by](opened)
    except UndecidableError as error:
        return Finding("undetermined", f"Not decided: {error}.")


def record(name: str, claim: Claim, finding: Finding) -> dict[str, Any]:
    """Return a claim with its finding as one record, for JSON and tables; NaN is None."""
    values = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(finding).items()
    }
    return {"claim": name, **claim.model_dump(), **values}


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
        reason = problem["msg"].removeprefix("Value error, ")
        raise ClaimsError(f"{path}: {where}: {reason[0].lower()}{reason[1:]}") from None


def claims_text(
    jobs: Iterable[Job],
    file: Path | None,
    primary: Iterable[str] = (),
    classes: int | None = None,
    path: Path = CLAIMS,
) -> str:
    """Return every claim with its status on a file of runs, or on the studies' own, for a person.

    `jobs` make the tables of the studies; they do not matter where a file is named. `primary` are
    words such as `target=cyrillic` that name the contrast to judge by; `classes` of the target let
    the losses in a file tell which runs diverged.

    Raises:
        TableError: the file cannot be read as runs, or holds several contrasts and none is named.
        ArtifactError: no file is named and a study's tables are not made yet.
    """
    claims = read_claims(path)
    asked = contrast_from_words(primary)
    if file is not None:
        table = read_runs(file, classes)
        # A file has no params that would name the contrast: where it holds several, a person must.
        named = find_contrast(contrasts(table), asked) if len(contrasts(table)) > 1 else asked
        opened = early_claims.Judge({"measurements": table}, Statistics(), named)
        found = {
            name: finding(opened, claim) for name, claim in claims.of("early_stopping").items()
        }
        return "\n".join(_study_lines(claims, opened.about(), found))
    tables = {job.name: (job, StudyTables(open_artifact(job))) for job in jobs}
    lines: list[str] = []
    for study in dict.fromkeys(claim.study for claim in claims.claims.values()):
        job, at_hand = tables.get(study, (None, None))
        statistics = Statistics.model_validate(job.params.get("statistics", {}) if job else {})
        lines += [
            *_study_lines(claims, *judge_study(claims, study, at_hand, statistics, asked)),
            "",
        ]
    return "\n".join(lines).rstrip("\n")


def _study_lines(claims: Claims, about: str, found: Mapping[str, Finding]) -> list[str]:
    lines = textwrap.wrap(about, WIDTH)
    for name, one in found.items():
        claim = claims.claims[name]
        parts = {
            f"{name}  {one.status.upper()}": claim.statement,
            "    here": one.reason,
            "    published": f"{claim.published} [{claim.source}]",
            "    measured by": claim.statistic,
            "    needs": claim.needs,
        }
        lines.append("")
        for head, text in parts.items():
            lines += textwrap.wrap(
                f"{head}: {text}", WIDTH, subsequent_indent="      ", break_on_hyphens=False
            )
    return lines
