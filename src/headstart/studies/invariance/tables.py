"""The tables of the invariance study: those of all source networks, and correlations over epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from headstart.artifacts.files import read_table, shared, write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.studies.invariance.layer_dynamics import (
    correlations,
    held_out,
    papers_aggregate,
    transients,
)

STUDY = "invariance"
PUBLISHED = shared("published/invariance_figures.csv")
GATHERED = ("runs", "measurements", "residuals", "robustness")


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Gather the tables of all source networks, and correlate dynamics with robustness."""
    tables = {
        name: pd.concat(
            [read_table(each.file(f"{name}.parquet")) for each in context.inputs["invariance"]],
            ignore_index=True,
        )
        for name in GATHERED
    }
    measured = tables["measurements"], tables["robustness"]
    aggregate = papers_aggregate(*measured)
    tables |= {
        "correlations": correlations(*measured),
        "aggregate": aggregate,
        "transients": transients(aggregate),
        "held_out": held_out(*measured),
        "published": pd.read_csv(PUBLISHED),
    }
    for name, table in tables.items():
        write_table(context.out / f"{name}.parquet", table)
    context.log(f"{len(tables['runs'])} runs, {len(tables['measurements']):,} values")
    return {"summary": {name: len(table) for name, table in tables.items()}}
