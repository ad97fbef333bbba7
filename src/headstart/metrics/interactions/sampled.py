"""Walsh coefficients of low order from some of the masks, for more players than a table can hold.

v(x_T) ≈ Σ_{|S|≤d} ŵ(S) (−1)^{|S∩T|} is fitted by orthogonal matching pursuit: few coefficients are far from
zero, and over random masks the columns of the design are orthogonal but for chance. Several networks are
fitted on one support, so that a coefficient that is small in one of them is estimated there too. What the
fit is worth is said by masks that it never saw. The idea is that of SPEX (arXiv 2502.13870), which chooses
its masks so that it can decode terms of any order, where here they are drawn at random, the same for all
networks, and the order is limited.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

PARTS = 5
"""Of five masks one is held out, and one decides how many terms the others are to choose."""
PATIENCE, PATIENCE_SHARE = 20, 0.15
"""So many terms more than the best number so far are tried, and this share of it."""
EXACT = 1e-10
"""Of the variance: what is left of a function that the terms hold exactly, in float32."""


class Fit(NamedTuple):
    """Walsh coefficients of several networks on one image."""

    terms: Int64[Tensor, " terms"]
    """Columns of the design, ∅ first."""
    coefficients: Float64[Tensor, "networks terms"]
    r2: Float64[Tensor, " networks"]
    """Share of the variance over masks that the fit never saw; NaN for a constant network."""
    variance: Float64[Tensor, " networks"]
    """The variance over these masks."""


def draw_masks(
    players: int, number: int, generator: torch.Generator
) -> Bool[Tensor, "masks players"]:
    """Return different masks, each player visible in half of them; ∅ and N are the first two.

    Raises:
        ValueError: more masks than there are.
    """
    if number > 2**players:
        raise ValueError(f"{number} masks are requested, {players} players have {2**players}")
    ends = torch.tensor([[False], [True]]).expand(2, players)
    drawn = ends
    while len(drawn) < number:
        more = torch.rand(number, players, generator=generator) < 0.5
        drawn = torch.cat([drawn, more])
        first = np.sort(np.unique(drawn.numpy(), axis=0, return_index=True)[1])
        drawn = drawn[torch.from_numpy(first)]
    return drawn[:number]


def signs(
    terms: Bool[Tensor, "terms players"],
    masks: Bool[Tensor, "masks players"],
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "masks terms"]:
    """Return (−1)^{|S∩T|} for masks T and terms S."""
    return 1 - 2 * ((masks.to(dtype) @ terms.to(dtype).T) % 2)


class Design:
    """The columns (−1)^{|S∩T|} of all terms S, ∅ first, at some masks T; the same for all networks and images."""

    def __init__(
        self, masks: Bool[Tensor, "masks players"], terms: Bool[Tensor, "terms players"]
    ) -> None:
        part = torch.arange(len(masks)) % PARTS
        self.held, self.chooses, self.tells = part == 4, part < 3, part == 3
        columns = signs(terms, masks, torch.float32)
        self.columns = columns
        self._choosing = columns[self.chooses].T.contiguous()
        self._telling = columns[self.tells]

    def fit(self, values: Float[Tensor, "networks masks"]) -> Fit:
        """Return the coefficients of all networks on the terms that any of them needs, by least squares."""
        values = values.double()
        terms = torch.tensor([0, *self._choose(values)])
        columns = self.columns[:, terms].double()
        solved = torch.linalg.lstsq(columns[~self.held], values[:, ~self.held].T).solution.T
        unseen = values[:, self.held]
        residual = (unseen - solved @ columns[self.held].T).square().mean(1)
        variance = unseen.var(1, correction=0)
        r2 = 1 - residual / variance.masked_fill(variance == 0, torch.nan)
        return Fit(terms, solved, r2, variance)

    def _choose(self, values: Float64[Tensor, "networks masks"]) -> list[int]:
        """Return terms, one after another that which explains most of what is left of any network.

        So many as explain the masks best that do not choose.
        """
        values = values - values[:, self.chooses].mean(1, keepdim=True)
        norm = values[:, self.chooses].norm(dim=1, keepdim=True)
        scaled = (values / norm.where(norm > 0, 1)).float()
        choosing, left = scaled[:, self.chooses].T, scaled[:, self.tells].T.clone()
        products = self._choosing @ choosing
        basis = Orthogonal(choosing.shape[0], left.shape[0])
        energy = float(choosing.square().sum())
        rest, best, number, chosen = energy, float(left.square().sum()), 0, []
        open_terms = torch.ones(len(products), dtype=torch.bool)
        open_terms[0] = False
        while len(basis) < choosing.shape[0] // 2 and rest > EXACT * energy:
            strengths = products.abs().amax(1).where(open_terms, 0)
            term = int(strengths.argmax())
            if not float(strengths[term]):
                break
            open_terms[term] = False
            pair = basis.add(self._choosing[term], self._telling[:, term])
            if pair is None:
                continue
            column, told = pair
            weights = column @ choosing
            products.addr_(self._choosing @ column, weights, alpha=-1)
            left.addr_(told, weights, alpha=-1)
            rest -= float(weights.square().sum())
            chosen.append(term)
            if float(left.square().sum()) < best:
                best, number = float(left.square().sum()), len(chosen)
            elif len(chosen) > number * (1 + PATIENCE_SHARE) + PATIENCE:
                break
        return chosen[:number]


class Orthogonal:
    """Columns made orthogonal one after another, and the same combinations of their values elsewhere."""

    def __init__(self, rows: int, others: int) -> None:
        self._columns = torch.empty(rows // 2 + 1, rows)
        self._elsewhere = torch.empty(rows // 2 + 1, others)
        self._columns[0], self._elsewhere[0] = rows**-0.5, rows**-0.5
        self._number = 1

    def __len__(self) -> int:
        return self._number - 1

    def add(self, column: Tensor, elsewhere: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the new part of a column, of norm 1, and its values elsewhere; None where nothing is new."""
        known, there = self._columns[: self._number], self._elsewhere[: self._number]
        parts = known @ column
        new, other = column - parts @ known, elsewhere - parts @ there
        norm = float(new.norm())
        if norm < 1e-3 * len(column) ** 0.5:
            return None
        self._columns[self._number], self._elsewhere[self._number] = new / norm, other / norm
        self._number += 1
        return self._columns[self._number - 1], self._elsewhere[self._number - 1]
