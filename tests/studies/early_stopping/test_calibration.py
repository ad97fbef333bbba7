"""Error rates and power by simulation; each tolerance is three Monte-Carlo standard errors."""

import importlib.util
import sys

import numpy as np
import pytest
from checkout import ROOT
from scipy import stats
from simulated_runs import (
    as_accuracies,
    planted_gain,
    planted_optimum,
    runs_table,
    source_loss,
    target_loss,
)

from headstart.statistics.permutation import max_statistic_test
from headstart.studies.early_stopping.verdicts.decision import decide
from headstart.studies.early_stopping.verdicts.evidence import weigh
from headstart.studies.early_stopping.verdicts.selection import (
    held_out_effects,
    selection_optimism,
    split_seeds,
)
from headstart.studies.early_stopping.verdicts.verdicts import verdict as verdict_on

spec = importlib.util.spec_from_file_location("calibration", ROOT / "benchmarks/calibration.py")
calibration = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = calibration
spec.loader.exec_module(calibration)

ALPHA = 0.025
CHECKPOINTS = 15


def slack(rate, studies):
    return 3 * np.sqrt(rate * (1 - rate) / studies)


def verdict_of(accuracies):
    evidence = weigh(accuracies)
    return decide(evidence, evidence.p_values).verdict


def best_time(loss):
    """Where a loss over time is least, on a grid of 0.001 epochs."""
    times = np.arange(0, 60, 0.001)
    return times[np.argmin(loss(1 - 0.9**times))]


def test_the_expected_source_loss_is_least_at_the_closed_form_which_is_15_28_epochs():
    for squared_norm, v in ((1.0, 0.25), (1.0, 1.0), (4.0, 0.25)):
        optimum = squared_norm / (squared_norm + v)
        found = best_time(lambda step, n=squared_norm, v=v: source_loss(step, n, v))
        assert found == pytest.approx(np.log(1 - optimum) / np.log(0.9), abs=0.01)
    assert best_time(source_loss) == pytest.approx(15.28, abs=0.01)


@pytest.mark.parametrize(("rho", "time"), [(0.5, 4.85), (0.75, 8.70), (1.0, 15.28), (1.15, 23.97)])
def test_the_expected_target_loss_is_least_at_rho_times_the_source_optimum(rho, time):
    for pull, noise in ((0.1, 0.0), (1.0, 0.04), (1.0, 4.0), (20.0, 0.04)):
        found = best_time(lambda step, p=pull, n=noise: target_loss(step, rho, p, n))
        assert found == pytest.approx(time, abs=0.01)
        assert 1 - 0.9**found == pytest.approx(rho * 0.8, abs=1e-3)


def test_the_planted_studies_follow_the_expected_losses():
    table = planted_optimum(0.75, seed=0, n_seeds=40, n_draws=40)
    step = 1 - 0.9 ** np.arange(41)
    source = table[table["mode"] == "pretrain"].groupby("source_epoch")["value"].mean()
    assert 2 * (1 - source.to_numpy()) == pytest.approx(source_loss(step), abs=0.01)
    test = table[(table["mode"] != "pretrain") & (table["split"] == "test")]
    target = test.groupby("source_epoch")["value"].mean()
    assert 1 - target.to_numpy() == pytest.approx(target_loss(step, 0.75, 1.0, 0.04), abs=0.01)


@pytest.mark.parametrize(
    ("rho", "verdict", "epoch"),
    [
        (0.5, "earlier-better", 4.85),
        (0.75, "earlier-better", 8.70),
        (1.0, "equivalent", None),
        (1.15, "later-better", 23.97),
    ],
)
def test_a_planted_optimum_is_found_on_its_side_of_the_source_optimum(rho, verdict, epoch):
    result = verdict_on(planted_optimum(rho, seed=1))
    assert result.verdict == verdict, result.reason
    assert np.mean(result.source_best) == pytest.approx(15.28, abs=0.8)
    if epoch is not None:
        # Near its optimum the curve is flat: validation finds the place to some epochs.
        assert result.chosen_epoch == pytest.approx(epoch, rel=0.3)


