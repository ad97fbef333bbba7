"""Over which subsets of the players a table has its columns, and the transforms between such tables.

A study computes from `values`: all scores v(x_T) where all 2^n masks were evaluated, else the Walsh
coefficients of low order that some of the masks gave. What is computed from them is the same.
"""

from __future__ import annotations

from functools import cached_property
from itertools import combinations

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from headstart.metrics.interactions import transform
from headstart.metrics.interactions.counterfactual import (
    reconstructed_scores,
    scores_without_players,
)

Table = Float[Tensor, "*batch subsets"]
Images = Float[Tensor, "images subsets"]


class AllSubsets:
    """All 2^n subsets of n ≤ 16 players; values are the scores v(x_T)."""

    def __init__(self, players: int) -> None:
        self.players = self.highest = players

    @cached_property
    def members(self) -> Bool[Tensor, "players subsets"]:
        """Whether player i belongs to a column's subset."""
        return transform.membership(self.players)

    @cached_property
    def sizes(self) -> Int64[Tensor, " subsets"]:
        """The order of every column, ∅ first, the highest last."""
        return self.members.sum(0)

    def mobius(self, values: Table) -> Float64[Tensor, "*batch subsets"]:
        """Return the AND interactions I(S) of some values."""
        return transform.mobius(values)

    def walsh(self, values: Table) -> Float64[Tensor, "*batch subsets"]:
        """Return the Walsh coefficients ŵ(S) of some values."""
        return transform.walsh(values)

    def values(self, coefficients: Table) -> Float64[Tensor, "*batch subsets"]:
        """Return the values of some Walsh coefficients."""
        return transform.walsh_values(coefficients)

    def noise(self, values: Images, share: float, generator: torch.Generator) -> Images:
        """Return what independent noise of a share of the standard deviation of v adds to the values."""
        drawn = torch.randn(values.shape, generator=generator, dtype=torch.float64)
        return share * values.std(-1, keepdim=True) * drawn

    def rebuilt(self, part: Images, empty: Float[Tensor, " images"]) -> Float[Tensor, "images 1"]:
        """Return v̂(N) from a part of the AND interactions and v(∅)."""
        return reconstructed_scores(part, empty)[:, -1:]

    def empty(self, values: Images) -> Float[Tensor, " images"]:
        """Return v(∅)."""
        return values[:, 0]

    def without(
        self, values: Images, ranking: Float[Tensor, "images players"], count: int
    ) -> Float[Tensor, " images"]:
        """Return v without the `count` players that rank highest."""
        return scores_without_players(values, ranking, count)


class LowOrder(AllSubsets):
    """Subsets of up to d of n players; values are Walsh coefficients, of a function of that degree.

    `masks` is the number of masks that they were fitted to.
    """

    def __init__(self, players: int, order: int, masks: int) -> None:
        super().__init__(players)
        self.highest, self.masks = min(order, players), masks

    @cached_property
    def members(self) -> Bool[Tensor, "players subsets"]:
        """Whether player i belongs to a column's subset."""
        return low_order_terms(self.players, self.highest).T.contiguous()

    @cached_property
    def _supersets(self) -> Tensor:
        """(−2)^{|S|} in row S and column U ⊇ S, sparse: I(S) = (−2)^{|S|} Σ_{U⊇S} ŵ(U)."""
        columns = [tuple(torch.nonzero(column).flatten().tolist()) for column in self.members.T]
        place = {subset: index for index, subset in enumerate(columns)}
        pairs = [
            (place[part], index)
            for index, subset in enumerate(columns)
            for size in range(len(subset) + 1)
            for part in combinations(subset, size)
        ]
        indices = torch.tensor(pairs).T
        weights = (-2.0) ** self.sizes[indices[0]].double()
        shape = len(columns), len(columns)
        return torch.sparse_coo_tensor(indices, weights, shape, check_invariants=True).coalesce()

    def mobius(self, values: Table) -> Float64[Tensor, "*batch subsets"]:
        """Return the AND interactions I(S) of some values: of no higher order than the coefficients."""
        flat = values.double().flatten(0, -2)
        return torch.sparse.mm(self._supersets, flat.T).T.contiguous().view(values.shape)

    def walsh(self, values: Table) -> Float64[Tensor, "*batch subsets"]:
        """Return the Walsh coefficients ŵ(S): the values."""
        return values.double()

    def values(self, coefficients: Table) -> Float64[Tensor, "*batch subsets"]:
        """Return the values of some Walsh coefficients: these."""
        return coefficients.double()

    def noise(self, values: Images, share: float, generator: torch.Generator) -> Images:
        """Return what independent noise of a share of the standard deviation of v adds to the values.

        A fit by least squares to k masks has 1/√k of it in every coefficient that it holds.
        """
        drawn = torch.randn(values.shape, generator=generator, dtype=torch.float64)
        deviation = values[:, 1:].square().sum(-1, keepdim=True).sqrt()
        return share * deviation * self.masks**-0.5 * drawn * (values != 0)

    def rebuilt(self, part: Images, empty: Float[Tensor, " images"]) -> Float[Tensor, "images 1"]:
        """Return v̂(N) from a part of the AND interactions and v(∅)."""
        return part[:, 1:].sum(-1, keepdim=True) + empty.unsqueeze(-1)

    def empty(self, values: Images) -> Float[Tensor, " images"]:
        """Return v(∅)."""
        return values.sum(-1)

    def without(
        self, values: Images, ranking: Float[Tensor, "images players"], count: int
    ) -> Float[Tensor, " images"]:
        """Return v without the `count` players that rank highest: an S has odd parity with few of them."""
        hidden = torch.zeros_like(ranking).scatter(-1, ranking.topk(count, dim=-1).indices, 1)
        shown = (1 - hidden) @ self.members.to(hidden)
        return (values * (1 - 2 * (shown % 2))).sum(-1)


def low_order_terms(players: int, order: int) -> Bool[Tensor, "terms players"]:
    """Return all subsets of up to `order` players, ∅ first, by ascending order."""
    chosen = [s for size in range(order + 1) for s in combinations(range(players), size)]
    terms = torch.zeros(len(chosen), players, dtype=torch.bool)
    for row, subset in enumerate(chosen):
        terms[row, list(subset)] = True
    return terms
