"""Jobs of the knowledge study: scores of masked images, and what they say."""

from __future__ import annotations

from itertools import product
from typing import Any

from headstart.artifacts.job_list import Jobs
from headstart.artifacts.keys import Job
from headstart.params.types import Section
from headstart.studies.knowledge.comparison import Comparison
from headstart.studies.knowledge.params import Analysis, Scores


def add(jobs: Jobs) -> None:
    """Add the jobs of every model that the section `knowledge` names."""
    params = jobs.params
    for model, options in params.section("knowledge").items():
        _knowledge(jobs, Comparison(model, options, params.trajectory, params.pretrain))


def _knowledge(jobs: Jobs, comparison: Comparison) -> None:
    """Add what compares the networks of one model, on each target, and the values that it reads."""
    model = comparison.model
    for source, target in product(jobs.params.pretrain[model].sources, comparison.targets):
        values = [
            _values(jobs, comparison, source, target, seed, place)
            for seed in comparison.seeds
            for place in dict.fromkeys((s.model, s.arm) for s in comparison.states())
        ]
        jobs.add(
            "knowledge",
            f"{source}-{model}-{target}",
            wildcards={"source": source, "model": model, "target": target},
            params={
                "roles": _roles(jobs, comparison),
                "analysis": _part(comparison.options, Analysis),
            },
            inputs={"values": tuple(values)},
        )


def _roles(jobs: Jobs, comparison: Comparison) -> dict[str, Any]:
    """Return which runs are what; `given` are source epochs at which all source networks have the same weights.

    Where weights are given, every source network has them at source epoch 0.
    """
    given = {"given": ["0"]} if jobs.params.models[comparison.model].weights else {}
    return comparison.roles() | given


def _values(
    jobs: Jobs, comparison: Comparison, source: str, target: str, seed: int, place: tuple[str, str]
) -> Job:
    """Add the job that evaluates all states of one arm that a comparison asks for."""
    model, arm = place
    requested: dict[Job, list[Any]] = {}
    for states in comparison.states():
        if (states.model, states.arm) == place:
            for source_epoch, run in product(states.source_epochs, states.target_seeds):
                names = (source, model, target, arm, source_epoch, seed, run)
                job = jobs.trajectories[tuple(map(str, names))]
                known = requested.setdefault(job, [])
                known += [epoch for epoch in states.epochs if epoch not in known]
    trajectory = jobs.params.trajectory[model][arm]
    return jobs.add(
        "values",
        f"{source}-{model}-{target}-{arm}-seed{seed}",
        wildcards={"source": source, "model": model, "target": target, "arm": arm, "seed": seed},
        params={
            **jobs.learns(target, model),
            "scores": _part(comparison.options, Scores),
            "epochs": list(requested.values()),
            **({"channels_last": True} if trajectory.channels_last else {}),
        },
        inputs={"trajectory": tuple(requested), "data": (jobs.data_of(target),)},
    )


def _part(options: Section, kind: type[Section]) -> Section:
    """Return the options of a section that it has from one of its bases."""
    return kind.model_validate(options.model_dump(include=set(kind.model_fields)))
