"""Jobs of the joined study: one for each source network."""

from __future__ import annotations

from itertools import product
from typing import Any

from headstart.artifacts.job_list import Jobs
from headstart.artifacts.keys import Job
from headstart.params.recipe import Training
from headstart.params.types import without
from headstart.studies.joined.params import Joined


def add(jobs: Jobs) -> None:
    """Add one job for each source network of every model that the section `joined` names."""
    for model, options in jobs.params.section("joined").items():
        pretrain = jobs.params.pretrain[model]
        for source, seed in product(pretrain.sources, options.seeds or pretrain.seeds):
            _measure(jobs, source, model, seed, options)


def _measure(jobs: Jobs, source: str, model: str, seed: int, options: Joined) -> None:
    arm = jobs.params.section("transfer")[model][options.arm]
    target = options.target
    names = {"source": source, "model": model, "target": target, "seed": seed}
    training = Training.model_validate(arm.model_dump(include=set(Training.model_fields)))
    jobs.add(
        "joined",
        f"{source}-{model}-{target}-seed{seed}",
        wildcards=names,
        params={
            **jobs.learns(target, model),
            "source_task": jobs.params.tasks[source],
            "joined": without(options, "arm", "target", "seeds"),
            "training": training,
            "draw": arm.draws_of(seed)[0],
            "head_seed": arm.head_seed,
            "normalization": arm.normalization,
            "slots": arm.slots,
        },
        inputs={
            "pretrain": (jobs.pretrained[source, model, seed],),
            "transfer": (_transfer(jobs, {**names, "arm": options.arm}),),
            "data": (jobs.data_of(target),),
            "source_data": (jobs.data_of(source),),
        },
        after=jobs.after_check(),
    )


def _transfer(jobs: Jobs, names: dict[str, Any]) -> Job:
    """Return the job whose runs tune the learning rate of every start."""
    wanted = {name: str(value) for name, value in names.items()}
    return next(job for job in jobs.by_step["transfer"] if job.wildcards == wanted)
