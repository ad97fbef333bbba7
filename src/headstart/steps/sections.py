"""The typed params of a job, read back from what it was given, and the images of its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, JobContext
from headstart.params.datasets import Task as TaskParams
from headstart.params.models import Model
from headstart.params.recipe import Pretrain, Trajectory
from headstart.tasks.task import Task, make_task, read


def model_of(params: Mapping[str, Any]) -> Model:
    """Return the model of a job."""
    return TypeAdapter(Model).validate_python(params["model"])


def task_of(params: Mapping[str, Any]) -> TaskParams:
    """Return the params of the task that a job trains on."""
    return TaskParams.model_validate(params["task"])


def read_task(name: str, params: Mapping[str, Any], data: Artifact) -> Task:
    """Return the images of the task that a job trains on, from its verified dataset."""
    data.file("images.safetensors")
    return make_task(name, task_of(params), read(data.path))


def read_tasks(job: Job, context: JobContext) -> dict[str, Task]:
    """Return the images of each task of a job, from verified datasets, the source first."""
    datasets = {each.manifest["wildcards"]["dataset"]: each for each in context.inputs["data"]}
    for artifact in datasets.values():
        artifact.file("images.safetensors")
    tasks = {name: TaskParams.model_validate(task) for name, task in job.params["tasks"].items()}
    source = job.wildcards["source"]
    return {
        name: make_task(name, tasks[name], read(datasets[tasks[name].dataset].path))
        for name in sorted(tasks, key=lambda name: (name != source, name))
    }


def pretrain_of(params: Mapping[str, Any]) -> Pretrain:
    """Return the training of a pretrain job; its source and seed are wildcards of the job."""
    wildcards = {"sources": ["source"], "seeds": [0]}
    series = {0: params["series"]} if params.get("series") else {}
    return Pretrain.model_validate({**params["pretrain"], **wildcards, "series": series})


def trajectory_of(params: Mapping[str, Any]) -> Trajectory:
    """Return the training of a trajectory job; its target and source epoch are wildcards of the job."""
    wildcards = {"targets": ["target"], "source_epochs": [0]}
    return Trajectory.model_validate({**params["trajectory"], **wildcards})
