"""What the figures of verdicts draw is what the verdicts say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from study_tables import EARLIER, FLAT, joined, measurements

from headstart.figures import labels, style
from headstart.figures.labels import caption_of
from headstart.studies.early_stopping.figures import learning_rates, verdicts
from headstart.studies.early_stopping.figures.prepare import (
    all_runs,
    favourites,
    source_history,
)
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.verdicts.study_verdicts import study_verdicts, verdict_frame

TABLE = joined(
    measurements(EARLIER, rates=(0.01, 0.1), drop_at_last_rate=6.0),
    measurements(FLAT, target="latin", arm="relearn", mode="relearn", seed=1),
)
JUDGED = verdict_frame(study_verdicts(TABLE, Statistics()), TABLE)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_gain_at_the_chosen_epoch_is_the_effect_of_the_verdict() -> None:
    figure, table = verdicts.gains_figure(TABLE, JUDGED, "net", 0.95)
    assert [axis.get_visible() for axis in figure.axes] == [True, True, True]
    assert JUDGED["question"].tolist() == ["tuned", "fixed", "fixed"]
    for question, effect in (("tuned", 3), ("fixed", 9)):
        row = JUDGED[(JUDGED["target"] == "cyrillic") & (JUDGED["question"] == question)].iloc[0]
        mine = table[(table["target"] == "cyrillic") & (table["question"] == question)]
        drawn = mine[mine["source_epoch"] == row["chosen_epoch"]]
        assert row["effect"] == pytest.approx(effect, abs=0.8)
        assert drawn["mean"].item() == pytest.approx(row["effect"])
        assert drawn["low"].item() < row["effect"] < drawn["high"].item()
    assert 0 not in set(table["source_epoch"])
    best = table[table["source_epoch"] == 8]
    assert best["mean"].tolist() == [0, 0, 0]


def test_one_network_has_no_band_and_what_cannot_be_compared_says_why() -> None:
    one = measurements(EARLIER, n_seeds=1)
    judged = verdict_frame(study_verdicts(one, Statistics()), one)
    figure, table = verdicts.gains_figure(one, judged, "net", 0.95)
    assert table[["low", "high"]].isna().to_numpy().all()
    assert "No band" in caption_of(figure)
    lost = one[one["mode"] != "pretrain"]
    judged = verdict_frame(study_verdicts(lost, Statistics()), lost)
    figure, table = verdicts.gains_figure(lost, judged, "net", 0.95)
    assert table.empty
    assert "no source accuracy" in " ".join(figure.axes[0].texts[-1].get_text().split())


def test_the_map_marks_what_validation_prefers_and_says_when_that_is_an_edge() -> None:
    drawn = learning_rates.rates_figure(TABLE, JUDGED, "net")
    assert drawn
    figure, table = drawn
    # Relearning has one learning rate, so it is no map.
    assert set(table["target"]) == {"cyrillic"}
    assert table["best"].sum() == 1
    assert table.loc[table["best"], "source_epoch"].item() == 2
    at_best = table[table["source_epoch"] == learning_rates.BEST]
    assert at_best.loc[at_best["chosen"], "learning_rate"].item() == 0.01
    assert (table.groupby("source_epoch")["chosen"].sum() == 1).all()
    words = caption_of(figure)
    assert "Two rates cannot bracket an optimum" in words
    assert "edge of the grid" not in words
    three = measurements(EARLIER, rates=(0.01, 0.1, 1.0), drop_at_last_rate=6.0)
    three.loc[three["learning_rate"] == 0.01, "value"] += 0.05
    judged = verdict_frame(study_verdicts(three, Statistics()), three)
    drawn = learning_rates.rates_figure(three, judged, "net")
    assert drawn
    assert "lies at the edge of the grid" in caption_of(drawn[0])


def test_validation_alone_marks_the_map() -> None:
    changed = TABLE.copy()
    changed.loc[changed["split"] == "test", "value"] = 0.5
    before, after = (
        learning_rates.rate_table(
            all_runs(table, "net"), source_history(table, "net"), favourites(JUDGED)
        )
        for table in (TABLE, changed)
    )
    assert before[["chosen", "best"]].equals(after[["chosen", "best"]])


def test_one_learning_rate_makes_no_map() -> None:
    assert learning_rates.rates_figure(measurements(EARLIER), JUDGED, "net") is None


def test_the_printed_table_has_n_and_intervals_and_every_reason(tmp_path: Path) -> None:
    shown = verdicts.summary(JUDGED)
    assert shown["n"].tolist() == ["8 × 2"] * 3
    assert shown["rate"].tolist() == ["tuned", "0.1", "0.1"]
    assert (shown["detectable"].astype(float) > 0).all()
    assert shown["interval"].str.startswith("[").all()
    words = " ".join(verdicts.reasons(JUDGED).split())
    assert all(" ".join(reason.split()) in words for reason in JUDGED["reason"])
    style.save_table(JUDGED, "verdicts", tmp_path / "figures")
    assert (tmp_path / "figures" / "verdicts.csv").read_text().count("\n") == 4
    assert verdicts.reasons(JUDGED.iloc[:0]) == "No contrast was run."


@pytest.mark.parametrize(
    ("positions", "kept"),
    [
        ([0.0, 1.0, 2.0], [0, 1, 2]),
        ([0.0, 1.0, 1.1, 1.2, 1.9], [0, 1, 4]),
        ([0.0, 1.0, 1.2], [0, 2]),
        ([0.0, 0.1], [0, 1]),
        ([0.0], [0]),
    ],
)
def test_labels_stand_apart_and_both_ends_have_one(positions: list, kept: list) -> None:
    assert labels.spaced(positions, 0.35) == kept


def test_a_diverged_run_is_drawn_by_its_end_as_verdicts_score_it() -> None:
    table = measurements(EARLIER, n_seeds=2)
    lucky = (table["source_epoch"] == 1) & (table["seed"] == 1) & (table["draw"] == 1000)
    runs = table[lucky & (table["metric"] == "accuracy_at_validation_best")]
    told = runs[runs["split"] == "test"].assign(metric="diverged", split="train", value=1.0)
    ends = runs[runs["split"] == "test"].assign(metric="final_accuracy", value=0.03)
    drawn = all_runs(pd.concat([table, told, ends]), "net").set_index(["seed", "source_epoch"])
    lost = drawn[drawn["diverged"] > 0]
    assert lost[["test", "validation"]].to_numpy() == pytest.approx(np.array([[3.0, 0.0]]))
    assert (drawn["test"] > 3).sum() == len(drawn) - 1
