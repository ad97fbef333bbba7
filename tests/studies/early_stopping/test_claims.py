"""Published claims against tables with a known truth."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkout import ROOT
from preset_tables import preset_tables
from study_tables import EARLIER, FLAT, joined, measurements

from headstart.artifacts import store
from headstart.artifacts.files import read_json, write_table
from headstart.artifacts.keys import Job
from headstart.maintenance.claim_text import checked_claims, claims_text
from headstart.maintenance.presets import find, read
from headstart.registry import parse
from headstart.statistics.claim_results import ClaimResult
from headstart.statistics.control_results import ControlResult, control_table
from headstart.statistics.errors import TableError
from headstart.steps.claims import CLAIMS, ClaimsError, evaluate, make, read_claims
from headstart.studies.early_stopping.claims import ClaimEvaluator
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.pretraining import pretraining_table
from headstart.studies.early_stopping.study import STUDY
from headstart.studies.early_stopping.tables import data_transferred
from headstart.studies.early_stopping.verdicts.study_verdicts import study_verdicts, verdict_frame

PUBLISHED = ROOT / "published" / "early_stopping.csv"
BESIDE = ROOT.parent / "shared" / "published" / "early_stopping_author_runs.csv"
LOGS = Path(os.environ.get("HEADSTART_AUTHOR_RUNS", BESIDE))


def statuses(table: pd.DataFrame) -> dict[str, str]:
    return {name: one.status for name, one in results({"measurements": table}).items()}


def results(
    tables: Mapping[str, pd.DataFrame], statistics: Statistics | None = None
) -> dict[str, ClaimResult]:
    requested = {} if statistics else {"target": "cyrillic", "shots": "5"}
    return evaluated(tables, statistics, requested)[1]


def evaluated(
    tables: Mapping[str, pd.DataFrame] | None,
    statistics: Statistics | None = None,
    requested: Mapping[str, object] | None = None,
) -> tuple[str, dict[str, ClaimResult]]:
    params = {"statistics": (statistics or Statistics()).model_dump()}
    return evaluate(read_claims(), STUDY.name, ClaimEvaluator, tables, params, requested)


def test_claims_each_name_statement_statistic_number_and_source() -> None:
    claims = read_claims().claims
    early = read_claims().of("early_stopping")
    assert list(early) == ["C0", "C1", "C1T", "C2", "C2T", "C3", "C4", "C5", "C5T", "C6"]
    assert list(read_claims().of("knowledge")) == [f"K{number}" for number in range(1, 9)]
    assert all(c.statement and c.statistic and c.published and c.source for c in claims.values())
    assert all(c.needs for c in claims.values())


def test_what_the_tables_do_not_measure_is_said_so() -> None:
    assert statuses(measurements(EARLIER)) == {
        "C0": "supported",
        "C1": "supported",
        "C1T": "not measured here",
        "C2": "supported",
        "C2T": "supported",
        "C3": "not measured here",
        "C4": "not measured here",
        "C5": "not measured here",
        "C5T": "not measured here",
        "C6": "not measured here",
    }


def test_relearning_shots_and_rates_are_judged_where_they_were_run() -> None:
    rates = {"rates": (0.01, 0.1), "drop_at_last_rate": 5.0}
    table = joined(
        measurements(FLAT, seed_sd=0.002, **rates),
        measurements(EARLIER, seed=1, target="latin", arm="relearn", mode="relearn", **rates),
        measurements(EARLIER, seed=2, shots="1", **rates),
    )
    found = statuses(table)
    assert found["C4"] == "supported"
    assert found["C5"] == "supported"
    assert found["C6"] == "contradicted"
    # The gain is there at the high rate alone, which is what the paper used.
    assert (found["C1"], found["C1T"]) == ("supported", "contradicted")
    assert (found["C5"], found["C5T"]) == ("supported", "supported")


def test_one_seed_or_a_hole_in_the_crossing_decides_no_claim() -> None:
    one = measurements(EARLIER, n_seeds=1)
    assert set(statuses(one).values()) <= {"undetermined", "not measured here"}
    full = measurements(EARLIER)
    hole = full[~((full["seed"] == 1) & (full["draw"] == 1001) & (full["source_epoch"] == 2))]
    assert set(statuses(hole).values()) <= {"undetermined", "not measured here"}


def test_another_protocol_is_never_called_a_replication(tmp_path: Path) -> None:
    file = tmp_path / "runs.parquet"
    measurements(EARLIER).to_parquet(file)
    text = " ".join(claims_text([], [], file).split())
    assert "does not tell its protocol" in text
    assert "replicates nothing" in text
    for preset, said in (("smoke", "differs"), ("gutstein_mini", "is that of experiment E2")):
        about = evaluated(preset_tables(preset), primary(preset))
        assert f"The protocol {said}" in about[0]


def primary(preset: str) -> Statistics:
    return parse(read(find(preset))).section("statistics")


def loss_with_the_whole_source(source: str, model: str, share: float) -> float:
    """Four points are lost at the end of pre-training on the whole source, none on the reduced one."""
    return 4.0 * (source == "artefacts" and 0.1 < share < 0.8)


def test_more_source_training_is_judged_where_tasks_or_models_differ_in_its_amount_alone() -> None:
    asked = primary("gutstein_mini")
    tables = preset_tables("gutstein_mini", loss_with_the_whole_source)
    found = results(tables, asked)["C3"]
    assert found.status == "supported"
    assert 2.5 < abs(found.value) < 5.5
    assert found.low < found.value < found.high
    assert "50 per class, 10 times an epoch" in found.reason
    assert "5 + 5 + 5 source networks" in found.reason
    same = results(preset_tables("gutstein_mini", seed_sd=0.1), asked)["C3"]
    assert same.status == "contradicted"
    unclear = results(preset_tables("gutstein_mini", seed_sd=4.0), asked)["C3"]
    assert unclear.status == "undetermined"


def test_two_networks_of_an_amount_cannot_decide_and_one_amount_is_no_comparison() -> None:
    tables = preset_tables("gutstein_mini", loss_with_the_whole_source)
    table, asked = tables["measurements"], primary("gutstein_mini")
    few = {**tables, "measurements": table[(table["seed"] < 2) & (table["model"] == "wrn")]}
    found = results(few, asked)["C3"]
    assert found.status == "undetermined"
    assert "cannot decide" in found.reason
    alone = {**tables, "measurements": table[table["source"] == "artefacts"]}
    found = results(alone, asked)["C3"]
    assert found.status == "not measured here"
    assert "one amount of source training: all images" in found.reason


def test_another_setting_beside_the_amount_is_no_comparison_of_amounts() -> None:
    tables = preset_tables("gutstein_mini", loss_with_the_whole_source)
    settings = tables["settings"].copy()
    settings.loc[settings["source"] == "artefacts_mini", "source_training"] = "epochs 100"
    found = results({**tables, "settings": settings}, primary("gutstein_mini"))["C3"]
    assert found.status == "not measured here"


def test_the_default_study_compares_two_amounts_of_source_training() -> None:
    def gain(source: str, model: str, share: float) -> float:
        return 4.0 if source == "latin_few" and 0 < share < 0.5 else 0.0

    found = results(preset_tables("default", gain), primary("default"))["C3"]
    assert found.status == "supported"
    assert "18 per class" in found.reason
    level = results(preset_tables("default"), primary("default"))["C3"]
    assert level.status in ("contradicted", "undetermined")


def step_on(table: pd.DataFrame, *controls: ControlResult) -> dict:
    """Run the step on measurements and controls that other jobs made; return what it wrote."""
    tables = {
        "measurements": table,
        "verdicts": verdict_frame(study_verdicts(table, Statistics()), table),
        "pretraining": pretraining_table(table, data_transferred(table)),
        "choices": pd.DataFrame(columns=["source", "model", "arm", "regret"]),
    }

    def made(_: Job, context: store.JobContext) -> dict:
        for name, table in tables.items():
            write_table(context.out / f"{name}.parquet", table)
        return {}

    def controlled(_: Job, context: store.JobContext) -> dict:
        write_table(context.out / "controls.parquet", control_table(STUDY.name, controls))
        return {}

    gathered, judged = (Job(step, STUDY.name, "code") for step in ("tables", "controls"))
    store.run(gathered, made)
    store.run(judged, controlled)
    asked = {"primary": {"source": "latin", "model": "net", "target": "cyrillic"}}
    asked["primary"] |= {"arm": "finetune", "shots": 5}
    params = {"statistics": asked, "evaluator": STUDY.claims, "answer": STUDY.answer}
    wildcards, inputs = {"study": STUDY.name}, {"tables": (gathered,), "controls": (judged,)}
    job = Job("claims", STUDY.name, "code", wildcards, params, inputs)
    artifact = store.run(job, make)
    written = read_json(artifact.file("claims.json"))
    table = pd.read_csv(artifact.file("claims.csv"))
    assert table["status"].tolist() == [claim["status"] for claim in written["claims"]]
    return written


def test_the_step_writes_every_claim_with_number_interval_and_judgement(project: Path) -> None:
    written = step_on(measurements(EARLIER))
    first, *_, last = written["claims"]
    assert first["status"] == "supported"
    assert first["low"] < first["value"] < first["high"]
    assert (last["status"], last["value"]) == ("not measured here", None)
    assert "target cyrillic" in written["evaluated_on"]


def test_a_judge_that_fails_its_control_has_its_verdict_flagged(project: Path) -> None:
    said_yes = ControlResult(
        "earlier_start", "noise", "negative", ["supported"] * 9 + ["undetermined"] * 11
    )
    silent = ControlResult("late_fall", "noise", "negative", ["undetermined"] * 20)
    written = step_on(measurements(EARLIER), said_yes, silent)
    flags = {claim["claim"]: claim["control"] for claim in written["claims"] if claim["control"]}
    assert flags == {"C1": "its control failed, there nothing is in: noise: supported in 9 of 20"}


def test_without_fine_tuning_nothing_is_measured_and_nothing_undetermined(project: Path) -> None:
    only_source = measurements(EARLIER)
    only_source = only_source[only_source["mode"] == "pretrain"]
    written = step_on(only_source)
    assert {claim["status"] for claim in written["claims"]} == {"not measured here"}
    assert all("no fine-tuning runs" in claim["reason"] for claim in written["claims"])


def test_the_step_says_of_runs_that_cannot_be_compared_why() -> None:
    about, found = evaluated({"measurements": measurements(EARLIER)}, requested={"shots": "7"})
    assert about.startswith("Not decided: ")
    assert {one.status for one in found.values()} == {"undetermined"}


def test_a_study_that_was_not_run_measures_nothing() -> None:
    about, found = evaluated(None)
    assert about == "This study was not run."
    assert {one.status for one in found.values()} == {"not measured here"}


def test_a_file_of_several_contrasts_needs_one_to_be_named(tmp_path: Path) -> None:
    file = tmp_path / "runs.parquet"
    joined(measurements(EARLIER), measurements(FLAT, shots="1")).to_parquet(file)
    with pytest.raises(TableError, match="2 contrasts fit"):
        claims_text([], [], file)
    assert "shots 1" in claims_text([], [], file, ["shots=1"]).splitlines()[0]


def test_a_broken_claims_file_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(ClaimsError, match="no such file"):
        read_claims(tmp_path / "none.yaml")
    broken = tmp_path / "claims.yaml"
    broken.write_text(CLAIMS.read_text().replace("evaluated_by: late_fall", "evaluated_by: late"))
    with pytest.raises(ClaimsError, match=r"claims\.C2: evaluated_by 'late' is not"):
        checked_claims(broken)
    broken.write_text("claims: [")
    with pytest.raises(ClaimsError, match="not YAML"):
        read_claims(broken)


def test_published_values_are_percentages_at_epochs_or_source_best() -> None:
    rows = list(csv.DictReader(PUBLISHED.read_text().splitlines()))
    assert list(rows[0]) == ["experiment", "spc", "checkpoint", "statistic", "value", "n"]
    assert all(0 < float(row["value"]) < 100 for row in rows)
    assert all(row["checkpoint"] == "source-best" or int(row["checkpoint"]) <= 200 for row in rows)
    assert len({(r["experiment"], r["spc"], r["checkpoint"]) for r in rows}) == len(rows)


@pytest.mark.skipif(not LOGS.is_file(), reason="the author's run logs are not here")
def test_published_medians_of_the_main_experiment_are_those_of_the_logs() -> None:
    logs = pd.read_csv(LOGS)
    logs = logs[logs["experiment"].str.endswith("notliving") & (logs["invalid_per_spec"] == 0)]
    logs["ckpt"] = logs["ckpt"].replace("best", "source-best")
    medians = logs.groupby(["spc", "ckpt"])["peak_test_acc"].median()
    table = pd.read_csv(PUBLISHED).query("experiment == 'E1'")
    ours = [medians[spc, ckpt] for spc, ckpt in zip(table["spc"], table["checkpoint"], strict=True)]
    assert np.abs(table["value"] - ours).max() < 0.01
