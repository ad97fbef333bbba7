"""Every judge refuses tables without what it looks for, and finds what is planted."""

from __future__ import annotations

import numpy as np
import pytest
from invariance_tables import measurements, robustness, runs
from scipy import stats

from headstart.statistics.control_results import control_table
from headstart.statistics.errors import UndecidableError
from headstart.studies.invariance.claims import FUNCTIONS, ClaimEvaluator
from headstart.studies.invariance.controls import CONTROLS, SERIES, Control, results
from headstart.studies.invariance.identifiability import self_similarity, spread
from headstart.studies.invariance.layer_dynamics import correlations, papers_aggregate, transients
from headstart.studies.invariance.network_tables import largest_elsewhere, stretch_of_choice

MEASURED, ROBUST = measurements(), robustness()
TABLES = {
    "measurements": MEASURED,
    "runs": runs(),
    "transients": transients(papers_aggregate(MEASURED, ROBUST)),
    "correlations": correlations(MEASURED, ROBUST),
}
NETWORKS = ClaimEvaluator(TABLES, {}).networks


@pytest.mark.parametrize("control", CONTROLS, ids=lambda each: f"{each.judge}: {each.name}")
def test_negatives_get_no_verdict_and_positives_the_planted_one(control: Control) -> None:
    resamples = 20 if control.judge in SERIES else 100
    table = control_table("invariance", results(NETWORKS, [control], resamples))
    (row,) = table.to_dict("records")
    assert row["resamples"] == resamples
    # A t-interval of 95 % errs in one of twenty: no more than that, as far as so many draws can tell.
    assert row["passes"]
    if row["kind"] == "planted":
        assert row[row["counted"]] >= 0.8
    else:
        assert row["counted"] == "supported or contradicted"
        assert row["limit"] == 0.05


def test_every_judge_that_can_decide_has_a_negative_and_a_positive_control() -> None:
    judges = {function.__name__ for function in FUNCTIONS} - {"expansion"}
    for positive in (False, True):
        assert {c.judge for c in CONTROLS if (c.expected is not None) == positive} == judges


def test_controls_are_a_table_of_shares() -> None:
    found = control_table("invariance", results(NETWORKS, CONTROLS, 1))
    assert len(found) == len(CONTROLS)
    assert set(found["kind"]) == {"negative", "planted"}
    assert found["supported"].isin([0.0, 1.0]).all()


def test_runs_of_which_forgetting_is_unknown_have_no_controls() -> None:
    unknown = MEASURED.assign(value=MEASURED["value"].where(MEASURED["metric"] != "forgetting"))
    networks = ClaimEvaluator({**TABLES, "measurements": unknown}, {}).networks
    with pytest.raises(UndecidableError, match="forgetting is known at every layer"):
        next(results(networks, CONTROLS, 1))


def test_a_flat_profile_is_told_from_one_that_networks_share() -> None:
    random = np.random.default_rng(0)
    flat = [spread(0.3 + random.normal(0, 0.02, (3, 4)))[1] for _ in range(400)]
    assert np.mean(np.array(flat) < 0.05) <= 0.05
    size, p = spread(np.linspace(0.1, 0.4, 4) + random.normal(0, 0.02, (3, 4)))
    assert size == pytest.approx(0.3, abs=0.06)
    assert p < 0.05
    assert np.isnan(spread(np.ones((1, 4)))[1])


@pytest.mark.parametrize("networks", [3, 9])
def test_networks_that_choose_for_each_other_need_a_wider_interval(networks: int) -> None:
    random, found = np.random.default_rng(1), []
    for values in random.normal(size=(1000, networks, 12)):
        gap = largest_elsewhere(values[:, :-1])[0] - values[:, -1]
        found.append(abs(gap.mean()) / (gap.std(ddof=1) / np.sqrt(networks)))
    reached = stats.t.ppf(0.975, networks - 1)
    stretched = reached * stretch_of_choice(networks, 11)
    assert np.mean(np.array(found) > reached) > 0.06
    assert np.mean(np.array(found) > stretched) == pytest.approx(0.05, abs=0.02)


def test_self_similarity_is_that_off_the_diagonal() -> None:
    grid = np.array([[[1.0, 0.4], [0.6, 1.0]]])
    assert self_similarity(grid) == pytest.approx(0.5)
