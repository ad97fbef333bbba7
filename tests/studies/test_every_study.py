"""What every study must pass: a new one is tested by being in `STUDIES`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from checkout import ROOT
from workflow import Project

from headstart.artifacts.code import PACKAGE
from headstart.maintenance import presets
from headstart.maintenance.claim_text import checked_claims
from headstart.plan import Plan
from headstart.registry import STEPS, STUDIES, parse
from headstart.statistics.answers import QUESTIONS, Statement, lines
from headstart.statistics.control_results import COLUMNS
from headstart.statistics.measurements import IDENTITY, VALUE
from headstart.steps.claims import evaluate
from headstart.steps.step import resolve
from headstart.studies.study import Study

pytestmark = pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))


def tables_of(study: Study, finished: Project) -> dict[str, pd.DataFrame]:
    (folder,) = (finished.folder / "results" / "tables").glob(f"{study.name}-*")
    return {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}


def test_a_study_is_one_folder_with_its_object_params_jobs_claims_and_notebook(
    study: Study,
) -> None:
    folder = PACKAGE / "studies" / study.name
    for name in ("study", "params", "jobs", "tables", "claims"):
        assert (folder / f"{name}.py").is_file(), name
    assert (folder / "figures").is_dir() or (folder / "figures.py").is_file()
    assert (ROOT / "notebooks" / f"{study.name}.ipynb").is_file()
    inside = f"headstart.studies.{study.name}."
    functions = [study.problems, study.jobs, study.tables, study.claims, study.controls]
    functions += [study.answer, study.opening, study.closing, *(step.run for step in study.steps)]
    for function in filter(None, functions):
        assert function.startswith(inside)
        assert callable(resolve(function))


def test_every_claim_has_an_evaluator_and_every_evaluator_a_claim(study: Study) -> None:
    named = {claim.evaluated_by for claim in checked_claims().of(study.name).values()}
    assert named == set(resolve(study.claims).evaluators)


def test_the_default_study_and_the_smoke_study_ask_its_question(study: Study) -> None:
    for preset in ("default", "smoke"):
        plan = Plan(parse(presets.read(presets.find(preset))))
        for step in study.steps:
            assert plan.jobs(step.name), f"{preset} has no job of {step.name}"
        for step in ("tables", "controls", "claims", "figures"):
            assert study.name in {job.name for job in plan.jobs(step)}


def test_without_its_sections_a_study_has_no_jobs_of_its_own_steps(study: Study) -> None:

    raw = presets.read(presets.find("smoke"))
    for name in study.sections:
        raw.pop(name, None)
    if "plasticity" in study.sections:
        raw["plasticity"] = {"enabled": False}
    if "transfer" in study.sections:
        raw.pop("joined")  # it reads the learning rates that transfer tunes
    plan = Plan(parse(raw))
    assert not [job for step in study.steps for job in plan.jobs(step.name)]
    assert plan.jobs("pretrain")


def test_its_steps_list_their_jobs_by_sections_that_exist(study: Study) -> None:
    fields = set(type(parse(presets.read(presets.find("smoke")))).model_fields)
    for step in study.steps:
        assert set(step.sections) <= fields
        assert set(study.sections) & set(step.sections)
        assert set(step.reads) <= set(STEPS)


def test_what_it_measured_has_the_schema_of_all_studies(study: Study, finished: Project) -> None:
    table = tables_of(study, finished)["measurements"]
    assert [name for name in table if name in IDENTITY] == list(IDENTITY)
    assert list(table)[-len(VALUE) :] == list(VALUE)
    assert set(table["study"]) == {study.name}
    assert (table["metric"] != "").all()
    assert (table["condition"] != "").all()
    assert (table.loc[table["value"].isna(), "reason"] != "").all()
    assert not table.duplicated([name for name in table if name not in VALUE]).any()
    ordered = table.dropna(subset=["low", "high"])
    assert (ordered["low"] <= ordered["high"]).all()


def test_its_claims_are_evaluated_on_what_it_measured_and_on_nothing(
    study: Study, finished: Project
) -> None:
    claims, evaluator = checked_claims(), resolve(study.claims)
    (job,) = [job for job in finished_jobs(finished) if job["name"] == study.name]
    about, found = evaluate(
        claims, study.name, evaluator, tables_of(study, finished), job["params"]
    )
    assert about
    assert list(found) == list(claims.of(study.name))
    assert all(result.reason for result in found.values())
    tables = {name: table.iloc[:0] for name, table in tables_of(study, finished).items()}
    _, nothing = evaluate(claims, study.name, evaluator, tables, job["params"])
    assert {result.status for result in nothing.values()} <= {"undetermined", "not measured here"}


def test_every_judge_of_its_claims_is_controlled_where_its_runs_allow_it(
    study: Study, finished: Project
) -> None:
    (folder,) = (finished.folder / "results" / "controls").glob(f"{study.name}-*")
    table = pd.read_parquet(folder / "controls.parquet")
    assert list(table) == COLUMNS
    assert set(table["judge"]) <= set(resolve(study.claims).evaluators)
    assert len(table) or study.name == "early_stopping"


def test_its_answer_names_claims_of_its_own_and_figures_that_it_draws(
    study: Study, finished: Project
) -> None:
    (job,) = (finished.folder / "results" / "claims").glob(f"{study.name}-*")
    content = json.loads((job / "claims.json").read_text())
    said = [Statement(**one) for one in content["answer"]]
    assert said
    assert {one.topic for one in said} <= set(QUESTIONS)
    own = {claim["claim"] for claim in content["claims"]}
    (folder,) = (finished.folder / "results" / "figures").glob(f"{study.name}-*")
    drawn = [path.stem for path in folder.glob("*.png")]
    for one in said:
        assert {claim for _, claim in one.numbers} <= own
        assert not one.figure or any(name.startswith(one.figure) for name in drawn)
    # Without any other study, and without tables, there is still an answer or none.
    assert len(lines([content])) <= 10
    empty = {name: table.iloc[:0] for name, table in tables_of(study, finished).items()}
    assert [*resolve(study.answer)(empty, content["claims"])] == []


def finished_jobs(finished: Project) -> list[dict]:
    folder = finished.folder / "results" / "claims"
    return [json.loads(path.read_text()) for path in folder.glob("*/manifest.json")]


def test_its_chapter_of_the_report_shows_its_question_and_all_its_figures_under_a_title(
    study: Study, finished: Project
) -> None:
    page = (finished.folder / "report.html").read_text()
    assert f"<h2>{study.question}</h2>" in page
    answer = json.loads((finished.folder / "claims.json").read_text())["answer"]
    assert 1 <= len(answer) <= 10
    (folder,) = (finished.folder / "results" / "figures").glob(f"{study.name}-*")
    drawn = [path.stem for path in Path(folder).glob("*.png")]
    assert drawn
    for name in drawn:
        assert name.startswith(tuple(study.figures)), f"{name} has no title in study.py"
