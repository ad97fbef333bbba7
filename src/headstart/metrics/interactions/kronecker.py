"""Linear maps on tables over subsets that act on every player alike: Kronecker powers."""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor


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
