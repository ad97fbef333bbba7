import numpy as np
import pytest

from headstart.studies.early_stopping import curve_measures as curves

TAU, LEVEL, EPOCHS = 20.0, 0.8, 200
TIME = np.arange(1, EPOCHS + 1)
SATURATING = LEVEL * (1 - np.exp(-TIME / TAU))


@pytest.mark.parametrize("fraction", [0.5, 0.9, 0.99])
def test_the_time_to_a_fraction_of_the_reference_is_minus_tau_log_one_minus_q(fraction):
    time, reached = curves.time_to_reference(SATURATING, LEVEL, fraction)
    assert reached
    assert time == np.ceil(-TAU * np.log(1 - fraction))


def test_a_run_that_never_reaches_the_reference_is_censored_at_the_budget_and_not_dropped():
    time, reached = curves.time_to_reference(np.stack([SATURATING, SATURATING / 2]), 0.6)
    assert reached.tolist() == [True, False]
    assert time[1] == EPOCHS
    assert curves.restricted_mean_time(time, reached) == pytest.approx((time[0] + EPOCHS) / 2)


def test_the_area_under_a_saturating_curve_is_the_closed_form():
    fine = np.arange(0.005, EPOCHS, 0.01)
    area = curves.area_under_curve(LEVEL * (1 - np.exp(-fine / TAU)))
    expected = LEVEL * (1 - TAU / EPOCHS * (1 - np.exp(-EPOCHS / TAU)))
    assert area == pytest.approx(expected, rel=1e-6)


def test_jumpstart_asymptote_and_peak_are_first_last_ten_and_largest():
    curve = np.array([0.1, 0.9, *np.linspace(0.3, 0.4, 10)])
    assert curves.jumpstart(curve) == 0.1
    assert curves.asymptote(curve) == pytest.approx(0.35)
    assert curves.oracle_peak(curve) == 0.9


def test_kaplan_meier_gives_the_worked_example_with_censoring():
    time, observed = [1, 2, 2, 3, 4, 5], [True, True, False, True, False, True]
    at, surviving = curves.kaplan_meier(time, observed)
    assert at.tolist() == [1, 2, 3, 5]
    assert surviving == pytest.approx([5 / 6, 2 / 3, 4 / 9, 0])
    assert curves.median_time(time, observed) == 3
    assert curves.restricted_mean_time(time, observed) == pytest.approx(
        1 + 5 / 6 + 2 / 3 + 2 * 4 / 9
    )


def test_the_median_is_infinite_where_most_runs_never_get_there():
    assert curves.median_time([3, 9, 9], [True, False, False]) == np.inf
    assert curves.median_time([3, 4, 9], [True, True, False]) == 4


def test_validation_alone_chooses_the_epoch_and_ties_go_to_the_earliest():
    validation = np.array([[0.1, 0.5, 0.5], [0.2, 0.1, 0.3]])
    generator = np.random.default_rng(0)
    test = generator.random((2, 3))
    value, index = curves.accuracy_at_validation_best(validation, test)
    assert index.tolist() == [1, 2]
    assert value.tolist() == [test[0, 1], test[1, 2]]
    other = curves.accuracy_at_validation_best(
        validation, generator.permutation(test.ravel()).reshape(2, 3)
    )
    assert other[1].tolist() == index.tolist()


def test_missing_validation_accuracies_choose_no_epoch():
    with pytest.raises(ValueError, match="NaN"):
        curves.accuracy_at_validation_best([0.1, np.nan], [0.1, 0.2])


def test_divergence_is_a_loss_above_ten_times_the_start_or_the_uniform_guess_or_not_finite():
    chance = np.log(35)
    losses = np.array(
        [
            [chance, 9.9 * chance, 0.1],
            [chance, 10.1 * chance, 0.1],
            [0.01, 9.9 * chance, 0.1],
            [2 * chance, 19.9 * chance, 0.1],
            [chance, np.nan, 0.1],
            [np.inf, 1.0, 0.1],
            [np.nan, 1.0, 0.1],
        ]
    )
    flags = curves.diverged(losses, classes=35, start=losses[:, 0])
    assert flags.tolist() == [False, True, False, False, True, True, True]


def test_a_loss_after_the_first_epoch_is_no_start():
    loss = np.array([[100.0, 1.0], [20.0, 1.0]])
    assert curves.diverged(loss, classes=10).tolist() == [True, False]
    assert curves.diverged(loss, classes=10, start=[11.0, 0.1]).tolist() == [False, False]


def test_epochs_must_ascend_and_fit_the_curve():
    with pytest.raises(ValueError, match="ascending"):
        curves.time_to_reference(SATURATING, 0.5, epochs=TIME[::-1])
    with pytest.raises(ValueError, match="at least 2"):
        curves.diverged([1.0], classes=1)
