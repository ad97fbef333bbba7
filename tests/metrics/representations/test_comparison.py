"""All grids between two networks, their intervals, and networks whose late blocks are replaced."""

import pytest
import torch
from torch import Tensor, nn

from headstart.metrics.representations.comparison import Comparison, ends, grids, half_sample_draws
from headstart.metrics.representations.stir import (
    TargetGrams,
    target_grams,
)
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


def compared(pt: nn.Module, ft: nn.Module) -> Comparison:
    return Comparison(grams(pt), grams(ft), grams(pt, 5), grams(ft, 5))


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
    back = grids(Comparison(grams(network(1), 5), grams(network(0), 5)))
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
    assert whole.pt_given_pt.subset(torch.arange(0, 12, 2)).inverted.shape[-1] == 6
    assert "learning" in grids(whole)
    assert "learning" not in grids(Comparison(whole.pt_given_pt, whole.ft_given_pt))


def test_half_samples_hold_the_mean_of_a_population_about_as_often_as_they_promise() -> None:
    held = 0
    for trial in range(60):
        values = torch.randn(40, generator=seeded(trial), dtype=torch.float64)
        value, draws = half_sample_draws(
            lambda chosen, values=values: values[chosen].mean()[None], 40, seeded(trial), 100
        )
        low, high = ends(value, draws)
        held += int(low <= 0 <= high)
    assert 50 <= held <= 60


def test_fewer_than_eight_images_have_no_half_samples() -> None:
    with pytest.raises(ValueError, match="at least 8 images, found 7"):
        half_sample_draws(lambda chosen: chosen.double(), 7, seeded(0))


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
