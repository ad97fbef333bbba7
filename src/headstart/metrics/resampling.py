"""Ratios over images and means, with the same bootstrap draws of images for every measure.

Measures that share their draws can be combined draw by draw, so that a difference, or an excess over
a null relative to a ceiling, has an interval that knows how its terms vary together.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from headstart.metrics.knowledge_nulls import excess_over_null


class Estimate(NamedTuple):
    """A measure of each network (seed) at each of k levels, and the same under resampling of images."""

    points: Float64[Tensor, "seeds levels"]
    draws: Float64[Tensor, "seeds resamples levels"]
    images: Int64[Tensor, "seeds levels"]
    """How many images the measure is defined on."""
    undefined: Int64[Tensor, "seeds levels"]
    """On how many of those looked at it is not."""

    def pooled(self) -> Estimate:
        """Return the mean over the networks where it is defined, as of one network."""
        return Estimate(
            self.points.nanmean(0, keepdim=True),
            self.draws.nanmean(0, keepdim=True),
            self.images.sum(0, keepdim=True),
            self.undefined.sum(0, keepdim=True),
        )

    def interval(self, level: float) -> Float64[Tensor, "2 levels"]:
        """Return the percentile interval of the mean over networks; it speaks for these networks."""
        tails = self.draws.new_tensor([(1 - level) / 2, (1 + level) / 2])
        return self.draws.nanmean(0).nanquantile(tails, dim=0)

    def of(self, seed: int) -> Estimate:
        """Return the measure of one network."""
        return Estimate(*(part[seed : seed + 1] for part in self))


class Resampling:
    """Draws of images with replacement, as counts; every measure of a study gets the same ones."""

    def __init__(self, images: int, resamples: int, generator: torch.Generator) -> None:
        """Draw.

        Raises:
            ValueError: no image, or no draw.
        """
        if images < 1 or resamples < 1:
            raise ValueError(f"{images} images and {resamples} resamples: one of each is the least")
        drawn = torch.randint(images, (resamples, images), generator=generator)
        counts = torch.zeros(resamples, images, dtype=torch.float64)
        self.counts = counts.scatter_add_(1, drawn, torch.ones_like(counts))

    def ratio(
        self,
        parts: Float[Tensor, "seeds images levels"],
        wholes: Float[Tensor, "seeds images levels"],
    ) -> Estimate:
        """Return Σ_x part / Σ_x whole of every network; an image with NaN, or a whole of 0, is left out.

        An image whose whole is NaN was not looked at: it does not count as undefined.
        """
        looked = ~wholes.isnan()
        defined = looked & (wholes > 0) & ~parts.isnan()
        numbers = torch.stack([parts.where(defined, 0), wholes.where(defined, 0)]).double()
        sums = torch.einsum("ri,nsik->nsrk", self.counts, numbers)
        totals = numbers.sum(2)
        return Estimate(
            totals[0] / totals[1],
            sums[0] / sums[1],
            defined.sum(1),
            (looked & ~defined).sum(1),
        )

    def mean(self, values: Float[Tensor, "seeds images levels"], looked: Tensor) -> Estimate:
        """Return the mean over the images looked at [seeds, images] on which a value is defined."""
        ones = torch.ones_like(values).where(looked.unsqueeze(-1), torch.nan)
        return self.ratio(values, ones)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first − second, draw by draw."""
    return first._replace(points=first.points - second.points, draws=first.draws - second.draws)


def excess(value: Estimate, null: Estimate, ceiling: Estimate) -> Estimate:
    """Return (value − null) / (ceiling − null), draw by draw; see `excess_over_null`.

    The three are averaged over networks before they are divided: one network whose ceiling is near its
    null does not decide the mean.
    """
    value, null, ceiling = value.pooled(), null.pooled(), ceiling.pooled()
    return value._replace(
        points=excess_over_null(value.points, null.points, ceiling.points),
        draws=excess_over_null(value.draws, null.draws, ceiling.draws),
    )
