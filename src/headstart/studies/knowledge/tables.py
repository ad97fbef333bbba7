"""The tables of the study of knowledge: those of all its comparisons, in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from headstart.artifacts.files import read_table, write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, JobContext
from headstart.statistics.measurements import Schema, select

NAMES = ("source", "model", "target")
SCHEMA = Schema(
    "knowledge",
    {
        "role": "str",
        "init_epoch": "str",
        "subset": "str",
        "order": "Int64",
        "variant": "str",
        "networks": "Int64",
        "undefined": "Int64",
    },
)
"""The columns of the study's measurements; `docs/knowledge.md` describes every one."""


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write `measurements`, `sparsity`, `example_pixels` and `example_interactions` of all comparisons."""
    artifacts = context.inputs["knowledge"]
    context.log(f"gathering {len(artifacts)} comparisons")
    measurements = SCHEMA.tidy(pd.concat([_read(one, "measurements") for one in artifacts]))
    write_table(context.out / "measurements.parquet", measurements)
    for name in ("sparsity", "example_pixels", "example_interactions"):
        parts = [_read(one, name).assign(**_names(one)) for one in artifacts]
        write_table(context.out / f"{name}.parquet", pd.concat(parts, ignore_index=True))
    return {"summary": {"measurements": len(measurements)}}


def _read(artifact: Artifact, name: str) -> pd.DataFrame:
    return read_table(artifact.file(f"{name}.parquet"))


def _names(artifact: Artifact) -> dict[str, str]:
    return {name: artifact.manifest["wildcards"][name] for name in NAMES}


def main_init_epoch(table: pd.DataFrame) -> str:
    """Return the source epoch that claims are evaluated at and figures show: `best`, else the last."""
    known = set(select(table, role="finetuned")["init_epoch"])
    return "best" if "best" in known else max(known, key=int)
