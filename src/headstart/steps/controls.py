"""Step `controls`: every judge of one study on controls made from its networks, before its verdicts are believed.

A study names a function `(job, context) -> results` (`Study.controls`); the job's params say how many
resamples each control has.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from headstart.artifacts.files import read_table, write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, JobContext
from headstart.statistics.control_results import (
    Failures,
    bound_words,
    control_table,
    counts,
    failures,
)
from headstart.steps.step import resolve

WIDTH = 96
SHARED = ["passes", "control", "comparison", "kind", "counted", "resamples", "limit"]
"""What the controls of one title in a terminal have in common."""


def read(artifact: Artifact) -> pd.DataFrame:
    """Return the controls of one study."""
    return read_table(artifact.file("controls.parquet"))


def failed(artifact: Artifact) -> Failures:
    """Return which judges failed a control, and how."""
    return failures(read(artifact))


def text(artifacts: Iterable[Artifact], names: Mapping[str, str]) -> str:
    """Return all controls for a person in a terminal; `names` has the claim of each judge."""
    table = pd.concat([pd.DataFrame(), *map(read, artifacts)], ignore_index=True)
    if table.empty:
        return "no study has runs from which controls can be made"
    table = table.assign(found=counts(table)).sort_values("passes", kind="stable")
    lines = []
    for _, rows in table.groupby(SHARED, sort=False):
        of = rows.iloc[0]
        title = ", ".join(filter(None, (of["control"], of["comparison"])))
        bound = bound_words(of["kind"], of["counted"], of["limit"], of["resamples"])
        mark = "" if of["passes"] else "FAILED: "
        lines.append(f"{mark}{title} ({of['kind']}; {bound} resamples)")
        judged = zip(rows["judge"], rows["found"], strict=True)
        found = ", ".join(
            f"{names.get(judge, judge)} {n}".replace(" ", "\xa0") for judge, n in judged
        )
        lines += [
            line.replace("\xa0", " ")
            for line in textwrap.wrap(found, WIDTH, initial_indent="    ", subsequent_indent="    ")
        ]
    return "\n".join(lines)


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write `controls.parquet` and the same as `controls.csv`."""
    table = control_table(job.name, resolve(job.params["controls"])(job, context))
    for (judge, kind), words in failures(table).items():
        context.log(f"{judge} failed, {kind}: {words}", detail=True)
    write_table(context.out / "controls.parquet", table)
    table.to_csv(context.out / "controls.csv", index=False, float_format="%.6g")
    passed = int(table["passes"].sum())
    context.log(
        f"{passed} of {len(table)} controls passed, {job.params['resamples']} resamples each"
    )
    return {"summary": {"controls": len(table), "passed": passed}}
