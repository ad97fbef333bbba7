"""All grids between two networks, their intervals, and networks whose late blocks are replaced."""

import weakref
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from headstart.metrics.representations.comparison import Comparison, Stir, grids, measured
from headstart.metrics.representations.half_samples import (
    FORMS,
    SampledGrams,
    cka_draws,
    ends,
    half_samples,
)
from headstart.metrics.representations.similarity import cka_grid, linear_grams
from headstart.metrics.representations.stir import TargetGrams, stir_grid, target_grams
from headstart.networks.network import every_block, late_blocks_replaced


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(seed: int, blocks: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    made = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(blocks)))
    return made.double().eval().requires_grad_(False)


def grams(net: nn.Module, seed: int = 0) -> TargetGrams:
    """Grams on X and on pretended X′, one for every layer; two seeds of twelve images."""
    x = torch.randn(2, 12, 6, generator=seeded(seed), dtype=torch.float64)
    inverted = torch.randn(2, 3, 12, 6, generator=seeded(seed + 1), dtype=torch.float64)
    return target_grams(every_block(net), x, x[:, None] + 0.3 * inverted)


def stir(net: nn.Module, seed: int = 0) -> Stir:
    return measured([grams(net, seed)], half_samples(12, seeded(9), 30))


def compared(pt: nn.Module, ft: nn.Module) -> Comparison:
    return Comparison(stir(pt), stir(ft), stir(pt, 5), stir(ft, 5))


@pytest.mark.parametrize("debiased", [True, False])
def test_a_network_compared_with_itself_forgets_learns_and_diverges_by_nothing(
    debiased: bool,
) -> None:
    found = grids(compared(network(0), network(0)), debiased)
    for name in ("forgetting", "learning"):
        torch.testing.assert_close(found[name], torch.zeros(3, 3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(found["cka_divergence"].diagonal(), torch.zeros(3).double())
    torch.testing.assert_close(found["flow"].diagonal(), torch.zeros(3).double())


def test_learning_is_forgetting_with_the_roles_exchanged() -> None:
    there = grids(compared(network(0), network(1)))
    back = grids(Comparison(stir(network(1), 5), stir(network(0), 5)))
    torch.testing.assert_close(there["learning"], back["forgetting"])


def test_grids_are_indexed_by_the_reference_first() -> None:
    found = grids(compared(network(0), network(1)))
    divergence, similarity = found["cka_divergence"], found["cka_ft_pt"]
    torch.testing.assert_close(divergence, found["cka_pt_pt"] - similarity)
    assert similarity[0, 2] != similarity[2, 0]
    expected = found["stir_ft_given_pt"] - found["stir_ft_given_pt"].diagonal()[:, None]
    torch.testing.assert_close(found["flow"], expected)


def test_a_network_that_was_not_inverted_learns_nothing_that_is_known() -> None:
    whole = compared(network(0), network(1))
    assert whole.images == 12
    assert grams(network(0)).subset(torch.arange(0, 12, 2)).inverted.shape[-1] == 6
    assert "learning" in grids(whole)
    assert "learning" not in grids(Comparison(whole.pt_given_pt, whole.ft_given_pt))


def test_half_samples_hold_the_mean_of_a_population_about_as_often_as_they_promise() -> None:
    held = 0
    for trial in range(60):
        values = torch.randn(40, generator=seeded(trial), dtype=torch.float64)
        members = half_samples(40, seeded(trial), 100)
        low, high = ends(values.mean()[None], (values @ members / 20)[:, None])
        held += int(low <= 0 <= high)
    assert 50 <= held <= 60


def test_fewer_than_eight_images_have_no_half_samples() -> None:
    with pytest.raises(ValueError, match="at least 8 images, found 7"):
        half_samples(7, seeded(0))


def test_cka_on_a_half_sample_is_that_of_the_grams_of_its_images() -> None:
    shift = 1000 * torch.ones(1, 6, dtype=torch.float64)
    features = [torch.randn(2, 20, 6, generator=seeded(k), dtype=torch.float64) for k in range(5)]
    xs, ys = (
        torch.stack([linear_grams([x[s] + shift for x in part]) for s in range(2)])
        for part in (features[:3], [x + 0.5 * y for x, y in pairwise(features[:3])])
    )
    members = half_samples(20, seeded(0), 7)
    found = cka_draws(xs, SampledGrams(ys, members))
    for draw, chosen in enumerate(members.T.bool()):
        some = [each[..., chosen, :][..., chosen] for each in (xs, ys)]
        for form, debiased in enumerate(FORMS):
            expected = cka_grid(*some, debiased)
            torch.testing.assert_close(found[form, ..., draw], expected, atol=1e-12, rtol=0)


def test_a_half_sample_of_equal_images_has_no_cka() -> None:
    x = torch.randn(12, 4, generator=seeded(0), dtype=torch.float64)
    x[:7] = x[0]
    members = torch.stack([torch.arange(12) < 6, torch.arange(12) >= 6], 1).double()
    grams = SampledGrams(linear_grams([x]), members)
    nothing, something = grams.cka(grams).squeeze(1).unbind(-1)
    assert nothing.isnan().all()
    torch.testing.assert_close(something, torch.ones(2, dtype=torch.float64))


def test_stir_is_the_same_part_by_part_and_needs_the_grams_of_one_part() -> None:
    whole, members = grams(network(0)), half_samples(12, seeded(9), 30)
    alive: list[weakref.ref[Tensor]] = []

    def parts() -> Iterator[TargetGrams]:
        for j in range(3):
            assert all(each() is None for each in alive), "the Grams before this part are gone"
            inverted = whole.inverted[:, j : j + 1].clone()
            alive.append(weakref.ref(inverted))
            yield TargetGrams(whole.originals, inverted)
            del inverted

    streamed, at_once = measured(parts(), members), measured([whole], members)
    for form in FORMS:
        assert torch.equal(streamed.values[form], at_once.values[form])
        assert torch.equal(streamed.values[form], stir_grid(whole, form).mean(0))
        assert torch.equal(streamed.draws[form], at_once.draws[form])
    assert torch.equal(streamed.own, whole.inverted.diagonal(dim1=1, dim2=2).movedim(-1, 1))


def test_a_layer_that_is_constant_has_no_stir_and_a_reason_by_its_place_in_all_parts() -> None:
    whole = grams(network(0))
    whole.inverted[:, 2, 1] = 0
    parts = [TargetGrams(whole.originals, whole.inverted[:, j : j + 1]) for j in range(3)]
    found = measured(parts)
    assert found.values[True].isnan().nonzero().tolist() == [[2, 1]]
    assert not found.draws
    assert set(found.reasons) == {(form, 2, 1) for form in FORMS}
    assert "inverted images: constant" in found.reasons[True, 2, 1]


def outputs(net: nn.Module) -> list[Tensor]:
    return every_block(net)(torch.ones(1, 6, dtype=torch.float64))


def test_late_blocks_are_those_of_the_other_network_and_early_ones_stay() -> None:
    mine, other = network(0), network(1)
    mixed = late_blocks_replaced(mine, other, 1)
    assert torch.equal(outputs(mixed)[0], outputs(mine)[0])
    torch.testing.assert_close(outputs(mixed)[1], other[1](outputs(mine)[0]))
    assert torch.equal(outputs(network(0))[2], outputs(mine)[2])


@pytest.mark.parametrize(("blocks", "first"), [(2, 1), (3, 3)])
def test_blocks_that_do_not_fit_cannot_be_replaced(blocks: int, first: int) -> None:
    with pytest.raises(ValueError, match="two networks of the same kind"):
        late_blocks_replaced(network(0), network(1, blocks), first)
