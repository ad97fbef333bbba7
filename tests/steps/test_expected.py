"""Published numbers stand beside measured ones, and change no result's key."""

from __future__ import annotations

import pandas as pd
import pytest
from checkout import ROOT

from headstart.maintenance import presets
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.registry import STUDIES, parse
from headstart.steps.expected import NOT_MEASURED, expected_rows, measured_value

ENTRY = {
    "study": "early_stopping",
    "table": "measurements",
    "metric": "oracle_peak",
    "where": {"shots": 5, "source_epoch": 70, "order": None},
    "statistic": "median",
    "value": 0.37,
    "tolerance": 0.01,
    "source": "logs",
}
TABLE = pd.DataFrame(
    {
        "metric": ["oracle_peak"] * 5,
        "shots": ["5", "5", "5", "10", "5"],
        "source_epoch": pd.array([70, 70, 70, 70, 0], dtype="Int64"),
        "order": pd.array([None, None, None, None, None], dtype="Int64"),
        "condition": ["measured", "measured", "null", "measured", "measured"],
        "value": [0.36, 0.39, 0.9, 0.5, 0.1],
    }
)


def test_the_measured_value_is_the_median_of_the_rows_that_are_named() -> None:
    assert measured_value(ENTRY, TABLE) == pytest.approx(0.375)
    assert measured_value({**ENTRY, "statistic": "mean"}, TABLE.iloc[:1]) == pytest.approx(0.36)
    assert measured_value({**ENTRY, "where": {"rate": 1}}, TABLE) is None
    assert measured_value({**ENTRY, "where": {"shots": 1}}, TABLE) is None


def test_the_source_best_epoch_is_that_of_each_network() -> None:
    rows = [
        # Network 0 chose epoch 2, network 1 epoch 4; no run names its epoch `best`.
        *(
            (seed, epoch, "best", float(epoch == 2 * (seed + 1)))
            for seed in (0, 1)
            for epoch in (2, 4)
        ),
        *(
            (seed, epoch, "oracle_peak", epoch / 10 + seed / 100)
            for seed in (0, 1)
            for epoch in (2, 4)
        ),
    ]
    table = pd.DataFrame(rows, columns=["seed", "source_epoch", "metric", "value"])
    table = table.assign(source="latin", model="convnet", shots="5")
    best = {**ENTRY, "where": {"shots": 5, "source_epoch": "best"}, "statistic": "mean"}
    assert measured_value(best, table) == pytest.approx((0.20 + 0.41) / 2)


def test_of_another_table_a_column_is_read() -> None:
    table = pd.DataFrame({"arm": ["finetune", "scratch"], "test_accuracy": [0.9, 0.5]})
    entry = {**ENTRY, "table": "runs", "metric": "test_accuracy", "where": {"arm": "scratch"}}
    assert measured_value(entry, table) == 0.5
    assert measured_value({**entry, "metric": "test_loss"}, table) is None


def test_a_value_is_within_its_tolerance_or_not_or_not_measured() -> None:
    entries = {
        "near": ENTRY,
        "far": {**ENTRY, "value": 0.5},
        "none": {**ENTRY, "where": {"shots": 1}},
    }
    rows = expected_rows(entries, {"measurements": TABLE})
    assert rows["within tolerance"].tolist() == ["yes", "no", "–"]
    assert rows["median here"].tolist() == ["0.375", "0.375", NOT_MEASURED]
    assert expected_rows({"near": ENTRY}, {})["within tolerance"].tolist() == ["–"]


def test_expected_numbers_enter_the_key_of_the_report_alone() -> None:
    raw = presets.read(presets.find("smoke"))
    before, after = Plan(parse(raw)), Plan(parse({**raw, "expected": {"peak": ENTRY}}))
    changed = {job.key for job in after.jobs()} ^ {job.key for job in before.jobs()}
    steps = {job.step for job in (*before.jobs(), *after.jobs()) if job.key in changed}
    assert steps == {"report", "publish"}


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "presets").glob("*.yaml")))
def test_expected_numbers_of_a_preset_name_its_models_tasks_and_arms(name: str) -> None:
    params = parse(presets.read(presets.find(name)))
    arms = {arm for part in params.section("transfer").values() for arm in part}
    arms |= {arm for part in params.trajectory.values() for arm in part}
    for entry in params.expected.values():
        assert entry.study in {study.name for study in STUDIES}
        known = {
            "model": params.models,
            "target": params.tasks,
            "source": params.tasks,
            "arm": arms,
        }
        assert all(entry.where[key] in known[key] for key in known if key in entry.where)
        assert entry.source


def test_an_expected_number_needs_its_source() -> None:
    raw = presets.read(presets.find("smoke"))
    entry = {key: value for key, value in ENTRY.items() if key != "source"}
    with pytest.raises(ParamsError, match=r"expected\.peak\.source: this key is missing"):
        parse({**raw, "expected": {"peak": entry}})
