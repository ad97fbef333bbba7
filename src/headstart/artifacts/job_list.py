"""The jobs of a params file, as they are added one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from headstart.artifacts.keys import Job
from headstart.params.core import CoreParams
from headstart.params.types import Section, Without, canonical, complete

INCOMPLETE = "incomplete"
"""In params of what a person reads: how many jobs of each step are there, and of how many."""
Incomplete = Mapping[str, Mapping[str, tuple[int, int]]]


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
        self._written: dict[tuple[int, tuple[str, ...]], tuple[object, Any, Any]] = {}

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
        written = self._as_json({} if params is None else params)
        job = Job(
            step,
            name,
            code or self.code(step),
            {wildcard: str(value) for wildcard, value in (wildcards or {}).items()},
            written[0],
            inputs or {},
            after,
            written[1],
        )
        if job.key in self.by_key:
            return self.by_key[job.key]
        self.by_key[job.key] = job
        self.by_step[step].append(job)
        return job

    def _as_json(self, value: Any) -> tuple[Any, Any]:
        """Return what a job gets of its params, and what its key holds of them.

        Those of one section are made once, and shared by all jobs: a study may have a million.
        """
        if isinstance(value, Mapping):
            pairs = {name: self._as_json(each) for name, each in value.items()}
            return {n: pair[0] for n, pair in pairs.items()}, {n: p[1] for n, p in pairs.items()}
        section, names = (value.section, value.names) if isinstance(value, Without) else (value, ())
        if not isinstance(section, Section):
            return complete(value), canonical(value)
        place = id(section), names
        if place not in self._written:
            # The section itself, too: while it is there nothing else has its identity.
            self._written[place] = section, complete(value), canonical(value)
        return self._written[place][1:]

    def of(self, *steps: str) -> dict[str, tuple[Job, ...]]:
        """Return the jobs of steps so far, as inputs whose roles are the steps' names."""
        return {step: tuple(self.by_step[step]) for step in steps}

    def leave_out(self, keys: Iterable[str]) -> Incomplete:
        """List some jobs no more as inputs of those to come; return what these say of it in their params."""
        missing, counts = set(keys), {}
        for step, jobs in self.by_step.items():
            there = [job for job in jobs if job.key not in missing]
            if len(there) < len(jobs):
                counts[step] = len(there), len(jobs)
                self.by_step[step] = there
        return {INCOMPLETE: counts} if counts else {}

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
