"""Decomposition, exclusivity and similarity: their laws and hand-computed values."""

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from headstart.metrics.interactions import mobius, orders, strength
from headstart.metrics.knowledge import decompose, normalise, shared_effect, weighted_jaccard
from headstart.metrics.knowledge_shares import (
    Share,
    by_level,
    exclusivity,
    exclusivity_by_count,
    salient_count,
    scratch_only,
    share,
)
from headstart.metrics.resampling import Estimate, Resampling


def over_images(found: Share) -> Estimate:
    """Return the ratio of sums as the study makes it, at every level."""
    resampling = Resampling(len(found.parts), 1, torch.Generator())
    return resampling.ratio(*(table.unsqueeze(0) for table in found))


def total(found: Share) -> float:
    """Return the ratio of sums over all orders."""
    return float(over_images(found).points[0, 0])


def mean(found: Share) -> float:
    """Return the mean of ratios over all orders."""
    resampling = Resampling(len(found.parts), 1, torch.Generator())
    tables = (table.unsqueeze(0) for table in found)
    return float(resampling.mean_of_ratios(*tables).points[0, 0])


def random_tables(count: int, images: int = 5, players: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, images, 2**players, generator=generator, dtype=torch.float64)


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


def test_ratios_do_not_change_when_all_networks_are_scaled() -> None:
    pretrained, finetuned, scratch = random_tables(3)

    def ratios(factor: float) -> Tensor:
        tables = factor * pretrained, factor * finetuned, factor * scratch
        parts = decompose(tables[0], tables[1])
        values = share(parts.preserved, tables[0]), exclusivity(parts.preserved, tables[2])
        values = (*values, scratch_only(*tables), exclusivity_by_count(parts.preserved, tables[2]))
        return torch.cat([over_images(value).points[0] for value in values])

    torch.testing.assert_close(ratios(17.0), ratios(1.0))


@pytest.mark.parametrize("factor", [1.5, 4.0])
def test_a_mere_change_of_scale_looks_new_until_it_is_normalised(factor: float) -> None:
    pretrained = random_tables(1)[0]
    finetuned = factor * pretrained
    new = share(decompose(pretrained, finetuned).new, finetuned)
    assert total(new) == pytest.approx(1 - 1 / factor)
    similarity = weighted_jaccard(pretrained, finetuned)
    torch.testing.assert_close(similarity, torch.full((5,), 1 / factor, dtype=torch.float64))
    for by in ("strength", "gain"):
        same = decompose(normalise(pretrained, by), normalise(finetuned, by))
        assert strength(same.new).max() < 1e-12


def test_normalisation_sets_the_mean_strength_or_gain_to_one_and_is_nan_for_a_constant() -> None:
    table = random_tables(1)[0]
    assert strength(normalise(table)).mean() == pytest.approx(1)
    assert normalise(table, "gain")[:, 1:].sum(-1).abs().mean() == pytest.approx(1)
    assert normalise(torch.zeros(2, 4)).isnan().all()
    pair = normalise(torch.stack([table, 3 * table], dim=1))
    assert strength(pair).sum(-1).mean() == pytest.approx(1)
    with pytest.raises((ValueError, TypeCheckError)):
        normalise(table, "order")  # type: ignore[arg-type]


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


def test_the_empty_set_counts_nowhere() -> None:
    first, second, third = random_tables(3)
    changed = first.clone()
    changed[:, 0] = 1e6
    torch.testing.assert_close(weighted_jaccard(changed, second), weighted_jaccard(first, second))
    for function in (share, exclusivity, exclusivity_by_count):
        assert_same(function(changed, second), function(first, second))
    assert_same(scratch_only(changed, second, third), scratch_only(first, second, third))
    assert torch.equal(salient_count(changed), salient_count(first))


def assert_same(one: Share, other: Share) -> None:
    assert torch.equal(one.parts, other.parts)
    assert torch.equal(one.wholes, other.wholes)


def test_a_scratch_network_equal_to_the_fine_tuned_one_knows_all_and_a_zero_one_nothing() -> None:
    pretrained, finetuned = random_tables(2)
    preserved = decompose(pretrained, finetuned).preserved
    assert total(exclusivity(preserved, finetuned)) == pytest.approx(1)
    assert total(exclusivity(preserved, torch.zeros_like(finetuned))) == 0
    assert total(scratch_only(pretrained, finetuned, finetuned)) == pytest.approx(0)


def unanimity(subsets: list[int], weight: float = 2.0, images: int = 3) -> Tensor:
    """Return the interactions of v(x_T) = Σ weight · Π_{i∈S} x_i over the given S, by the transform."""
    masks = torch.arange(64)
    values = sum(weight * ((masks & subset) == subset).double() for subset in subsets)
    assert isinstance(values, Tensor)
    return mobius(values.expand(images, -1))


