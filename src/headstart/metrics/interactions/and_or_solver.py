"""Douglas–Rachford splitting for the AND–OR problem, with exact projections and a duality-gap stop.

Copies of I_and, I_or and w obey the linear relations of `and_or`, a second copy of w is the Möbius
transform of the scores v' within their bounds, and the two copies of w agree. All linear solves are
Kronecker powers.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from headstart.metrics.interactions.transform import without_empty_set


class KroneckerPower(NamedTuple):
    """The n-th Kronecker power of a 2 × 2 matrix, in two factors: one for each half of the players."""

    high: Float64[Tensor, "high high"]
    low: Float64[Tensor, "low low"]

    @property
    def transposed(self) -> "KroneckerPower":
        """The transpose."""
        return KroneckerPower(self.high.mT, self.low.mT)

    def __call__(
        self, table: Float64[Tensor, "*batch subsets"]
    ) -> Float64[Tensor, "*batch subsets"]:
        """Apply the map to the last axis, in O(2^(3n/2)) operations and two matrix products."""
        square = table.unflatten(-1, (len(self.high), len(self.low)))
        return (self.high @ square @ self.low.mT).flatten(-2)


class RegularisedInverse(NamedTuple):
    """(a·I + b·AAᵀ)⁻¹ for a Kronecker power A, through the orthogonal eigenvectors of AAᵀ."""

    vectors: KroneckerPower
    eigenvalues: Float64[Tensor, " subsets"]

    def __call__(
        self, table: Float64[Tensor, "*batch subsets"], identity: float, factor: float
    ) -> Float64[Tensor, "*batch subsets"]:
        """Solve (a·I + b·AAᵀ) x = table for a = `identity` and b = `factor`."""
        coordinates = self.vectors.transposed(table)
        return self.vectors(coordinates / (identity + factor * self.eigenvalues))


def kronecker_power(
    matrix: Float64[Tensor, "2 2"], players: int, device: torch.device
) -> KroneckerPower:
    """Return the n-th Kronecker power; index bit i of a table's last axis is player i."""
    matrix = matrix.to(device)
    return KroneckerPower(_power(matrix, players - players // 2), _power(matrix, players // 2))


def regularised_inverse(
    matrix: Float64[Tensor, "2 2"], players: int, device: torch.device
) -> RegularisedInverse:
    """Return the solver for (a·I + b·AAᵀ), where A is the n-th Kronecker power of `matrix`."""
    values, vectors = torch.linalg.eigh(matrix @ matrix.mT)
    spectrum = torch.ones(1, dtype=torch.float64)
    for _ in range(players):
        spectrum = torch.cat([spectrum * values[0], spectrum * values[1]])
    return RegularisedInverse(kronecker_power(vectors, players, device), spectrum.to(device))


def _power(matrix: Tensor, players: int) -> Tensor:
    result = matrix.new_ones(1, 1)
    for _ in range(players):
        result = torch.kron(result, matrix)
    return result


STEP = 0.3  # in units of the mean |I(S)|
RELAXATION = 1.8
SCORE_WEIGHT = 0.3  # weight of w = Mv' against that of v' in the projection
CHECK_EVERY = 25

Table = Float64[Tensor, "*batch subsets"]


class Problem(NamedTuple):
    """Scores v with v(∅) = 0 and mean |I(S)| = 1, and the bounds ε on the residual."""

    scores: Table
    bound: Float64[Tensor, "*batch 1"]
    exact: bool
    """Whether every bound is zero."""


class Iterate(NamedTuple):
    """The solver's variables: I_and, I_or, two copies of w, and v'; in the problem's units."""

    and_interactions: Table
    or_interactions: Table
    whole: Table
    whole_copy: Table
    scores: Table


class Certificate(NamedTuple):
    """A feasible split, and the relative gap between its L1 norm and a proven lower bound."""

    and_interactions: Table
    or_interactions: Table
    scores: Table
    norm: Float64[Tensor, "*batch"]
    gap: Float64[Tensor, "*batch"]


class Operators(NamedTuple):
    """M and Q, with solvers for combinations of I with QQᵀ, QᵀQ and MᵀM."""

    transform: KroneckerPower
    mixing: KroneckerPower
    mixing_rows: RegularisedInverse
    mixing_columns: RegularisedInverse
    transform_columns: RegularisedInverse


def operators(players: int, device: torch.device) -> Operators:
    """Return the operators for n players."""
    transform = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    mixing = torch.tensor([[1.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    return Operators(
        kronecker_power(transform, players, device),
        kronecker_power(mixing, players, device),
        regularised_inverse(mixing, players, device),
        regularised_inverse(mixing.mT, players, device),
        regularised_inverse(transform.mT, players, device),
    )


def solve(problem: Problem, tolerance: float, max_iterations: int) -> tuple[Certificate, int]:
    """Iterate until every game's gap is within the tolerance; return the split and the steps taken."""
    maps = operators(problem.scores.shape[-1].bit_length() - 1, problem.scores.device)
    whole = maps.transform(problem.scores)
    state = Iterate(whole / 2, -maps.mixing(whole) / 2, whole, whole, problem.scores)
    for iteration in range(1, max_iterations + 1):
        projected = _project(maps, problem, state)
        reflected = Iterate(*(2 * new - old for new, old in zip(projected, state, strict=True)))
        shrunk = _shrink(problem, reflected)
        if iteration % CHECK_EVERY == 0 or iteration == max_iterations:
            certificate = _certify(maps, problem, projected, reflected, shrunk)
            if bool((certificate.gap <= tolerance).all()):
                break
        state = Iterate(
            *(
                old + RELAXATION * (new - middle)
                for old, new, middle in zip(state, shrunk, projected, strict=True)
            )
        )
    return certificate, iteration


def _project(maps: Operators, problem: Problem, point: Iterate) -> Iterate:
    """The nearest point that obeys I_and − Q I_or = w, with w fixed where there is no residual."""
    free = 0.0 if problem.exact else 1.0
    excess = point.and_interactions - maps.mixing(point.or_interactions) - point.whole
    multiplier = maps.mixing_rows(excess, 1 + free, 1.0)
    return Iterate(
        point.and_interactions - multiplier,
        point.or_interactions + maps.mixing.transposed(multiplier),
        point.whole + free * multiplier,
        *_project_scores(maps, problem, point),
    )


def _project_scores(maps: Operators, problem: Problem, point: Iterate) -> tuple[Tensor, Tensor]:
    if problem.exact:
        return point.whole_copy, point.scores
    misfit = maps.transform.transposed(point.whole_copy - maps.transform(point.scores))
    change = maps.transform_columns(SCORE_WEIGHT * misfit, 1.0, SCORE_WEIGHT)
    scores = point.scores + change
    return maps.transform(scores), scores


def _shrink(problem: Problem, point: Iterate) -> Iterate:
    """Shrink interactions of S ≠ ∅, clamp scores to their bounds, average the two copies of w."""
    conjunctions, disjunctions = (
        torch.cat([part[..., :1], torch.nn.functional.softshrink(part[..., 1:], STEP)], dim=-1)
        for part in point[:2]
    )
    if problem.exact:
        return Iterate(conjunctions, disjunctions, *point[2:])
    whole = (point.whole + point.whole_copy) / 2
    return Iterate(conjunctions, disjunctions, whole, whole, _within_bounds(problem, point.scores))


def _within_bounds(problem: Problem, scores: Tensor) -> Tensor:
    return scores.clamp(problem.scores - problem.bound, problem.scores + problem.bound)


def _certify(
    maps: Operators, problem: Problem, projected: Iterate, reflected: Iterate, shrunk: Iterate
) -> Certificate:
    scores = problem.scores if problem.exact else _within_bounds(problem, projected.scores)
    whole = maps.transform(scores)
    theta = projected.or_interactions + maps.mixing(whole) / 2
    conjunctions, disjunctions = whole / 2 + maps.mixing(theta), theta - maps.mixing(whole) / 2
    norm = conjunctions[..., 1:].abs().sum(-1) + disjunctions[..., 1:].abs().sum(-1)
    lower = _lower_bound(maps, problem, reflected, shrunk)
    gap = torch.where(norm > 0, (norm - lower) / norm.where(norm > 0, 1), 0)
    return Certificate(conjunctions, disjunctions, scores, norm, gap)


def _lower_bound(maps: Operators, problem: Problem, reflected: Iterate, shrunk: Iterate) -> Tensor:
    """The dual value of feasible multipliers of I_and, I_or: |λ|, |μ| ≤ 1 and Qᵀλ + μ = 0."""
    lagrange_and = (reflected.and_interactions - shrunk.and_interactions) / STEP
    lagrange_or = (reflected.or_interactions - shrunk.or_interactions) / STEP
    imbalance = maps.mixing.transposed(lagrange_and) + lagrange_or
    lagrange_and = lagrange_and - maps.mixing(maps.mixing_columns(imbalance, 1.0, 1.0))
    lagrange_and = without_empty_set(lagrange_and)
    lagrange_or = -maps.mixing.transposed(lagrange_and)
    largest = torch.maximum(lagrange_and.abs(), lagrange_or.abs())[..., 1:].amax(-1)
    scores_dual = maps.transform.transposed(lagrange_and - maps.mixing.transposed(lagrange_or)) / 2
    value = (scores_dual * problem.scores - problem.bound * scores_dual.abs()).sum(-1)
    return value / largest.clamp(min=1)
