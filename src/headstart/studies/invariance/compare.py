"""Step `invariance`: what the runs from one source network forget, learn and move between layers.

The pretrained network pt of a run is the checkpoint that it started from; for a run from scratch
that is a random network. Networks are compared on images of the target task and on their stored
inversions; nothing is trained or inverted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from headstart.artifacts.files import write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.studies.invariance.columns import TABLES
from headstart.studies.invariance.run import Run
from headstart.studies.invariance.subject import Subject


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write the tables of all runs; those of a finished run survive a kill."""
    subject = Subject(job, context)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for artifact in context.inputs["trajectory"]:
        run = Run(subject, artifact)
        for name, table in run.tables().items():
            parts[name].append(table)
    sizes = {}
    for name, tables in parts.items():
        table = pd.concat(tables, ignore_index=True)
        write_table(context.out / f"{name}.parquet", table)
        sizes[name] = len(table)
    found = pd.concat(parts["measurements"], ignore_index=True)
    undefined = int(found["value"].isna().sum())
    context.log(f"{len(found):,} values, {undefined:,} of them undefined, with the reason beside")
    return {"seed": job.wildcards["seed"], "dtype": "float32", "summary": sizes}
