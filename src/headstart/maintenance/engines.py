"""What Snakemake and DVC are told of what is done. The store decides it, once for each start of an engine.

Snakemake sees a stamp for each job, `.store/stamps/<step>/<name>-<key>`, and only for unfinished jobs: what
is done is in no list of inputs and in no target. So nothing that makes Snakemake run a finished job again
(times, its records, a kill, a profile) can reach one, and what it deletes before and after a job is a stamp.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headstart.artifacts import store
from headstart.artifacts.code import module_path
from headstart.artifacts.files import ArtifactError
from headstart.artifacts.job_file import write_jobs
from headstart.artifacts.keys import RESULTS, STAMPS, STORE, Job
from headstart.maintenance import housekeeping
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.registry import code_of_step, load
from headstart.steps.publish import published_problems, stamp_of

PARAMS = "HEADSTART_PARAMS"
"""Environment variable with the params file of a run: its snapshot, for all that belongs to the run."""
CORES = "HEADSTART_CORES"
"""Environment variable with the number of cores that a stage of DVC gives to Snakemake, all without it."""


class Run:
    """One start of an engine: the params as they were then, the plan, and what of it is unfinished."""

    def __init__(self, params: Path | None = None, *, main: bool = True) -> None:
        """Read the params and ask the store.

        Args:
            params: the params file; without it, that of the run which this process belongs to.
            main: whether this process may take stamps away, as one that works for another may not.

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
        self.unfinished = {job.key for job in store.unfinished(made)}
        self.published = not published_problems(self.publish)
        if main:
            self._clear_stamps()

    def job_file(self) -> Path:
        """Return the file from which jobs read themselves; there is one where anything is unfinished."""
        jobs = self.plan.jobs() if self.unfinished else []
        return write_jobs(jobs, self.params.runtime.device)

    def _clear_stamps(self) -> None:
        for stamp in STAMPS.glob("*/*"):
            if not (RESULTS / stamp.relative_to(STAMPS) / "manifest.json").exists():
                stamp.unlink(missing_ok=True)
        if not self.published:
            stamp_of(self.publish).unlink(missing_ok=True)

    def stamps(self, jobs: Iterable[Job]) -> list[str]:
        """Return the stamps of those jobs that are unfinished."""
        return [job.stamp.as_posix() for job in jobs if job.key in self.unfinished]

    def stamps_of(self, step: str) -> list[str]:
        """Return the stamps of the unfinished jobs of a step."""
        return self.stamps(self.plan.jobs(step))

    def needs(self, wildcards: Any) -> list[str]:
        """Return what a job waits for, as Snakemake asks for it: inputs, and what must have run before."""
        job = self.plan.job(wildcards.key)
        return self.stamps((*job.every_input(), *job.after))

    def pictures(self) -> list[str]:
        """Return the published figures, for Snakemake's own report."""
        return sorted(path.as_posix() for path in housekeeping.FIGURES.glob("*.png"))


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
