import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkout import ROOT

from headstart.statistics.errors import TableError
from headstart.studies.early_stopping.author_runs import read_author_runs
from headstart.studies.early_stopping.verdicts.accuracies import accuracy_tensors
from headstart.studies.early_stopping.verdicts.run_tables import contrasts
from headstart.studies.early_stopping.verdicts.selection import differences, held_out_effects
from headstart.studies.early_stopping.verdicts.verdicts import verdict_table

MEDIANS = ROOT / "published" / "early_stopping.csv"
BESIDE = ROOT.parent / "shared" / "published" / "early_stopping_author_runs.csv"
LOGS = Path(os.environ.get("HEADSTART_AUTHOR_RUNS", BESIDE))
needs_logs = pytest.mark.skipif(
    not LOGS.is_file(), reason="the author's run logs are not here; set HEADSTART_AUTHOR_RUNS"
)

GAINS = {1: 1.5, 5: 15.3, 10: 7.9, 25: 8.7}
INTERVALS = {1: (-0.6, 4.4), 5: (10.2, 21.6), 10: (4.8, 11.1), 25: (4.1, 13.1)}
LEFT_OUT = {1: (0.8, -0.7, 1.8), 5: (15.1, 10.2, 18.6), 10: (9.1, 5.7, 7.8), 25: (9.3, 8.0, 7.2)}


@pytest.fixture(scope="module")
def runs():
    return read_author_runs(LOGS)


@needs_logs
def test_the_gains_and_intervals_of_the_logs_are_those_of_the_reanalysis(runs):
    verdicts = {v.contrast["shots"]: v for v in verdict_table(runs)}
    assert set(verdicts) == set(GAINS)
    for shots, verdict in verdicts.items():
        assert verdict.effect == pytest.approx(GAINS[shots], abs=0.05)
        assert verdict.interval.method == "pigeonhole"
        # Nine cells give a coarse bootstrap distribution: its quantiles jump by some tenths.
        assert verdict.interval.low == pytest.approx(INTERVALS[shots][0], abs=0.3)
        assert verdict.interval.high == pytest.approx(INTERVALS[shots][1], abs=0.3)


@needs_logs
def test_the_leave_one_seed_out_gains_of_the_logs_are_those_of_the_reanalysis(runs):
    for contrast in contrasts(runs):
        tensors = accuracy_tensors(runs, contrast)
        per_draw = differences(
            tensors.test[..., 0] * 100, tensors.epochs, tensors.source_best, "earlier"
        )[1]
        gaps = per_draw.mean(axis=2)
        assert held_out_effects(gaps, gaps) == pytest.approx(LEFT_OUT[contrast["shots"]], abs=0.06)


@needs_logs
def test_three_seeds_without_validation_are_described_and_decide_nothing(runs):
    for verdict in verdict_table(runs):
        assert verdict.verdict == "undetermined"
        assert verdict.descriptive
        assert (verdict.n_seeds, verdict.n_draws, verdict.p_floor) == (3, 3, 0.125)
        assert "3 source seeds cannot give a p below 0.125" in verdict.reason
        assert "test data made choices" in verdict.reason
        assert "too narrow with so few seeds" in verdict.reason


@needs_logs
def test_only_valid_runs_are_read_and_accuracies_are_fractions(runs):
    peaks = runs[runs["metric"] == "oracle_peak"]
    assert len(peaks) == 4 * 198
    assert peaks["value"].between(0, 1).all()
    assert set(runs["target"].dropna()) == {"cifar_100_living_notliving"}


def test_runs_at_the_published_medians_are_described_with_the_gain_of_the_medians(tmp_path):
    # The logs themselves stay with their author; their medians are in the clone.
    values = pd.read_csv(MEDIANS).query("experiment == 'E1'")
    nets, draws = pd.DataFrame({"src_net": ["alt08", "alt09", "alt10"]}), list("abc")
    runs = values.merge(nets, how="cross").merge(pd.DataFrame({"draw": draws}), how="cross")
    runs["ckpt"] = runs["checkpoint"].replace("source-best", "best")
    # Networks that are equal everywhere would be one.
    runs["value"] += runs["src_net"].map({"alt08": -1.0, "alt09": 0.0, "alt10": 1.0})
    for name in ("peak_test_acc", "final_test_acc", "mean_last10_test_acc"):
        runs[name] = runs["value"]
    runs.assign(max_train_loss=4.0, invalid_per_spec=0).to_csv(tmp_path / "logs.csv", index=False)
    verdicts = verdict_table(read_author_runs(tmp_path / "logs.csv"))
    assert [v.contrast["shots"] for v in verdicts] == list(GAINS)
    for verdict in verdicts:
        mine = values[values["spc"] == verdict.contrast["shots"]].set_index("checkpoint")["value"]
        earlier = mine.drop(["0", "200", "source-best"])
        assert verdict.effect == pytest.approx(earlier.max() - mine["source-best"])
        assert verdict.chosen_epoch == int(earlier.idxmax())
        assert (verdict.verdict, verdict.descriptive, verdict.n_seeds) == ("undetermined", True, 3)
        # Equal gains resample to one point: the interval tells of no spread, the reason of few seeds.
        ends = [verdict.interval.low, verdict.interval.high]
        assert ends == pytest.approx([verdict.effect] * 2)
        assert "3 source seeds cannot give a p below 0.125" in verdict.reason


@pytest.fixture
def log_file(tmp_path):
    row = {
        "experiment": "toy",
        "spc": 5,
        "ckpt": "best",
        "src_net": "alt09",
        "draw": "a",
        "peak_test_acc": 50.0,
        "final_test_acc": 40.0,
        "mean_last10_test_acc": 41.0,
        "max_train_loss": 36.0,
        "invalid_per_spec": 0,
    }
    rows = pd.DataFrame([row, row | {"ckpt": "10", "max_train_loss": 35.0}, row | {"ckpt": "20"}])
    rows.loc[2, "invalid_per_spec"] = 1

    def write(**changes):
        rows.assign(**changes).to_csv(tmp_path / "logs.csv", index=False)
        return tmp_path / "logs.csv"

    return write


def test_a_log_becomes_tidy_rows_with_the_best_checkpoint_at_its_epoch(log_file):
    table = read_author_runs(log_file())
    peaks = table[table["metric"] == "oracle_peak"]
    assert peaks["source_epoch"].tolist() == [194, 10]
    assert peaks["value"].tolist() == [0.5, 0.5]
    assert table.loc[table["metric"] == "diverged", "value"].tolist() == [1, 0]
    assert (table["split"] == "test").all()
    best = table[table["metric"] == "source_best_epoch"]
    assert best.set_index("seed")["value"].to_dict() == {"alt08": 172, "alt09": 194, "alt10": 197}


def test_a_loss_that_is_missing_counts_as_diverged(log_file):
    table = read_author_runs(log_file(max_train_loss=np.nan))
    assert table.loc[table["metric"] == "diverged", "value"].tolist() == [1, 1]


def test_unknown_networks_and_missing_columns_are_errors(log_file, tmp_path):
    with pytest.raises(TableError, match="alt99"):
        read_author_runs(log_file(src_net="alt99"))
    pd.DataFrame({"spc": [1]}).to_csv(tmp_path / "bad.csv")
    with pytest.raises(TableError, match="no column experiment"):
        read_author_runs(tmp_path / "bad.csv")
