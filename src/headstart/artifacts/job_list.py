"""The jobs of a params file, as they are added one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from headstart.artifacts.keys import Job
from headstart.params.core import CoreParams
from headstart.params.types import Section, canonical, complete


class Jobs:
    """All jobs so far; those of later steps are made of those of earlier ones.

    Attributes:
        data: by dataset.
        check: the one that must have run before anything trains.
        pretrained: by source, model and seed.
        trajectories: by the values of their wildcards.
    """

    def __init__(
        self, params: CoreParams, steps: Iterable[str], code: Callable[[str], str]
    ) -> None:
        """Begin with no jobs; `code` returns what stands for a step's code in its keys."""
        self.params, self.code = params, code
        self.by_key: dict[str, Job] = {}
        self.by_step: dict[str, list[Job]] = {step: [] for step in steps}
        self.data: dict[str, Job] = {}
        self.check: Job | None = None
        self.pretrained: dict[tuple[str, str, int], Job] = {}
        self.trajectories: dict[tuple[str, ...], Job] = {}

    def add(
        self,
        step: str,
        name: str,
        *,
        code: str | None = None,
        wildcards: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | Section | None = None,
        inputs: Mapping[str, tuple[Job, ...]] | None = None,
        after: tuple[Job, ...] = (),
    ) -> Job:
        """Add a job, or return the one with the same key; values of `params` may be sections."""
        given = {} if params is None else params
        job = Job(
            step,
            name,
            code or self.code(step),
            {wildcard: str(value) for wildcard, value in (wildcards or {}).items()},
            complete(given),
            inputs or {},
            after,
            canonical(given),
        )
        if job.key in self.by_key:
            return self.by_key[job.key]
        self.by_key[job.key] = job
        self.by_step[step].append(job)
        return job

    def of(self, *steps: str) -> dict[str, tuple[Job, ...]]:
        """Return the jobs of steps so far, as inputs whose roles are the steps' names."""
        return {step: tuple(self.by_step[step]) for step in steps}

    def data_of(self, task: str) -> Job:
        """Return the job that makes the images of a task."""
        return self.data[self.params.tasks[task].dataset]

    def learns(self, task: str, model: str) -> dict[str, Any]:
        """Return the params that every job on a task's images with a model's network has."""
        return {"task": self.params.tasks[task], "model": self.params.models[model]}

    def after_check(self) -> tuple[Job, ...]:
        """Return what must have run before a network trains."""
        return () if self.check is None else (self.check,)


def run_name(wildcards: Mapping[str, Any]) -> str:
    """Return the readable name of a job on one run of `trajectory`, or on the network it starts from."""
    return (
        "{source}-{model}-{target}-{arm}-epoch{source_epoch}-seed{seed}-run{target_seed}"
    ).format_map(wildcards)
