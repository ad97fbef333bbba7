"""One source network gets an answer for itself, over draws of the target, and for nothing else."""

import numpy as np
import pytest
from simulated_runs import STARTS, peak_at, planted_gain, runs_table

from headstart.studies.early_stopping.claims import ClaimEvaluator
from headstart.studies.early_stopping.verdicts.text import render, to_frame
from headstart.studies.early_stopping.verdicts.verdicts import verdict_table


def one_network(seed=0, gain=0.03, n_draws=8):
    """Return runs from the checkpoints of one network; epoch 2 is worth `gain` over the last one.

    Nothing else differs between its checkpoints: what is this network's own is what it is asked for.
    """
    gains = np.where(STARTS == 2, gain, 0.0)
    test, validation = planted_gain(seed, gains, 1, n_draws, seed_sd=0.0)
    source = peak_at(STARTS, STARTS[-1], 1)
    return runs_table(STARTS, test, validation, source, nested=False)


def test_one_network_is_answered_over_draws_and_named_as_such():
    (verdict,) = verdict_table(one_network())
    assert verdict.verdict == "earlier-better"
    assert verdict.words == "earlier-better (this network)"
    assert verdict.one_network
    assert (verdict.n_seeds, verdict.n_draws, verdict.chosen_epoch) == (1, 8, 2)
    assert verdict.source_best == (8,)
    assert 0 < verdict.interval.low < verdict.effect < verdict.interval.high
    assert "says nothing of other networks" in verdict.reason
    assert "8 draws of the target, one source network" in verdict.reason
    text = render([verdict])
    assert "earlier-better (this network)" in text
    assert "1×8" in text
    assert to_frame([verdict])["one_network"].tolist() == [True]


def test_no_gain_is_found_where_none_is_planted():
    """The negative control: of 40 networks without a gain, two at most are said to have one."""
    found = [verdict_table(one_network(seed, 0.0))[0].verdict for seed in range(40)]
    assert sum(name in ("earlier-better", "later-better") for name in found) <= 2


@pytest.mark.parametrize("n_draws", [2, 5])
def test_too_few_draws_leave_it_open(n_draws: int):
    (verdict,) = verdict_table(one_network(n_draws=n_draws))
    assert verdict.verdict == "undetermined"
    assert verdict.words == "undetermined"


def test_starts_at_the_edge_of_the_grid_are_counted_in_draws():
    gains = np.zeros((len(STARTS), 3))
    gains[:, 2] += 0.2
    test, validation = planted_gain(0, gains, 1, 8, n_rates=3, seed_sd=0.0)
    source, rates = peak_at(STARTS, STARTS[-1], 1), (0.05, 0.2, 0.8)
    verdict, _ = verdict_table(runs_table(STARTS, test, validation, source, rates, nested=False))
    (flag,) = [each for each in verdict.flags if each.startswith("edge-of-grid")]
    assert "source-best at 0.8 (8 of 8 draws)" in flag


def test_a_claim_about_networks_is_not_supported_by_one():
    claims = ClaimEvaluator({"measurements": one_network()}, {})
    result = claims.earlier_start("fixed")
    assert result.status == "undetermined"
    assert "needs several of them" in result.reason


def test_several_networks_are_answered_as_before():
    gains = np.where(STARTS == 2, 0.03, 0.0)
    test, validation = planted_gain(0, gains, 8, 2)
    table = runs_table(STARTS, test, validation, peak_at(STARTS, 8, 8))
    (verdict,) = verdict_table(table)
    assert verdict.words == verdict.verdict == "earlier-better"
    assert not verdict.one_network
