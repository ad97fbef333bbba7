import numpy as np
import pytest
from scipy import stats

from headstart.statistics.intervals import mean_interval, pigeonhole_bootstrap
from headstart.studies.early_stopping.verdicts.bands import simultaneous_bands


def test_the_t_interval_is_the_one_of_the_textbook():
    values = np.array([1.0, 2.0, 4.0, 7.0])
    interval = mean_interval(values)
    expected = stats.t.interval(0.95, 3, loc=3.5, scale=stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.estimate == 3.5


def test_one_seed_has_no_interval_and_says_why():
    interval = mean_interval([2.0])
    assert interval.estimate == 2.0
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)
    assert "no spread" in interval.reason


def test_missing_values_are_not_dropped_from_an_interval():
    interval = mean_interval([1.0, np.nan, 3.0])
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()
    assert interval.reason == "1 of 3 values are not finite numbers"
    assert np.isnan(pigeonhole_bootstrap([[1.0, np.inf], [2.0, 2.0]]).low)


def test_the_t_interval_covers_in_95_percent_of_samples():
    samples = np.random.default_rng(1).normal(3, 1, (2000, 5))
    covered = [(i := mean_interval(s)).low <= 3 <= i.high for s in samples]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_the_pigeonhole_interval_is_a_point_when_all_differences_are_equal():
    interval = pigeonhole_bootstrap(np.full((3, 5), 0.1))
    assert interval.low == interval.high == pytest.approx(0.1)


def test_the_pigeonhole_interval_does_not_depend_on_the_order_of_draws_but_on_the_seed():
    matrix = np.random.default_rng(0).normal(size=(8, 5))
    assert pigeonhole_bootstrap(matrix) == pigeonhole_bootstrap(matrix[:, [3, 1, 4, 0, 2]])
    assert pigeonhole_bootstrap(matrix).low != pigeonhole_bootstrap(matrix, seed=1).low


def test_the_pigeonhole_variance_is_that_of_both_crossed_factors():
    generator = np.random.default_rng(2)
    matrix = generator.normal(size=(20, 1)) + 2 * generator.normal(size=(1, 10))
    interval = pigeonhole_bootstrap(matrix, resamples=20_000)
    rows, columns = matrix.mean(axis=1).var() / 20, matrix.mean(axis=0).var() / 10
    half = stats.norm.ppf(0.975) * np.sqrt(rows + columns)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.05)


@pytest.mark.parametrize("n_seeds", [4, 8])
def test_simultaneous_bands_cover_all_checkpoints_at_once(n_seeds):
    generator = np.random.default_rng(3)
    covered = []
    for _ in range(500):
        shared = generator.normal(size=(n_seeds, 1))
        low, high = simultaneous_bands(shared + generator.normal(size=(n_seeds, 15)))[1:]
        covered.append(np.all((low <= 0) & (high >= 0)))
    assert np.mean(covered) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 500)


def test_bands_are_wider_than_one_interval_and_narrower_than_bonferroni_for_alike_checkpoints():
    generator = np.random.default_rng(4)
    values = generator.normal(size=(10, 1)) + 0.1 * generator.normal(size=(10, 15))
    mean, low, _ = simultaneous_bands(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(10)
    width = (mean - low) / error
    assert np.ptp(width) == pytest.approx(0, abs=1e-9)
    assert stats.t.ppf(0.975, 9) < width[0] < stats.t.ppf(1 - 0.025 / 15, 9)


@pytest.mark.parametrize("call", [mean_interval, pigeonhole_bootstrap])
def test_intervals_refuse_shapes_and_confidences_that_mean_nothing(call):
    with pytest.raises(ValueError, match="got"):
        call([])
    with pytest.raises(ValueError, match="between 0 and 1"):
        call([1.0, 2.0] if call is mean_interval else [[1.0, 2.0]], confidence=95)