def test_thirty_percent_of_planted_unanimity_terms_are_found_as_thirty_percent() -> None:
    common = [*range(5, 15)]
    pretrained, finetuned = unanimity([*common, 50]), unanimity([*common, 60, 61])
    scratch = unanimity([*common[:3], *range(40, 50)])
    preserved = decompose(pretrained, finetuned).preserved
    assert torch.equal(preserved, unanimity(common))
    for found in (exclusivity(preserved, scratch), exclusivity_by_count(preserved, scratch)):
        assert total(found) == pytest.approx(0.3)
        assert mean(found) == pytest.approx(0.3)
    assert total(scratch_only(pretrained, finetuned, scratch)) == pytest.approx(10 / 13)


def test_the_count_needs_salience_and_the_same_sign() -> None:
    preserved = torch.tensor([[0.0, 1.0, 1.0, 1.0, 1.0, 0.01, 0.0, 0.0]])
    scratch = torch.tensor([[0.0, 9.0, -9.0, 0.1, 8.0, 9.0, 0.0, 0.0]])
    assert total(exclusivity_by_count(preserved, scratch)) == 0.5


def test_scratch_knows_alone_what_exceeds_both_others() -> None:
    pretrained = torch.tensor([[0.0, 1.0, 0.0, -1.0]])
    finetuned = torch.tensor([[0.0, 2.0, 1.0, 0.0]])
    scratch = torch.tensor([[0.0, 3.0, -1.0, -4.0]])
    assert total(scratch_only(pretrained, finetuned, scratch)) == (1 + 1 + 3) / 8


def test_shares_by_order_are_ratios_of_sums() -> None:
    whole = torch.tensor([[0.0, 2.0, 2.0, 0.0], [0.0, 4.0, 0.0, 0.0]])
    found = share(whole / torch.tensor([[2.0], [4.0]]), whole)
    of_orders = over_images(found).points[0, 1:3]
    assert of_orders[0].item() == pytest.approx(3 / 8)
    assert of_orders[1].isnan()
    assert mean(found) == pytest.approx((1 / 2 + 1 / 4) / 2)


@pytest.mark.parametrize("players", [1, 4, 5])
def test_levels_are_the_whole_every_order_and_the_halves_of_orders(players: int) -> None:
    table = random_tables(1, players=players)[0]
    levels, sizes = by_level(table), orders(players)
    wanted = [sizes > 0, *(sizes == order for order in range(1, players + 1))]
    wanted += [sizes > players // 2, (sizes > 0) & (sizes <= players // 2)]
    expected = torch.stack([table[:, chosen].abs().sum(-1) for chosen in wanted], dim=-1)
    torch.testing.assert_close(levels, expected)
    pairs = torch.stack([table, 2 * table], dim=1)
    torch.testing.assert_close(by_level(pairs), 3 * expected)


def test_constant_networks_give_nan_with_their_count_never_zero() -> None:
    zero = torch.zeros(4, 16)
    shares = exclusivity(zero, zero), exclusivity_by_count(zero, zero), share(zero, zero)
    for value in (*shares, scratch_only(zero, zero, zero)):
        estimate = over_images(value)
        assert estimate.points[0, 0].isnan()
        assert estimate.undefined[0, 0] == 4
    assert salient_count(zero).isnan().all()
    assert weighted_jaccard(zero, zero).isnan().all()


def test_an_image_without_interactions_has_a_count_where_the_threshold_is_that_of_all_images() -> (
    None
):
    table = torch.tensor([[0.0, 1.0, 1.0, 0.01], [5.0, 0.0, 0.0, 0.0]])
    assert salient_count(table, scope="model")[:, 0].tolist() == [2, 0]
    alone = salient_count(table, scope="sample")[:, 0]
    assert alone[0] == 2
    assert alone[1].isnan()


def test_a_score_that_is_not_a_number_is_counted_not_hidden() -> None:
    first, second = random_tables(2)
    first[2, 7] = torch.nan
    preserved = shared_effect(first, second)
    for found in (share(preserved, first), exclusivity(preserved, second)):
        assert found.parts.isnan().any(-1).tolist() == [image == 2 for image in range(5)]
    by_count = exclusivity_by_count(second, first)
    assert by_count.parts.isnan().all(-1).tolist() == [image == 2 for image in range(5)]


def test_networks_evaluated_on_different_players_are_refused() -> None:
    with pytest.raises((ValueError, TypeCheckError)):
        decompose(torch.zeros(3, 16), torch.zeros(3, 8))
