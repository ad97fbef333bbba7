"""Verdicts on the study's own tables, as the params ask for them, and on tables of other people."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from headstart.artifacts.files import read_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import open_artifact
from headstart.statistics.errors import TableError
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.verdicts.run_tables import (
    CONTRAST_KEY,
    arms_as_modes,
    contrasts,
)
from headstart.studies.early_stopping.verdicts.text import read_runs, render, to_frame
from headstart.studies.early_stopping.verdicts.verdicts import Verdict, verdict_table

CONTRAST = ["source", "model", "target", "arm", "shots"]


def primary_of(statistics: Statistics) -> dict[str, object] | None:
    """Return the primary contrast as the statistics name it: there, the arm stands for the mode."""
    primary = statistics.primary
    if primary is None:
        return None
    return {name: str(getattr(primary, "arm" if name == "mode" else name)) for name in CONTRAST_KEY}


def study_verdicts(measurements: pd.DataFrame, statistics: Statistics) -> list[Verdict]:
    """Return the verdicts on all contrasts of the study's measurements.

    What cannot be read as runs at all is undetermined for every contrast, with the reason: the
    measurements themselves are not lost.
    """
    table = arms_as_modes(measurements)
    primary = primary_of(statistics)
    try:
        return verdict_table(
            table, primary, statistics.margin, statistics.seed, statistics.fixed_rate
        )
    except TableError as error:
        reason = f"Not decided: {str(error).rstrip('.')}."
        return [
            Verdict(contrast, "undetermined", reason, contrast == primary)
            for contrast in contrasts(table)
        ]


def verdict_frame(
    verdicts: list[Verdict], measurements: pd.DataFrame, margin: float = 1.0
) -> pd.DataFrame:
    """Return one row per verdict; `arm` names the arm, `mode` what it does, `margin` is in points."""
    frame = to_frame(verdicts).rename(columns={"mode": "arm"}).assign(margin=margin)
    modes = measurements[["model", "arm", "mode"]].drop_duplicates()
    merged = frame.merge(modes, on=["model", "arm"], how="left", validate="many_to_one")
    first = [*CONTRAST[:4], "mode", "shots"]
    return merged[[*first, *(name for name in merged.columns if name not in first)]]


def runs_at_hand(job: Job | None, file: Path | None, classes: int | None = None) -> pd.DataFrame:
    """Return the runs in a file, or without one those of the study's tables, ready to be found.

    Raises:
        TableError: the file cannot be read as a table of runs.
        ArtifactError: no file is named and the study's tables are not made yet.
    """
    if file is not None:
        return read_runs(file, classes)
    if job is None:
        raise TableError("verdict: name a file of runs, or the job that makes the study's tables")
    return arms_as_modes(read_table(open_artifact(job).file("measurements.parquet")))


def verdict_text(
    job: Job | None,
    file: Path | None,
    classes: int | None = None,
    margin: float | None = None,
    primary: Iterable[str] | None = None,
) -> str:
    """Return the verdicts on a file, or on the study's own runs, for a person to read.

    `job` makes the study's tables; its params say margin, seed and primary contrast where the
    arguments do not. `primary` are words such as `target=cyrillic`.
    """
    if margin is not None and not 0 < margin < float("inf"):
        raise TableError(f"--margin: {margin:g} is not a positive number of percentage points")
    named = contrast_from_words(primary or ())
    table = runs_at_hand(job, file, classes)
    requested = Statistics.model_validate(job.params["statistics"] if job else {})
    verdicts = verdict_table(
        table,
        named or primary_of(requested),
        requested.margin if margin is None else margin,
        requested.seed,
        requested.fixed_rate,
    )
    if not verdicts:
        raise TableError("there are no fine-tuning runs to evaluate: every row has mode 'pretrain'")
    return render(verdicts).rstrip("\n")


def contrast_from_words(words: Iterable[str]) -> dict[str, object]:
    """Return the contrast that words such as `target=cyrillic` name; `arm` stands for the mode.

    Raises:
        TableError: a word is not of this form.
    """
    named: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise TableError(
                f"--primary: {word!r} is not of the form column=value, for example target=cyrillic"
            )
        named["mode" if name == "arm" else name] = value
    return named
