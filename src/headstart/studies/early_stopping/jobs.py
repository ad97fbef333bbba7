"""Jobs of the early-stopping study: transfer of every checkpoint, how well each can still learn, what scores say."""

from __future__ import annotations

from itertools import product
from typing import Any

from headstart.artifacts.job_list import Jobs
from headstart.params.types import without
from headstart.studies.early_stopping.params import CheckpointScores, Plasticity, Transfer


def add(jobs: Jobs) -> None:
    """Add the jobs of the sections `transfer`, `plasticity` and `scores`."""
    add_transfers(jobs)
    add_plasticity(jobs)
    add_scores(jobs)


def add_transfers(jobs: Jobs) -> None:
    """Add one job for each source network, target and arm of `transfer`."""
    for model, arms in jobs.params.section("transfer").items():
        pretrain = jobs.params.pretrain[model]
        for arm, transfer in arms.items():
            for source in pretrain.sources:
                for target, seed in product(transfer.all_targets(source), pretrain.seeds):
                    part = transfer.for_target(target)
                    _transfer(jobs, source, model, target, arm, seed, part)


def add_plasticity(jobs: Jobs) -> None:
    """Add one job for each source network that is measured, where plasticity is measured at all."""
    options: Plasticity = jobs.params.section("plasticity")
    for source, model, seed in jobs.pretrained if options.enabled else ():
        if model in (options.models or jobs.params.pretrain):
            _plasticity(jobs, source, model, seed)


def add_scores(jobs: Jobs) -> None:
    """Add one job for each source network that is fine-tuned from several starts, where scores are asked for."""
    options: CheckpointScores = jobs.params.section("scores")
    for source, model, seed in jobs.pretrained if options.enabled else ():
        if model in (options.models or jobs.params.pretrain):
            _scores(jobs, source, model, seed)


def _transfer(
    jobs: Jobs, source: str, model: str, target: str, arm: str, seed: int, transfer: Transfer
) -> None:
    params = {**jobs.learns(target, model), "transfer": without(transfer, "targets")}
    inputs = {
        "pretrain": (jobs.pretrained[source, model, seed],),
        "data": (jobs.data_of(target),),
    }
    if transfer.source_accuracy:
        params["source_task"] = jobs.params.tasks[source]
        inputs["source_data"] = (jobs.data_of(source),)
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
        params=params,
        inputs=inputs,
        after=jobs.after_check(),
    )


def _plasticity(jobs: Jobs, source: str, model: str, seed: int) -> None:
    """Add the job that measures one network on its source and on the targets it transfers to."""
    arms = jobs.params.section("transfer").get(model, {}).values()
    names = sorted({source, *(target for arm in arms for target in arm.all_targets(source))})
    pretrain, plasticity = jobs.params.pretrain[model], jobs.params.section("plasticity")
    params = {
        "pretrain": without(pretrain, "sources", "seeds", "series"),
        "plasticity": without(plasticity, "enabled", "models"),
        **({"series": series[seed]} if (series := pretrain.series) else {}),
    }
    _of_checkpoints(jobs, "plasticity", (source, model, seed), names, params)


def _scores(jobs: Jobs, source: str, model: str, seed: int) -> None:
    """Add the job that scores one network's starts on the images of every target, number of shots and draw."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for arm in jobs.params.section("transfer").get(model, {}).values():
        for target in arm.all_targets(source) if arm.mode == "finetune" else ():
            cells.setdefault(target, []).extend(
                {
                    "shots": grid.shots,
                    "draws": arm.draws_of(seed),
                    "source_epochs": grid.source_epochs,
                }
                for grid in arm.for_target(target).grids()
                if len(grid.source_epochs) > 1
            )
    cells = {target: grids for target, grids in sorted(cells.items()) if grids}
    if not cells:
        return
    params = {"scores": {"cells": cells}}
    _of_checkpoints(jobs, "scores", (source, model, seed), list(cells), params)


def _of_checkpoints(
    jobs: Jobs, step: str, network: tuple[str, str, int], tasks: list[str], params: dict[str, Any]
) -> None:
    """Add the job of a step that reads all checkpoints of one network, on images of some tasks."""
    source, model, seed = network
    datasets = sorted({jobs.params.tasks[name].dataset for name in tasks})
    jobs.add(
        step,
        f"{source}-{model}-seed{seed}",
        wildcards={"source": source, "model": model, "seed": seed},
        params={
            "tasks": {name: jobs.params.tasks[name] for name in tasks},
            "model": jobs.params.models[model],
            **params,
        },
        inputs={
            "pretrain": (jobs.pretrained[source, model, seed],),
            "data": tuple(jobs.data[dataset] for dataset in datasets),
        },
    )
