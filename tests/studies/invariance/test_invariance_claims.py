"""What planted tables say of the claims on invariances, and what they leave open."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from invariance_tables import EPOCHS, LAYERS, measurements, robustness, runs, second_model

from headstart.statistics.claim_results import ClaimResult
from headstart.steps import claims as claim_step
from headstart.steps.claims import read_claims, record
from headstart.studies.invariance import dynamics_claims, layer_claims
from headstart.studies.invariance.answer import answer
from headstart.studies.invariance.claims import FUNCTIONS, ON_SOURCES, ClaimEvaluator
from headstart.studies.invariance.layer_dynamics import correlations, papers_aggregate, transients
from headstart.studies.invariance.network_tables import RUN, Networks

EVALUATORS = ClaimEvaluator.evaluators


def networks(
    arms: tuple[str, ...] = ("finetune", "reconstruct", "scratch"), seeds: int = 3
) -> Networks:
    table = measurements(arms, seeds)
    accuracy = robustness(tuple(a for a in arms if a != "reconstruct"), seeds)
    followed = papers_aggregate(table, accuracy)
    return Networks(table, runs(arms, seeds), transients(followed), correlations(table, accuracy))


PLANTED = networks()
TABLES = ("measurements", "runs", "transients", "correlations")


def planted(change: pd.Series, factor: float) -> Networks:
    """Return the planted networks with some rows, and their intervals, times a factor."""
    table = PLANTED.measurements.copy()
    for name in ("value", "low", "high"):
        table.loc[change, name] *= factor
    return replace(PLANTED, measurements=table)


@pytest.mark.parametrize(
    ("evaluate", "value"),
    [
        (layer_claims.similar_yet_forgotten, None),
        (layer_claims.new_task_learns_more, None),
        (layer_claims.low_level_task_forgets_earlier, 0.5 - 0.1375),
        (layer_claims.reusable_early_invariances, 0.8 * (0.7 - 0.1375)),
        (layer_claims.compression, 0.05),
        (layer_claims.early_layers_change, None),
        (dynamics_claims.peak_on_the_way, None),
    ],
)
def test_what_was_planted_is_found(evaluate, value: float | None) -> None:
    found: ClaimResult = evaluate(PLANTED)
    assert found.status == "supported", found.reason
    assert 0 < found.low <= found.value <= found.high
    assert "n = 3 source networks" in found.reason
    if value is not None:
        assert found.value == pytest.approx(value, abs=0.01)


@pytest.mark.parametrize(
    "evaluate",
    [layer_claims.low_level_task_forgets_earlier, layer_claims.new_task_learns_more, layer_claims.compression,
     layer_claims.early_layers_change],
)  # fmt: skip
def test_the_opposite_is_contradicted(evaluate) -> None:
    found = evaluate(planted(PLANTED.measurements["layer"] > 0, -1))
    assert found.status == "contradicted"
    assert found.high < 0


def test_compression_that_is_not_above_the_control_is_left_open() -> None:
    beyond = PLANTED.measurements["metric"].str.startswith("excess_over")
    found = layer_claims.compression(planted(beyond, -1))
    assert found.status == "undetermined"
    assert found.high < 0
    assert "not above the control" in found.reason


@pytest.mark.parametrize(
    ("arm", "status"), [("reconstruct", "supported"), ("finetune", "contradicted")]
)
def test_learning_and_forgetting_differ_where_they_do_not_go_together_over_layers(
    arm: str, status: str
) -> None:
    table = PLANTED.measurements
    turned = (table["arm"] == arm) & (table["metric"] == "learning")
    found = layer_claims.learning_is_not_forgetting(planted(turned, -1))
    assert found.status == status, found.reason


def correlated(arms: tuple[str, ...] = ("finetune",), **r: float) -> Networks:
    """Return networks whose correlations are these, by part of the run, up to a little noise."""
    noise = np.random.default_rng(0)
    place = {name: PLANTED.runs[name].iloc[0] for name in RUN}
    rows = [
        {**place, "arm": arm, "seed": seed, "part": part, "epochs": 8 if part == "prefix" else 60,
         "r": np.clip(value + noise.normal(0, 0.01), -0.995, 0.995), "p_shift": 0.01 if abs(value) > 0.3 else 0.5,
         "p_window": 0.02 if value > 0.8 else 1.0, "windows": 50}
        for arm in arms for seed in range(3)
        for part, value in (r.items() if len(arms) == 1 else [("whole", r[arm]), ("differences", r[arm])])
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    more = [PLANTED.runs.query("arm == 'finetune'").assign(arm=arm) for arm in arms]
    return replace(PLANTED, transients=table, runs=pd.concat(more))


@pytest.mark.parametrize(
    ("whole", "differences", "status"),
    [
        (0.8, 0.5, "supported"),
        (0.8, -0.5, "contradicted"),
        (-0.8, -0.5, "contradicted"),
        (-0.8, 0.0, "undetermined"),
        (0.8, 0.0, "undetermined"),
    ],
)
def test_robustness_follows_where_the_changes_do_too(
    whole: float, differences: float, status: str
) -> None:
    found = dynamics_claims.std_follows_robustness(
        correlated(whole=whole, differences=differences, prefix=0.9)
    )
    assert found.status == status
    assert found.value == pytest.approx(whole, abs=0.02)


def test_runs_too_short_for_the_test_of_a_claim_cannot_show_it_either_way() -> None:
    short = correlated(whole=0.8, differences=0.5, prefix=0.95)
    part = short.transients["part"]
    table = short.transients.assign(windows=39)
    table.loc[part == "differences", "epochs"] = 19
    for judge in (
        dynamics_claims.std_follows_robustness,
        dynamics_claims.early_prefix_correlates_more,
    ):
        assert judge(short).status == "supported"
        assert judge(replace(short, transients=table)).status == "not identifiable here"
    without = replace(short, transients=table.assign(windows=np.nan, p_window=np.nan))
    assert dynamics_claims.early_prefix_correlates_more(without).status == "not identifiable here"
    enough = table.assign(windows=40)
    enough.loc[part == "differences", "epochs"] = 20
    assert (
        dynamics_claims.std_follows_robustness(replace(short, transients=enough)).status
        == "supported"
    )


@pytest.mark.parametrize(("prefix", "status"), [(0.95, "supported"), (0.5, "contradicted")])
def test_the_first_epochs_correlate_more_or_less_than_all(prefix: float, status: str) -> None:
    found = dynamics_claims.early_prefix_correlates_more(
        correlated(whole=0.8, differences=0, prefix=prefix)
    )
    assert found.status == status
    assert found.value == pytest.approx(prefix - 0.8, abs=0.02)


@pytest.mark.parametrize(("slow", "status"), [(0.8, "supported"), (-0.99, "contradicted")])
def test_one_setting_of_the_optimiser_decides_whether_the_correlation_holds_in_all(
    slow: float, status: str
) -> None:
    found = dynamics_claims.holds_across_settings(correlated(("fast", "slow"), fast=0.9, slow=slow))
    assert found.status == status
    assert found.value == pytest.approx(slow, abs=0.02)
    assert "fast +0.90" in found.reason


def test_a_setting_without_a_correlation_leaves_the_claim_open() -> None:
    some = correlated(("fast", "slow"), fast=0.9, slow=np.nan)
    assert dynamics_claims.holds_across_settings(some).status == "undetermined"


def test_one_network_decides_nothing() -> None:
    alone = networks(seeds=1)
    for evaluate in FUNCTIONS:
        assert evaluate(alone).status not in ("supported", "contradicted"), evaluate
    assert "no interval" in layer_claims.compression(alone).reason


def evaluated(tables: Networks, **requested: str) -> dict[str, ClaimResult]:
    by_name = {name: getattr(tables, name) for name in TABLES}
    opened = ClaimEvaluator(by_name, {}, requested)
    return {name: evaluate(opened) for name, evaluate in EVALUATORS.items()}


def said_of_depth(arm: str) -> str:
    """Return what the answer says of depth where forgetting of one arm is as large in every layer."""
    table = PLANTED.measurements.copy()
    flat = (
        table["arm"].eq(arm) & table["metric"].eq("forgetting") & table["condition"].eq("measured")
    )
    table.loc[flat, "value"] = 0.3 + table.loc[flat, "seed"] * 0.01
    tables = {**{name: getattr(PLANTED, name) for name in TABLES}, "measurements": table}
    claims = read_claims()
    _, found = claim_step.evaluate(claims, "invariance", ClaimEvaluator, tables, {})
    rows = [record(name, claims.claims[name], result, {}) for name, result in found.items()]
    return next(one.plain for one in answer(tables, rows) if one.topic == "forgotten")


def test_the_answer_doubts_depth_where_the_profile_that_it_shows_is_flat() -> None:
    shown = said_of_depth("finetune")
    assert shown.startswith("Of shared invariances (STIR, at most 1) are lost: block 1 0.31, ")
    assert shown.endswith("That it depends on depth is not identifiable.")
    other = said_of_depth("reconstruct")
    assert "identifiable" not in other
    assert other.startswith("Of shared invariances (STIR, at most 1) are lost: block 1 0.2")


def test_networks_of_another_model_with_the_same_seeds_do_not_enter_a_judgement() -> None:
    both = Networks(*(second_model(getattr(PLANTED, name), -1) for name in TABLES))
    alone, chosen = evaluated(PLANTED), evaluated(both, model="vit")
    on_sources = {function.__name__ for function in ON_SOURCES}
    assert {name for name in EVALUATORS if repr(alone[name]) != repr(chosen[name])} == on_sources
    other = evaluated(both, source="photos")["similar_yet_forgotten"]
    assert other.value == pytest.approx(-alone["similar_yet_forgotten"].value)
    first = ClaimEvaluator({name: getattr(both, name) for name in TABLES}, {})
    assert (first.source, first.model) == ("photos", "imagenet")
    assert "I7 and I8 on all 2 sources of this target" in first.about()


def test_runs_of_given_weights_are_runs_of_one_backbone_and_never_source_networks() -> None:
    def given(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(target_seed=table["seed"], seed=0, given_weights=True)

    tables = Networks(*(given(getattr(PLANTED, name)) for name in TABLES))
    networks, runs_of_one = evaluated(PLANTED), evaluated(tables)
    for name, found in runs_of_one.items():
        assert found.status == networks[name].status, name
        assert found.value == pytest.approx(networks[name].value, nan_ok=True)
        assert "source network" not in found.reason, name
    assert "3 fine-tuning runs of one backbone" in runs_of_one["compression"].reason
    opened = ClaimEvaluator({name: getattr(tables, name) for name in TABLES}, {})
    assert "t-intervals over fine-tuning runs of one backbone" in opened.about()


def test_the_end_of_a_run_is_the_one_its_table_names_and_not_its_last_epoch() -> None:
    best = replace(PLANTED, runs=PLANTED.runs.assign(target_epoch=5))
    found = best.diagonal("fine-tuned", "forgetting")
    rows = PLANTED.measurements.query(
        "arm == 'finetune' and metric == 'forgetting' and form == 'debiased' and target_epoch == 5"
    )
    expected = rows.pivot(index="seed", columns="layer", values="value").to_numpy()
    np.testing.assert_allclose(found, expected)


def test_expansion_is_never_decided() -> None:
    found = layer_claims.expansion(PLANTED)
    assert found.status == "not identifiable here"
    assert "not identifiable" in found.reason
    assert np.isnan(found.value)


@pytest.mark.parametrize(
    "evaluate",
    [layer_claims.learning_is_not_forgetting, layer_claims.new_task_learns_more,
     layer_claims.low_level_task_forgets_earlier, layer_claims.large_source_helps_late, layer_claims.cka_misses_it,
     dynamics_claims.holds_across_settings, layer_claims.reusable_early_invariances],
)  # fmt: skip
def test_what_no_run_does_is_not_measured_here(evaluate) -> None:
    assert evaluate(networks(("finetune",))).status == "not measured here"


def test_undefined_layers_leave_a_claim_open_with_the_reason() -> None:
    table = PLANTED.measurements.copy()
    table.loc[table["metric"] == "forgetting", ["value", "low", "high"]] = np.nan
    found = layer_claims.similar_yet_forgotten(replace(PLANTED, measurements=table))
    assert found.status == "undetermined"
    assert "not finite" in found.reason


@pytest.mark.parametrize(
    ("forgetting", "divergence", "status"),
    [(0.5, 2.0, "supported"), (2.0, 0.5, "contradicted")],
)
def test_two_sources_are_compared_where_one_has_given_weights(
    forgetting: float, divergence: float, status: str
) -> None:
    both = replace(
        PLANTED,
        measurements=second_model(PLANTED.measurements),
        runs=second_model(PLANTED.runs),
    )
    table = both.measurements
    for metric, factor in (("forgetting", forgetting), ("cka_divergence", divergence)):
        table.loc[table["given_weights"] & (table["metric"] == metric), "value"] *= factor
    assert layer_claims.large_source_helps_late(both).status == status
    assert layer_claims.cka_misses_it(both).status == status


def test_a_common_transient_does_not_decide_that_robustness_follows() -> None:
    epochs, parts = np.arange(1, 41), []
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(0, 0.02, (2, 40))
        std, accuracy = noise - 0.6**epochs
        run = {name: PLANTED.runs[name].iloc[0] for name in RUN} | {"seed": seed}
        values = {"target_epoch": epochs, "std_forgetting": std, "std_forgetting_paper": std}
        parts.append(pd.DataFrame(values).assign(robust_accuracy=accuracy, **run))
    both = replace(PLANTED, transients=transients(pd.concat(parts)))
    found = dynamics_claims.std_follows_robustness(both)
    assert found.low > 0
    assert found.status == "undetermined"


def test_the_best_of_other_aggregates_stands_beside_that_of_forgetting() -> None:
    reason = dynamics_claims.std_follows_robustness(PLANTED).reason
    for family in ("cka_divergence", "forgetting and learning", "subspace_similarity"):
        rows = PLANTED.correlations.query("arm == 'finetune' and family == @family")
        best = rows.groupby("seed")["r"].max().mean()
        assert f"{family} {best:+.2f}" in reason


def test_the_peak_is_not_chosen_on_the_network_that_is_judged() -> None:
    table = PLANTED.measurements
    noise = np.random.default_rng(0).normal(size=len(table))
    flat = table.assign(
        value=np.where(table["metric"] == "forgetting", 0.5 + 0.05 * noise, table["value"])
    )
    found = dynamics_claims.peak_on_the_way(replace(PLANTED, measurements=flat))
    assert found.status == "undetermined"
    assert (LAYERS, EPOCHS[-1]) == (4, 21)


def test_every_claim_of_the_paper_has_an_evaluator_and_every_evaluator_a_claim() -> None:
    claims = read_claims().of("invariance")
    assert list(claims) == [f"I{number}" for number in range(1, 15)]
    assert [claim.evaluated_by for claim in claims.values()] == list(EVALUATORS)