def test_exchangeable_checkpoints_in_whole_tables_are_called_better_in_at_most_2_5_percent():
    studies, epochs = 500, np.arange(1, 9)
    generator = np.random.default_rng(0)
    found = []
    for study in range(studies):
        test, validation = planted_gain(study, np.zeros(8), n_draws=2)
        # The source-best epoch is as random as the rest, and differs between seeds.
        source = generator.random((8, 8)) + 2 * (epochs > 4)[:, None]
        if study == 0:
            table = runs_table(epochs, test, validation, source)
        # Rows in the order of `runs_table`: only their values are new.
        table["value"] = np.concatenate([test.ravel(), source.ravel(), validation.ravel()])
        found.append(verdict_on(table).verdict)
    assert np.mean([v == "earlier-better" for v in found]) <= ALPHA + slack(ALPHA, studies)
    assert np.mean([v == "later-better" for v in found]) <= ALPHA + slack(ALPHA, studies)


@pytest.mark.parametrize("n_seeds", [6, 8])
def test_tuning_the_learning_rate_does_not_make_exchangeable_checkpoints_look_better(n_seeds):
    studies = 500
    found = [
        verdict_of(as_accuracies(*planted_gain(s, np.zeros(8), n_seeds, n_rates=2), (0.03, 0.1)))
        for s in range(studies)
    ]
    wrong = np.mean([v == "earlier-better" for v in found])
    dependent = np.mean([v == "learning-rate-dependent" for v in found])
    assert wrong <= ALPHA + slack(ALPHA, studies)
    assert dependent <= 2 * ALPHA + slack(2 * ALPHA, studies)


def test_the_engine_keeps_its_level_where_early_checkpoints_are_far_worse():
    studies = 500
    gains = np.concatenate([np.linspace(-0.2, -0.01, 8), np.zeros(8)])
    found = [verdict_of(as_accuracies(*planted_gain(s, gains))) for s in range(studies)]
    assert np.mean([v == "earlier-better" for v in found]) <= ALPHA + slack(ALPHA, studies)


def test_twenty_naive_tests_find_something_in_64_percent_of_null_studies():
    studies = 2000
    values = np.random.default_rng(1).normal(size=(8, studies, 20))
    t = values.mean(axis=0) / (values.std(axis=0, ddof=1) / np.sqrt(8))
    naive = (t > stats.t.ppf(0.95, 7)).any(axis=1).mean()
    assert naive == pytest.approx(1 - 0.95**20, abs=slack(0.64, studies))


def test_the_optimism_of_picking_among_twenty_is_the_expected_maximum_of_twenty_normals():
    studies = 2000
    values = np.sqrt(8) * np.random.default_rng(2).normal(size=(studies, 8, 20))
    optimism = np.array([selection_optimism(v, v) for v in values])
    assert optimism.mean() == pytest.approx(1.867, abs=3 * optimism.std() / np.sqrt(studies))


def simulated_rejections(gain, studies, seed):
    """Share of studies in which each procedure rejects at one-sided 2.5 %: 15 checkpoints, SD 1."""
    values = np.random.default_rng(seed).normal(size=(studies, 8, CHECKPOINTS))
    values[:, :, 0] += gain
    discovery, confirmation = split_seeds(8)
    picked = values[:, discovery].mean(axis=1).argmax(axis=1)
    held = values[np.arange(studies), confirmation, :][np.arange(studies), :, picked]
    left_out = np.array([held_out_effects(v, v) for v in values])
    return {
        "flip": np.mean([max_statistic_test(v, statistic="mean").p <= ALPHA for v in values]),
        "studentised": np.mean([max_statistic_test(v).p <= ALPHA for v in values]),
        "split": np.mean(stats.ttest_1samp(held, 0, axis=1, alternative="greater").pvalue <= ALPHA),
        "leave-one-out": np.mean(
            stats.ttest_1samp(left_out, 0, axis=1, alternative="greater").pvalue <= ALPHA
        ),
    }


def test_leaving_one_seed_out_rejects_too_often_and_the_other_tests_do_not():
    studies = 2000
    rates = simulated_rejections(0.0, studies, seed=3)
    for name in ("flip", "studentised", "split"):
        assert ALPHA - 0.015 <= rates[name] <= ALPHA + slack(ALPHA, studies), rates
    assert rates["leave-one-out"] >= 0.08, rates


