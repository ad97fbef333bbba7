"""Jobs that make data, train networks and measure how well they can still learn."""

from __future__ import annotations

from itertools import product
from typing import Any

from headstart.artifacts.keys import Job
from headstart.params import Params, Pretrain, Trajectory, Transfer, canonical
from headstart.plan.jobs import Jobs, run_name, without
from headstart.plan.steps import STEPS


def add_data(jobs: Jobs) -> None:
    """Add one job for each dataset."""
    for name, dataset in jobs.params.datasets.items():
        wildcards = {"dataset": name}
        jobs.data[name] = jobs.add("data", name, wildcards=wildcards, params=canonical(dataset))


def add_check(jobs: Jobs) -> None:
    """Add the job that compares what the params promise with the data."""
    sections = {section: getattr(jobs.params, section) for section in STEPS["check"].sections}
    whole = Params.model_construct(**sections)
    jobs.check = jobs.add(
        "check", "study", params=canonical(whole), inputs={"data": tuple(jobs.data.values())}
    )


def add_pretrained(jobs: Jobs) -> None:
    """Add one job for each source network."""
    for model, pretrain in jobs.params.pretrain.items():
        for source, seed in product(pretrain.sources, pretrain.seeds):
            jobs.pretrained[source, model, seed] = _pretrain(jobs, source, model, seed, pretrain)


def add_transfers(jobs: Jobs) -> None:
    """Add one job for each source network, target and arm of `transfer`."""
    for model, arms in jobs.params.transfer.items():
        pretrain = jobs.params.pretrain[model]
        for arm, transfer in arms.items():
            for source in pretrain.sources:
                for target, seed in product(transfer.targets or (source,), pretrain.seeds):
                    _transfer(jobs, source, model, target, arm, seed, transfer)


def add_trajectories(jobs: Jobs) -> None:
    """Add one job for each run of `trajectory`."""
    for model, trajectories in jobs.params.trajectory.items():
        for arm, trajectory in trajectories.items():
            _trajectories(jobs, model, arm, trajectory)


def add_plasticity(jobs: Jobs) -> None:
    """Add one job for each source network that is measured, where plasticity is measured at all."""
    options = jobs.params.plasticity
    for source, model, seed in jobs.pretrained if options.enabled else ():
        if model in (options.models or jobs.params.pretrain):
            _plasticity(jobs, source, model, seed)


def _pretrain(jobs: Jobs, source: str, model: str, seed: int, pretrain: Pretrain) -> Job:
    return jobs.add(
        "pretrain",
        f"{source}-{model}-seed{seed}",
        wildcards={"source": source, "model": model, "seed": seed},
        params={
            **jobs.learns(source, model),
            "pretrain": without(canonical(pretrain), "sources", "seeds"),
        },
        inputs={"data": (jobs.data_of(source),)},
        after=jobs.after_check(),
    )


def _transfer(
    jobs: Jobs, source: str, model: str, target: str, arm: str, seed: int, transfer: Transfer
) -> None:
    jobs.add(
        "transfer",
        f"{source}-{model}-{target}-{arm}-seed{seed}",
        wildcards={
            "source": source,
            "model": model,
            "target": target,
            "arm": arm,
            "seed": seed,
        },
        params={
            **jobs.learns(target, model),
            "transfer": without(canonical(transfer), "targets"),
        },
        inputs={
            "pretrain": (jobs.pretrained[source, model, seed],),
            "data": (jobs.data_of(target),),
        },
        after=jobs.after_check(),
    )


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
            "trajectory": without(canonical(trajectory), *grid),
        },
        inputs={
            "pretrain": (jobs.pretrained[source, model, seed],),
            "data": (jobs.data_of(target),),
        },
        after=jobs.after_check(),
    )


def _plasticity(jobs: Jobs, source: str, model: str, seed: int) -> None:
    """Add the job that measures one network on its source and on the targets it transfers to."""
    arms = jobs.params.transfer.get(model, {}).values()
    names = sorted({source, *(target for arm in arms for target in arm.targets)})
    datasets = sorted({jobs.params.tasks[name].dataset for name in names})
    plasticity = without(canonical(jobs.params.plasticity), "enabled", "models")
    jobs.add(
        "plasticity",
        f"{source}-{model}-seed{seed}",
        wildcards={"source": source, "model": model, "seed": seed},
        params={
            "tasks": {name: canonical(jobs.params.tasks[name]) for name in names},
            "model": canonical(jobs.params.models[model]),
            "pretrain": without(canonical(jobs.params.pretrain[model]), "sources", "seeds"),
            "plasticity": plasticity,
        },
        inputs={
            "pretrain": (jobs.pretrained[source, model, seed],),
            "data": tuple(jobs.data[dataset] for dataset in datasets),
        },
    )
