"""The AND–OR split against a linear program, planted mixtures and its own certificate."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from headstart.metrics.interactions.and_or import and_or_split
from headstart.metrics.interactions.and_or_solver import kronecker_power, regularised_inverse
from headstart.metrics.interactions.decomposition import permute_within_orders, shared_effect
from headstart.metrics.interactions.shares import exclusivity
from headstart.metrics.interactions.transform import (
    mobius,
    or_interactions,
    or_values,
    orders,
    strength,
    zeta,
)


def mixtures(games: int, players: int, noise: float = 0.05) -> Tensor:
    generator = torch.Generator().manual_seed(players)
    tables = torch.zeros(2, games, 2**players, dtype=torch.float64)
    shape = (2, games, 4)
    chosen = torch.randint(1, 2**players, shape, generator=generator)
    weights = torch.randn(shape, generator=generator, dtype=torch.float64)
    tables.scatter_(-1, chosen, weights)
    values = zeta(tables[0]) + or_values(tables[1])
    return values + noise * torch.randn(values.shape, generator=generator, dtype=torch.float64)


def linear_program(values: Tensor, residual_fraction: float) -> float:
    """The least L1 norm over γ and δ, by a general solver; `values` is [2^n]."""
    size = len(values)
    identity = torch.eye(size, dtype=torch.float64)
    conjunction, disjunction = (
        transform(identity).T[1:].numpy() for transform in (mobius, or_interactions)
    )
    table = values.numpy()
    # I = matrix · (γ, δ) − target
    matrix = np.block([[conjunction, -conjunction / 2], [-disjunction, -disjunction / 2]])
    target = np.concatenate([-conjunction @ table / 2, -disjunction @ table / 2])
    count, unknowns = matrix.shape
    bound = residual_fraction * abs(table[-1] - table[0])
    result = linprog(
        np.r_[np.zeros(unknowns), np.ones(count)],
        A_ub=np.block([[matrix, -np.eye(count)], [-matrix, -np.eye(count)]]),
        b_ub=np.r_[target, -target],
        bounds=[(None, None)] * size + [(-bound, bound)] * size + [(0, None)] * count,
    )
    assert result.status == 0
    return float(result.fun)


@pytest.mark.parametrize("players", [2, 4, 6])
def test_the_optimum_is_that_of_a_linear_program(players: int) -> None:
    values = mixtures(3, players)
    split = and_or_split(values, tolerance=1e-4, max_iterations=20_000)
    for game in range(3):
        best = linear_program(values[game], 0.0)
        assert best * (1 - 1e-9) <= split.objective[game] <= best * (1 + 1e-4)


def test_the_optimum_with_a_residual_is_that_of_a_linear_program() -> None:
    values = mixtures(2, 4)
    split = and_or_split(values, 0.04, tolerance=2e-3)
    for game in range(2):
        best = linear_program(values[game], 0.04)
        assert best * (1 - 1e-9) <= split.objective[game] <= best * (1 + 2e-3)


def test_the_gap_bounds_the_distance_to_the_optimum_also_before_convergence() -> None:
    values = mixtures(3, 6)
    split = and_or_split(values, tolerance=1e-9, max_iterations=30)
    assert split.iterations == 30
    for game in range(3):
        best = linear_program(values[game], 0.0)
        assert split.objective[game] * (1 - split.gap[game]) <= best * (1 + 1e-9)


def test_planted_disjoint_and_and_or_pairs_are_recovered() -> None:
    conjunctions, disjunctions = torch.zeros(2, 1, 256, dtype=torch.float64)
    for pair, weight in {0b11: 2.0, 0b1100: -1.5}.items():
        conjunctions[0, pair] = weight
    for pair, weight in {0b110000: 1.0, 0b11000000: 3.0}.items():
        disjunctions[0, pair] = weight
    split = and_or_split(zeta(conjunctions) + or_values(disjunctions), tolerance=1e-6)
    torch.testing.assert_close(split.and_interactions, conjunctions, atol=1e-4, rtol=0)
    torch.testing.assert_close(split.or_interactions, disjunctions, atol=1e-4, rtol=0)


@pytest.mark.parametrize("residual_fraction", [0.0, 0.03])
def test_the_parts_explain_the_scores_up_to_the_bounded_residual(residual_fraction: float) -> None:
    values = mixtures(3, 6)
    split = and_or_split(values, residual_fraction, max_iterations=200)
    explained = zeta(split.and_interactions) + or_values(split.or_interactions)
    torch.testing.assert_close(explained + split.residual, values)
    bound = residual_fraction * (values[..., -1:] - values[..., :1]).abs()
    assert (split.residual.abs() <= bound + 1e-12).all()


def test_what_two_networks_share_is_not_taken_out_of_both() -> None:
    one = mixtures(3, 5)
    alone, beside = and_or_split(one), and_or_split(torch.cat([one, mixtures(3, 5) + one]))
    # A game's split is its own, whatever other games are solved with it.
    torch.testing.assert_close(alone.objective, beside.objective[:3], rtol=2e-3, atol=0)


def test_independent_networks_share_what_their_permuted_interactions_share() -> None:
    generator = torch.Generator().manual_seed(0)
    values = zeta(torch.randn(3, 40, 128, generator=generator, dtype=torch.float64))
    split = and_or_split(values, max_iterations=1000)
    first, second, third = torch.stack([split.and_interactions, split.or_interactions], 2)
    preserved = shared_effect(first, second)
    measured = exclusivity(preserved, third)
    by_chance = exclusivity(preserved, permute_within_orders(third, generator))
    found, null = (float(s.parts[:, 0].sum() / s.wholes[:, 0].sum()) for s in (measured, by_chance))
    assert found == pytest.approx(null, abs=0.02)


def test_singletons_are_merged_into_and() -> None:
    split = and_or_split(mixtures(2, 5))
    assert split.or_interactions[..., orders(5) <= 1].abs().max() == 0


def test_the_objective_is_at_most_that_of_and_or_of_or_alone() -> None:
    values = mixtures(4, 7)
    split = and_or_split(values)
    for transform in (mobius, or_interactions):
        assert (split.objective <= strength(transform(values)) * (1 + 1e-3)).all()
    merged = strength(split.and_interactions) + strength(split.or_interactions)
    torch.testing.assert_close(split.objective, merged)


def test_a_residual_lowers_the_objective() -> None:
    values = mixtures(3, 5)
    smaller = and_or_split(values, 0.04, max_iterations=300).objective
    assert (smaller < and_or_split(values).objective).all()


def test_a_constant_network_has_no_interactions_and_no_gap() -> None:
    values = torch.full((1, 16), 3.5)
    for residual_fraction in (0.0, 0.04):
        split = and_or_split(values, residual_fraction)
        assert split.objective.item() == split.gap.item() == 0
        assert split.and_interactions[..., 0].tolist() == [3.5]


def test_scaled_scores_have_the_scaled_split() -> None:
    values = mixtures(2, 5)
    first, second = and_or_split(values), and_or_split(1000 * values)
    torch.testing.assert_close(1000 * first.and_interactions, second.and_interactions)


def test_unusable_settings_are_refused() -> None:
    values = mixtures(1, 3)
    with pytest.raises(ValueError, match="0 or more"):
        and_or_split(values, -0.1)
    with pytest.raises(ValueError, match="NaN or infinite"):
        and_or_split(values * torch.nan)
    with pytest.raises(ValueError, match="at least one player"):
        and_or_split(torch.zeros(1, 1))


@pytest.mark.parametrize("players", [0, 1, 3, 6])
def test_kronecker_maps_equal_their_dense_matrices(players: int) -> None:
    matrix = torch.tensor([[1.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    power = kronecker_power(matrix, players, torch.device("cpu"))
    dense = power(torch.eye(2**players, dtype=torch.float64)).T
    expected = torch.eye(1, dtype=torch.float64)
    for _ in range(players):
        expected = torch.kron(matrix, expected)
    torch.testing.assert_close(dense, expected)
    inverse = regularised_inverse(matrix, players, torch.device("cpu"))
    table = torch.randn(3, 2**players, dtype=torch.float64)
    system = 2 * torch.eye(2**players, dtype=torch.float64) + 0.5 * dense @ dense.T
    torch.testing.assert_close(inverse(table, 2.0, 0.5) @ system, table)
