"""Estimates over images with shared draws."""

import pytest
import torch
from torch import Tensor

from headstart.metrics.resampling import Resampling, difference, excess

IMAGES = 40


def resampling(resamples: int = 400, images: int = IMAGES) -> Resampling:
    return Resampling(images, resamples, torch.Generator().manual_seed(1))


def numbers(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def test_a_ratio_is_that_of_sums_and_its_draws_are_those_of_the_drawn_images() -> None:
    parts, wholes = numbers(1, 2, IMAGES, 3), numbers(2, 2, IMAGES, 3) + 1
    draws = resampling()
    found = draws.ratio(parts, wholes)
    torch.testing.assert_close(found.points, parts.sum(1) / wholes.sum(1))
    drawn = draws.counts[7].long().repeat_interleave(draws.counts[7].long())
    assert int(draws.counts[7].sum()) == IMAGES
    index = torch.arange(IMAGES).repeat_interleave(draws.counts[7].long())
    assert len(drawn) == len(index)
    again = parts[:, index].sum(1) / wholes[:, index].sum(1)
    torch.testing.assert_close(found.draws[:, 7], again)
    assert found.images.tolist() == [[IMAGES] * 3] * 2


def test_the_interval_of_a_mean_has_the_width_that_theory_says() -> None:
    values = torch.randn(1, 400, 1, generator=torch.Generator().manual_seed(3)).double()
    looked = torch.ones(1, 400, dtype=torch.bool)
    found = resampling(2000, 400).mean(values, looked)
    low, high = found.interval(0.95)[:, 0].tolist()
    assert high - low == pytest.approx(2 * 1.96 * float(values.std()) / 20, rel=0.1)
    assert low < float(values.mean()) < high


def test_undefined_images_are_left_out_and_counted_and_those_not_looked_at_are_neither() -> None:
    parts, wholes = torch.ones(1, 4, 1).double(), torch.ones(1, 4, 1).double()
    wholes[0, 0] = 0
    parts[0, 1] = torch.nan
    wholes[0, 2] = torch.nan
    found = resampling(50, 4).ratio(parts, wholes)
    assert found.points.item() == 1
    assert (found.images.item(), found.undefined.item()) == (1, 2)
    nothing = resampling(50, 4).ratio(parts, torch.zeros_like(wholes))
    assert nothing.points.isnan().all()
    assert nothing.interval(0.95).isnan().all()
    assert nothing.undefined.item() == 4


def test_a_difference_of_measures_that_vary_together_is_narrower_than_either() -> None:
    values = numbers(4, 1, IMAGES, 1)
    looked = torch.ones(1, IMAGES, dtype=torch.bool)
    draws = resampling()
    one, other = draws.mean(values, looked), draws.mean(values + 0.25, looked)
    gap = difference(other, one)
    assert gap.points.item() == pytest.approx(0.25)
    assert gap.interval(0.95).flatten().tolist() == pytest.approx([0.25, 0.25])


def test_an_excess_divides_means_over_networks_and_is_nan_without_room() -> None:
    looked = torch.ones(2, IMAGES, dtype=torch.bool)
    draws = resampling()
    value, null, ceiling = (
        draws.mean(torch.full((2, IMAGES, 1), number).double(), looked)
        for number in (3.0, 1.0, 5.0)
    )
    assert excess(value, null, ceiling).points.item() == 0.5
    assert excess(value, ceiling, null).points.isnan().all()


def test_no_images_and_no_draws_are_refused() -> None:
    for images, resamples in ((0, 5), (5, 0)):
        with pytest.raises(ValueError, match="one of each is the least"):
            resampling(resamples, images)
