import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headstart.statistics.hypotheses import holm, p_mean_below, tost
from headstart.statistics.intervals import mean_interval

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_holm_gives_the_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(probabilities)
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(values):
    p = np.array(values)
    adjusted = holm(p)
    assert np.all(adjusted >= p)
    assert np.all(adjusted <= np.minimum(1, p * len(p)) + 1e-15)
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)


def test_a_hypothesis_that_was_not_tested_does_not_count_in_holm():
    adjusted = holm([0.01, np.nan, 0.02])
    assert np.isnan(adjusted[1])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.02])


def test_p_values_outside_the_unit_interval_are_refused():
    with pytest.raises(ValueError, match="lie in"):
        holm([0.5, 1.5])


def test_equivalence_means_that_the_95_percent_interval_lies_within_the_margin():
    generator = np.random.default_rng(0)
    agreed = set()
    for _ in range(300):
        values = generator.normal(0.2, 0.9, 8)
        interval = mean_interval(values)
        within = interval.low > -1 and interval.high < 1
        assert tost(values, margin=1).equivalent == within
        agreed.add(within)
    assert agreed == {True, False}


def test_a_difference_at_the_margin_is_called_equivalent_in_2_5_percent_of_samples():
    samples = np.random.default_rng(1).normal(1, 0.3, (4000, 8))
    rate = np.mean([tost(s, margin=1).equivalent for s in samples])
    assert rate == pytest.approx(0.025, abs=3 * np.sqrt(0.025 * 0.975 / 4000))


def test_equivalence_with_eight_seeds_needs_a_seed_sd_below_1_196_points_and_1_49_at_5_percent():
    centred = np.array([-1.0, 1.0] * 4)
    centred /= centred.std(ddof=1)
    for alpha, bound in ((0.025, 1.196), (0.05, 1.493)):
        assert tost((bound - 0.001) * centred, margin=1, alpha=alpha).equivalent
        assert not tost((bound + 0.001) * centred, margin=1, alpha=alpha).equivalent


def test_one_sided_p_is_that_of_scipy_column_by_column():
    values = np.random.default_rng(2).normal(size=(6, 4))
    expected = stats.ttest_1samp(values, 0.3, alternative="less").pvalue
    assert p_mean_below(values, 0.3) == pytest.approx(expected)


def test_values_without_spread_are_taken_as_known_and_one_value_decides_nothing():
    assert tost([0.5, 0.5, 0.5], margin=1).equivalent
    assert not tost([1.5, 1.5, 1.5], margin=1).equivalent
    single = tost([0.0], margin=1)
    assert np.isnan(single.p)
    assert not single.equivalent


def test_a_margin_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="margin must be positive"):
        tost([0.1, 0.2], margin=0)
