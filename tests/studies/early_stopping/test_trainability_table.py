"""The table on how each start trains says what its runs did, those that never got there too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from study_tables import EARLIER, TARGET_EPOCHS, curves, measurements

from headstart.figures.style import save_table
from headstart.studies.early_stopping.convergence import convergence_rows
from headstart.studies.early_stopping.figures.plasticity import (
    trainability_summary,
    trainability_table,
)
from headstart.studies.early_stopping.trainability import trainability_rows


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    learned = curves(2)
    # From epoch 4, one network never gets to where scratch ends; from epoch 8 all images are fitted.
    stuck = (learned["source_epoch"] == 4) & (learned["seed"] == 1)
    learned.loc[stuck, "value"] *= 0.1
    trained = learned.assign(
        split="train", value=lambda rows: rows["value"].where(rows["source_epoch"] != 8, 1.0)
    )
    tested = learned[learned["target_epoch"] == TARGET_EPOCHS].assign(split="test", value=0.25)
    while_training = pd.concat([learned, trained, tested], ignore_index=True)
    rows = [measurements(EARLIER, n_seeds=2), convergence_rows(while_training)]
    rows.append(trainability_rows(while_training))
    measured = pd.concat(rows, ignore_index=True)
    # As an epoch that is the best one of a single network is.
    alone = (measured["source_epoch"] == 1) & (measured["seed"] == 1) & measured["draw"].notna()
    return trainability_table(measured[~alone], 0.95)


def test_a_start_from_which_runs_never_get_there_counts_them_with_all_their_epochs(table):
    rows = table.set_index("start")
    assert list(rows.index) == ["0", "2", "4", "8", "source-best"]
    assert rows["runs"].tolist() == [4] * 5
    assert rows["censored"].tolist() == [0, 0, 2, 0, 0]
    fast = rows.loc["8", "mean_time"]
    assert rows.loc["0", "mean_time"] == TARGET_EPOCHS
    assert rows.loc["source-best", "mean_time"] == fast < rows.loc["2", "mean_time"]
    reached = rows.loc["4", "mean_time"] * 2 - TARGET_EPOCHS
    assert fast < reached < rows.loc["2", "mean_time"]
    assert rows.loc["4", "low"] < rows.loc["4", "mean_time"] < rows.loc["4", "high"]
    assert rows.loc["4", "median_time"] == reached


def test_runs_that_fit_their_images_are_counted_and_scored_apart(table):
    rows = table.set_index("start")
    assert rows["fitted"].to_dict() == {"0": 0, "2": 0, "4": 0, "8": 4, "source-best": 4}
    assert rows.loc["8", ["train_accuracy", "accuracy_when_fitted"]].tolist() == [100, 25]
    assert np.isnan(rows.loc["4", "accuracy_when_fitted"])
    assert rows.loc["4", "train_accuracy"] < rows.loc["2", "train_accuracy"]


def test_a_person_reads_times_with_intervals_and_how_many_never_got_there(table, tmp_path: Path):
    shown = trainability_summary(table).set_index("start")
    assert shown["never"].tolist() == ["0 of 4", "0 of 4", "2 of 4", "0 of 4", "0 of 4"]
    assert shown.loc["4", "epochs to scratch's end"].startswith(f"{table['mean_time'][2]:.1f} [")
    assert shown.loc["4", "test accuracy when fitted"] == "–"
    save_table(table, "trainability", tmp_path)
    assert (tmp_path / "trainability.csv").read_text().count("\n") == 6
    without = trainability_summary(trainability_table(measurements(EARLIER, n_seeds=1), 0.95))
    assert set(without["never"]) == set(without["training accuracy"]) == {"–"}
