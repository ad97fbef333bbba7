"""The AND–OR split against a linear program, planted mixtures and its own certificate."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy.optimize import linprog
from torch import Tensor

from headstart.metrics.interactions.and_or import and_or_split
from headstart.metrics.interactions.and_or_solver import kronecker_power, regularised_inverse
from headstart.metrics.interactions.transform import (
    mobius,
    or_interactions,
    or_values,
    orders,
    strength,
    zeta,
)


def mixtures(games: int, networks: int, players: int, noise: float = 0.05) -> Tensor:
    generator = torch.Generator().manual_seed(players)
    tables = torch.zeros(2, games, networks, 2**players, dtype=torch.float64)
    shape = (2, games, networks, 4)
    chosen = torch.randint(1, 2**players, shape, generator=generator)
    weights = torch.randn(shape, generator=generator, dtype=torch.float64)
    tables.scatter_(-1, chosen, weights)
    values = zeta(tables[0]) + or_values(tables[1])
    return values + noise * torch.randn(values.shape, generator=generator, dtype=torch.float64)


def linear_program(values: Tensor, residual_fraction: float) -> float:
    """The least L1 norm over γ and δ, by a general solver; `values` is [networks, 2^n]."""
    networks, size = values.shape
    identity = torch.eye(size, dtype=torch.float64)
    conjunction, disjunction = (
        transform(identity).T[1:].numpy() for transform in (mobius, or_interactions)
    )
    rows, targets = [], []
    for network, table in enumerate(values.numpy()):
        own = np.eye(networks)[network]
        rows += [np.hstack([conjunction, np.kron(own, -conjunction / 2)])]
        rows += [np.hstack([-disjunction, np.kron(own, -disjunction / 2)])]
        targets += [-conjunction @ table / 2, -disjunction @ table / 2]
    matrix, target = np.vstack(rows), np.concatenate(targets)  # I = matrix · (γ, δ) − target
    count, unknowns = matrix.shape
    bounds = [(None, None)] * size
    for table in values.numpy():
        bound = residual_fraction * abs(table[-1] - table[0])
        bounds += [(-bound, bound)] * size
    result = linprog(
        np.r_[np.zeros(unknowns), np.ones(count)],
        A_ub=np.block([[matrix, -np.eye(count)], [-matrix, -np.eye(count)]]),
        b_ub=np.r_[target, -target],
        bounds=bounds + [(0, None)] * count,
    )
    assert result.status == 0
    return float(result.fun)


@pytest.mark.parametrize("players", [2, 4, 6])
@pytest.mark.parametrize("networks", [1, 3])
def test_the_optimum_is_that_of_a_linear_program(players: int, networks: int) -> None:
    values = mixtures(2, networks, players)
    split = and_or_split(values, tolerance=1e-4, max_iterations=20_000)
    for game in range(2):
        best = linear_program(values[game], 0.0)
        assert best * (1 - 1e-9) <= split.objective[game] <= best * (1 + 1e-4)


@pytest.mark.parametrize("networks", [1, 2])
def test_the_optimum_with_a_residual_is_that_of_a_linear_program(networks: int) -> None:
    values = mixtures(2, networks, 4)
    split = and_or_split(values, 0.04, tolerance=2e-3)
    for game in range(2):
        best = linear_program(values[game], 0.04)
        assert best * (1 - 1e-9) <= split.objective[game] <= best * (1 + 2e-3)


def test_the_gap_bounds_the_distance_to_the_optimum_also_before_convergence() -> None:
    values = mixtures(3, 1, 6)
    split = and_or_split(values, tolerance=1e-9, max_iterations=30)
    assert split.iterations == 30
    for game in range(3):
        best = linear_program(values[game], 0.0)
        assert split.objective[game] * (1 - split.gap[game]) <= best * (1 + 1e-9)


def test_planted_disjoint_and_and_or_pairs_are_recovered() -> None:
    conjunctions, disjunctions = torch.zeros(2, 1, 1, 256, dtype=torch.float64)
    for pair, weight in {0b11: 2.0, 0b1100: -1.5}.items():
        conjunctions[0, 0, pair] = weight
    for pair, weight in {0b110000: 1.0, 0b11000000: 3.0}.items():
        disjunctions[0, 0, pair] = weight
    split = and_or_split(zeta(conjunctions) + or_values(disjunctions), tolerance=1e-6)
    torch.testing.assert_close(split.and_interactions, conjunctions, atol=1e-4, rtol=0)
    torch.testing.assert_close(split.or_interactions, disjunctions, atol=1e-4, rtol=0)


@pytest.mark.parametrize("residual_fraction", [0.0, 0.03])
def test_the_parts_explain_the_scores_up_to_the_bounded_residual(residual_fraction: float) -> None:
    values = mixtures(3, 2, 6)
    split = and_or_split(values, residual_fraction, max_iterations=200)
    explained = zeta(split.and_interactions) + or_values(split.or_interactions)
    torch.testing.assert_close(explained + split.residual, values)
    bound = residual_fraction * (values[..., -1:] - values[..., :1]).abs()
    assert (split.residual.abs() <= bound + 1e-12).all()


def test_networks_of_a_game_share_gamma() -> None:
    values = mixtures(2, 3, 5)
    split = and_or_split(values)
    merged = orders(5) == 1
    gamma = split.and_interactions - mobius(values) / 2
    gamma = gamma.masked_fill(merged, 0)[..., 1:]
    torch.testing.assert_close(gamma, gamma[:, :1].expand_as(gamma))


def test_singletons_are_merged_into_and() -> None:
    split = and_or_split(mixtures(2, 1, 5))
    assert split.or_interactions[..., orders(5) <= 1].abs().max() == 0


def test_the_objective_is_at_most_that_of_and_or_of_or_alone() -> None:
    values = mixtures(4, 1, 7)
    split = and_or_split(values)
    for transform in (mobius, or_interactions):
        assert (split.objective <= strength(transform(values)).sum(-1) * (1 + 1e-3)).all()
    merged = strength(split.and_interactions) + strength(split.or_interactions)
    torch.testing.assert_close(split.objective, merged.sum(-1))


def test_a_residual_lowers_the_objective() -> None:
    values = mixtures(3, 1, 5)
    smaller = and_or_split(values, 0.04, max_iterations=300).objective
    assert (smaller < and_or_split(values).objective).all()


def test_a_constant_network_has_no_interactions_and_no_gap() -> None:
    values = torch.full((1, 2, 16), 3.5)
    for residual_fraction in (0.0, 0.04):
        split = and_or_split(values, residual_fraction)
        assert split.objective.item() == split.gap.item() == 0
        assert split.and_interactions[..., 0].tolist() == [[3.5, 3.5]]


def test_scaled_scores_have_the_scaled_split() -> None:
    values = mixtures(2, 1, 5)
    first, second = and_or_split(values), and_or_split(1000 * values)
    torch.testing.assert_close(1000 * first.and_interactions, second.and_interactions)


def test_a_warm_start_needs_fewer_iterations() -> None:
    values = mixtures(5, 1, 8)
    first = and_or_split(values)
    nearby = values * 1.02 + 1e-3 * mixtures(5, 1, 8, noise=1.0)
    assert and_or_split(nearby, start=first.state).iterations < and_or_split(nearby).iterations


def test_unusable_settings_and_starts_are_refused() -> None:
    values = mixtures(1, 1, 3)
    with pytest.raises(ValueError, match="0 or more"):
        and_or_split(values, -0.1)
    with pytest.raises(ValueError, match="NaN or infinite"):
        and_or_split(values * torch.nan)
    with pytest.raises(ValueError, match="at least one player"):
        and_or_split(torch.zeros(1, 1, 1))
    with pytest.raises((ValueError, TypeCheckError)):
        and_or_split(values, start=and_or_split(mixtures(1, 1, 4)).state)


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
