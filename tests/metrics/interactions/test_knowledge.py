"""Decomposition, normalisation and similarity: their laws and hand-computed values."""

import pytest
import torch
from jaxtyping import TypeCheckError
from over_images import random_tables, total

from headstart.metrics.interactions.decomposition import (
    decompose,
    normalise,
    shared_effect,
    weighted_jaccard,
)
from headstart.metrics.interactions.shares import share
from headstart.metrics.interactions.transform import strength


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