# The published range is 3.8 % at 3 seeds to 6.1 % at 10, without the number of checkpoints. It does not
# matter at 3 seeds; at 10 seeds 30,000 studies give 5.9 % with 7 checkpoints, 6.5 % with 8, 7.2 % with 15.
@pytest.mark.parametrize(
    ("n_seeds", "checkpoints", "error"), [(3, 15, 0.038), (10, 7, 0.061), (10, 15, 0.072)]
)
def test_leaving_one_seed_out_also_errs_where_checkpoints_share_their_reference(
    n_seeds, checkpoints, error
):
    studies = 3000
    shape = (studies, n_seeds, checkpoints + 1)
    values = np.random.default_rng(6).normal(size=shape)
    left_out = np.array([held_out_effects(d, d) for d in values[..., :-1] - values[..., -1:]])
    p = stats.ttest_1samp(left_out, 0, axis=1, alternative="greater").pvalue
    assert np.mean(p <= ALPHA) == pytest.approx(error, abs=slack(error, studies))


def test_a_gain_of_two_at_one_of_fifteen_checkpoints_is_found_with_the_power_of_the_protocol():
    studies = 1000
    rates = simulated_rejections(2.0, studies, seed=4)
    assert rates["flip"] == pytest.approx(0.99, abs=slack(0.99, studies))
    assert rates["split"] == pytest.approx(0.72, abs=slack(0.72, studies))
    assert rates["studentised"] >= 0.95, rates


@pytest.mark.parametrize(("worse", "power"), [(0.0, 0.92), (-0.2, 0.8)])
def test_the_engine_finds_a_gain_of_two_points_also_beside_far_worse_starts(worse, power):
    gains = np.r_[worse * np.linspace(1, 0.05, 9), 0.02, np.zeros(6)]
    studies = 200
    found = [verdict_of(as_accuracies(*planted_gain(s, gains))) for s in range(studies)]
    assert np.mean([v == "earlier-better" for v in found]) >= power


def test_the_plain_mean_statistic_has_no_power_beside_checkpoints_that_are_far_worse():
    generator = np.random.default_rng(5)
    truth = np.r_[np.linspace(-20, -1, 9), 2, np.zeros(5)]
    studies = truth + generator.normal(size=(200, 8, CHECKPOINTS))
    plain = np.mean([max_statistic_test(v, statistic="mean").p <= ALPHA for v in studies])
    shared = np.mean([max_statistic_test(v).p <= ALPHA for v in studies])
    assert plain == 0
    assert shared >= 0.88


CELLS = {cell.name: cell for cell in calibration.cells()}


@pytest.mark.parametrize(
    "name",
    [
        "null, own draws, SD 2",
        "null, 6 shared draws, SD 2",
        "null, heavy tails",
        "null, ties",
        "null, far worse starts",
        "null, own test images, SD 1",
        "all 1 point worse",
        "all 1 point better",
    ],
)
def test_false_verdicts_stay_below_the_level_in_a_short_form_of_the_calibration(name):
    studies = 150
    found = calibration.calibrate(CELLS[name], studies, seed=1)
    assert found["percent"] <= 100 * (ALPHA + slack(ALPHA, studies))
    assert found["interval covers"] >= 100 * (1 - 2 * ALPHA - slack(2 * ALPHA, studies))


def test_two_points_are_found_beside_far_worse_starts_with_one_draw_of_each_networks_own():
    studies = 200
    cell = CELLS["power +2, far worse starts, one own draw"]
    found = calibration.calibrate(cell, studies, seed=1)
    assert found["percent"] >= 100 * (0.55 - slack(0.55, studies))


def test_equivalence_is_not_called_where_a_start_gains_two_points():
    gains = np.r_[np.zeros(9), 0.02, np.zeros(6)]
    found = [verdict_of(as_accuracies(*planted_gain(s, gains, seed_sd=0.02))) for s in range(200)]
    assert "equivalent" not in found
    assert "source-best" not in found
