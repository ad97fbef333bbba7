"""How long a study may still take, from what its finished jobs took and what each job is known to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from headstart.artifacts.keys import Job
from headstart.maintenance.engines import Run
from headstart.registry import STEPS
from headstart.steps.step import resolve

MOST = 2_000
"""Jobs whose costs are looked up, which takes milliseconds each; more of them count alike."""
BACKWARD = 3
"""Passes forward that a pass forward and backward is worth."""
LEAST = 1.0
"""Seconds of any job: it has to start."""


@dataclass(frozen=True)
class Work:
    """What is known of a chunk of jobs beforehand: passes through a model, and seconds beside them."""

    model: str
    passes: float
    seconds: float


class TimeLeft:
    """Learns seconds per pass of every model from the jobs of this run that have finished."""

    def __init__(self, run: Run, cores: int) -> None:
        self.run, self.cores = run, max(cores, 1)
        self.taken: dict[str, float] = {}

    @cached_property
    def work(self) -> dict[str, Work]:
        """The unfinished jobs as Snakemake starts them, by key."""
        known = len(self.run.unfinished) <= MOST
        chunks = dict.fromkeys(self.run.chunks.values())
        jobs = {job.key: job for job in self.run.unfinished}
        return {
            chunk.key: self._work(jobs[key] for key in chunk.jobs) if known else Work("", 1, 0)
            for chunk in chunks
        }

    def _work(self, jobs: Iterable[Job]) -> Work:
        params, model, passes, seconds = self.run.params, "", 0.0, 0.0
        for job in jobs:
            step = STEPS[job.step]
            if step.cost:
                cost = resolve(step.cost)(job, params)
                model, seconds = cost.model, seconds + cost.seconds
                passes += BACKWARD * cost.trained + cost.evaluated
        return Work(model, passes, seconds)

    def finished(self, key: str, seconds: float) -> None:
        """Learn how long a chunk of jobs took."""
        if key in self.work:
            self.taken[key] = seconds

    def seconds(self, running: Mapping[str, float]) -> float | None:
        """Return the seconds that are left, or None while no job has told anything.

        Args:
            running: seconds since the start of every job under way, by its key.
        """
        paces = self._paces()
        if not paces:
            return None
        rest = []
        for key, work in self.work.items():
            if key not in self.taken:
                expected = work.seconds + work.passes * paces.get(work.model, paces[""])
                rest.append(max(expected - running.get(key, 0.0), LEAST))
        return max([sum(rest) / self.cores, *rest], default=0.0)

    def _paces(self) -> dict[str, float]:
        """Return the seconds of a pass of every model that has run, and of all of them under no name."""
        spent, passes = defaultdict[str, float](float), defaultdict[str, float](float)
        for key, taken in self.taken.items():
            work = self.work[key]
            for name in {work.model, ""} if work.passes else ():
                spent[name] += max(taken - work.seconds, 0.0)
                passes[name] += work.passes
        return {name: spent[name] / passes[name] for name in passes}
