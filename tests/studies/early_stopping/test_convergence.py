import numpy as np
import pandas as pd
import pytest
from study_tables import TARGET_EPOCHS, curves

from headstart.studies.early_stopping.convergence import convergence_rows

T = np.arange(1, TARGET_EPOCHS + 1)
SCRATCH = 0.8 * (1 - np.exp(-T / 30.0))


def value(rows, metric, epoch, split="validation"):
    mine = rows[(rows["metric"] == metric) & (rows["source_epoch"] == epoch)]
    (number,) = mine.loc[mine["split"] == split, "value"].unique()
    return number


def test_every_run_has_each_measure_once_and_epoch_0_is_no_part_of_it():
    rows = convergence_rows(curves(2))
    assert rows.groupby("metric").size().to_dict() == dict.fromkeys(
        ["area_under_curve", "jumpstart", "last10_accuracy", "time_to_scratch", "reached_scratch"],
        5 * 2 * 2,
    )
    assert value(rows, "jumpstart", 0) == pytest.approx(SCRATCH[0])
    assert value(rows, "area_under_curve", 0) == pytest.approx(SCRATCH.mean())
    assert value(rows, "last10_accuracy", 0) == pytest.approx(SCRATCH[-10:].mean())
    assert set(rows["arm"]) == {"finetune"}
    assert set(rows["split"]) == {"validation"}


def test_the_time_counts_to_what_scratch_has_at_its_end():
    rows = convergence_rows(curves(2))
    for epoch in (1, 2, 4, 8):
        tau = 30 / (1 + epoch)
        exact = -tau * np.log(1 - SCRATCH[-1] / 0.8)
        assert value(rows, "time_to_scratch", epoch) == np.ceil(exact - 1e-9)
        assert value(rows, "reached_scratch", epoch) == 1
    assert value(rows, "time_to_scratch", 0) == TARGET_EPOCHS


def test_a_run_that_never_gets_there_is_censored_at_the_budget_and_not_dropped():
    table = curves(1)
    slow = table["source_epoch"] == 4
    table.loc[slow, "value"] *= 0.1
    rows = convergence_rows(table)
    assert value(rows, "time_to_scratch", 4) == TARGET_EPOCHS
    assert value(rows, "reached_scratch", 4) == 0


def test_the_reference_is_scratch_at_the_rate_that_validation_prefers():
    good, bad = curves(1), curves(1).assign(learning_rate=0.5)
    bad["value"] *= 0.2
    rows = convergence_rows(pd.concat([good, bad]))
    # Against the badly trained scratch the badly trained runs would all have got there.
    poor = rows[(rows["learning_rate"] == 0.5) & (rows["metric"] == "reached_scratch")]
    assert (poor["value"] == 0).all()


def test_without_scratch_there_is_no_reference_and_no_time():
    table = curves(1)
    rows = convergence_rows(table[table["source_epoch"] > 0])
    assert set(rows["metric"]) == {"area_under_curve", "jumpstart", "last10_accuracy"}


def test_test_curves_are_measured_only_where_every_epoch_was_read():
    table = curves(1)
    test = table.assign(split="test")
    sparse = convergence_rows(pd.concat([table, test[test["target_epoch"].isin([4, 12])]]))
    assert set(sparse["split"]) == {"validation"}
    full = convergence_rows(pd.concat([table, test]))
    assert set(full["split"]) == {"validation", "test"}
    assert value(full, "area_under_curve", 2, "test") == value(full, "area_under_curve", 2)


def test_no_curves_give_no_rows():
    assert convergence_rows(curves(1).iloc[:0]).empty
