"""Jobs of the invariance study: inverted networks, and what they are compared for."""

from __future__ import annotations

from collections.abc import Mapping

from headstart.artifacts.job_list import Jobs, run_name
from headstart.artifacts.keys import Job
from headstart.studies.invariance.params import Invariance


def add(jobs: Jobs) -> None:
    """Add the jobs of every model that the section `invariance` names."""
    for model, options in jobs.params.section("invariance").items():
        _invariances(jobs, model, options)


def _invariances(jobs: Jobs, model: str, options: Invariance) -> None:
    """Add inversions and comparisons of the runs of a model, from each of its source networks."""
    groups: dict[tuple[str, ...], list[Job]] = {}
    for run in jobs.by_step["trajectory"]:
        if run.wildcards["model"] == model and run.wildcards["arm"] in options.arms:
            group = tuple(run.wildcards[name] for name in ("source", "target", "seed"))
            groups.setdefault(group, []).append(run)
    for (source, target, seed), runs in groups.items():
        pretrain = jobs.pretrained[source, model, int(seed)]
        starts = dict.fromkeys(run.wildcards["source_epoch"] for run in runs)
        inverted = [
            _inversions(
                jobs,
                pretrain,
                {"arm": "pretrained", "source_epoch": epoch},
                options,
                [epoch],
                target,
            )
            for epoch in starts
        ]
        for run in runs:
            learning = run.wildcards["arm"] in options.dynamics.learning
            last = jobs.params.trajectory[model][run.wildcards["arm"]].epochs
            on_the_way = [e for e in options.dynamics.epochs if e <= last and learning]
            epochs = [*map(str, on_the_way), options.end]
            inverted.append(_inversions(jobs, run, run.wildcards, options, epochs, target))
        _invariance(jobs, pretrain, target, runs, inverted, options)


def _inversions(
    jobs: Jobs,
    network: Job,
    names: Mapping[str, str],
    options: Invariance,
    epochs: list[str],
    target: str,
) -> Job:
    """Add the job that inverts a pretrained network, or a run at some of its epochs."""
    source, model, seed = (network.wildcards[name] for name in ("source", "model", "seed"))
    wildcards = {
        "source": source,
        "model": model,
        "target": target,
        "arm": names["arm"],
        "source_epoch": names["source_epoch"],
        "seed": seed,
        "target_seed": names.get("target_seed", "0"),
    }
    return jobs.add(
        "inversions",
        run_name(wildcards),
        wildcards=wildcards,
        params={
            **jobs.learns(target, model),
            "inversions": options.inversions,
            "epochs": epochs,
        },
        inputs={"network": (network,), "data": (jobs.data_of(target),)},
    )


def _invariance(
    jobs: Jobs,
    pretrain: Job,
    target: str,
    runs: list[Job],
    inverted: list[Job],
    options: Invariance,
) -> None:
    """Add the job that compares all runs from one source network with it."""
    names = {name: pretrain.wildcards[name] for name in ("source", "model", "seed")}
    source, model, seed = names.values()
    jobs.add(
        "invariance",
        f"{source}-{model}-{target}-seed{seed}",
        wildcards={**names, "target": target},
        params={
            **jobs.learns(target, model),
            "invariance": options,
        },
        inputs={
            "pretrain": (pretrain,),
            "trajectory": tuple(runs),
            "inversions": tuple(inverted),
            "data": (jobs.data_of(target),),
        },
    )
