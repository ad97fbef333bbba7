"""Jobs of the invariance study: inverted networks, and what they are compared for."""

from __future__ import annotations

from collections.abc import Mapping

from headstart.artifacts.job_list import Jobs, run_name
from headstart.artifacts.keys import Job
from headstart.studies.invariance.params import Invariance


def add(jobs: Jobs) -> None:
    """Add inversions and comparisons of the runs of every model, from each of its source networks."""
    for model, options in jobs.params.section("invariance").items():
        groups: dict[tuple[str, ...], list[Job]] = {}
        for run in jobs.by_step["trajectory"]:
            if run.wildcards["model"] == model and run.wildcards["arm"] in options.arms:
                group = tuple(run.wildcards[name] for name in ("source", "target", "seed"))
                groups.setdefault(group, []).append(run)
        for (source, target, seed), runs in groups.items():
            pretrain = jobs.pretrained[source, model, int(seed)]
            _comparison(jobs, pretrain, target, runs, options)


def _comparison(
    jobs: Jobs, pretrain: Job, target: str, runs: list[Job], options: Invariance
) -> None:
    """Add the job that compares all runs from one source network with it, and the inversions it needs."""
    inverted = []
    for start in dict.fromkeys(run.wildcards["source_epoch"] for run in runs):
        names = {"arm": "pretrained", "source_epoch": start}
        inverted.append(_inversions(jobs, pretrain, names, options, [start], target))
    for run in runs:
        arm = run.wildcards["arm"]
        last = jobs.params.trajectory[pretrain.wildcards["model"]][arm].epochs
        followed = options.dynamics.epochs if arm in options.dynamics.learning else ()
        epochs = [*(str(epoch) for epoch in followed if epoch <= last), options.end]
        inverted.append(_inversions(jobs, run, run.wildcards, options, epochs, target))
    source, model, seed = (pretrain.wildcards[name] for name in ("source", "model", "seed"))
    # Where nothing was trained on the source, no head of it is known.
    learnt = jobs.params.pretrain[model].epochs > 0
    jobs.add(
        "invariance",
        f"{source}-{model}-{target}-seed{seed}",
        wildcards={"source": source, "model": model, "seed": seed, "target": target},
        params={
            **jobs.learns(target, model),
            "invariance": options,
            **({"source_task": jobs.params.tasks[source]} if learnt else {}),
        },
        inputs={
            "pretrain": (pretrain,),
            "trajectory": tuple(runs),
            "inversions": tuple(inverted),
            "data": (jobs.data_of(target),),
            **({"source_data": (jobs.data_of(source),)} if learnt else {}),
        },
    )


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
