"""Step `controls`: every judge of one study on controls made from its networks, before its verdicts are believed.

A study names a function `(job, context) -> results` (`Study.controls`); the job's params say how many
resamples each control has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.artifacts.files import write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.statistics.controls import control_table, failures
from headstart.steps.step import resolve


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write `controls.parquet` and the same as `controls.csv`."""
    table = control_table(job.name, resolve(job.params["controls"])(job, context))
    for judge, words in failures(table).items():
        context.log(f"{judge}: {words}")
    write_table(context.out / "controls.parquet", table)
    table.to_csv(context.out / "controls.csv", index=False, float_format="%.6g")
    passed = int(table["passes"].sum())
    context.log(
        f"{passed} of {len(table)} controls passed, {job.params['resamples']} resamples each"
    )
    return {"summary": {"controls": len(table), "passed": passed}}
