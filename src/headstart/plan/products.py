"""Jobs that gather tables, draw figures, judge claims, and publish what a person opens."""

from __future__ import annotations

from pathlib import Path

from headstart.artifacts.code import notebook_hash
from headstart.artifacts.files import file_sha256
from headstart.artifacts.keys import Job
from headstart.params import canonical
from headstart.plan.jobs import Jobs
from headstart.plan.steps import STEPS

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOKS = ROOT / "notebooks"
CLAIMS = ROOT / "claims.yaml"
PUBLISHED_INVARIANCE = ROOT / "published" / "invariance_figures.csv"
PUBLISHED = [ROOT / "published" / f"early_stopping{part}.csv" for part in ("", "_protocols")]


def add_studies(jobs: Jobs) -> None:
    """Add tables and figures of each study that has results."""
    _early_stopping(jobs)
    if jobs.by_step["knowledge"]:
        _figures(jobs, jobs.add("tables", "knowledge", inputs=jobs.of("knowledge")))
    if jobs.by_step["invariance"]:
        _invariance(jobs)


def _early_stopping(jobs: Jobs) -> None:
    statistics = {"statistics": canonical(jobs.params.statistics)}
    tables = jobs.add(
        "tables",
        "early_stopping",
        params={
            **statistics,
            "published": {path.name: file_sha256(path) for path in PUBLISHED},
        },
        inputs=jobs.of("pretrain", "transfer", "plasticity"),
    )
    _figures(jobs, tables)


def _invariance(jobs: Jobs) -> None:
    digest = file_sha256(PUBLISHED_INVARIANCE)
    tables = jobs.add(
        "tables",
        "invariance",
        params={"published": {PUBLISHED_INVARIANCE.name: digest}},
        inputs=jobs.of("invariance"),
    )
    _figures(jobs, tables)


def _figures(jobs: Jobs, tables: Job) -> None:
    """Add the job that draws the figures of a study, by the notebook of its name."""
    jobs.add(
        "figures",
        tables.name,
        code=notebook_hash(NOTEBOOKS / f"{tables.name}.ipynb", STEPS["figures"].module),
        params={"figures": canonical(jobs.params.figures)},
        inputs={"tables": (tables,)},
    )


def add_products(jobs: Jobs) -> None:
    """Add what a person opens: claims, report and their copies, from the tables and figures of all studies."""
    content = {
        "statistics": canonical(jobs.params.statistics),
        "claims": file_sha256(CLAIMS),
    }
    jobs.add("claims", "all", params=content, inputs=jobs.of("tables"))
    jobs.add("report", "all", inputs=jobs.of("tables", "figures", "claims"))
    jobs.add("publish", "all", inputs=jobs.of("figures", "report", "claims"))
