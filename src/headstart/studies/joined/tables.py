"""The tables of the joined study: all measurements, and one row for each source network and source epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from headstart.artifacts.files import read_table, write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, JobContext
from headstart.statistics.measurements import Schema
from headstart.studies.joined.associations import associations, wide
from headstart.studies.joined.effects import effects

SCHEMA = Schema("joined", {"shots": "str", "intervention": "str", "rate": "str"})
VALIDATION = ("tuned_rate", "validation_accuracy", "source_accuracy", "source_accuracy_fresh")
TRAINING = ("random_label_accuracy", "squared_weight_norm", "regression_r2")
"""Metrics that are not read on test images of the target."""


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write measurements, one row for each network and epoch, associations of measures, effects of interventions."""
    context.log(f"gathering {len(job.inputs['joined'])} source networks")
    rows = [_rows(artifact) for artifact in context.inputs["joined"]]
    measurements = SCHEMA.tidy(pd.concat(rows, ignore_index=True) if rows else [])
    cells = wide(measurements)
    tables = {
        "measurements": measurements,
        "joined": cells,
        "associations": associations(cells),
        "effects": effects(measurements),
    }
    for name, table in tables.items():
        write_table(context.out / f"{name}.parquet", table)
    return {"summary": {"measurements": len(measurements), "rows": len(cells)}}


def _rows(artifact: Artifact) -> pd.DataFrame:
    """Return the measurements of one source network, with its names."""
    names, params = artifact.manifest["wildcards"], artifact.manifest["params"]
    rows = read_table(artifact.file("joined.parquet"))
    splits = {**dict.fromkeys(VALIDATION, "validation"), **dict.fromkeys(TRAINING, "train")}
    return rows.assign(
        **{name: names[name] for name in ("source", "model", "target")},
        seed=int(names["seed"]),
        arm="joined",
        mode="finetune",
        shots=str(params["joined"]["shots"]),
        split=rows["metric"].map(splits).fillna("test"),
        n=1,
        device=artifact.manifest["device"],
    )
