"""What Snakemake and DVC are told of what is done. The store decides it, once for each start of an engine.

Snakemake sees stamps, `.store/stamps/<step>/<name>-<key>`, and only for unfinished jobs: what is done is in no
list of inputs and in no target. So nothing that makes Snakemake run a finished job again (times, its records,
a kill, a profile) can reach one, and what it deletes before and after a job is a stamp.

Snakemake needs 2 ms and 30 kB for each of its jobs, so of a step with thousands it gets chunks of them.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.artifacts import store
from headstart.artifacts.code import module_path
from headstart.artifacts.files import ArtifactError
from headstart.artifacts.job_file import Chunk, RunFile, write_chunks, write_jobs
from headstart.artifacts.keys import RESULTS, SHORT, STAMPS, STORE, Job, sha256_of
from headstart.maintenance import housekeeping
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.registry import STEPS, code_of_step, load
from headstart.steps.publish import published_problems, stamp_of

PARAMS = "HEADSTART_PARAMS"
"""Environment variable with the params file of a run: its snapshot, for all that belongs to the run."""
RUN_FILE = "HEADSTART_RUN"
"""Environment variable with the file of a run: how its jobs are started, for a cluster's nodes."""
CORES = "HEADSTART_CORES"
"""Environment variable with the number of cores that a stage of DVC gives to Snakemake, all without it."""
MOST = 1_000
"""Chunks of a step, at most: so many of its unfinished jobs are started one by one."""


class Run:
    """One start of an engine: the params as they were then, the plan, and what of it is unfinished."""

    def __init__(self, params: Path | None = None) -> None:
        """Read the params and ask the store.

        Args:
            params: the params file; without it, that of the run which this process belongs to.

        Raises:
            ParamsError: the params or a folder cannot be used.
            ArtifactError: manifests are damaged.
        """
        housekeeping.check_folders()
        path = params or Path(os.environ.get(PARAMS, "params.yaml"))
        self.params = load(path)
        self.snapshot = housekeeping.snapshot(path)
        self.plan = Plan(self.params)
        (self.publish,) = self.plan.jobs("publish")
        made = [job for job in self.plan.jobs() if job is not self.publish]
        self.unfinished = store.unfinished(made)
        self.published = not published_problems(self.publish)
        for stamp in STAMPS.glob("*/*"):
            if not (RESULTS / stamp.relative_to(STAMPS) / "manifest.json").exists():
                stamp.unlink(missing_ok=True)
        if not self.published:
            stamp_of(self.publish).unlink(missing_ok=True)

    @property
    def device(self) -> str:
        """The device that the params ask for."""
        return self.params.runtime.device

    @property
    def publish_key(self) -> str:
        """The key of what a person reads."""
        return self.publish.key

    @cached_property
    def chunks(self) -> Mapping[str, Chunk]:
        """The unfinished jobs as they are started: by their keys, in the order of the graph."""
        found: dict[str, Chunk] = {}
        for jobs in _cut(self.unfinished):
            before = [one for job in jobs for one in (*job.every_input(), *job.after)]
            first, *more = jobs
            label, keys = first.label, tuple(job.key for job in jobs)
            if more:
                label = f"{first.name}-and-{len(more)}-more-{sha256_of(keys)[:SHORT]}"
            chunk = Chunk(first.step, label, keys, tuple(_stamps(before, found)))
            found |= dict.fromkeys(keys, chunk)
        return found

    @cached_property
    def file(self) -> Path:
        """The file from which jobs read themselves; there is one where anything is unfinished."""
        jobs = write_jobs(self.plan.jobs() if self.unfinished else [], self.device)
        return write_chunks(dict.fromkeys(self.chunks.values()), jobs)

    @cached_property
    def _by_chunk(self) -> dict[str, Chunk]:
        return {chunk.key: chunk for chunk in self.chunks.values()}

    def stamps_of(self, *steps: str) -> list[str]:
        """Return the stamps of what is unfinished of some steps, or of all."""
        return _stamps(self.plan.jobs(*steps), self.chunks)

    def needs(self, wildcards: Any) -> tuple[str, ...]:
        """Return what a chunk waits for, as Snakemake asks for it: inputs, and what must have run before."""
        return self._by_chunk[wildcards.key].needs

    def publish_needs(self) -> list[str]:
        """Return what `publish` waits for."""
        return _stamps(self.publish.every_input(), self.chunks)

    def pictures(self) -> list[dict[str, Any]]:
        """Return the published figures with captions, as arguments of Snakemake's `report`."""
        from headstart.maintenance import workflow_report

        return list(workflow_report.pictures(self.publish))


