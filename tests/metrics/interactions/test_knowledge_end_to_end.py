"""From networks with known AND terms to shares by hand, and counterfactual scores."""

import pytest
import torch
from over_images import over_images, total
from torch import Tensor, nn

from headstart.metrics.interactions.counterfactual import (
    player_strengths,
    positive,
    random_part,
    reconstructed_scores,
    scores_without_players,
)
from headstart.metrics.interactions.decomposition import decompose, shared_effect
from headstart.metrics.interactions.masking import grid_players, pixel_inputs
from headstart.metrics.interactions.scores import subset_scores
from headstart.metrics.interactions.shares import exclusivity, share
from headstart.metrics.interactions.transform import membership, mobius, order_profile, strength

PLAYERS = 6


def network_of_and_terms(terms: dict[tuple[int, ...], float]) -> nn.Sequential:
    """Its log-odds on images of ones and zeros are Σ a_S over the terms S whose pixels are all one."""
    hidden, output = nn.Linear(PLAYERS, len(terms)), nn.Linear(len(terms), 2)
    with torch.no_grad():
        hidden.weight.zero_()
        output.weight.zero_()
        output.bias.zero_()
        for row, (players, weight) in enumerate(terms.items()):
            hidden.weight[row, list(players)] = 1
            hidden.bias[row] = 1 - len(players)
            output.weight[1, row] = weight
    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), output)


def interactions(terms: dict[tuple[int, ...], float], images: int = 2) -> Tensor:
    players = grid_players(1, PLAYERS, 1, PLAYERS, [(0, column) for column in range(PLAYERS)])
    pixels, labels = torch.ones(images, 1, 1, PLAYERS), torch.ones(images, dtype=torch.int64)
    inputs = pixel_inputs(pixels, players, torch.zeros(1, 1, 1))
    return mobius(subset_scores(network_of_and_terms(terms), inputs, labels, PLAYERS))


def test_networks_that_share_terms_have_the_shares_computed_by_hand() -> None:
    pretrained = interactions({(0, 1): 2.0, (2,): 1.0, (1, 3, 4): -1.5, (0, 2, 3, 5): 4.0})
    finetuned = interactions({(0, 1): 1.0, (2,): 1.0, (1, 3, 4): 0.5, (4, 5): 3.0})
    scratch = interactions({(0, 1): 0.5, (2,): -1.0, (3, 4, 5): 2.0})
    parts = decompose(pretrained, finetuned)
    assert total(share(parts.preserved, pretrained)) == pytest.approx(2 / 8.5)
    assert total(share(parts.new, finetuned)) == pytest.approx(3.5 / 5.5)
    assert total(exclusivity(parts.preserved, scratch)) == pytest.approx(0.25)
    discarded = over_images(share(parts.discarded, pretrained)).points[0, 1 : PLAYERS + 1]
    torch.testing.assert_close(discarded[:4], torch.tensor([0.0, 0.5, 1.0, 1.0]).double())
    assert discarded[4:].isnan().all()


def random_table(images: int = 4, players: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, 2**players, generator=generator, dtype=torch.float64)


def test_all_interactions_together_rebuild_the_scores() -> None:
    values = random_table()
    rebuilt = reconstructed_scores(mobius(values), values[:, 0])
    torch.testing.assert_close(rebuilt, values)


def test_preserved_and_new_knowledge_rebuild_the_fine_tuned_scores_together() -> None:
    pretrained, finetuned = random_table(seed=1), random_table()
    parts = decompose(mobius(pretrained), mobius(finetuned))
    empty = finetuned[:, 0]
    rebuilt = [reconstructed_scores(part, empty) for part in (parts.preserved, parts.new)]
    torch.testing.assert_close(rebuilt[0] + rebuilt[1] - empty[:, None], finetuned)


def test_random_parts_are_as_strong_as_a_part_at_every_order_and_hold_given_interactions() -> None:
    table, other = random_table(), random_table(seed=5)
    known = shared_effect(table, other)
    part = random_part(table, known, torch.Generator().manual_seed(3))
    torch.testing.assert_close(order_profile(part), order_profile(known))
    assert (part.abs() <= table.abs() + 1e-12).all()
    assert (part * table >= 0).all()
    cut = (part.abs() > 1e-12) & ((part - table).abs() > 1e-12)
    assert order_profile(cut.double()).max() <= 1  # the last one of an order enters in part
    assert (part[:, 0] == 0).all()
    whole = random_part(table, 2 * table, torch.Generator())
    torch.testing.assert_close(whole[:, 1:], table[:, 1:])


def test_positive_log_odds_are_counted_and_nan_is_not_hidden() -> None:
    scores = torch.tensor([1.0, -1.0, 0.0, 2.0, torch.nan])
    assert positive(scores)[:-1].tolist() == [1, 0, 0, 1]
    assert positive(scores)[-1].isnan()


def test_scores_without_the_strongest_players_are_those_of_the_smaller_set() -> None:
    values = random_table()
    ranking = torch.tensor([0.1, 0.9, 0.3, 0.8, 0.2, 0.0]).expand(4, -1)
    assert torch.equal(scores_without_players(values, ranking, 2), values[:, 0b110101])
    assert torch.equal(scores_without_players(values, ranking, 0), values[:, -1])
    assert torch.equal(scores_without_players(values, ranking, 6), values[:, 0])
    with pytest.raises(ValueError, match="7 are to be hidden"):
        scores_without_players(values, ranking, 7)


def test_hiding_the_players_of_a_term_removes_it() -> None:
    terms = {(0, 1): 2.0, (4, 5): 0.5}
    table = interactions(terms)
    strengths = player_strengths(table)
    torch.testing.assert_close(strengths[0], torch.tensor([1, 1, 0, 0, 0.25, 0.25]).double())
    values = reconstructed_scores(table, table[:, 0])
    assert scores_without_players(values, strengths, 2).tolist() == [0.5, 0.5]


def test_player_strengths_sum_to_the_strength_of_the_part() -> None:
    table = random_table()
    torch.testing.assert_close(player_strengths(table).sum(-1), strength(table))
    alone = torch.where(membership(6)[2], table, 0.0)
    assert (player_strengths(alone).argmax(-1) == 2).all()
