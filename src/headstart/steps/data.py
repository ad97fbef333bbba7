"""Step `data`: make or download one dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.params.datasets import Dataset
from headstart.tasks.build import build


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write the dataset's images and labels into the artifact."""
    dataset: Dataset = TypeAdapter(Dataset).validate_python(dict(job.params))
    name = job.wildcards["dataset"]
    context.log(f"{dataset.kind}, made on the cpu")
    summary = build(name, dataset, context.out)
    context.log(
        ", ".join(f"{value:,} {what}" for what, value in summary.items() if isinstance(value, int))
    )
    for finding in summary.get("findings", ()):
        context.log(finding)
    return {"summary": summary}
