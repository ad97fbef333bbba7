"""The studies, and what follows from them: steps, the params of a file, functions by name.

A new study is a folder in `studies/` and its name in `NAMES`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import create_model, model_validator

from headstart.artifacts.code import code_of, source_hash
from headstart.artifacts.keys import Job
from headstart.params import reading
from headstart.params.core import CoreParams, find_problems
from headstart.steps.step import FIRST, LAST, resolve
from headstart.studies.study import Step, Study

NAMES = ("early_stopping", "knowledge", "invariance", "joined")
STUDIES: tuple[Study, ...] = tuple(
    resolve(f"headstart.studies.{name}.study:STUDY") for name in NAMES
)


class _Checked(CoreParams):
    """A params file whose sections agree with each other."""

    @model_validator(mode="after")
    def _references(self) -> _Checked:
        for find in (find_problems, *(resolve(study.problems) for study in STUDIES)):
            for problem in find(self):
                raise ValueError(problem)
        return self


Params: type[CoreParams] = create_model(
    "Params",
    __base__=_Checked,
    __doc__="A whole params file.",
    **{name: kind for study in STUDIES for name, kind in study.sections.items()},
)


def load(path: Path | str = "params.yaml") -> CoreParams:
    """Read and check a params file.

    Raises:
        ParamsError: the file is missing, is no YAML, or holds a wrong key or value. Every problem
            stands on a line of its own.
    """
    return reading.load(Params, path)


def parse(raw: dict[str, Any], path: Path | str = "params.yaml") -> CoreParams:
    """Check a params file that has been read already."""
    return reading.parse(Params, raw, path)


def study_of(name: str) -> Study:
    """Return a study by its name."""
    return next(study for study in STUDIES if study.name == name)


def _steps() -> tuple[Step, ...]:
    """Return all steps in the order of the graph; what a person reads depends on every section."""
    studied = tuple(step for study in STUDIES for step in study.steps)
    every = tuple(name for name in Params.model_fields if name not in ("figures", "runtime"))
    checked = [name for study in STUDIES for name in study.sections if name not in study.decided_by]
    last = [replace(step, sections=(*every, *step.sections)) for step in LAST]
    for place, field in enumerate(("tabulated", "controlled")):
        read = dict.fromkeys(name for study in STUDIES for name in getattr(study, field))
        last[place] = replace(last[place], reads=(*last[place].reads, *read))
    first = [
        replace(step, sections=(*step.sections, *checked)) if step.name == "check" else step
        for step in FIRST
    ]
    return (*first, *studied, *last)


STEPS: dict[str, Step] = {step.name: step for step in _steps()}


def function_of(job: Job) -> Any:
    """Return the function that does a job."""
    return resolve(STEPS[job.step].run)


@cache
def code_of_step(name: str) -> str:
    """Return what stands for a step's code in its keys."""
    step = STEPS[name]
    return code_of(name, step.module) if step.versioned else source_hash(step.module)
