"""Step `tables`: the tables of one study, gathered by the function that the study names.

Inputs that were made from other bits than those on disk are refused, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext, check_lineage
from headstart.steps.step import resolve


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write the tables of the study that the job is named by."""
    check_lineage(job)
    return dict(resolve(job.params["gather"])(job, context))
