"""Jobs that make data and train the networks that every study looks into."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

from headstart.artifacts.code import source_hash
from headstart.artifacts.job_list import Jobs, run_name
from headstart.artifacts.keys import Job
from headstart.params.recipe import Pretrain, Trajectory
from headstart.params.types import canonical, without

NAMES = ("sources", "seeds", "series")
"""Fields of `pretrain` that say which networks there are; a network's own series is in its key."""


def add_data(jobs: Jobs) -> None:
    """Add one job for each dataset."""
    for name, dataset in jobs.params.datasets.items():
        jobs.data[name] = jobs.add("data", name, wildcards={"dataset": name}, params=dataset)


def add_check(jobs: Jobs, sections: Iterable[str], checks: Iterable[str]) -> None:
    """Add the job that compares what the params promise with the data.

    `checks` are the modules in which the studies compare what their sections promise.
    """
    modules = list(checks)
    jobs.check = jobs.add(
        "check",
        "study",
        code=source_hash("headstart.steps.check", *modules),
        params={
            # What is not there, or at its defaults, promises nothing.
            "sections": {
                name: jobs.params.section(name)
                for name in sections
                if canonical(jobs.params.section(name))
            },
            "checks": modules,
        },
        inputs={"data": tuple(jobs.data.values())},
    )


def add_pretrained(jobs: Jobs) -> None:
    """Add one job for each source network."""
    for model, pretrain in jobs.params.pretrain.items():
        for source, seed in product(pretrain.sources, pretrain.seeds):
            jobs.pretrained[source, model, seed] = _pretrain(jobs, source, model, seed, pretrain)


def add_trajectories(jobs: Jobs) -> None:
    """Add one job for each run of `trajectory`."""
    for model, trajectories in jobs.params.trajectory.items():
        for arm, trajectory in trajectories.items():
            _trajectories(jobs, model, arm, trajectory)


def _pretrain(jobs: Jobs, source: str, model: str, seed: int, pretrain: Pretrain) -> Job:
    return jobs.add(
        "pretrain",
        f"{source}-{model}-seed{seed}",
        wildcards={"source": source, "model": model, "seed": seed},
        params={
            **jobs.learns(source, model),
            "pretrain": without(_normalized(jobs, model, pretrain), *NAMES),
            "keep": pretrain.checkpoint_epochs(),
            **({"series": pretrain.series[seed]} if pretrain.series else {}),
        },
        inputs={"data": (jobs.data_of(source),)},
        after=jobs.after_check(),
    )


def _normalized(jobs: Jobs, model: str, pretrain: Pretrain) -> Pretrain:
    """Name in the key that given weights are used under the statistics that timm states for them."""
    network = jobs.params.models[model]
    stated = network.weights is None or network.weights.pixels or pretrain.normalization
    if stated or network.kind != "timm":
        return pretrain
    return pretrain.model_copy(update={"normalization": "weights"})


def _trajectories(jobs: Jobs, model: str, arm: str, trajectory: Trajectory) -> None:
    pretrain = jobs.params.pretrain[model]
    options = (
        pretrain.sources,
        trajectory.targets,
        dict.fromkeys(pretrain.epochs if e == "last" else e for e in trajectory.source_epochs),
        trajectory.seeds or pretrain.seeds,
        trajectory.target_seeds,
    )
    for source, target, source_epoch, seed, target_seed in product(*options):
        wildcards = {
            "source": source,
            "model": model,
            "target": target,
            "arm": arm,
            "source_epoch": source_epoch,
            "seed": seed,
            "target_seed": target_seed,
        }
        _trajectory(jobs, wildcards, trajectory)


def _trajectory(jobs: Jobs, wildcards: dict[str, Any], trajectory: Trajectory) -> None:
    source, model, target, seed = (
        wildcards[name] for name in ("source", "model", "target", "seed")
    )
    grid = ("targets", "source_epochs", "seeds", "target_seeds")
    jobs.trajectories[tuple(map(str, wildcards.values()))] = jobs.add(
        "trajectory",
        run_name(wildcards),
        wildcards=wildcards,
        params={
            **jobs.learns(target, model),
            "trajectory": without(trajectory, *grid),
            "keep": trajectory.kept_epochs(),
        },
        inputs={
            "pretrain": (jobs.pretrained[source, model, seed],),
            "data": (jobs.data_of(target),),
        },
        after=jobs.after_check(),
    )
