"""The graph of jobs that a params file asks for: the one source for Snakemake, DVC and the commands.

It reads `params.yaml` and source files, nothing else: no data, no network and no torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from headstart.artifacts.code import notebook_hash, source_hash
from headstart.artifacts.files import file_sha256, shared
from headstart.artifacts.job_list import INCOMPLETE, Incomplete, Jobs
from headstart.artifacts.keys import SHORT, Job
from headstart.params.core import CoreParams
from headstart.registry import STEPS, STUDIES, code_of_step
from headstart.steps import jobs as networks
from headstart.steps.step import resolve
from headstart.studies.study import Study

CLAIMS = shared("claims.yaml")
PUBLISHED = shared("published")
NOTEBOOKS = shared("notebooks")
NO_JOB = (
    "no job has the key {}: the params or the source changed since it was listed; "
    "run the command again"
)


class Plan:
    """All jobs of a params file, in the order of the graph."""

    def __init__(self, params: CoreParams, missing: Collection[Job] = ()) -> None:
        """List the jobs; what a person reads leaves `missing` ones out, and says so in its params and key."""
        self.params = params
        self._jobs = jobs = Jobs(params, STEPS, code_of_step)
        networks.add_data(jobs)
        checks = [study.checks for study in STUDIES if study.checks]
        networks.add_check(jobs, STEPS["check"].sections, checks)
        networks.add_pretrained(jobs)
        networks.add_trajectories(jobs)
        for study in STUDIES:
            resolve(study.jobs)(jobs)
        read = {step for study in STUDIES for step in (*study.tabulated, *study.controlled)}
        absent = jobs.leave_out(job.key for job in missing if job.step in read)
        for study in STUDIES:
            _add_products(jobs, study, absent)
        described = {
            study.name: described_in_report(study) for study in STUDIES if study.name in self.shown
        }
        shown = [study.opening or study.closing for study in STUDIES]
        modules = [name.partition(":")[0] for name in shown if name]
        jobs.add(
            "report",
            "all",
            code=source_hash(STEPS["report"].module, *modules),
            params={"studies": described, "steps": list(STEPS), **_expected(params), **absent},
            inputs=jobs.of("tables", "controls", "figures", "claims"),
        )
        metrics = {study.name: dict(study.metrics) for study in STUDIES}
        inputs = jobs.of("figures", "report", "claims")
        curves = {study.name: study.curves for study in STUDIES if study.curves}
        shown_by_dvc = {"metrics": metrics, "curves": curves, **absent}
        jobs.add("publish", "all", params=shown_by_dvc, inputs=inputs)

    @property
    def shown(self) -> set[str]:
        """The names of the studies that have results to show."""
        return {job.name for job in self._jobs.by_step["tables"]}

    def jobs(self, *steps: str) -> list[Job]:
        """Return the jobs of the given steps, or of all."""
        return [job for step in steps or STEPS for job in self._jobs.by_step[step]]

    def job(self, key: str) -> Job:
        """Return the job whose key begins with these 12 digits.

        Raises:
            LookupError: no such job in this plan.
        """
        try:
            return self._jobs.by_key[key[:SHORT]]
        except KeyError:
            raise LookupError(NO_JOB.format(key)) from None


def _expected(params: CoreParams) -> dict[str, Any]:
    """Return the published numbers for the report, where the params have any."""
    return {"expected": params.expected} if params.expected else {}


def _add_products(jobs: Jobs, study: Study, absent: Incomplete) -> None:
    """Add tables, controls, figures and claims of a study, where it has anything to tabulate."""
    inputs = jobs.of(*study.tabulated)
    if not any(inputs.values()):
        return
    read = {*study.tabulated, *study.controlled}
    mine = {step: counts for step, counts in absent.get(INCOMPLETE, {}).items() if step in read}
    marked = {INCOMPLETE: mine} if mine else {}
    decided = {**marked, **{name: jobs.params.section(name) for name in study.decided_by}}
    published = {name: file_sha256(PUBLISHED / name) for name in study.published}
    tables = jobs.add(
        "tables",
        study.name,
        code=source_hash(STEPS["tables"].module, study.tables.partition(":")[0]),
        params={**decided, "gather": study.tables, "published": published},
        inputs=inputs,
    )
    resamples = jobs.params.section("statistics").control_resamples
    controls = jobs.add(
        "controls",
        study.name,
        code=source_hash(STEPS["controls"].module, study.controls.partition(":")[0]),
        params={**decided, "controls": study.controls, "resamples": resamples},
        inputs={"tables": (tables,), **jobs.of(*study.controlled)},
    )
    notebook = NOTEBOOKS / f"{study.name}.ipynb"
    jobs.add(
        "figures",
        study.name,
        code=notebook_hash(notebook, STEPS["figures"].module),
        params={"figures": jobs.params.figures, **marked},
        inputs={"tables": (tables,)},
    )
    modules = [name.partition(":")[0] for name in (study.claims, study.answer)]
    jobs.add(
        "claims",
        study.name,
        code=source_hash(STEPS["claims"].module, *modules),
        wildcards={"study": study.name},
        params={
            **decided,
            "evaluator": study.claims,
            "answer": study.answer,
            "claims": claims_source(study.name, CLAIMS),
        },
        inputs={"tables": (tables,), "controls": (controls,)},
    )


def claims_source(study: str, path: Path) -> str:
    """Return what a claims file says of one study, as it is written: what keys hold of it.

    It is cut from the text, which takes no time, so that a word about one study changes no key of another.
    """
    text = path.read_text(encoding="utf-8")
    papers, _, claims = text.partition("\nclaims:\n")
    entries = re.split(r"^(?=  \w+:$)", claims, flags=re.MULTILINE)
    mine = [entry for entry in entries if re.search(rf"^    study: {study}$", entry, re.MULTILINE)]
    paper = re.search(rf"^  {study}:(?:.*\n)(?:    .*\n)*", papers + "\n", re.MULTILINE)
    return (paper[0] if paper else "") + "".join(mine)


def described_in_report(study: Study) -> dict[str, Any]:
    """Return what the report shows of a study, beside its tables, claims and figures."""
    shown: dict[str, Any] = {"opening": study.opening, "closing": study.closing}
    shown |= {"samples": study.samples, "figures": study.figures, "appendix": list(study.appendix)}
    return {"question": study.question, **shown}
