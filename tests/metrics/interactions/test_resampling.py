"""Ratios and means over images, and their intervals from shared draws."""

import math

import pytest
import torch
from torch import Tensor

from headstart.metrics.interactions.resampling import Estimate, Resampling, difference, excess


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ratio(parts: list[list[float]], wholes: list[list[float]], resamples: int = 50) -> Estimate:
    """Return the estimate of one level from [seeds, images]."""
    tables = (torch.tensor(each, dtype=torch.float64).unsqueeze(-1) for each in (parts, wholes))
    return Resampling(len(parts[0]), resamples, seeded()).ratio(*tables)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded(), dtype=torch.float64)


def test_both_forms_of_a_ratio_leave_out_and_count_undefined_images() -> None:
    parts = torch.tensor([1.0, 0.0, 3.0, math.nan, 1.0]).view(1, -1, 1)
    wholes = torch.tensor([2.0, 0.0, 4.0, 4.0, math.nan]).view(1, -1, 1)
    resampling = Resampling(5, 3, seeded())
    of_sums, of_ratios = resampling.ratio(parts, wholes), resampling.mean_of_ratios(parts, wholes)
    assert of_sums.points.item() == pytest.approx(4 / 6)
    assert of_ratios.points.item() == pytest.approx((0.5 + 0.75) / 2)
    for estimate in (of_sums, of_ratios):
        # The last image was not looked at.
        assert (estimate.images.item(), estimate.undefined.item()) == (2, 2)


def test_the_interval_of_a_mean_has_the_width_of_the_normal_one() -> None:
    values = normal(1, 400, 1)
    low, high = Resampling(400, 2000, seeded()).mean(values).interval(0.95).flatten()
    half = 1.96 * values.std().item() / math.sqrt(400)
    assert (low + high).item() / 2 == pytest.approx(values.mean().item(), abs=0.02)
    assert (high - low).item() == pytest.approx(2 * half, rel=0.1)


def test_networks_with_the_same_images_are_resampled_together() -> None:
    one = normal(1, 200, 1)
    resampling = Resampling(200, 500, seeded(), networks=4)
    same = resampling.mean(one.expand(4, -1, -1))
    alone = resampling.mean(one)
    torch.testing.assert_close(same.interval(0.95), alone.interval(0.95))


def test_networks_are_resampled_and_crossed_with_images() -> None:
    images, networks = normal(1, 50, 1), torch.randn(6, 1, 1, generator=seeded(1)).double()
    resampling = Resampling(50, 4000, seeded(), networks=6)
    both = resampling.mean(images + networks).pooled()
    variance = images.var(correction=0) / 50 + networks.var(correction=0) / 6
    assert both.draws.var().item() == pytest.approx(variance.item(), rel=0.1)
    over_images = resampling.mean(images + networks).of(0)
    assert over_images.pooled().draws.var().item() == pytest.approx(
        images.var(correction=0).item() / 50, rel=0.1
    )


def test_the_noise_of_few_draws_of_a_control_is_in_its_interval() -> None:
    draws = torch.randn(5, 1, 1, 1, generator=seeded(2)).double().expand(5, 1, 30, 1)
    estimate = Resampling(30, 4000, seeded()).mean_of_draws(draws)
    assert estimate.points.item() == pytest.approx(draws.mean().item())
    spread = draws[:, 0, 0, 0].var(correction=0).item() / 5
    assert estimate.draws.var().item() == pytest.approx(spread, rel=0.1)


def test_a_mean_over_networks_says_how_many_have_the_measure() -> None:
    estimate = ratio([[1.0, 1.0], [0.0, 0.0]], [[2.0, 2.0], [0.0, 0.0]])
    assert estimate.networks.flatten().tolist() == [1, 0]
    pooled = estimate.pooled()
    assert (pooled.points.item(), pooled.networks.item()) == (0.5, 1)
    assert (pooled.images.item(), pooled.undefined.item()) == (2, 2)
    assert estimate.interval(0.95).flatten().tolist() == [0.5, 0.5]


def test_a_mean_over_every_network_is_undefined_where_one_is_and_counts_them() -> None:
    estimate = ratio([[1.0, 1.0], [0.0, 0.0]], [[2.0, 2.0], [0.0, 0.0]]).pooled(every=True)
    assert estimate.points.isnan().all()
    assert estimate.interval(0.95).isnan().all()
    assert (estimate.undefined.item(), estimate.networks.item()) == (1, 0)


def test_there_is_no_interval_where_more_than_a_hundredth_of_the_draws_are_undefined() -> None:
    often = ratio([[1.0] + 3 * [0.0]], [[2.0] + 3 * [0.0]])  # undefined in (3/4)^4 of all draws
    assert often.points.item() == 0.5
    assert often.undefined_draws().item() == pytest.approx(0.75**4, abs=0.15)
    assert often.interval(0.95).isnan().all()
    never = ratio([[1.0] * 4], [[2.0] * 4])
    assert never.undefined_draws().item() == 0
    assert never.interval(0.95).flatten().tolist() == [0.5, 0.5]


def test_a_draw_counts_only_where_all_networks_of_the_mean_have_it() -> None:
    # The second network is defined on one image of four, and the mean in a draw needs it.
    estimate = ratio([[1.0] * 4, [2.0, 0.0, 0.0, 0.0]], [[2.0] * 4, [2.0, 0.0, 0.0, 0.0]])
    drawn = estimate.pooled().draws
    assert estimate.pooled().points.item() == 0.75
    assert set(drawn[~drawn.isnan()].tolist()) == {0.75}
    assert drawn.isnan().any()


def test_a_difference_is_of_the_networks_that_have_both() -> None:
    first = ratio([[1.0], [1.0]], [[2.0], [4.0]])
    second = ratio([[1.0], [0.0]], [[4.0], [0.0]])
    gap = difference(first, second)
    assert gap.points[0].item() == 0.25
    assert gap.points[1].isnan()
    assert (gap.pooled().networks.item(), gap.pooled().images.item()) == (1, 1)


def test_the_excess_is_of_means_over_the_networks_that_have_all_three() -> None:
    value, null = ratio([[4.0], [6.0]], [[10.0]] * 2), ratio([[2.0], [2.0]], [[10.0]] * 2)
    ceiling = ratio([[6.0], [0.0]], [[10.0], [0.0]])
    found = excess(value, null, ceiling)
    assert found.points.item() == pytest.approx((0.4 - 0.2) / (0.6 - 0.2))
    assert found.networks.item() == 1


def test_a_falling_measure_has_room_where_its_ceiling_lies_below_its_null() -> None:
    kept = [ratio([[part]], [[10.0]]) for part in (4.0, 2.0, 6.0)]
    lost = [ratio([[10.0 - part]], [[10.0]]) for part in (4.0, 2.0, 6.0)]
    assert excess(*kept).points.item() == pytest.approx(0.5)
    assert excess(*lost, falling=True).points.item() == pytest.approx(0.5)
    assert excess(*lost).points.isnan().all()
    assert excess(*lost).networks.item() == 0


def test_an_interval_over_no_images_or_draws_is_refused() -> None:
    with pytest.raises(ValueError, match="one of each is the least"):
        Resampling(0, 5, seeded())
    with pytest.raises(ValueError, match="one of each is the least"):
        Resampling(5, 0, seeded())
