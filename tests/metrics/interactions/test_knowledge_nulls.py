"""Chance levels, and recovery of planted overlap."""

import math

import pytest
import torch
from over_images import total
from torch import Tensor

from headstart.metrics.interactions.decomposition import (
    decompose,
    excess_over_null,
    match_scale,
    pair_other_image,
    permute_within_orders,
    weighted_jaccard,
)
from headstart.metrics.interactions.shares import exclusivity, share
from headstart.metrics.interactions.transform import order_profile, strength


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def test_independent_gaussian_networks_reach_the_known_chance_levels() -> None:
    pretrained, finetuned, scratch = normal(3, 100, 2**12)
    preserved = decompose(pretrained, finetuned).preserved
    kept = total(share(preserved, pretrained))
    assert kept == pytest.approx(1 - 1 / math.sqrt(2), abs=0.005)
    similarity = weighted_jaccard(pretrained, finetuned).mean().item()
    assert similarity == pytest.approx(3 - 2 * math.sqrt(2), abs=0.005)
    assert total(exclusivity(preserved, scratch)) == pytest.approx(0.358, abs=0.005)


@pytest.mark.parametrize(("power", "expected"), [(1, 0.333), (3, 0.148)])
def test_heavier_tails_lower_the_chance_of_exclusivity(power: int, expected: float) -> None:
    uniform = torch.rand(3, 200, 2**12, generator=seeded(), dtype=torch.float64) - 0.5
    laplace = -uniform.sign() * (1 - 2 * uniform.abs()).log()
    pretrained, finetuned, scratch = laplace**power
    preserved = decompose(pretrained, finetuned).preserved
    found = total(exclusivity(preserved, scratch))
    assert found == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("factor", "expected"), [(3.0, 0.449), (1e9, 0.5)])
def test_a_larger_scale_of_scratch_raises_the_chance_of_exclusivity(
    factor: float, expected: float
) -> None:
    pretrained, finetuned, scratch = normal(3, 100, 2**12)
    preserved = decompose(pretrained, finetuned).preserved
    found = total(exclusivity(preserved, factor * scratch))
    assert found == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("planted", [0.0, 0.3, 0.8])
def test_planted_overlap_is_recovered_after_the_null_is_taken_off(planted: float) -> None:
    first, second = normal(2, 50, 2**11)
    same = torch.rand(first.shape, generator=seeded(1)) < planted
    second = torch.where(same, first, second)
    value = total(share(decompose(first, second).preserved, first))
    shuffled = permute_within_orders(second, seeded(2))
    null = total(share(decompose(first, shuffled).preserved, first))
    excess = excess_over_null(*map(torch.tensor, (value, null, 1.0)))
    assert excess.item() == pytest.approx(planted, abs=0.01)


def test_permutation_within_orders_keeps_each_order_and_breaks_the_pattern() -> None:
    table = normal(4, 2**8)
    shuffled = permute_within_orders(table, seeded())
    torch.testing.assert_close(order_profile(shuffled), order_profile(table))
    torch.testing.assert_close(shuffled.sort().values, table.sort().values)
    assert torch.equal(shuffled[:, [0, -1]], table[:, [0, -1]])
    assert (shuffled[:, 1:-1] == table[:, 1:-1]).double().mean() < 0.1
    assert torch.equal(shuffled, permute_within_orders(table, seeded()))
    assert not torch.equal(shuffled, permute_within_orders(table, seeded(1)))


def test_every_sample_has_its_own_permutation() -> None:
    table = normal(1, 2**8).expand(2, -1)
    first, second = permute_within_orders(table, seeded())
    assert not torch.equal(first, second)


@pytest.mark.parametrize("images", [2, 3, 50])
def test_every_image_is_paired_with_another_and_each_is_used_once(images: int) -> None:
    table = torch.arange(images).double()[:, None].expand(-1, 4)
    paired = pair_other_image(table, seeded())[:, 0]
    assert (paired != table[:, 0]).all()
    assert torch.equal(paired.sort().values, table[:, 0])


def test_a_single_image_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="at least two"):
        pair_other_image(torch.zeros(1, 4), seeded())


def test_a_null_network_is_brought_to_the_scale_of_the_reference() -> None:
    weak, reference = 0.01 * normal(5, 16), normal(5, 16, seed=1)
    matched = match_scale(weak, reference)
    torch.testing.assert_close(strength(matched).mean(), strength(reference).mean())
    assert match_scale(torch.zeros(5, 16), normal(5, 16).float()).isnan().all()


def test_the_excess_is_zero_at_the_null_one_at_the_ceiling_and_nan_without_room() -> None:
    value, null = torch.tensor([0.3, 0.9, 0.6, 0.5, 0.5]), torch.tensor([0.3, 0.3, 0.3, 0.5, 0.6])
    ceiling = torch.tensor([0.9, 0.9, 0.9, 0.5, 0.5])
    excess = excess_over_null(value, null, ceiling)
    torch.testing.assert_close(excess[:3], torch.tensor([0.0, 1.0, 0.5]))
    assert excess[3:].isnan().all()
