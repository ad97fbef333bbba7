"""Correlations of the dynamics with robustness, from tables: published series and planted ones."""

import pandas as pd
import pytest
from invariance_tables import EPOCHS, PLACE, measurements, published, robustness

from headstart.statistics.layer_dynamics import (
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
    for measure, figure in (("learning", learning), ("forgetting", forgetting)):
        rows = table[table["figure"] == figure]
        layer = rows["series"].str.removeprefix("layer_").astype(int)
        parts.append(rows.assign(measure=measure, layer=layer, reference_layer=layer))
    values = pd.concat(parts).assign(kind="noise", form="debiased", **RUN)
    values["target_epoch"] = values["x"].astype(int)
    severities = table[(table["figure"] == accuracy) & (table["series"] != "clean")]
    level = severities["series"].str.removeprefix("severity_").astype(int)
    epoch = severities["x"].astype(int)
    return values, severities.assign(severity=level, target_epoch=epoch, **RUN)


@pytest.mark.parametrize(("dataset", "r"), [("cifar10", 0.79), ("cifar100", 0.875)])
def test_the_published_series_give_the_published_correlation(dataset: str, r: float) -> None:
    tables = replayed(dataset)
    found = transients(papers_aggregate(*tables)).set_index("part")["r"]
    assert found["whole"] == pytest.approx(r, abs=0.01)
    searched = correlations(*tables)
    assert len(searched[searched["family"] == FAMILY]) == 352
    best = searched[(searched["family"] == FAMILY) & (searched["series"] == "forgetting")].iloc[0]
    assert (best["first_layer"], best["last_layer"], best["statistic"]) == (2, 12, "std")
    assert best["p_selected"] > best["p_independent"]


def test_a_run_without_learning_on_the_way_is_searched_over_forgetting_alone() -> None:
    table = measurements(("finetune",))
    table = table[(table["measure"] != "learning") | (table["target_epoch"] == EPOCHS[-1])]
    found = correlations(table, robustness(("finetune",)))
    assert set(found.loc[found["family"] == FAMILY, "series"]) == {"forgetting"}
    assert set(found["family"]) == {FAMILY, "cka_divergence", "subspace_similarity"}
    assert (found["epochs"] == len(EPOCHS)).all()


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
