"""Decomposition, normalisation, similarity and chance levels: laws, hand-computed and planted values."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError
from over_images import random_tables, total
from torch import Tensor

from headstart.metrics.interactions.decomposition import (
    decompose,
    match_scale,
    normalise,
    pair_other_image,
    permute_within_orders,
    shared_effect,
    weighted_jaccard,
)
from headstart.metrics.interactions.shares import exclusivity, share
from headstart.metrics.interactions.transform import order_profile, strength


def test_magnitudes_add_up_to_those_of_each_network() -> None:
    pretrained, finetuned = random_tables(2)
    preserved, discarded, new = (part.abs() for part in decompose(pretrained, finetuned))
    torch.testing.assert_close(preserved + discarded, pretrained.abs())
    torch.testing.assert_close(preserved + new, finetuned.abs())


def test_the_shared_effect_has_the_common_sign_and_the_smaller_magnitude() -> None:
    first = torch.tensor([[0.0, 2.0, -3.0, 1.0, -1.0, 1e-300, 5.0, 0.0]], dtype=torch.float64)
    second = torch.tensor([[0.0, 3.0, -1.0, -1.0, 2.0, 1e-300, 0.0, 7.0]], dtype=torch.float64)
    expected = torch.tensor([[0.0, 2.0, -1.0, 0.0, 0.0, 1e-300, 0.0, 0.0]], dtype=torch.float64)
    assert torch.equal(shared_effect(first, second), expected)


def test_an_unchanged_network_discards_nothing_and_learns_nothing() -> None:
    table = random_tables(1)[0]
    preserved, discarded, new = decompose(table, table)
    assert torch.equal(preserved, table)
    assert discarded.abs().max() == new.abs().max() == 0


def test_a_network_of_opposite_signs_preserves_nothing() -> None:
    table = random_tables(1)[0]
    assert decompose(table, -table).preserved.abs().max() == 0


def test_swapping_the_networks_swaps_discarded_and_new() -> None:
    first, second = random_tables(2)
    there, back = decompose(first, second), decompose(second, first)
    assert torch.equal(there.preserved, back.preserved)
    assert torch.equal(there.discarded, back.new)
    assert torch.equal(there.new, back.discarded)


@pytest.mark.parametrize("factor", [1.5, 4.0])
def test_a_mere_change_of_scale_looks_new_until_it_is_normalised(factor: float) -> None:
    pretrained = random_tables(1)[0]
    finetuned = factor * pretrained
    new = share(decompose(pretrained, finetuned).new, finetuned)
    assert total(new) == pytest.approx(1 - 1 / factor)
    similarity = weighted_jaccard(pretrained, finetuned)
    torch.testing.assert_close(similarity, torch.full((5,), 1 / factor, dtype=torch.float64))
    same = decompose(normalise(pretrained), normalise(finetuned))
    assert strength(same.new).max() < 1e-12


def test_normalisation_sets_the_mean_strength_to_one_and_is_nan_for_a_constant() -> None:
    table = random_tables(1)[0]
    assert strength(normalise(table)).mean() == pytest.approx(1)
    assert normalise(torch.zeros(2, 4)).isnan().all()
    pair = normalise(torch.stack([table, 3 * table], dim=1))
    assert strength(pair).sum(-1).mean() == pytest.approx(1)


def test_similarity_is_symmetric_bounded_and_one_only_for_equal_tables() -> None:
    first, second = random_tables(2, images=200)
    similarity = weighted_jaccard(first, second)
    assert torch.equal(similarity, weighted_jaccard(second, first))
    assert ((similarity >= 0) & (similarity < 1)).all()
    assert (weighted_jaccard(first, first) == 1).all()
    assert (weighted_jaccard(first, -first) == 0).all()


def test_similarity_follows_from_the_preserved_strength() -> None:
    first, second = random_tables(2)
    preserved = strength(shared_effect(first, second))
    expected = preserved / (strength(first) + strength(second) - preserved)
    torch.testing.assert_close(weighted_jaccard(first, second), expected)


def test_additive_networks_by_hand() -> None:
    first = torch.tensor([[5.0, 1.0, 2.0, 0.0, -4.0, 0.0, 0.0, 0.0]])
    second = torch.tensor([[9.0, 3.0, -1.0, 0.0, -2.0, 0.0, 0.0, 0.0]])
    preserved, discarded, new = (part[0, [1, 2, 4]].tolist() for part in decompose(first, second))
    assert (preserved, discarded, new) == ([1, 0, -2], [0, 2, -2], [2, -1, 0])
    assert weighted_jaccard(first, second).item() == pytest.approx(3 / (3 + 2 + 1 + 4))


def test_networks_evaluated_on_different_players_are_refused() -> None:
    with pytest.raises((ValueError, TypeCheckError)):
        decompose(torch.zeros(3, 16), torch.zeros(3, 8))


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
    assert (value - null) / (1 - null) == pytest.approx(planted, abs=0.01)


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
