"""Decomposition, exclusivity and similarity: their laws and hand-computed values."""

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from headstart.metrics.interactions import strength
from headstart.metrics.knowledge import (
    decompose,
    exclusivity,
    exclusivity_by_count,
    normalise,
    ratio,
    scratch_only,
    share,
    share_by_order,
    shared_effect,
    weighted_jaccard,
)


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
        return torch.stack([value.ratio_of_sums for value in values])

    torch.testing.assert_close(ratios(17.0), ratios(1.0))


@pytest.mark.parametrize("factor", [1.5, 4.0])
def test_a_mere_change_of_scale_looks_new_until_it_is_normalised(factor: float) -> None:
    pretrained = random_tables(1)[0]
    finetuned = factor * pretrained
    new = share(decompose(pretrained, finetuned).new, finetuned)
    assert new.ratio_of_sums == pytest.approx(1 - 1 / factor)
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
        assert function(changed, second)[:3] == function(first, second)[:3]
    assert scratch_only(changed, second, third)[:3] == scratch_only(first, second, third)[:3]


def test_a_scratch_network_equal_to_the_fine_tuned_one_knows_all_and_a_zero_one_nothing() -> None:
    pretrained, finetuned = random_tables(2)
    preserved = decompose(pretrained, finetuned).preserved
    assert exclusivity(preserved, finetuned).ratio_of_sums == pytest.approx(1)
    assert exclusivity(preserved, torch.zeros_like(finetuned)).ratio_of_sums == 0
    assert scratch_only(pretrained, finetuned, finetuned).ratio_of_sums == pytest.approx(0)


def test_thirty_percent_of_planted_terms_are_found_as_thirty_percent() -> None:
    preserved, scratch = torch.zeros(2, 1, 64)
    preserved[0, 5:15] = 2.0
    scratch[0, 5:8] = 2.0
    scratch[0, 40:50] = 2.0
    for found in (exclusivity(preserved, scratch), exclusivity_by_count(preserved, scratch)):
        assert found.ratio_of_sums.item() == pytest.approx(0.3)
        assert found.mean_of_ratios.item() == pytest.approx(0.3)
    unknown = scratch_only(preserved, preserved, scratch)
    assert unknown.ratio_of_sums.item() == pytest.approx(10 / 13)


def test_the_count_needs_salience_and_the_same_sign() -> None:
    preserved = torch.tensor([[0.0, 1.0, 1.0, 1.0, 1.0, 0.01, 0.0, 0.0]])
    scratch = torch.tensor([[0.0, 9.0, -9.0, 0.1, 8.0, 9.0, 0.0, 0.0]])
    assert exclusivity_by_count(preserved, scratch).ratio_of_sums == 0.5


def test_scratch_knows_alone_what_exceeds_both_others() -> None:
    pretrained = torch.tensor([[0.0, 1.0, 0.0, -1.0]])
    finetuned = torch.tensor([[0.0, 2.0, 1.0, 0.0]])
    scratch = torch.tensor([[0.0, 3.0, -1.0, -4.0]])
    assert scratch_only(pretrained, finetuned, scratch).ratio_of_sums == (1 + 1 + 3) / 8


def test_shares_by_order_are_ratios_of_sums() -> None:
    whole = torch.tensor([[0.0, 2.0, 2.0, 0.0], [0.0, 4.0, 0.0, 0.0]])
    shares = share_by_order(whole / torch.tensor([[2.0], [4.0]]), whole)
    assert shares[0].item() == pytest.approx(3 / 8)
    assert shares[1].isnan()


def test_both_forms_of_a_ratio_leave_out_and_count_undefined_images() -> None:
    parts = torch.tensor([1.0, 0.0, 3.0, torch.nan])
    wholes = torch.tensor([2.0, 0.0, 4.0, 4.0])
    value = ratio(parts, wholes)
    assert value.ratio_of_sums.item() == pytest.approx(4 / 6)
    assert value.mean_of_ratios.item() == pytest.approx((0.5 + 0.75) / 2)
    assert value.undefined == 2


def test_constant_networks_give_nan_with_their_count_never_zero() -> None:
    zero = torch.zeros(4, 16)
    for value in (exclusivity(zero, zero), exclusivity_by_count(zero, zero), share(zero, zero)):
        assert value.ratio_of_sums.isnan()
        assert value.mean_of_ratios.isnan()
        assert value.undefined == 4
    assert weighted_jaccard(zero, zero).isnan().all()


def test_a_score_that_is_not_a_number_is_counted_not_hidden() -> None:
    first, second = random_tables(2)
    first[2, 7] = torch.nan
    assert share(shared_effect(first, second), first).undefined == 1
    assert exclusivity(shared_effect(first, second), second).undefined == 1


def test_networks_evaluated_on_different_players_are_refused() -> None:
    with pytest.raises((ValueError, TypeCheckError)):
        decompose(torch.zeros(3, 16), torch.zeros(3, 8))
