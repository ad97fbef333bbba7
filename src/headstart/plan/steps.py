"""The kinds of jobs, what does them, and which params sections list them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from headstart.artifacts.code import code_of, source_hash


@dataclass(frozen=True)
class Step:
    """A kind of job: the function that does it, and the params sections that its jobs are listed by."""

    name: str
    function: str
    sections: tuple[str, ...]
    versioned: bool = True

    @property
    def module(self) -> str:
        """The module whose imports are the step's code."""
        return self.function.partition(":")[0]


# Sections that decide which jobs there are; each step along the way reads those before it and its own.
PRETRAINED = ("datasets", "tasks", "models", "pretrain")
TRANSFERRED = (*PRETRAINED, "transfer")
TRAINED = (*PRETRAINED, "trajectory")
LOOKED_INTO = (*TRAINED, "knowledge")
INVERTED = (*TRAINED, "invariance")
TABULATED = (*TRANSFERRED, "trajectory", "plasticity", "knowledge", "invariance", "statistics")
DRAWN = (*TABULATED, "figures")

STEPS = {
    step.name: step
    for step in (
        Step("data", "headstart.studies.data:make", ("datasets",)),
        Step(
            "check",
            "headstart.studies.check:make",
            (*TRANSFERRED, "trajectory", "knowledge", "invariance", "runtime"),
            versioned=False,
        ),
        Step(
            "pretrain",
            "headstart.studies.pretrain:make",
            PRETRAINED,
        ),
        Step(
            "transfer",
            "headstart.studies.transfer:make",
            TRANSFERRED,
        ),
        Step(
            "trajectory",
            "headstart.studies.trajectory:make",
            TRAINED,
        ),
        Step(
            "plasticity",
            "headstart.studies.plasticity:make",
            (*TRANSFERRED, "plasticity"),
        ),
        Step(
            "values",
            "headstart.studies.knowledge.values:make",
            LOOKED_INTO,
        ),
        Step(
            "knowledge",
            "headstart.studies.knowledge.measure:make",
            LOOKED_INTO,
        ),
        Step(
            "inversions",
            "headstart.studies.inversions:make",
            INVERTED,
        ),
        Step(
            "invariance",
            "headstart.studies.invariance:make",
            INVERTED,
        ),
        Step(
            "tables",
            "headstart.studies.tables:make",
            TABULATED,
            versioned=False,
        ),
        Step(
            "claims",
            "headstart.studies.claims:make",
            TABULATED,
            versioned=False,
        ),
        Step(
            "figures",
            "headstart.figures.notebook:make",
            DRAWN,
            versioned=False,
        ),
        Step(
            "report",
            "headstart.figures.report:make",
            DRAWN,
            versioned=False,
        ),
        Step(
            "publish",
            "headstart.figures.publish:publish",
            DRAWN,
            versioned=False,
        ),
    )
}


@cache
def code_of_step(step: str) -> str:
    """Return what stands for a step's code in its keys."""
    kind = STEPS[step]
    return code_of(step, kind.module) if kind.versioned else source_hash(kind.module)
