"""Walsh coefficients from some of the masks: planted sparse functions are recovered, others are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shapiq import ExactComputer
from torch import Tensor

from headstart.metrics.interactions.counterfactual import (
    reconstructed_scores,
    scores_without_players,
)
from headstart.metrics.interactions.decomposition import decompose, permute_within_orders
from headstart.metrics.interactions.sampled import Design, draw_masks, signs
from headstart.metrics.interactions.shares import share
from headstart.metrics.interactions.subsets import LowOrder, low_order_terms
from headstart.metrics.interactions.transform import membership, mobius, shapley_values, walsh


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(players: int, order: int, number: int) -> tuple[Tensor, Tensor]:
    """Return all terms up to an order, and coefficients of two networks: a mean and some of ±1, half of them common."""
    terms = low_order_terms(players, order)
    coefficients = torch.zeros(2, len(terms), dtype=torch.float64)
    chosen = torch.randperm(len(terms) - 1, generator=seeded(number))[: 3 * number // 2] + 1
    half = number // 2
    for row, own in zip(coefficients, (chosen[half:number], chosen[number:]), strict=True):
        row[torch.cat([chosen[:half], own])] = (
            torch.randn(number, generator=seeded(7)).double().sign()
        )
    coefficients[:, 0] = 3
    return terms, coefficients


def fitted(design: Design, values: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
    """Return a table of coefficients, and R² over unseen masks."""
    fit = design.fit(values)
    table = torch.zeros(len(values), len(terms), dtype=torch.float64)
    table[:, fit.terms] = fit.coefficients
    return table, fit.r2


@pytest.mark.parametrize(
    ("players", "order", "number", "masks"),
    [(12, 3, 12, 300), (20, 3, 10, 700), (49, 2, 20, 600), (49, 3, 16, 900), (196, 1, 14, 400)],
)
def test_a_sparse_function_is_recovered_exactly_from_some_of_its_masks(
    players: int, order: int, number: int, masks: int
) -> None:
    terms, coefficients = planted(players, order, number)
    drawn = draw_masks(players, masks, seeded())
    found, r2 = fitted(Design(drawn, terms), coefficients @ signs(terms, drawn).T, terms)
    torch.testing.assert_close(found, coefficients, atol=1e-9, rtol=0)
    torch.testing.assert_close(r2, torch.ones(2, dtype=torch.float64))


def test_shares_of_two_planted_functions_of_49_players_are_those_of_their_common_terms() -> None:
    """Half of 20 terms are common; by chance, terms of an order rarely meet among all there are."""
    terms, coefficients = planted(49, 2, 20)
    drawn = draw_masks(49, 600, seeded())
    noise = 0.02 * torch.randn(2, 600, generator=seeded(3)).double()
    values = coefficients @ signs(terms, drawn).T + noise
    (first, second), r2 = fitted(Design(drawn, terms), values, terms)
    assert float(r2.min()) > 0.999
    sizes = terms.sum(1)
    parts = decompose(first[None], second[None])
    found = share(parts.preserved, first[None], sizes)
    assert float(found.parts[0, 0] / found.wholes[0, 0]) == pytest.approx(10 / 20, abs=0.02)
    permuted = permute_within_orders(second[None], seeded(), sizes)
    chance = share(decompose(first[None], permuted).preserved, first[None], sizes)
    assert float(chance.parts[0, 0] / chance.wholes[0, 0]) < 0.1


def test_a_function_of_a_higher_order_and_pure_noise_have_no_r2() -> None:
    """The gate of the study: masks that the fit never saw are not explained."""
    parity = torch.zeros(1, 12, dtype=torch.bool)
    parity[0, :6] = True
    drawn = draw_masks(12, 400, seeded())
    values = torch.stack(
        [signs(parity, drawn)[:, 0], torch.randn(400, generator=seeded()).double()]
    )
    design = Design(drawn, low_order_terms(12, 3))
    for rows in (values, values[:1], values[1:]):
        assert float(design.fit(rows).r2.max()) < 0.1


def test_a_coefficient_that_one_network_needs_is_estimated_in_the_other_too() -> None:
    terms, coefficients = planted(12, 2, 8)
    coefficients[1] = coefficients[0]
    weak = int(coefficients[0].abs().argsort(descending=True)[5])
    coefficients[1, weak] *= 0.05
    drawn = draw_masks(12, 300, seeded())
    noise = torch.randn(2, 300, generator=seeded(1)).double()
    values = coefficients @ signs(terms, drawn).T + torch.tensor([[0.01], [0.5]]) * noise
    found, _ = fitted(Design(drawn, terms), values, terms)
    assert found[0, weak] == pytest.approx(float(coefficients[0, weak]), abs=0.02)
    assert found[1, weak] != 0
    assert found[1, weak] == pytest.approx(float(coefficients[1, weak]), abs=0.1)


def test_a_constant_network_has_its_mean_alone_and_spoils_no_other() -> None:
    terms, coefficients = planted(10, 2, 6)
    drawn = draw_masks(10, 200, seeded())
    values = coefficients @ signs(terms, drawn).T
    values[1] = 2.0
    found, r2 = fitted(Design(drawn, terms), values, terms)
    torch.testing.assert_close(found[0], coefficients[0], atol=1e-9, rtol=0)
    assert float(found[1, 0]) == pytest.approx(2.0)
    assert float(found[1, 1:].abs().max()) < 1e-9
    assert r2.isnan().tolist() == [False, True]


def of_low_order() -> tuple[LowOrder, Tensor, Tensor]:
    """Return subsets, Walsh coefficients of two images on them, and the scores of all masks."""
    subsets = LowOrder(6, 3, 64)
    coefficients = torch.randn(2, len(subsets.sizes), generator=seeded(), dtype=torch.float64)
    return subsets, coefficients, coefficients @ signs(subsets.members.T, membership(6).T).T


def in_table(subsets: LowOrder) -> Tensor:
    """Return the place of every column in a table over all subsets."""
    return (subsets.members.T.long() << torch.arange(subsets.players)).sum(1)


def test_transforms_of_a_function_of_low_order_are_those_of_its_table() -> None:
    subsets, coefficients, values = of_low_order()
    places = in_table(subsets)
    torch.testing.assert_close(walsh(values)[:, places], subsets.walsh(coefficients))
    interactions = mobius(values)
    torch.testing.assert_close(interactions[:, places], subsets.mobius(coefficients))
    higher = torch.ones(64, dtype=torch.bool)
    higher[places] = False
    assert float(interactions[:, higher].abs().max()) < 1e-9


def test_scores_of_a_function_of_low_order_are_those_of_its_table() -> None:
    subsets, coefficients, values = of_low_order()
    torch.testing.assert_close(subsets.empty(coefficients), values[:, 0])
    ranking = torch.rand(2, 6, generator=seeded(2))
    for count in (1, 3):
        theirs = scores_without_players(values, ranking, count)
        torch.testing.assert_close(subsets.without(coefficients, ranking, count), theirs)
    interactions = subsets.mobius(coefficients)
    rebuilt = subsets.rebuilt(interactions, values[:, 0])
    torch.testing.assert_close(rebuilt, values[:, -1:])
    torch.testing.assert_close(rebuilt, reconstructed_scores(mobius(values), values[:, 0])[:, -1:])


def test_noise_of_the_scores_is_that_of_coefficients_fitted_to_so_many_masks() -> None:
    subsets, coefficients, values = of_low_order()
    columns = signs(subsets.members.T, membership(6).T)
    noise = torch.randn(4000, 64, generator=seeded(5)).double()
    fitted = torch.linalg.lstsq(columns, noise.T).solution.T
    deviation = values.std(-1, correction=0).mean()
    drawn = subsets.noise(coefficients.repeat(2000, 1), 0.01, seeded(6))
    expected = 0.01 * deviation * fitted.std()
    assert float(drawn.std()) == pytest.approx(float(expected), rel=0.1)


def test_shapley_values_are_those_of_the_table_and_of_shapiq() -> None:
    subsets, coefficients, values = of_low_order()
    found = shapley_values(subsets.mobius(coefficients), subsets.members)
    torch.testing.assert_close(found, shapley_values(mobius(values)))

    def game(coalitions: np.ndarray) -> np.ndarray:
        shown = torch.from_numpy(coalitions)
        return (coefficients[0] @ signs(subsets.members.T, shown).T).numpy()

    theirs = ExactComputer(n_players=6, game=game)("SV", order=1)
    ours = torch.tensor([theirs[(player,)] for player in range(6)], dtype=torch.float64)
    torch.testing.assert_close(found[0], ours)


def test_masks_are_different_and_hold_both_ends() -> None:
    drawn = draw_masks(5, 32, seeded())
    assert len(drawn.unique(dim=0)) == 32
    assert (drawn[0].sum(), drawn[1].sum()) == (0, 5)
    with pytest.raises(ValueError, match="33 masks are requested, 5 players have 32"):
        draw_masks(5, 33, seeded())
