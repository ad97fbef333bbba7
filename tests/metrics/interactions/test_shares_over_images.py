"""Shares of knowledge, and speed, directness and stability of a run: laws, planted values, undefined ones."""

import pytest
import torch
from over_images import mean, over_images, random_tables, total
from torch import Tensor

from headstart.metrics.interactions.decomposition import decompose, shared_effect, weighted_jaccard
from headstart.metrics.interactions.shares import (
    Share,
    by_level,
    directness,
    exclusivity,
    exclusivity_by_count,
    interpolated,
    salient_count,
    scratch_only,
    share,
    speed,
    stability,
    time_to,
)
from headstart.metrics.interactions.transform import mobius, orders


def test_ratios_do_not_change_when_all_networks_are_scaled() -> None:
    pretrained, finetuned, scratch = random_tables(3)

    def ratios(factor: float) -> Tensor:
        tables = factor * pretrained, factor * finetuned, factor * scratch
        parts = decompose(tables[0], tables[1])
        values = share(parts.preserved, tables[0]), exclusivity(parts.preserved, tables[2])
        values = (*values, scratch_only(*tables), exclusivity_by_count(parts.preserved, tables[2]))
        return torch.cat([over_images(value).points[0] for value in values])

    torch.testing.assert_close(ratios(17.0), ratios(1.0))


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
def test_levels_are_the_whole_every_order_and_complex_and_simple_orders(players: int) -> None:
    table = random_tables(1, players=players)[0]
    levels, sizes = by_level(table), orders(players)
    wanted = [sizes > 0, *(sizes == order for order in range(1, players + 1))]
    wanted += [sizes > 2, (sizes > 0) & (sizes <= 2)]
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


EPOCHS = torch.tensor([0, 1, 2, 4, 8])


def straight_path(images: int = 3) -> Tensor:
    end = torch.randn(images, 16, generator=torch.Generator().manual_seed(0)).double()
    return torch.linspace(0, 1, 5, dtype=torch.float64)[:, None, None] * end


def test_a_straight_path_has_directness_one() -> None:
    assert over_images(directness(straight_path())).points.item() == pytest.approx(1)


def test_a_detour_halves_directness() -> None:
    start, end = torch.zeros(1, 4), torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    detour = torch.stack([start, 1.5 * end, end])
    assert over_images(directness(detour)).points.item() == 0.5


def test_a_run_that_does_not_move_has_no_directness() -> None:
    path = torch.ones(3, 2, 8)
    path[2, 1] = 2
    value = over_images(directness(path))
    assert value.undefined.item() == 1
    assert value.points.item() == 1
    assert over_images(directness(torch.ones(3, 2, 8))).points.isnan().all()


def test_speed_is_the_area_over_epochs_scaled_to_one() -> None:
    assert speed(torch.ones(5), EPOCHS) == 1
    assert speed(EPOCHS / 8, EPOCHS) == pytest.approx(0.5)
    assert speed(EPOCHS / 8, 10 + 3 * EPOCHS) == pytest.approx(0.5)


def test_speed_is_known_up_to_what_a_monotone_curve_can_do_between_checkpoints() -> None:
    epochs, sparse = torch.arange(9), torch.tensor([0, 1, 2, 4, 8])
    for shape in (1, 3, 0.2):
        curve = (epochs / 8) ** shape
        off = speed(curve, epochs) - speed(curve[sparse], sparse)
        assert abs(float(off)) <= float(interpolated(curve[sparse], sparse)) + 1e-6
    assert interpolated(torch.ones(5), EPOCHS) == 0
    assert interpolated(torch.tensor([0.0, 1.0]), torch.tensor([0, 1])) == 0.5


def test_the_time_to_a_level_is_the_first_checkpoint_that_reaches_it() -> None:
    curve = torch.tensor([0.0, 0.5, 0.4, 0.7, 0.7])
    assert time_to(curve, EPOCHS, 0.5) == 1
    assert time_to(curve, EPOCHS, 0.6) == 4
    assert time_to(curve, EPOCHS, 0.8).isnan()


def test_stability_sums_all_drops() -> None:
    assert stability(torch.tensor([0.0, 0.5, 0.25, 0.75, 0.5])) == 0.5
    assert stability(torch.tensor([0.0, 0.5, 1.0])) == 0


def test_epochs_out_of_order_and_single_checkpoints_are_refused() -> None:
    with pytest.raises(ValueError, match="in rising order"):
        speed(torch.ones(3), torch.tensor([0, 2, 1]))
    with pytest.raises(ValueError, match="in rising order"):
        time_to(torch.ones(1), torch.tensor([0]), 0.5)
    with pytest.raises(ValueError, match="at least two checkpoints"):
        directness(torch.ones(1, 2, 8))
