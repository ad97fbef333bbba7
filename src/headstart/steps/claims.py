"""Step `claims`: every claim of `claims.yaml` about one study, evaluated on its tables.

A study names its evaluator (`Study.claims`): a class that is opened on the study's tables, with a
function for every name that may stand under `evaluated_by`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from headstart.artifacts.files import read_table, shared, write_json
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, JobContext
from headstart.statistics.answers import records
from headstart.statistics.claim_results import ClaimResult
from headstart.statistics.control_results import Failures, warning
from headstart.statistics.errors import NothingMeasuredError, TableError, UndecidableError
from headstart.steps.controls import failed
from headstart.steps.step import resolve

CLAIMS = shared("claims.yaml")
WIDTH = 100


class ClaimEvaluator(Protocol):
    """The tables of a study, opened to evaluate claims on them.

    Raises:
        TableError: the tables do not hold what is requested.
    """

    evaluators: ClassVar[Mapping[str, Callable[[Any], ClaimResult]]]

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        params: Mapping[str, Any],
        requested: Mapping[str, object],
    ) -> None:
        """Open tables by name; `params` are the sections that decide, `requested` names the runs."""

    def about(self) -> str:
        """Return which runs speak, in words."""


class ClaimsError(ValueError):
    """A claims file that cannot be used; the message names it and how to fix it."""


class Claim(BaseModel):
    """One published claim, which runs it needs, and which evaluator of its study speaks on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    statement: str
    statistic: str
    needs: str
    published: str
    source: str
    evaluated_by: str
    unit: str = "points"


class Claims(BaseModel):
    """The paper of each study, and all claims."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    papers: dict[str, str]
    claims: dict[str, Claim]

    def of(self, study: str) -> dict[str, Claim]:
        """Return the claims of one study."""
        return {name: claim for name, claim in self.claims.items() if claim.study == study}

    def check(self, evaluators: Mapping[str, Collection[str]], path: Path = CLAIMS) -> None:
        """Refuse a claim whose study or evaluator does not exist.

        Raises:
            ClaimsError: names the claim and what there is.
        """
        for name, claim in self.claims.items():
            known = evaluators.get(claim.study)
            if known is None:
                raise ClaimsError(
                    f"{path}: claims.{name}: study {claim.study!r} is not one of {', '.join(evaluators)}"
                )
            if claim.evaluated_by not in known:
                raise ClaimsError(
                    f"{path}: claims.{name}: evaluated_by {claim.evaluated_by!r} is not one of "
                    f"{', '.join(known)}"
                )


class StudyTables(Mapping[str, pd.DataFrame]):
    """The tables in an artifact, each read when it is needed."""

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


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Evaluate the claims about one study; write `claims.json` and the same as a table, `claims.csv`."""
    claims, study = read_claims(), job.wildcards["study"]
    evaluator = resolve(job.params["evaluator"])
    tables = StudyTables(context.input("tables"))
    about, found = evaluate(claims, study, evaluator, tables, job.params)
    judges = failed(context.input("controls"))
    rows = [record(name, claims.claims[name], result, judges) for name, result in found.items()]
    _log(rows, context)
    content = {
        "paper": claims.papers.get(study, ""),
        "evaluated_on": about,
        "claims": rows,
        "answer": records(resolve(job.params["answer"])(tables, rows)),
    }
    write_json(context.out / "claims.json", content)
    pd.DataFrame(rows).to_csv(context.out / "claims.csv", index=False, float_format="%.6g")
    return {"summary": {"claims": len(rows)}}


def _log(rows: list[dict[str, Any]], context: JobContext) -> None:
    """Print a line for each claim that these tables speak on, and one for all others."""
    silent = [row["claim"] for row in rows if row["status"] == "not measured here"]
    for row in rows:
        detail = row["claim"] in silent
        context.log(f"{row['claim']} {row['status']}: {row['statement']}", detail=detail)
        if row["control"] and not detail:
            context.log(f"{row['claim']}: {row['control']}", detail=True)
        context.log(row["reason"], detail=True)
    if silent:
        context.log(f"not measured here: {', '.join(silent)}; claims.json says what each one needs")


def evaluate(
    claims: Claims,
    study: str,
    evaluator: type[ClaimEvaluator],
    tables: Mapping[str, pd.DataFrame] | None,
    params: Mapping[str, Any],
    requested: Mapping[str, object] | None = None,
) -> tuple[str, dict[str, ClaimResult]]:
    """Return on what a study's claims are evaluated, and the result of each; no tables are no error.

    `requested` names what to evaluate, in place of what the params name.
    """
    mine = claims.of(study)
    if tables is None:
        reason = "This study was not run."
        return reason, dict.fromkeys(mine, ClaimResult("not measured here", reason))
    try:
        opened = evaluator(tables, params, requested or {})
    except NothingMeasuredError as error:
        reason = f"{str(error)[:1].upper()}{str(error)[1:].rstrip('.')}."
        return reason, dict.fromkeys(mine, ClaimResult("not measured here", reason))
    except TableError as error:
        reason = f"Not decided: {str(error).rstrip('.')}."
        return reason, dict.fromkeys(mine, ClaimResult("undetermined", reason))
    return opened.about(), {name: result_of(opened, claim) for name, claim in mine.items()}


def result_of(opened: ClaimEvaluator, claim: Claim) -> ClaimResult:
    """Return what the runs say of a claim; runs that allow no comparison leave it undetermined."""
    try:
        return opened.evaluators[claim.evaluated_by](opened)
    except UndecidableError as error:
        return ClaimResult("undetermined", f"Not decided: {error}.")


def record(name: str, claim: Claim, result: ClaimResult, judges: Failures) -> dict[str, Any]:
    """Return a claim with its result as one record, for JSON and tables; NaN is None.

    `judges` says which evaluators failed a control; the record has what speaks against it as `control`.
    """
    values = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(result).items()
    }
    control = warning(judges, claim.evaluated_by, result.status)
    return {"claim": name, **claim.model_dump(), **values, "control": control}


def read_claims(path: Path | None = None) -> Claims:
    """Read a claims file.

    Raises:
        ClaimsError: it is missing, no YAML, or holds a wrong key or value.
    """
    path = path or CLAIMS
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


def lines_of(
    claims: Claims, about: str, found: Mapping[str, ClaimResult], judges: Failures
) -> list[str]:
    """Return results for a person to read in a terminal, with which evaluators failed a control."""
    lines = textwrap.wrap(about, WIDTH)
    for name, one in found.items():
        claim = claims.claims[name]
        parts = {
            f"{name}  {one.status.upper()}": claim.statement,
            "    here": one.reason,
            "    beware": warning(judges, claim.evaluated_by, one.status),
            "    published": f"{claim.published} [{claim.source}]",
            "    measured by": claim.statistic,
            "    needs": claim.needs,
        }
        lines.append("")
        for head, text in parts.items():
            if not text:
                continue
            lines += textwrap.wrap(
                f"{head}: {text}", WIDTH, subsequent_indent="      ", break_on_hyphens=False
            )
    return lines
