"""Doing a job of the plan, or a chunk of jobs, in this process, with its log, on its device."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from headstart.artifacts import store
from headstart.artifacts.files import ArtifactError
from headstart.artifacts.job_file import RunFile
from headstart.artifacts.keys import STORE, Job
from headstart.artifacts.log import JobLog
from headstart.maintenance.housekeeping import LOGS
from headstart.params.reading import ParamsError
from headstart.plan import NO_JOB, Plan
from headstart.registry import STEPS, code_of_step, function_of, load
from headstart.steps.step import LAST

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Of the environment, before numpy or torch are loaded."""


def run_step(
    step: str, key: str, params_file: Path, log: Path | None, plan: Path | None = None
) -> None:
    """Do one job of the plan, the one with this key, or a chunk of jobs; where one fails, the others are done."""
    os.environ.update(ONE_THREAD)
    jobs, device = _jobs(step, key, params_file, plan)
    console, problems = JobLog(step, log), []
    with console.errors():
        device = _device(step, device)
    for job in jobs:
        console.name = f"{step} {job.name}" if job.name != step else step
        try:
            with console.errors():
                _do(job, device, console)
        except Exception as error:
            if len(jobs) == 1:
                raise
            problems.append(f"{job.name}: {error}")
    if problems:
        raise ArtifactError("\n".join(problems))


def _do(job: Job, device: str, log: JobLog) -> None:
    function = function_of(job)
    if job.step == "publish":
        function(job, log)
    else:
        store.run(job, function, device, log)


def _jobs(step: str, key: str, params_file: Path, plan: Path | None) -> tuple[list[Job], str]:
    """Return jobs and the device that the params ask for; of `plan`, a run's file, reads only their own part."""
    if plan is None or not STEPS[step].versioned:
        params = load(params_file)
        return [Plan(params).job(key)], params.runtime.device
    try:
        file = RunFile(plan)
        jobs = [file.job(one) for one in file.chunk(key).jobs]
    except LookupError:
        raise LookupError(NO_JOB.format(key)) from None
    if any(job.code != code_of_step(step) for job in jobs):
        raise LookupError(NO_JOB.format(key))
    return jobs, file.device


def _device(step: str, requested: str) -> str:
    if not STEPS[step].gpu:
        return "cpu"
    device = importlib.import_module("headstart.training.device")
    chosen = device.choose_device(requested, locks=STORE / "devices")
    device.one_thread()
    device.reproducible(chosen)
    return str(chosen)


def draw_finished(params: Path) -> None:
    """Draw what is finished of a study: tables, figures, claims and report, marked as incomplete.

    Raises:
        ParamsError: nothing is finished that could be drawn.
    """
    read, last = load(params), [step.name for step in LAST]
    trained = [job for job in Plan(read).jobs() if job.step not in last]
    plan = Plan(read, store.unfinished(trained))
    if not plan.shown:
        raise ParamsError("draw: no study has finished jobs yet; run `snakemake --cores all`")
    os.environ.update(ONE_THREAD)
    for job in plan.jobs(*last):
        log = JobLog(f"{job.step} {job.name}", LOGS / job.step / f"{job.label}.log")
        with log.errors():
            _do(job, "cpu", log)
