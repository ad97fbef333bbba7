"""What a study is: one question with its params, steps, tables, claims and figures, in one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headstart.steps.step import Step

__all__ = ["Step", "Study"]


@dataclass(frozen=True)
class Study:
    """One question, and everything that is particular to it.

    Functions are named as `module:function` and imported when they are needed, so that listing jobs
    loads neither pandas nor torch.

    Attributes:
        name: of its folder, its tables, figures and notebook.
        question: the heading of its chapter in the report.
        paper: where the question comes from.
        sections: its parts of the params: name -> (type, default), as pydantic's `create_model` takes them.
        problems: returns what its sections promise that cannot be: `(params) -> list[str]`.
        steps: what it computes.
        jobs: adds its jobs to those at hand: `(jobs) -> None`.
        tables: gathers its tables: `(job, context) -> summary`.
        columns: the schema of its measurements, as `module:name`.
        tabulated: steps whose artifacts its tables read.
        claims: its evaluator of claims, see `headstart.steps.claims`.
        controls: what its judges say of controls, `(job, context) -> results`, see `headstart.steps.controls`.
        controlled: steps whose artifacts its controls read, beside its tables.
        answer: what it answers, in a few sentences: `(tables, claims) -> statements`, see
            `headstart.statistics.answers`.
        opening: what the report shows of its tables before the claims, `(tables) -> HTML`; may be empty.
        closing: the same, after the figures.
        samples: sheets of what its networks are shown, `(jobs, folder) -> paths`; may be empty.
        figures: titles by the first words of their files' names, in the order in which a reader wants them.
        appendix: those of `figures` that say in more detail what others say.
        checks: module that compares its sections with data and networks, see `headstart.steps.check`.
        decided_by: its sections that no network is trained by, but that its tables and claims read.
        published: files in `published/` whose content its tables hold.
        curves: first words of its figures' tables that `dvc plots` draws as curves; may be empty.
        metrics: what `dvc exp show` lists of it: names of columns -> claims whose value stands there.
    """

    name: str
    question: str
    paper: str
    sections: Mapping[str, Any]
    problems: str
    steps: tuple[Step, ...]
    jobs: str
    tables: str
    columns: str
    tabulated: tuple[str, ...]
    claims: str
    controls: str
    answer: str
    figures: Mapping[str, str]
    appendix: tuple[str, ...] = ()
    controlled: tuple[str, ...] = ()
    opening: str = ""
    closing: str = ""
    samples: str = ""
    checks: str = ""
    decided_by: tuple[str, ...] = ()
    published: tuple[str, ...] = field(default=())
    curves: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)
