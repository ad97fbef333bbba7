"""What a step is: a kind of job, with everything that is true of all its jobs, said once."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


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

    @property
    def module(self) -> str:
        """The module whose imports are the step's code."""
        return self.run.partition(":")[0]

    @property
    def command(self) -> str:
        """The command that does one of its jobs; `claims` alone is for people."""
        return "claims --key" if self.name == "claims" else self.name
