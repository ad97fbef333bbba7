"""Ratios and means over images and networks, with the same bootstrap draws for every measure.

Networks and images are crossed: every network was evaluated on the same images, and both are drawn
with replacement (Owen 2007, "The pigeonhole bootstrap"). Measures that share their draws can be combined
draw by draw, so that a difference, or an excess over a null relative to a ceiling, has an interval
that knows how its terms vary together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

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
    weights: Float64[Tensor, "seeds resamples"]
    """How often each draw has each network."""

    def pooled(self, every: bool = False) -> Estimate:
        """Return the mean over the networks where it is defined, as of one network.

        With `every` the mean is NaN unless all networks have the measure, and `undefined` counts
        those that have not. A draw is of the networks in it that have the measure, or of all that have
        it where it drew none of them; it counts where all of these have it in the draw.
        """
        defined = ~self.points.isnan()
        if len(self.points) == 1 and not every:
            return self.only(defined)
        number = defined.sum(0, keepdim=True)
        weights = self.weights.unsqueeze(-1) * defined.unsqueeze(1)
        weights = torch.where(weights.sum(0) > 0, weights, defined.unsqueeze(1).to(weights))
        draws = (self.draws * weights).where(weights > 0, 0).sum(0, keepdim=True)
        mean = Estimate(
            self.points.where(defined, 0).sum(0, keepdim=True) / number,
            draws / weights.sum(0, keepdim=True),
            self.images.sum(0, keepdim=True),
            self.undefined.sum(0, keepdim=True),
            self.networks.sum(0, keepdim=True),
            torch.ones_like(self.weights[:1]),
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

    def map(self, change: Callable[[Tensor], Tensor]) -> Estimate:
        """Return a function of the levels, such as the area under a curve, as a measure of one level."""
        points, draws = (change(each).unsqueeze(-1) for each in (self.points, self.draws))
        last = self.at([-1])
        networks = last.networks.where(~points.isnan(), 0)
        return last._replace(points=points, draws=draws, networks=networks)

    def interval(self, level: float) -> Float64[Tensor, "2 levels"]:
        """Return the percentile interval of the mean over networks.

        NaN where more than `MOST_UNDEFINED` of the draws are undefined: the rest is no fair sample.
        """
        tails = self.draws.new_tensor([(1 - level) / 2, (1 + level) / 2])
        draws = self.pooled().draws[0]
        found = draws.nanquantile(tails, dim=0)
        return found.where(draws.isnan().double().mean(0) <= MOST_UNDEFINED, torch.nan)

    def undefined_draws(self) -> Float64[Tensor, " levels"]:
        """Return in which share of the draws the mean over networks is undefined."""
        return self.pooled().draws[0].isnan().double().mean(0)

    def of(self, seed: int) -> Estimate:
        """Return the measure of one network; its interval is over images alone."""
        points, draws, images, undefined, networks, weights = (p[seed : seed + 1] for p in self)
        return Estimate(points, draws, images, undefined, networks, torch.ones_like(weights))

    def at(self, levels: Sequence[int] | slice) -> Estimate:
        """Return the measure at some of its levels."""
        points, draws, images, undefined, networks = (part[..., levels] for part in self[:5])
        return Estimate(points, draws, images, undefined, networks, self.weights)


class Resampling:
    """Draws with replacement of images and networks, as counts; all measures of a study get the same."""

    def __init__(
        self, images: int, resamples: int, generator: torch.Generator, networks: int = 1
    ) -> None:
        """Draw.

        Raises:
            ValueError: no image, or no draw.
        """
        if images < 1 or resamples < 1:
            raise ValueError(f"{images} images and {resamples} resamples: one of each is the least")
        self.generator = generator
        self.counts = self.drawn(images, resamples)
        self.weights = self.drawn(networks, resamples).mT.contiguous()

    def drawn(self, number: int, resamples: int) -> Float64[Tensor, "resamples number"]:
        """Return how often each of so many is drawn, in every resample."""
        chosen = torch.randint(number, (resamples, number), generator=self.generator)
        counts = torch.zeros(resamples, number, dtype=torch.float64)
        return counts.scatter_add_(1, chosen, torch.ones_like(counts))

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
            self.weights
            if len(self.weights) == len(parts)
            else self.weights[:1].expand(len(parts), -1),
        )

    def mean_of_ratios(
        self,
        parts: Float[Tensor, "seeds images levels"],
        wholes: Float[Tensor, "seeds images levels"],
    ) -> Estimate:
        """Return the mean of part / whole over images, in which all images count alike; else as `ratio`."""
        shares = (parts / wholes).where(wholes > 0, torch.nan)
        return self.ratio(shares, torch.ones_like(wholes).where(~wholes.isnan(), torch.nan))

    def mean(self, values: Float[Tensor, "seeds images levels"]) -> Estimate:
        """Return the mean over the images on which a value is defined."""
        return self.ratio(values, torch.ones_like(values))

    def mean_of_draws(self, values: Float[Tensor, "repeats seeds images levels"]) -> Estimate:
        """Return the mean over images of the mean over repeats, such as draws of a random control.

        Repeats are resampled too, so that the interval holds the noise of having so few of them.
        """
        mean = self.mean(values.mean(0))
        repeats = self.drawn(len(values), len(self.counts)) / len(values)
        defined = ~values.isnan().any(0)
        numbers = values.where(defined, 0).double()
        sums = torch.einsum("rd,ri,dsik->srk", repeats, self.counts, numbers)
        counts = torch.einsum("ri,sik->srk", self.counts, defined.double())
        return mean._replace(draws=sums / counts)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first − second, draw by draw, of the networks that have both."""
    both = first.only(~second.points.isnan())
    return both._replace(points=both.points - second.points, draws=both.draws - second.draws)


def pooled_together(*terms: Estimate) -> list[Estimate]:
    """Return the means of some measures over the networks that have all of them."""
    all_there = ~torch.stack([term.points.isnan() for term in terms]).any(0)
    return [term.only(all_there).pooled() for term in terms]


def excess(value: Estimate, null: Estimate, ceiling: Estimate, falling: bool = False) -> Estimate:
    """Return (value − null) / (ceiling − null), 0 at chance and 1 at the ceiling; NaN without room.

    A `falling` measure is lower the more is shared, so that its ceiling lies below its null; the ratio
    is the same, and there is room where null > ceiling. The three are averaged over the networks that
    have all of them before they are divided: one network whose ceiling is near its null does not
    decide the mean.
    """
    value, null, ceiling = pooled_together(value, null, ceiling)
    sign = -1 if falling else 1

    def divided(value: Tensor, null: Tensor, ceiling: Tensor) -> Tensor:
        room = sign * (ceiling - null)
        return sign * (value - null) / room.where(room > 0, torch.nan)

    points = divided(value.points, null.points, ceiling.points)
    draws = divided(value.draws, null.draws, ceiling.draws)
    return value._replace(points=points, draws=draws).only(~points.isnan())
