"""The typed params of a job, read back from the canonical form that its key was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from headstart.params import (
    Invariance,
    Inversions,
    Model,
    Plasticity,
    Pretrain,
    Task,
    Trajectory,
    Transfer,
)


def model_of(params: Mapping[str, Any]) -> Model:
    """Return the model of a job."""
    return TypeAdapter(Model).validate_python(params["model"])


def task_of(params: Mapping[str, Any]) -> Task:
    """Return the task that a job trains on."""
    return Task.model_validate(params["task"])


def tasks_of(params: Mapping[str, Any]) -> dict[str, Task]:
    """Return the tasks that a job reads images of, by name."""
    return {name: Task.model_validate(task) for name, task in params["tasks"].items()}


def pretrain_of(params: Mapping[str, Any]) -> Pretrain:
    """Return the training of a pretrain job; its source and seed are wildcards of the job."""
    return Pretrain.model_validate({**params["pretrain"], "sources": ["source"], "seeds": [0]})


def transfer_of(params: Mapping[str, Any]) -> Transfer:
    """Return the training of a transfer job; its target is a wildcard of the job."""
    targets = [] if params["transfer"]["mode"] == "relearn" else ["target"]
    return Transfer.model_validate({**params["transfer"], "targets": targets})


def trajectory_of(params: Mapping[str, Any]) -> Trajectory:
    """Return the training of a trajectory job; its target and source epoch are wildcards of the job."""
    wildcards = {"targets": ["target"], "source_epochs": [0]}
    return Trajectory.model_validate({**params["trajectory"], **wildcards})


def plasticity_of(params: Mapping[str, Any]) -> Plasticity:
    """Return what a plasticity job measures; its model is a wildcard of the job."""
    return Plasticity.model_validate(params["plasticity"])


def inversions_of(params: Mapping[str, Any]) -> Inversions:
    """Return how a job inverts a network."""
    return Inversions.model_validate(params["inversions"])


def invariance_of(params: Mapping[str, Any]) -> Invariance:
    """Return what an invariance job measures, its arms included."""
    return Invariance.model_validate(params["invariance"])
