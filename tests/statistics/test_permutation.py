import itertools

import numpy as np
import pytest

from headstart.statistics.permutation import (
    lower_bound,
    max_statistic_test,
    p_floor,
    p_mean_negative,
    sign_patterns,
    unscreened,
)


def test_all_sign_patterns_occur_once_and_the_data_come_first():
    patterns = sign_patterns(5)
    assert patterns.shape == (32, 5)
    assert len({tuple(row) for row in patterns}) == 32
    assert (patterns[0] == 1).all()


def test_the_p_value_is_the_enumerated_share_of_patterns():
    values = np.random.default_rng(0).normal(0.3, 1, (5, 3))
    flips = [np.array(s)[:, None] * values for s in itertools.product([1, -1], repeat=5)]
    largest = np.array([flip.mean(axis=0).max() for flip in flips])
    expected = np.mean(largest >= values.mean(axis=0).max() - 1e-12)
    assert max_statistic_test(values, statistic="mean").p == pytest.approx(expected)


def test_the_candidate_is_picked_anew_by_the_selection_in_every_pattern():
    generator = np.random.default_rng(1)
    values, picks = generator.normal(0.3, 1, (2, 5, 4))
    result = []
    for signs in itertools.product([1, -1], repeat=5):
        flip, pick = np.array(signs)[:, None] * values, np.array(signs)[:, None] * picks
        chosen = pick.mean(axis=0).argmax()
        pooled = (flip[:, chosen].var(ddof=1) + flip.var(axis=0, ddof=1).mean()) / 2
        result.append(flip[:, chosen].mean() / np.sqrt(pooled))
    expected = np.mean(np.array(result) >= result[0] - 1e-12)
    test = max_statistic_test(values, picks)
    assert test.p == pytest.approx(expected)
    assert test.statistic == pytest.approx(result[0])
    assert test.chosen == picks.mean(axis=0).argmax()


def test_patterns_that_tie_in_exact_arithmetic_count_as_ties():
    generator = np.random.default_rng(9)
    for _ in range(50):
        whole = generator.integers(-9, 10, (6, 2)).astype(float)
        for statistic in ("mean", "studentised"):
            exact = max_statistic_test(whole, statistic=statistic).p
            assert max_statistic_test(whole / 10, statistic=statistic).p == exact


@pytest.mark.parametrize("n_seeds", [3, 4, 8])
def test_the_p_value_cannot_fall_below_two_to_the_minus_seeds(n_seeds):
    certain = 5 + np.random.default_rng(2).normal(0, 0.01, (n_seeds, 6))
    result = max_statistic_test(certain)
    assert result.p == result.p_floor == p_floor(n_seeds) == 2.0**-n_seeds
    assert (result.p <= 0.025) == (n_seeds >= 6)


def test_a_candidate_that_is_clearly_worse_takes_no_part_in_the_null_distribution():
    generator = np.random.default_rng(10)
    values = np.array([5.0, -27.0]) + generator.normal(0, 0.5, (6, 2))
    assert max_statistic_test(values, statistic="mean").p > 0.3
    assert max_statistic_test(values).p == 2.0**-6
    # Far better is never screened out, nor the last one that is left.
    assert max_statistic_test(np.abs(values)).chosen == 1
    assert unscreened(-np.abs(values)).tolist() == [0]
    assert unscreened(values).tolist() == [0]
    near = np.array([0.0, -0.3]) + generator.normal(0, 1, (6, 2))
    assert unscreened(near).tolist() == [0, 1]


def test_screening_keeps_the_level_where_two_candidates_are_opposed():
    values = np.random.default_rng(11).normal(size=(2000, 8, 1))
    opposed = np.concatenate([values, -values], axis=2)
    rejected = [max_statistic_test(v).p <= 0.025 for v in opposed]
    assert np.mean(rejected) <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 2000)


def test_equal_positive_differences_reach_the_floor_and_no_difference_gives_one():
    assert max_statistic_test(np.full((6, 3), 0.1)).p == 2.0**-6
    assert max_statistic_test(np.zeros((6, 3))).p == 1.0


def test_many_seeds_are_sampled_reproducibly_and_close_to_the_exact_p():
    values = np.random.default_rng(3).normal(0.35, 1, (14, 5))
    first = max_statistic_test(values, seed=1)
    assert not first.exact
    assert first.p_floor == 1e-4
    assert first == max_statistic_test(values, seed=1)
    bits = (np.arange(2**14)[:, None] >> np.arange(14)) & 1
    means = (1 - 2 * bits) @ values / 14
    variances = ((values**2).sum(axis=0) - 14 * means**2) / 13
    rows, chosen = np.arange(2**14), means.argmax(axis=1)
    pooled = (variances[rows, chosen] + variances.mean(axis=1)) / 2
    exact = np.mean(means[rows, chosen] / np.sqrt(pooled) >= first.statistic - 1e-9)
    assert first.p == pytest.approx(exact, abs=4 * np.sqrt(exact / 10_000))


def test_the_lower_bound_is_positive_exactly_where_the_test_rejects():
    generator = np.random.default_rng(4)
    seen = set()
    for shift in np.linspace(0, 2.5, 30):
        values = generator.normal(0, 1, (8, 6))
        values[:, 2] += shift
        rejected = max_statistic_test(values).p <= 0.025
        assert (lower_bound(values) > 0) == rejected
        seen.add(rejected)
    assert seen == {True, False}


def test_the_lower_bound_of_the_largest_mean_covers_in_97_5_percent_of_studies():
    generator = np.random.default_rng(5)
    truth = np.array([2.0, 1.5, 0.0, -3.0, -10.0])
    bounds = [lower_bound(truth + generator.normal(size=(8, 5))) for _ in range(500)]
    assert np.mean(np.array(bounds) <= 2.0) >= 0.975 - 3 * np.sqrt(0.975 * 0.025 / 500)
    assert np.median(bounds) > 0


def test_too_few_seeds_have_no_lower_bound():
    assert lower_bound(np.full((5, 2), 3.0)) == -np.inf


def test_adding_a_constant_to_every_difference_moves_the_lower_bound_by_it():
    values = np.random.default_rng(6).normal(size=(7, 4))
    assert lower_bound(values + 3) == pytest.approx(lower_bound(values) + 3, abs=1e-6)


def test_a_two_sided_test_ignores_the_sign_of_the_differences():
    values = np.random.default_rng(7).normal(0.5, 1, (7, 4))
    assert max_statistic_test(values, two_sided=True).p == pytest.approx(
        max_statistic_test(-values, two_sided=True).p
    )


def test_each_candidate_alone_is_tested_for_being_worse():
    values = np.random.default_rng(8).normal(-0.4, 1, (7, 3))
    p = p_mean_negative(values)
    for column, value in zip(values.T, p, strict=True):
        assert value == max_statistic_test(-column[:, None], statistic="mean").p


def test_half_measured_seeds_and_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        max_statistic_test([[1.0, np.nan], [1.0, 2.0]])
    with pytest.raises(ValueError, match="equal, non-empty matrices"):
        max_statistic_test(np.ones((3, 2)), np.ones((3, 3)))
