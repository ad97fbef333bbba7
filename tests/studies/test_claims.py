"""Published claims against tables with a known truth."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkout import ROOT
from study_tables import EARLIER, FLAT, joined, measurements

from headstart.params import Statistics
from headstart.statistics.tables import arms_as_modes, contrasts
from headstart.studies.claims import (
    CLAIMS,
    ClaimsError,
    Judge,
    claims_text,
    protocol_note,
    read_claims,
)

PUBLISHED = ROOT / "published" / "early_stopping.csv"
BESIDE = ROOT.parent / "shared" / "published" / "early_stopping_author_runs.csv"
LOGS = Path(os.environ.get("HEADSTART_AUTHOR_RUNS", BESIDE))


def judged(table: pd.DataFrame) -> dict[str, str]:
    table = arms_as_modes(table)
    contrast = next(c for c in contrasts(table) if c["target"] == "cyrillic" and c["shots"] == "5")
    judge = Judge(table, contrast, Statistics())
    return {name: judge.finding(c).status for name, c in read_claims().claims.items()}


def test_six_claims_each_name_statement_statistic_number_and_source() -> None:
    claims = read_claims().claims
    assert list(claims) == ["C1", "C2", "C3", "C4", "C5", "C6"]
    assert all(c.statement and c.statistic and c.published and c.source for c in claims.values())


def test_what_the_tables_do_not_measure_is_said_so() -> None:
    assert judged(measurements(EARLIER)) == {
        "C1": "supported",
        "C2": "supported",
        "C3": "not measured here",
        "C4": "not measured here",
        "C5": "not measured here",
        "C6": "not measured here",
    }


def test_relearning_shots_and_rates_are_judged_where_they_were_run() -> None:
    rates = {"rates": (0.01, 0.1), "drop_at_last_rate": 5.0}
    table = joined(
        measurements(FLAT, seed_sd=0.002, **rates),
        measurements(EARLIER, seed=1, target="latin", arm="relearn", mode="relearn", **rates),
        measurements(EARLIER, seed=2, shots="1", **rates),
    )
    found = judged(table)
    assert found["C4"] == "supported"
    assert found["C5"] == "supported"
    assert found["C6"] == "contradicted"
    # The gain is there at the high rate alone, and the claim is judged with the rate tuned.
    assert found["C1"] == "undetermined"


def test_one_seed_or_a_hole_in_the_crossing_decides_no_claim() -> None:
    one = measurements(EARLIER, n_seeds=1)
    assert set(judged(one).values()) <= {"undetermined", "not measured here"}
    full = measurements(EARLIER)
    hole = full[~((full["seed"] == 1) & (full["draw"] == 1) & (full["source_epoch"] == 2))]
    assert set(judged(hole).values()) <= {"undetermined", "not measured here"}


def test_another_protocol_is_never_called_a_replication(tmp_path: Path) -> None:
    file = tmp_path / "runs.parquet"
    measurements(EARLIER).to_parquet(file)
    text = " ".join(claims_text(None, file).split())
    assert "The protocol differs" in text
    assert "replicates nothing" in text
    protocol = read_claims().protocol
    same = protocol_note({**protocol}, protocol)
    assert "compare all settings" in same


def test_a_broken_claims_file_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(ClaimsError, match="no such file"):
        read_claims(tmp_path / "none.yaml")
    broken = tmp_path / "claims.yaml"
    broken.write_text(CLAIMS.read_text().replace("judged_by: late_fall", "judged_by: late"))
    with pytest.raises(ClaimsError, match=r"claims\.C2\.judged_by"):
        read_claims(broken)
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
