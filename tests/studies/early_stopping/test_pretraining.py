"""What pre-training is worth: the best start against training from scratch, both tuned by validation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from study_tables import EARLIER, joined, measurements

from headstart.statistics.claim_results import ClaimResult
from headstart.studies.early_stopping.claims import ClaimEvaluator
from headstart.studies.early_stopping.data_transferred import data_transferred
from headstart.studies.early_stopping.pretraining import pretraining_table, worth_words

RATES = {"rates": (0.01, 0.1, 1.0)}
HARMFUL = {0: 0.0, 1: -10.0, 2: -4.0, 4: -6.0, 8: -5.0}
LEVEL = dict.fromkeys(EARLIER, 0.0)


def result(table: pd.DataFrame, **more: pd.DataFrame) -> ClaimResult:
    return ClaimEvaluator({"measurements": table, **more}, {}, verdicts=[]).pretraining_helps()


def test_the_gain_is_that_of_the_start_that_validation_picks_over_scratch_at_its_own_rate() -> None:
    table = measurements(EARLIER, **RATES)
    found = result(table)
    assert found.status == "supported"
    assert found.value == pytest.approx(33, abs=1)
    assert found.low < 33 < found.high
    assert "epoch 2, is +33" in found.reason
    # Scratch at its best rate is the reference, whatever the rate of the start.
    scratch = (table["source_epoch"] == 0) & (table["mode"] == "finetune")
    better = scratch & (table["learning_rate"] == 1.0)
    table.loc[better, "value"] += 0.2
    tuned = result(table)
    assert tuned.value == pytest.approx(found.value - 20, abs=0.5)
    assert "edge-of-grid: scratch at 1 (8 of 8 networks)" in tuned.reason
    assert "add learning rate 1e+01" in tuned.reason


def test_starts_that_are_all_worse_contradict_and_equal_ones_decide_nothing() -> None:
    worse = result(measurements(HARMFUL, **RATES))
    assert worse.status == "contradicted"
    assert worse.value < 0
    assert "Every pretrained start is worse." in worse.reason
    level = result(measurements(LEVEL, **RATES, seed=3))
    assert level.status == "undetermined"
    assert "would be found with a power of 80 %" in level.reason


def test_few_networks_decide_nothing_and_without_scratch_there_is_nothing_to_say() -> None:
    few = result(measurements(EARLIER, n_seeds=3, **RATES))
    assert few.status == "undetermined"
    assert "3 source seeds cannot give" in few.reason
    assert np.isnan(few.low)
    table = measurements(EARLIER, **RATES)
    without = table[(table["source_epoch"] > 0) | (table["mode"] == "pretrain")]
    assert result(without).status == "not measured here"


def test_equal_labels_of_test_images_choose_nothing() -> None:
    """Other test accuracies change the gain, and neither the start nor the rates."""
    table = measurements(EARLIER, **RATES)
    chosen = pretraining_table(table, data_transferred(table))[["start", "flags"]]
    read = (table["split"] == "test").to_numpy()
    values = table.loc[read, "value"].to_numpy()
    table.loc[read, "value"] = np.random.default_rng(0).permutation(values)
    assert pretraining_table(table, data_transferred(table))[["start", "flags"]].equals(chosen)


def test_a_start_is_worth_target_images_and_the_claim_says_how_many() -> None:
    gains = {
        shots: {**EARLIER, 0: -30.0 + 20 * place} for place, shots in enumerate(("1", "5", "25"))
    }
    table = joined(*(measurements(g, **RATES, shots=shots) for shots, g in gains.items()))
    transferred = data_transferred(table)
    contrast = dict(zip(("source", "model", "target", "mode", "shots"),
                        ("latin", "net", "cyrillic", "finetune", "1"), strict=True))  # fmt: skip
    worth = worth_words(transferred, contrast)
    assert worth["1"].startswith("5.")
    assert worth["1"].endswith("(median of 8 networks; given: 1)")
    found = result(table, data_transferred=transferred)
    assert found.reason.count("target images per class of training from scratch") == 1
    rows = pretraining_table(table, transferred)
    assert rows["shots"].tolist() == ["1", "25", "5"]
    assert (rows["worth"] != "").all()


def test_runs_that_allow_no_comparison_say_why() -> None:
    table = measurements(EARLIER, **RATES)
    table["value"] = table["value"].where(table["mode"] == "pretrain", 1.0)
    (row,) = pretraining_table(table, data_transferred(table)).to_dict("records")
    assert row["status"] == "undetermined"
    assert "no room in which starts could differ" in row["reason"]
    assert pd.isna(row["n"])
