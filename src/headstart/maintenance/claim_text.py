"""Claims evaluated for a person in a terminal: on the study's own tables, or on a table of runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from headstart.artifacts.keys import Job
from headstart.artifacts.store import is_made, open_artifact
from headstart.registry import STUDIES, study_of
from headstart.steps.claims import (
    Claims,
    StudyTables,
    evaluate,
    lines_of,
    read_claims,
    result_of,
)
from headstart.steps.controls import failed, text
from headstart.steps.step import resolve
from headstart.studies.early_stopping.verdicts.run_tables import contrasts, find_contrast
from headstart.studies.early_stopping.verdicts.study_verdicts import contrast_from_words
from headstart.studies.early_stopping.verdicts.text import read_runs


def checked_claims(path: Path | None = None) -> Claims:
    """Return the claims of a file, after comparing their names with the studies.

    Raises:
        ClaimsError: the file is wrong, or names a study or an evaluator that does not exist.
    """
    claims = read_claims(path)
    claims.check({study.name: resolve(study.claims).evaluators for study in STUDIES})
    return claims


def claims_text(
    jobs: Iterable[Job],
    controls: Iterable[Job],
    file: Path | None,
    primary: Iterable[str] = (),
    classes: int | None = None,
    path: Path | None = None,
) -> str:
    """Return every claim with its status on a file of runs, or on the studies' own, for a person.

    `jobs` make the tables of the studies, `controls` say, where they are made, whose verdicts to
    beware of; they do not matter where a file is named. `primary` are words such as
    `target=cyrillic` that name the contrast to evaluate; `classes` of the target let the losses in a
    file tell which runs diverged.

    Raises:
        TableError: the file cannot be read as runs, or holds several contrasts and none is named.
        ArtifactError: no file is named and a study's tables are not made yet.
    """
    claims = checked_claims(path)
    requested = contrast_from_words(primary)
    if file is not None:
        return "\n".join(_on_file(claims, file, requested, classes))
    tables = {job.name: (job, StudyTables(open_artifact(job))) for job in jobs}
    beware = {job.name: failed(open_artifact(job)) for job in controls if is_made(job)}
    lines: list[str] = []
    for study in dict.fromkeys(claim.study for claim in claims.claims.values()):
        job, at_hand = tables.get(study, (None, None))
        evaluator = resolve(study_of(study).claims)
        params = job.params if job else {}
        about, found = evaluate(claims, study, evaluator, at_hand, params, requested)
        lines += [*lines_of(claims, about, found, beware.get(study, {})), ""]
    return "\n".join(lines).rstrip("\n")


def controls_text(jobs: Iterable[Job]) -> str:
    """Return what the judges of claims said of the controls of finished studies, for a person.

    `jobs` made the controls. A judge that supports a negative control is not to be believed.

    Raises:
        ArtifactError: a study's controls are not made yet.
    """
    names = {claim.evaluated_by: name for name, claim in checked_claims().claims.items()}
    return text(map(open_artifact, jobs), names)


def _on_file(
    claims: Claims, file: Path, requested: dict[str, object], classes: int | None
) -> list[str]:
    """Return the claims on early stopping, evaluated on a table of runs."""
    study = study_of("early_stopping")
    table = read_runs(file, classes)
    # A file has no params that would name the contrast: where it holds several, a person must.
    several = len(contrasts(table)) > 1
    named = find_contrast(contrasts(table), requested) if several else requested
    opened = resolve(study.claims)({"measurements": table}, {}, named)
    mine = claims.of(study.name)
    found = {name: result_of(opened, claim) for name, claim in mine.items()}
    return lines_of(claims, opened.about(), found, {})
