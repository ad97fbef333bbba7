"""Ratios over images and means, with the same bootstrap draws of images for every measure.

Measures that share their draws can be combined draw by draw, so that a difference, or an excess over
a null relative to a ceiling, has an interval that knows how its terms vary together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from headstart.metrics.interactions.decomposition import excess_over_null

MOST_UNDEFINED = 0.01
"""An interval leaves out at most this share of the draws as undefined; beyond, there is no interval."""


class Estimate(NamedTuple):
    """A measure of each network (seed) at each of k levels, and the same under resampling of images."""

    points: Float64[Tensor, "seeds levels"]
    draws: Float64[Tensor, "seeds resamples levels"]
    images: Int64[Tensor, "seeds levels"]
    """How many images the measure is defined on."""
    undefined: Int64[Tensor, "seeds levels"]
    """On how many of those looked at it is not."""
    networks: Int64[Tensor, "seeds levels"]
    """For how many networks a point speaks; 0 where it is NaN."""

    def pooled(self, every: bool = False) -> Estimate:
        """Return the mean over the networks where it is defined, as of one network.

        With `every` the mean is NaN unless all networks have the measure, and `undefined` counts
        those that have not. A draw counts where all networks of the mean have the measure in it.
        """
        defined = ~self.points.isnan()
        if len(self.points) == 1 and not every:
            return self.only(defined)
        number = defined.sum(0, keepdim=True)
        draws = self.draws.where(defined.unsqueeze(1), 0).sum(0, keepdim=True)
        mean = Estimate(
            self.points.where(defined, 0).sum(0, keepdim=True) / number,
            draws / number.unsqueeze(1),
            self.images.sum(0, keepdim=True),
            self.undefined.sum(0, keepdim=True),
            self.networks.sum(0, keepdim=True),
        )
        if not every:
            return mean
        missing = len(self.points) - number
        return mean.only(missing == 0)._replace(undefined=missing)

    def only(self, kept: Bool[Tensor, "seeds levels"]) -> Estimate:
        """Return the measure with NaN, of no image and no network, where it is not kept."""
        return self._replace(
            points=self.points.where(kept, torch.nan),
            draws=self.draws.where(kept.unsqueeze(1), torch.nan),
            images=self.images.where(kept, 0),
            networks=self.networks.where(kept, 0),
        )

    def interval(self, level: float) -> Float64[Tensor, "2 levels"]:
        """Return the percentile interval of the mean over networks; it speaks for these networks.

        NaN where more than `MOST_UNDEFINED` of the draws are undefined: the rest is no fair sample.
        """
        tails = self.draws.new_tensor([(1 - level) / 2, (1 + level) / 2])
        found = self.pooled().draws[0].nanquantile(tails, dim=0)
        return found.where(self.undefined_draws() <= MOST_UNDEFINED, torch.nan)

    def undefined_draws(self) -> Float64[Tensor, " levels"]:
        """Return in which share of the draws the mean over networks is undefined."""
        return self.pooled().draws[0].isnan().double().mean(0)

    def of(self, seed: int) -> Estimate:
        """Return the measure of one network."""
        return Estimate(*(part[seed : seed + 1] for part in self))

    def at(self, levels: Sequence[int] | slice) -> Estimate:
        """Return the measure at some of its levels."""
        return Estimate(*(part[..., levels] for part in self))


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
        images = defined.sum(1)
        return Estimate(
            totals[0] / totals[1],
            sums[0] / sums[1],
            images,
            (looked & ~defined).sum(1),
            (images > 0).long(),
        )

    def mean_of_ratios(
        self,
        parts: Float[Tensor, "seeds images levels"],
        wholes: Float[Tensor, "seeds images levels"],
    ) -> Estimate:
        """Return the mean of part / whole over images, in which all images count alike; else as `ratio`."""
        shares = (parts / wholes).where(wholes > 0, torch.nan)
        return self.ratio(shares, torch.ones_like(wholes).where(~wholes.isnan(), torch.nan))

    def mean(self, values: Float[Tensor, "seeds images levels"], looked: Tensor) -> Estimate:
        """Return the mean over the images looked at [seeds, images] on which a value is defined."""
        ones = torch.ones_like(values).where(looked.unsqueeze(-1), torch.nan)
        return self.ratio(values, ones)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first − second, draw by draw, of the networks that have both."""
    both = first.only(~second.points.isnan())
    return both._replace(points=both.points - second.points, draws=both.draws - second.draws)


def excess(value: Estimate, null: Estimate, ceiling: Estimate, falling: bool = False) -> Estimate:
    """Return (value − null) / (ceiling − null), draw by draw; see `excess_over_null`.

    A `falling` measure is lower the more is shared, so that its ceiling lies below its null; the ratio
    is the same, and there is room where null > ceiling. The three are averaged over the networks that
    have all of them before they are divided: one network whose ceiling is near its null does not
    decide the mean.
    """
    terms = (value, null, ceiling)
    all_three = ~torch.stack([term.points.isnan() for term in terms]).any(0)
    value, null, ceiling = (term.only(all_three).pooled() for term in terms)
    sign = -1 if falling else 1

    def divided(*parts: Tensor) -> Tensor:
        return excess_over_null(*(sign * part for part in parts))

    points = divided(value.points, null.points, ceiling.points)
    draws = divided(value.draws, null.draws, ceiling.draws)
    return value._replace(points=points, draws=draws).only(~points.isnan())