def _cut(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Yield jobs as they are started; those whose code has no version read the whole plan, and are few."""
    by_step: dict[str, list[Job]] = {}
    for job in jobs:
        by_step.setdefault(job.step, []).append(job)
    for step, mine in by_step.items():
        size = math.ceil(len(mine) / MOST) if STEPS[step].versioned else 1
        yield from (mine[i : i + size] for i in range(0, len(mine), size))


def _stamps(jobs: Iterable[Job], chunks: Mapping[str, Chunk]) -> list[str]:
    return list(dict.fromkeys(chunks[job.key].stamp for job in jobs if job.key in chunks))


class Node:
    """What a process that Snakemake starts for a job, as on a cluster's node, knows of the run: that job."""

    publish_key = "elsewhere"

    def __init__(self) -> None:
        """Open the run's file.

        Raises:
            ParamsError: the process was not told which.
        """
        if not {PARAMS, RUN_FILE} <= set(os.environ):
            raise ParamsError(
                f"{PARAMS} and {RUN_FILE} are not set here; let Snakemake's executor hand the environment over"
            )
        self.snapshot, self.file = Path(os.environ[PARAMS]), Path(os.environ[RUN_FILE])
        self._file = RunFile(self.file)
        self.device = self._file.device

    def needs(self, wildcards: Any) -> tuple[str, ...]:
        """Return what a chunk waits for."""
        return self._file.chunk(wildcards.key).needs

    def stamps_of(self, *steps: str) -> list[str]:
        """Return nothing: targets are the main process's."""
        return []

    publish_needs = pictures = stamps_of


def tend(scheduler: Any) -> None:
    """Keep Snakemake's scheduler from two things that it does.

    Its limit of jobs started per second, 100, has it look at all ready jobs a second after every look, for ever,
    and every job that ends starts another such series: n looks a second after n jobs. And on SIGTERM it waits
    for a lock which the thread that is interrupted may hold, for ever; here another thread waits for it.
    """

    def end(*_: object) -> None:
        threading.Thread(target=scheduler.exit_gracefully, daemon=True).start()

    scheduler.job_rate_limiter = None
    # Only a main thread has handlers.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, end)


def record(step: str, params: Path) -> list[str]:
    """Make what a stage of DVC records, and refuse to have damage recorded; return what was parked.

    Snakemake is started only where the store lacks something.

    Raises:
        ArtifactError: something is damaged, is not there, or was made from other bits.
        ParamsError: params or source were edited meanwhile; what was made is kept.
    """
    if RESULTS.is_symlink():
        raise ParamsError(
            f"{RESULTS}: a link, in which DVC records nothing; link folders in it, such as {RESULTS}/{step}, "
            "or mount the disk there"
        )
    _join_store()
    run = Run(params)
    started = bool(run.stamps_of(step)) or (step == "publish" and not run.published)
    if started:
        # A profile of the person's own says itself how many.
        cores = os.environ.get(CORES) or ("" if "SNAKEMAKE_PROFILE" in os.environ else "all")
        command = ["snakemake", *(("--cores", cores) if cores else ()), "--", f"stage_{step}"]
        environment = {**os.environ, PARAMS: run.snapshot.as_posix()}
        done = subprocess.run(command, env=environment, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)
    jobs = run.plan.jobs(step)
    _refuse_edits(step, run, params, made=started)
    problems = published_problems(run.publish) if step == "publish" else store.verify(jobs)
    if problems:
        raise ArtifactError("\n".join(problems))
    if step == "publish":
        return []
    store.keep(jobs)
    return [path.as_posix() for path in store.park(RESULTS / step, [job.path for job in jobs])]


def _refuse_edits(step: str, run: Run, params: Path, *, made: bool) -> None:
    """Refuse to go on where the params and the source at hand no longer ask for the jobs that were done."""
    same = housekeeping.snapshot(params) == run.snapshot
    if made:
        code_of_step.cache_clear()
        module_path.cache_clear()
        now = Plan(load(params)).jobs(step)
        same = [job.full_key for job in now] == [job.full_key for job in run.plan.jobs(step)]
    if not same:
        raise ParamsError(
            f"{params}: it or the source was edited while {step} ran; nothing is recorded and all that was "
            "made is kept; run `dvc repro` again"
        )


def _join_store() -> None:
    """Use the store of the project in the temporary copies that `dvc exp run --temp` and its queue make."""
    here = Path.cwd()
    copy = next((parent for parent in (here, *here.parents) if (parent / ".git").exists()), here)
    owner = next((p for p in copy.parents if copy.is_relative_to(p / ".dvc/tmp/exps")), None)
    if owner and not os.path.lexists(STORE):
        shared = owner / here.relative_to(copy) / STORE
        shared.mkdir(parents=True, exist_ok=True)
        STORE.symlink_to(shared)
