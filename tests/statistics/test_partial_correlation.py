"""Rank correlation within networks given epoch: known answers, level of the test, coverage of the interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.statistics.partial_correlation import (
    mediated_change,
    partial_rank_correlation,
    residual_ranks,
)


def drawn(networks: int, epochs: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return measure and outcome that correlate by `share` within cells, along one course of epochs."""
    generator = np.random.default_rng(seed)
    x, noise = generator.normal(size=(2, networks, epochs))
    y = share * x + np.sqrt(1 - share**2) * noise
    course = 5.0 * np.arange(epochs)
    return x + course, y - course


def test_a_measure_and_itself_correlate_wholly_and_its_opposite_the_other_way() -> None:
    x, _ = drawn(8, 4, 0.0, 0)
    assert partial_rank_correlation(x, np.exp(x)).rho == pytest.approx(1.0)
    found = partial_rank_correlation(x, -x)
    assert found.rho == pytest.approx(-1.0)
    assert found.p_negative < 0.005
    assert found.p_positive == 1.0


def test_what_all_networks_do_alike_along_epochs_counts_for_nothing() -> None:
    x, y = drawn(20, 5, 0.0, 1)
    assert np.corrcoef(x.ravel(), y.ravel())[0, 1] < -0.9
    assert abs(partial_rank_correlation(x, y).rho) < 0.25


def test_a_network_that_is_better_everywhere_counts_for_nothing() -> None:
    x, y = drawn(20, 5, 0.0, 2)
    level = 100.0 * np.arange(20)[:, None]
    found = partial_rank_correlation(x + level, y + level)
    # Every network keeps its rank at every epoch: nothing is left within networks.
    assert found.reason == "one of the two does not vary"
    assert np.isnan(found.rho)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_rising_changes_of_each_epoch_and_the_order_of_networks_change_nothing(seed: int) -> None:
    x, y = drawn(9, 4, 0.4, seed)
    order = np.random.default_rng(seed).permutation(9)
    plain = partial_rank_correlation(x, y, permutations=9)
    other = partial_rank_correlation(np.exp(x / 10)[order], (3 * y + 7)[order], permutations=9)
    assert other.rho == pytest.approx(plain.rho)
    assert (other.low, other.high) == pytest.approx((plain.low, plain.high))
    assert -1 <= plain.low <= plain.rho <= plain.high <= 1


def test_residual_ranks_have_no_mean_over_a_network() -> None:
    x, _ = drawn(7, 3, 0.0, 3)
    assert residual_ranks(x).mean(axis=1) == pytest.approx(np.zeros(7))
    assert residual_ranks(np.ones((5, 3))) == pytest.approx(np.zeros((5, 3)))


def test_the_permutation_of_networks_keeps_its_level_where_a_networks_epochs_hang_together() -> (
    None
):
    generator = np.random.default_rng(4)
    rejected = 0
    for _ in range(200):
        # Each network drifts: its epochs are no independent units.
        x, y = generator.normal(size=(2, 12, 6)).cumsum(axis=-1)
        rejected += partial_rank_correlation(x, y, permutations=199).p_positive <= 0.05
    assert rejected <= 20  # 5 % of 200, and three standard deviations


def test_the_interval_covers_the_correlation_of_many_networks() -> None:
    whole = partial_rank_correlation(*drawn(4000, 5, 0.5, 5), permutations=0).rho
    covered = 0
    for seed in range(100):
        found = partial_rank_correlation(*drawn(20, 5, 0.5, 100 + seed), permutations=0)
        covered += found.low <= whole <= found.high
    assert 88 <= covered <= 100


def test_a_planted_cause_carries_the_change_and_an_unrelated_measure_none() -> None:
    generator = np.random.default_rng(6)
    x = generator.normal(size=(20, 5)) + 2.0 * np.arange(5)
    y = -3.0 * x + 0.1 * generator.normal(size=(20, 5))
    found = mediated_change(x, y)
    assert found.total == pytest.approx(-24, abs=2)
    assert found.carried == pytest.approx(found.total, abs=0.5)
    assert found.low < found.carried < found.high
    other = mediated_change(generator.normal(size=(20, 5)) + 2.0 * np.arange(5), y)
    assert other.low < 0 < other.high


def test_few_networks_have_no_interval_and_damaged_tables_are_refused() -> None:
    found = partial_rank_correlation(*drawn(3, 4, 0.9, 7))
    assert np.isnan(found.low)
    assert "too few" in found.reason
    with pytest.raises(ValueError, match="not finite"):
        partial_rank_correlation([[1.0, np.nan], [0.0, 1.0]], np.ones((2, 2)))
    with pytest.raises(ValueError, match="two epochs or more"):
        partial_rank_correlation(np.ones((3, 1)), np.ones((3, 1)))
