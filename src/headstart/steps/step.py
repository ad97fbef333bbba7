"""What a step is: a kind of job, with everything that is true of all its jobs; and the steps of every study."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.artifacts.job_list import INCOMPLETE

FOR_PEOPLE = ("claims", "controls")
"""Steps whose commands print, for a person, what was made."""


def incomplete_text(params: Mapping[str, Any]) -> str:
    """Return what is missing in what a job draws from, in words, and nothing where all is there."""
    counts = params.get(INCOMPLETE, {}).items()
    listed = ", ".join(f"{made} of {every} {step}" for step, (made, every) in counts)
    return listed and f"incomplete: {listed}"


def resolve(name: str) -> Any:
    """Import what `module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class Step:
    """A kind of job.

    Attributes:
        name: of the command, the rule, the stage and the folder in `results/`.
        run: the function that does a job, as `module:function`; those of tables and claims call the
            function of their study, which the job's params name.
        reads: steps whose artifacts its jobs take as inputs.
        sections: of the params, by which its jobs are listed.
        after: steps that have run before, without being read.
        versioned: whether `versions.json` says what its code is; else the source itself does.
        gpu: whether its jobs compute with networks, on a GPU where there is one.
        priority: jobs with a larger one start first.
        memory_mb: what a job on a cluster asks for.
        minutes: after which a cluster may stop a job.
        retries: how often Snakemake tries again.
        cost: the function that says what a job takes, `(job, params) -> Cost`; without one, jobs are counted alone.
    """

    name: str
    run: str
    reads: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    versioned: bool = True
    gpu: bool = False
    priority: int = 0
    memory_mb: int = 4000
    minutes: int = 60
    retries: int = 0
    cost: str = ""

    @property
    def module(self) -> str:
        """The module whose imports are the step's code."""
        return self.run.partition(":")[0]

    @property
    def command(self) -> str:
        """The command that does one of its jobs; two are for people, too."""
        return f"{self.name} --key" if self.name in FOR_PEOPLE else self.name


PRETRAINED = ("datasets", "tasks", "models", "pretrain")
TRAINED = (*PRETRAINED, "trajectory")

FIRST = (
    Step(
        "data",
        "headstart.steps.data:make",
        sections=("datasets",),
        cost="headstart.steps.cost:data",
    ),
    # Builds every network once, and asks for the device that networks will train on.
    Step(
        "check",
        "headstart.steps.check:make",
        reads=("data",),
        sections=(*TRAINED, "runtime"),
        versioned=False,
        gpu=False,
        memory_mb=8000,
    ),
    # Long jobs first, so that no core is left without work at the end.
    Step(
        "pretrain",
        "headstart.steps.pretrain:make",
        cost="headstart.steps.cost:pretrain",
        reads=("data",),
        sections=PRETRAINED,
        after=("check",),
        gpu=True,
        priority=20,
        memory_mb=16000,
        minutes=1440,
    ),
    # What later steps look into comes before what ends in a table.
    Step(
        "trajectory",
        "headstart.steps.trajectory:make",
        cost="headstart.steps.cost:trajectory",
        reads=("data", "pretrain"),
        sections=TRAINED,
        after=("check",),
        gpu=True,
        priority=15,
        memory_mb=16000,
        minutes=1440,
    ),
)

# Which artifacts tables and controls read, the studies say.
LAST = (
    # At once: the longest figures should not be the last to start.
    Step(
        "tables",
        "headstart.steps.tables:make",
        cost="headstart.steps.cost:tables",
        versioned=False,
        priority=12,
    ),
    # Before transfers, as tables: they last longest of what follows.
    Step(
        "controls",
        "headstart.steps.controls:make",
        cost="headstart.steps.cost:controls",
        reads=("tables",),
        versioned=False,
        priority=12,
    ),
    Step("claims", "headstart.steps.claims:make", reads=("tables", "controls"), versioned=False),
    # Kernels that start at the same moment can claim the same port.
    Step(
        "figures",
        "headstart.steps.figures:make",
        cost="headstart.steps.cost:figures",
        reads=("tables",),
        sections=("figures",),
        versioned=False,
        retries=1,
    ),
    Step(
        "report",
        "headstart.steps.report:make",
        cost="headstart.steps.cost:products",
        reads=("tables", "controls", "figures", "claims"),
        sections=("figures",),
        versioned=False,
    ),
    Step(
        "publish",
        "headstart.steps.publish:publish",
        cost="headstart.steps.cost:products",
        reads=("figures", "report", "claims"),
        sections=("figures",),
        versioned=False,
    ),
)
