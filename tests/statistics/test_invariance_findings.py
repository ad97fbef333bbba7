"""What planted tables say of the claims on invariances, and what they leave open."""

import numpy as np
import pandas as pd
import pytest
from invariance_tables import EPOCHS, LAYERS, measurements, robustness, runs

from headstart.statistics import invariance_findings as findings
from headstart.statistics.findings import Finding
from headstart.statistics.invariance_findings import Networks
from headstart.statistics.layer_dynamics import papers_aggregate, transients
from headstart.studies.claims import read_claims
from headstart.studies.invariance_claims import JUDGES


def networks(
    arms: tuple[str, ...] = ("finetune", "reconstruct", "scratch"), seeds: int = 3
) -> Networks:
    table = measurements(arms, seeds)
    followed = papers_aggregate(
        table, robustness(tuple(a for a in arms if a != "reconstruct"), seeds)
    )
    return Networks(table, runs(arms, seeds), transients(followed))


PLANTED = networks()


@pytest.mark.parametrize(
    ("judge", "value"),
    [
        (findings.similar_yet_forgotten, None),
        (findings.new_task_learns_more, None),
        (findings.low_level_task_forgets_earlier, 0.5 - 0.1375),
        (findings.reusable_early_invariances, 0.8 * (0.7 - 0.1375)),
        (findings.compression, 0.05),
        (findings.peak_on_the_way, None),
    ],
)
def test_what_was_planted_is_found(judge, value: float | None) -> None:
    found: Finding = judge(PLANTED)
    assert found.status == "supported", found.reason
    assert 0 < found.low <= found.value <= found.high
    assert "n = 3 source networks" in found.reason
    if value is not None:
        assert found.value == pytest.approx(value, abs=0.01)


@pytest.mark.parametrize(
    "judge",
    [findings.low_level_task_forgets_earlier, findings.new_task_learns_more, findings.compression],
)
def test_the_opposite_is_contradicted(judge) -> None:
    turned = PLANTED.measurements.copy()
    for name in ("value", "low", "high"):
        turned[name] = -turned[name]
    found = judge(Networks(turned, PLANTED.runs, PLANTED.transients))
    assert found.status == "contradicted"
    assert found.high < 0


def test_one_network_decides_nothing() -> None:
    alone = networks(seeds=1)
    for name, judge in ((n, getattr(findings, n)) for n in JUDGES):
        assert judge(alone).status in ("undetermined", "not measured here"), name
    assert "no interval" in findings.compression(alone).reason


def test_expansion_is_never_decided() -> None:
    found = findings.expansion(PLANTED)
    assert found.status == "undetermined"
    assert "not identifiable" in found.reason
    assert np.isnan(found.value)


@pytest.mark.parametrize(
    "judge",
    [findings.learning_is_not_forgetting, findings.new_task_learns_more,
     findings.low_level_task_forgets_earlier, findings.large_source_helps_late, findings.cka_misses_it,
     findings.holds_across_settings, findings.reusable_early_invariances],
)  # fmt: skip
def test_what_no_run_does_is_not_measured_here(judge) -> None:
    assert judge(networks(("finetune",))).status == "not measured here"


def test_undefined_layers_leave_a_claim_open_with_the_reason() -> None:
    table = PLANTED.measurements.copy()
    table.loc[table["measure"] == "forgetting", ["value", "low", "high"]] = np.nan
    found = findings.similar_yet_forgotten(Networks(table, PLANTED.runs, PLANTED.transients))
    assert found.status == "undetermined"
    assert "not finite" in found.reason


def test_two_sources_are_compared_where_one_has_given_weights() -> None:
    given = PLANTED.measurements.assign(model="imagenet", given_weights=True)
    low = given["measure"] == "forgetting"
    given.loc[low, "value"] = given.loc[low, "value"] / 2
    high = given["measure"] == "cka_divergence"
    given.loc[high, "value"] = given.loc[high, "value"] * 2
    both = Networks(
        pd.concat([PLANTED.measurements, given]),
        pd.concat([PLANTED.runs, PLANTED.runs.assign(model="imagenet", given_weights=True)]),
        PLANTED.transients,
    )
    assert findings.large_source_helps_late(both).status == "supported"
    assert findings.cka_misses_it(both).status == "supported"


def test_a_common_transient_does_not_decide_that_robustness_follows() -> None:
    found = findings.std_follows_robustness(PLANTED)
    assert "only the changes can show a lasting relation" in found.reason


def test_the_peak_is_not_chosen_on_the_network_that_is_judged() -> None:
    table = PLANTED.measurements
    noise = np.random.default_rng(0).normal(size=len(table))
    flat = table.assign(
        value=np.where(table["measure"] == "forgetting", 0.5 + 0.05 * noise, table["value"])
    )
    found = findings.peak_on_the_way(Networks(flat, PLANTED.runs, PLANTED.transients))
    assert found.status == "undetermined"
    assert (LAYERS, EPOCHS[-1]) == (4, 13)


def test_every_claim_of_the_paper_has_a_judge_and_every_judge_a_claim() -> None:
    claims = read_claims().of("invariance")
    assert list(claims) == [f"I{number}" for number in range(1, 15)]
    assert [claim.judged_by for claim in claims.values()] == list(JUDGES)
