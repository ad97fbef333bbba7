"""Intervals over images: CKA on many half-samples of them, from products of Grams with what was drawn.

A half-sample scatters about the whole as the whole does about the truth. It has no duplicates, which would
look similar to themselves and bias debiased similarity, as a bootstrap does.

HSIC of the images S needs Σ K∘L, the sums of rows, and the diagonals over S alone (Song et al. 2012, as in
`headstart.metrics.representations.similarity`), so that all half-samples together are three matrix products
for each pair of Grams and nothing is centred, or copied, anew.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from headstart.metrics.representations.similarity import MINIMUM_IMAGES, RELATIVE_FLOOR

FEWEST = 2 * MINIMUM_IMAGES
"""Images that half-samples need."""
FORMS = (True, False)
"""Debiased, biased: the order of the first dimension of what is drawn."""
Members = Float64[Tensor, "images draws"]


def half_samples(images: int, generator: torch.Generator, resamples: int = 200) -> Members:
    """Return who belongs to each of `resamples` halves of the images: 1, others 0.

    Raises:
        ValueError: fewer than 8 images.
    """
    if images < FEWEST:
        raise ValueError(
            f"an interval from half-samples needs at least {FEWEST} images, found {images}"
        )
    members = torch.zeros(images, resamples, dtype=torch.float64)
    for draw in range(resamples):
        order = torch.randperm(images, generator=generator, device=generator.device)
        members[order[: images // 2].cpu(), draw] = 1
    return members


class SampledGrams:
    """Grams of any layers with what CKA on the half-samples needs of each alone."""

    def __init__(self, grams: Float64[Tensor, "*layers images images"], members: Members) -> None:
        self.grams, self.members = grams, members
        self.diagonal = grams.diagonal(dim1=-2, dim2=-1)
        self.rows = (grams @ members) * members
        own, squares = self._hsic(self), self._sums(self)[0]
        floor = RELATIVE_FLOOR**2 * squares
        self.lengths = torch.where(own > floor, own, torch.nan).sqrt()

    def cka(self, other: "SampledGrams") -> Float64[Tensor, "forms *layers draws"]:
        """Return CKA, layer by layer, on every half-sample; NaN where it is undefined."""
        return self._hsic(other) / (self.lengths * other.lengths)

    def _sums(self, other: "SampledGrams") -> tuple[Tensor, Tensor]:
        """Return Σ K∘L over the members of each half-sample, with the diagonals and of these alone."""
        cells = ((self.grams * other.grams) @ self.members * self.members).sum(-2)
        return cells, (self.diagonal * other.diagonal) @ self.members

    def _hsic(self, other: "SampledGrams") -> Float64[Tensor, "forms *layers draws"]:
        """Return HSIC in both forms, but for a factor that CKA does not have."""
        cells, diagonal = self._sums(other)
        mine, others = (e.rows - e.diagonal[..., None] * self.members for e in (self, other))
        count = int(self.members[:, 0].sum())
        return torch.stack(
            [
                hsic_of_sums(cells - diagonal, mine, others, count, True),
                hsic_of_sums(cells, self.rows, other.rows, count, False),
            ]
        )


def cka_draws(
    xs: Float64[Tensor, "*seeds xs images images"], ys: SampledGrams
) -> Float64[Tensor, "forms *seeds xs ys draws"]:
    """Return CKA of every layer of one network with every layer of another, on every half-sample."""
    layers = (SampledGrams(x, ys.members) for x in xs.split(1, dim=-3))
    return torch.stack([layer.cka(ys) for layer in layers], dim=-3)


def hsic_of_sums(
    cells: Float64[Tensor, "*samples"],
    rows: Float64[Tensor, "..."],
    others: Float64[Tensor, "..."],
    count: int,
    debiased: bool,
) -> Float64[Tensor, "*samples"]:
    """Return HSIC of K and L, but for a factor that CKA does not have, from Σ K∘L and their sums of rows.

    Rows stand in the last dimension but one; the debiased form wants Grams without their diagonals.
    """
    both, totals = (rows * others).sum(-2), rows.sum(-2) * others.sum(-2)
    if debiased:
        return cells - 2 / (count - 2) * both + totals / ((count - 1) * (count - 2))
    return cells - 2 / count * both + totals / count**2


def ends(
    value: Float64[Tensor, "*cells"],
    draws: Float64[Tensor, "draws ..."],
    confidence: float = 0.95,
) -> tuple[Float64[Tensor, "*cells"], Float64[Tensor, "*cells"]]:
    """Return the ends of the interval about a value, from its scatter over half-samples.

    NaN where a half-sample is undefined.
    """
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=value.dtype)
    lower, upper = (draws - draws.mean(0)).quantile(tails.to(value.device), dim=0)
    return value + lower, value + upper
