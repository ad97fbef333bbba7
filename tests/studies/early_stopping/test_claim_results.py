import numpy as np
import pytest
from study_tables import EARLIER, FLAT, measurements

from headstart.studies.early_stopping import claim_results as findings
from headstart.studies.early_stopping.verdicts.accuracies import accuracy_tensors
from headstart.studies.early_stopping.verdicts.run_tables import arms_as_modes
from headstart.studies.early_stopping.verdicts.verdicts import verdict_table

FALL = {0: -30.0, 1: -5.0, 2: 5.0, 4: 5.0, 8: 0.0}


def runs(*args, **options):
    return accuracy_tensors(arms_as_modes(measurements(*args, **options)), {})


def test_a_fall_after_the_source_is_fitted_is_found_or_ruled_out():
    assert findings.late_fall(runs(FALL), 1.0, 1.0).status == "supported"
    flat = findings.late_fall(runs(FLAT, seed_sd=0.002), 1.0, 1.0)
    assert flat.status == "contradicted"
    few = findings.late_fall(runs(FALL, n_seeds=3), 1.0, 1.0)
    assert few.status == "undetermined"
    assert "3 source seeds cannot give a p below 0.125" in few.reason


def test_a_fall_is_not_measured_before_the_source_is_fitted():
    assert findings.late_fall(runs(FALL), 0.9, 1.0).status == "not measured here"
    assert "lacks" in findings.late_fall(runs(FALL), np.nan, 1.0).reason


def test_a_gain_that_a_lower_rate_takes_away_supports_the_claim_on_learning_rates():
    # Source-best suffers at the high rate alone, so only there is an earlier start better.
    found = findings.learning_rate(runs(FLAT, rates=(0.01, 0.1), drop_at_last_rate=5.0))
    assert found.status == "supported"
    assert found.value == pytest.approx(5.0, abs=0.5)


def test_a_rate_that_makes_no_difference_is_mistaken_for_one_in_a_twentieth_of_all_studies():
    decided = [
        findings.learning_rate(runs(EARLIER, rates=(0.01, 0.1), seed=seed)).status != "undetermined"
        for seed in range(60)
    ]
    # Binomial(60, 0.05): more than 8 in one of 500 such batches.
    assert sum(decided) <= 8


def test_one_learning_rate_measures_nothing_about_rates():
    assert findings.learning_rate(runs(EARLIER)).status == "not measured here"


def test_without_a_gain_at_the_high_rate_nothing_can_shrink():
    worse = {0: -30.0, 1: -9.0, 2: -6.0, 4: -3.0, 8: 0.0}
    found = findings.learning_rate(runs(worse, rates=(0.01, 0.1), drop_at_last_rate=1.0))
    assert found.status == "undetermined"
    assert "no gain" in found.reason


def test_gains_that_grow_with_shots_support_and_those_that_shrink_contradict():
    small, large = runs(FLAT), runs(EARLIER, seed=1)
    assert findings.target_size({1: small, 5: large}).status == "supported"
    assert findings.target_size({1: large, 5: small}).status == "contradicted"
    assert findings.target_size({5: large}).status == "not measured here"


@pytest.mark.parametrize(
    ("gains", "status"),
    [
        (EARLIER, "supported"),
        ({0: -30.0, 1: -9.0, 2: -6.0, 4: -3.0, 8: 0.0}, "contradicted"),
        ({0: -30.0, 1: -9.0, 2: -6.0, 4: 0.5, 8: 0.0}, "undetermined"),
    ],
)
def test_the_claim_on_earlier_starts_follows_the_verdict(gains, status):
    (verdict,) = verdict_table(arms_as_modes(measurements(gains, seed_sd=0.01)))
    assert findings.earlier_start(verdict).status == status
