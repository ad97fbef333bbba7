"""Walsh coefficients from some of the masks: planted sparse games are recovered, others are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shapiq import ExactComputer
from torch import Tensor

from headstart.metrics.interactions.sampled import draw_masks, fit_walsh, low_order_terms, signs
from headstart.metrics.interactions.transform import membership, mobius, shapley_values, walsh


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(players: int, order: int, number: int, images: int = 2) -> tuple[Tensor, Tensor]:
    """Return all terms up to an order, and coefficients that are zero but for the mean and a few."""
    terms = low_order_terms(players, order)
    coefficients = torch.zeros(images, len(terms), dtype=torch.float64)
    for row in coefficients:
        chosen = torch.randperm(len(terms) - 1, generator=seeded(number))[:number] + 1
        row[chosen] = torch.randn(number, generator=seeded(7), dtype=torch.float64).sign()
    coefficients[:, 0] = 3
    return terms, coefficients


@pytest.mark.parametrize(
    ("players", "order", "number", "masks"), [(12, 3, 12, 300), (20, 3, 10, 700), (49, 2, 20, 600)]
)
def test_a_sparse_game_is_recovered_from_some_of_its_masks(
    players: int, order: int, number: int, masks: int
) -> None:
    terms, coefficients = planted(players, order, number)
    drawn = draw_masks(players, masks, seeded())
    found = fit_walsh(coefficients @ signs(terms, drawn).T, drawn, order)
    torch.testing.assert_close(found.coefficients, coefficients, atol=1e-9, rtol=0)
    torch.testing.assert_close(found.r2, torch.ones(2, dtype=torch.float64))
    unseen = draw_masks(players, 50, seeded(1))
    torch.testing.assert_close(found.scores(unseen), coefficients @ signs(terms, unseen).T)


def test_two_hundred_players_are_no_table() -> None:
    terms, coefficients = planted(196, 1, 15)
    drawn = draw_masks(196, 400, seeded())
    found = fit_walsh(coefficients @ signs(terms, drawn).T, drawn, 1)
    torch.testing.assert_close(found.coefficients, coefficients, atol=1e-9, rtol=0)
    with pytest.raises(ValueError, match="196 players"):
        found.table()


def test_a_game_of_a_higher_order_has_no_r2() -> None:
    """The gate of the study: masks that the fit never saw are not explained."""
    parity = torch.zeros(1, 12, dtype=torch.bool)
    parity[0, :6] = True
    drawn = draw_masks(12, 400, seeded())
    values = torch.stack(
        [signs(parity, drawn)[:, 0], torch.randn(400, generator=seeded()).double()]
    )
    assert float(fit_walsh(values, drawn, 3).r2.max()) < 0.1


def test_the_table_holds_the_coefficients_and_the_scores_of_all_masks() -> None:
    terms, coefficients = planted(8, 2, 6)
    everything = membership(8).T
    values = coefficients @ signs(terms, everything).T
    found = fit_walsh(values, everything, 2)
    torch.testing.assert_close(found.table(), values)
    of_terms = (terms.long() << torch.arange(8)).sum(1)
    torch.testing.assert_close(walsh(found.table())[:, of_terms], coefficients)


def test_shapley_values_are_those_of_the_table_and_of_shapiq() -> None:
    terms, coefficients = planted(6, 3, 8)
    everything = membership(6).T
    values = coefficients @ signs(terms, everything).T
    found = fit_walsh(values, everything, 3)
    torch.testing.assert_close(found.shapley(), shapley_values(mobius(values)))

    def game(coalitions: np.ndarray) -> np.ndarray:
        return (coefficients[0] @ signs(terms, torch.from_numpy(coalitions)).T).numpy()

    theirs = ExactComputer(n_players=6, game=game)("SV", order=1)
    ours = torch.tensor([theirs[(player,)] for player in range(6)], dtype=torch.float64)
    torch.testing.assert_close(found.shapley()[0], ours)


def test_masks_are_different_and_hold_both_ends() -> None:
    drawn = draw_masks(5, 32, seeded())
    assert len(drawn.unique(dim=0)) == 32
    assert (drawn[0].sum(), drawn[1].sum()) == (0, 5)
    with pytest.raises(ValueError, match="33 masks are requested, 5 players have 32"):
        draw_masks(5, 33, seeded())


def test_a_constant_score_has_its_mean_alone() -> None:
    drawn = draw_masks(10, 100, seeded())
    found = fit_walsh(torch.full((1, 100), 2.0), drawn, 2)
    assert float(found.coefficients[0, 0]) == 2.0
    assert float(found.coefficients[0, 1:].abs().sum()) == 0
    assert found.r2.isnan().all()
