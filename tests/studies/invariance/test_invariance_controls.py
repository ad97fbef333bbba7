"""Every judge refuses tables without what it looks for, and finds what is planted."""

from __future__ import annotations

import numpy as np
import pytest
from invariance_tables import measurements, robustness, runs
from scipy.stats import binomtest

from headstart.studies.invariance.claims import FUNCTIONS, ClaimEvaluator
from headstart.studies.invariance.controls import CONTROLS, SERIES, Control, controls, shares
from headstart.studies.invariance.identifiability import self_similarity, spread
from headstart.studies.invariance.layer_dynamics import correlations, papers_aggregate, transients

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
    (row,) = shares(NETWORKS, [control], resamples)
    assert row["n"] == resamples
    if row["kind"] == "negative":
        # A t-interval of 95 % errs in one of twenty: no more than that, as far as so many draws can tell.
        assert (
            binomtest(round(row["supported"] * resamples), resamples, 0.05, "greater").pvalue > 0.05
        )
    else:
        assert row["supported"] >= 0.8


def test_every_judge_that_can_decide_has_a_negative_and_a_positive_control() -> None:
    judges = {function.__name__ for function in FUNCTIONS} - {"expansion"}
    for positive in (False, True):
        assert {c.judge for c in CONTROLS if (c.expected is not None) == positive} == judges


def test_controls_are_a_table_of_shares() -> None:
    found = controls(TABLES, resamples=1)
    assert list(found) == ["study", "judge", "control", "kind", "supported", "n"]
    assert len(found) == len(CONTROLS)
    assert set(found["kind"]) == {"negative", "positive"}
    assert found["supported"].isin([0.0, 1.0]).all()


def test_a_flat_profile_is_told_from_one_that_networks_share() -> None:
    random = np.random.default_rng(0)
    flat = [spread(0.3 + random.normal(0, 0.02, (3, 4)))[1] for _ in range(400)]
    assert np.mean(np.array(flat) < 0.05) <= 0.05
    size, p = spread(np.linspace(0.1, 0.4, 4) + random.normal(0, 0.02, (3, 4)))
    assert size == pytest.approx(0.3, abs=0.06)
    assert p < 0.05
    assert np.isnan(spread(np.ones((1, 4)))[1])


def test_self_similarity_is_that_off_the_diagonal() -> None:
    grid = np.array([[[1.0, 0.4], [0.6, 1.0]]])
    assert self_similarity(grid) == pytest.approx(0.5)
