"""Correlations of the dynamics with robustness, from tables: published series and planted ones."""

import numpy as np
import pandas as pd
import pytest
from invariance_tables import EPOCHS, LAYERS, PLACE, measurements, published, robustness

from headstart.studies.invariance.layer_dynamics import (
    FAMILY,
    correlations,
    held_out,
    papers_aggregate,
    transients,
)

RUN = {**PLACE, "arm": "finetune", "mode": "finetune", "random_start": False, "seed": 0}
FIGURES = {
    "cifar10": ("fig5a_learning_cifar10", "fig5b_forgetting_cifar10", "fig5c_accuracy_cifar10"),
    "cifar100": ("fig11a_learning_cifar100", "fig11b_forgetting_cifar100", "fig13_accuracy_cifar100"),
}  # fmt: skip


def replayed(dataset: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the published series in the columns of the study's tables."""
    table, (learning, forgetting, accuracy) = published(), FIGURES[dataset]
    parts = []
    for metric, figure in (("learning", learning), ("forgetting", forgetting)):
        rows = table[table["figure"] == figure]
        layer = rows["series"].str.removeprefix("layer_").astype(int)
        parts.append(rows.assign(metric=metric, layer=layer, reference_layer=layer))
    values = pd.concat(parts).assign(kind="noise", form="debiased", **RUN)
    values["target_epoch"] = values["x"].astype(int)
    severities = table[(table["figure"] == accuracy) & (table["series"] != "clean")]
    level = severities["series"].str.removeprefix("severity_").astype(int)
    epoch = severities["x"].astype(int)
    return values, severities.assign(severity=level, target_epoch=epoch, **RUN)


@pytest.mark.parametrize(
    ("dataset", "r", "without_two", "changes"),
    [("cifar10", 0.79, 0.36, 0.20), ("cifar100", 0.875, 0.55, -0.21)],
)
def test_the_published_series_give_the_published_correlation_that_shrinks_without_its_start(
    dataset: str, r: float, without_two: float, changes: float
) -> None:
    tables = replayed(dataset)
    found = transients(papers_aggregate(*tables)).set_index("part")["r"]
    assert found["whole"] == pytest.approx(r, abs=0.01)
    assert found["without_first_two"] == pytest.approx(without_two, abs=0.01)
    assert found["differences"] == pytest.approx(changes, abs=0.01)
    searched = correlations(*tables)
    assert len(searched[searched["family"] == FAMILY]) == 352
    best = searched[(searched["family"] == FAMILY) & (searched["series"] == "forgetting")].iloc[0]
    assert (best["first_layer"], best["last_layer"], best["statistic"]) == (2, 12, "std")
    assert best["p_selected"] > best["p_independent"]


def test_a_run_without_learning_on_the_way_is_searched_over_forgetting_alone() -> None:
    table = measurements(("finetune",))
    table = table[(table["metric"] != "learning") | (table["target_epoch"] == EPOCHS[-1])]
    found = correlations(table, robustness(("finetune",)))
    tried = found["left_out"].eq(0) | found["r"].notna()
    assert set(found.loc[tried & (found["family"] == FAMILY), "series"]) == {"forgetting"}
    assert set(found["family"]) == {FAMILY, "cka_divergence", "subspace_similarity"}
    never = found[found["series"] == "learning"]
    assert never["r"].isna().all()
    assert never["reason"].str.startswith("undefined at 5 of 6 epochs: not measured there").all()
    assert (found["epochs"] == len(EPOCHS)).all()


def test_aggregates_of_a_layer_that_failed_at_one_epoch_are_counted_and_say_so() -> None:
    table = measurements(("finetune",), 1)
    failed = (table["metric"] == "forgetting") & (table["layer"] == LAYERS)
    table.loc[failed & (table["target_epoch"] == 3), "value"] = float("nan")
    found = correlations(table, robustness(("finetune",), 1)).query("family == @FAMILY")
    undefined = found[found["r"].isna()]
    assert (undefined["reason"] != "").all()
    assert (found.loc[found["r"].notna(), "reason"] == "").all()
    # Suffixes hold the last layer: three of forgetting, of the sum and of the difference, four statistics.
    assert found["left_out"].unique().tolist() == [36]
    assert found["reason"].str.startswith("undefined at 1 of 6 epochs").sum() == 36
    assert found["hypotheses"].unique().tolist() == [len(found) - 36]
    aggregate = papers_aggregate(table, robustness(("finetune",), 1))
    whole = transients(aggregate).set_index("part")
    assert whole.at["whole", "reason"] == "undefined at 1 of 6 epochs"
    assert whole.at["differences", "reason"] == "2 values, fewer than 3"
    table, accuracy = measurements(("finetune",), 2), robustness(("finetune",), 2)
    failed = (table["metric"] == "forgetting") & (table["layer"] == LAYERS) & (table["seed"] == 0)
    table.loc[failed & (table["target_epoch"] == 3), "value"] = float("nan")
    assert held_out(table, accuracy)["left_out"].tolist() == [36, 36]


def test_the_published_form_is_that_of_biased_cka_with_1_for_self_stir() -> None:
    found = papers_aggregate(measurements(("finetune",), 1), robustness(("finetune",), 1))
    np.testing.assert_allclose(found["std_forgetting_paper"], found["std_forgetting"])
    table = measurements(("finetune",), 1)
    biased = table["metric"] == "forgetting_paper"
    table.loc[biased, "value"] *= 2
    doubled = papers_aggregate(table, robustness(("finetune",), 1))
    np.testing.assert_allclose(doubled["std_forgetting"], found["std_forgetting"])
    np.testing.assert_allclose(doubled["std_forgetting_paper"], 2 * found["std_forgetting"])
    parts = transients(doubled)
    np.testing.assert_allclose(parts["r_paper"], parts["r"])


def test_prefixes_are_named_by_their_last_epoch() -> None:
    found = transients(papers_aggregate(measurements(), robustness()))
    prefix = found[
        (found["part"] == "prefix") & (found["arm"] == "finetune") & (found["seed"] == 0)
    ]
    assert prefix["target_epoch"].tolist() == [3, 5, 8, 13]
    whole = found[(found["part"] == "whole") & (found["arm"] == "finetune") & (found["seed"] == 0)]
    assert prefix["r"].iloc[-1] == pytest.approx(whole["r"].iloc[0])


def test_other_runs_choose_the_aggregate_that_judges_a_run() -> None:
    found = held_out(measurements(), robustness())
    assert len(found) == 6
    assert (found["r_held_out"] <= found["r_best"] + 1e-12).all()
    assert held_out(measurements(("finetune",), 1), robustness(("finetune",), 1)).empty


def test_without_robustness_there_is_nothing_to_correlate() -> None:
    empty = robustness().iloc[:0]
    assert correlations(measurements(), empty).empty
    assert papers_aggregate(measurements(), empty).empty
    assert transients(papers_aggregate(measurements(), empty)).empty
