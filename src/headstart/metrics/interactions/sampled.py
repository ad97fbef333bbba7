"""Walsh coefficients of low order from some of the 2^n masks, for more players than a table can hold.

v(x_T) ≈ Σ_{|S|≤d} ŵ(S) (−1)^{|S∩T|} is fitted by LASSO: few coefficients are far from zero, and over random
masks the columns of the design are orthogonal but for chance. What the fit is worth is said by masks that
it never saw. The idea is that of SPEX (arXiv 2502.13870), which chooses its masks so that it can decode
terms of any order, where here they are drawn at random and the order is limited.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from headstart.metrics.interactions.transform import check_player_count, walsh_values

HELD_OUT = 0.2
FOLDS = 5
PENALTIES = 30
WELL_DETERMINED = 4
"""Masks per term from which a fit by least squares is worth more than the shrunken one."""


class SampledWalsh(NamedTuple):
    """Walsh coefficients of every image, and what share of the variance over unseen masks they explain."""

    terms: Bool[Tensor, "terms players"]
    coefficients: Float64[Tensor, "images terms"]
    r2: Float64[Tensor, " images"]

    @property
    def players(self) -> int:
        """The number of players, n."""
        return self.terms.shape[1]

    def scores(self, masks: Bool[Tensor, "masks players"]) -> Float64[Tensor, "images masks"]:
        """Return v̂(x_T) of any masks."""
        return self.coefficients @ signs(self.terms, masks).T

    def table(self) -> Float64[Tensor, "images subsets"]:
        """Return v̂(x_T) of all 2^n masks, in the order of a table; raise `ValueError` for n > 16."""
        check_player_count(self.players)
        indices = (self.terms.long() << torch.arange(self.players)).sum(1)
        found = self.coefficients.new_zeros(len(self.coefficients), 2**self.players)
        return walsh_values(found.index_add(1, indices, self.coefficients))

    def shapley(self) -> Float64[Tensor, "images players"]:
        """Return the Shapley values φ_i = −2 Σ_{S∋i, |S| odd} ŵ(S)/|S| of v̂.

        A term of even order gives its players nothing: parity is the same at ∅ and at N.
        """
        sizes = self.terms.sum(1).double()
        weights = torch.where(sizes % 2 == 1, -2 / sizes.clamp(min=1), 0.0)
        return (self.coefficients * weights) @ self.terms.double()


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


def low_order_terms(players: int, order: int) -> Bool[Tensor, "terms players"]:
    """Return all subsets of up to `order` players, ∅ first, by ascending order."""
    chosen = [s for size in range(order + 1) for s in combinations(range(players), size)]
    terms = torch.zeros(len(chosen), players, dtype=torch.bool)
    for row, subset in enumerate(chosen):
        terms[row, list(subset)] = True
    return terms


def signs(
    terms: Bool[Tensor, "terms players"], masks: Bool[Tensor, "masks players"]
) -> Float64[Tensor, "masks terms"]:
    """Return (−1)^{|S∩T|} for masks T and terms S."""
    return 1 - 2 * ((masks.double() @ terms.double().T) % 2)


def fit_walsh(
    values: Float[Tensor, "images masks"], masks: Bool[Tensor, "masks players"], order: int
) -> SampledWalsh:
    """Return the Walsh coefficients up to an order, from the scores of some masks.

    Every fifth mask is held out, and gives R²; on the others the penalty is chosen by cross-validation.
    Terms that LASSO keeps are fitted once more by least squares where there are enough masks for them.
    A constant image has R² NaN.
    """
    terms = low_order_terms(masks.shape[1], order)
    design = signs(terms, masks)[:, 1:]
    held = torch.arange(len(masks)) % round(1 / HELD_OUT) == round(1 / HELD_OUT) - 1
    fitted = [_fit(design[~held].numpy(), row.numpy()) for row in values.double()[:, ~held]]
    found = SampledWalsh(terms, torch.from_numpy(np.stack(fitted)), torch.empty(0))
    unseen = values.double()[:, held]
    residual = (unseen - found.scores(masks[held])).square().sum(1)
    whole = (unseen - unseen.mean(1, keepdim=True)).square().sum(1)
    return found._replace(r2=1 - residual / whole.masked_fill(whole == 0, torch.nan))


def _fit(design: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return intercept and coefficients of one image."""
    from sklearn.linear_model import LassoCV

    if np.ptp(values) == 0:
        return np.array([values[0], *np.zeros(design.shape[1])])
    lasso = LassoCV(
        alphas=PENALTIES, cv=FOLDS, precompute=design.shape[1] <= len(values), max_iter=5000
    ).fit(design, values)
    kept = np.flatnonzero(lasso.coef_)
    found = np.array([lasso.intercept_, *lasso.coef_])
    if 0 < len(kept) <= len(values) // WELL_DETERMINED:
        columns = np.concatenate([np.ones((len(values), 1)), design[:, kept]], axis=1)
        refitted = np.linalg.lstsq(columns, values, rcond=None)[0]
        found[np.concatenate([[0], kept + 1])] = refitted
    return found
