"""Correlations of the dynamics with robustness, from tables: published series and planted ones."""

import numpy as np
import pandas as pd
import pytest
from checkout import ROOT
from invariance_tables import EPOCHS, LAYERS, PLACE, measurements, published, robustness
from numpy import ndarray
from scipy import stats

from headstart.studies.invariance.layer_dynamics import (
    FAMILY,
    correlations,
    held_out,
    papers_aggregate,
    transients,
)
from headstart.studies.invariance.series import (
    KEYS,
    aggregates,
    circular_shift_p,
    held_out_selection,
    layer_subsets,
    pearson,
    prefix_correlations,
    search,
    undefined_correlation,
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
    assert never["reason"].str.startswith("undefined at 11 of 12 epochs: not measured there").all()
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
    assert found["reason"].str.startswith("undefined at 1 of 12 epochs").sum() == 36
    assert found["hypotheses"].unique().tolist() == [len(found) - 36]
    aggregate = papers_aggregate(table, robustness(("finetune",), 1))
    whole = transients(aggregate).set_index("part")
    assert whole.at["whole", "reason"] == "undefined at 1 of 12 epochs"
    assert whole.at["differences", "reason"] == ""
    fewer = transients(aggregate.query("target_epoch != 5")).set_index("part")
    assert fewer.at["differences", "reason"] == "7 values, fewer than 8"
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
    assert prefix["target_epoch"].tolist() == [3, 5, 7, 9, 11, 13, 15, 17, 19, 21]
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


PUBLISHED = ROOT / "published" / "invariance_figures.csv"
LEARNING = {"cifar10": "fig5a_learning_cifar10", "cifar100": "fig11a_learning_cifar100"}
FORGETTING = {"cifar10": "fig5b_forgetting_cifar10", "cifar100": "fig11b_forgetting_cifar100"}
ACCURACY = {"cifar10": "fig5c_accuracy_cifar10", "cifar100": "fig13_accuracy_cifar100"}
DATASETS = pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])


def figure_series(figure: str, prefix: str) -> ndarray:
    """One figure's series as "epochs series", those whose name begins with the prefix."""
    table = pd.read_csv(PUBLISHED).query("figure == @figure")
    names = sorted(
        {name for name in table["series"] if name.startswith(prefix)},
        key=lambda name: int(name.removeprefix(prefix)),
    )
    return table.pivot(index="x", columns="series", values="value")[names].to_numpy()


def run(dataset: str) -> tuple[pd.DataFrame, ndarray]:
    """All aggregates of one published run, and its mean accuracy under corruption."""
    layers = [figure_series(figures[dataset], "layer_") for figures in (LEARNING, FORGETTING)]
    return aggregates(*layers), figure_series(ACCURACY[dataset], "severity_").mean(axis=1)


def std_of_forgetting(dataset: str) -> tuple[ndarray, ndarray]:
    table, robustness = run(dataset)
    return table[("forgetting", 2, 12, "std")].to_numpy(), robustness


def drifting(epochs: int, seed: int) -> ndarray:
    return np.random.default_rng(seed).standard_normal(epochs).cumsum()


@pytest.mark.parametrize(("dataset", "r"), [("cifar10", 0.79), ("cifar100", 0.875)])
def test_the_published_correlation_of_the_std_of_forgetting_is_replayed(
    dataset: str, r: float
) -> None:
    assert pearson(*std_of_forgetting(dataset)) == pytest.approx(r, abs=0.01)


@DATASETS
def test_std_over_layers_2_to_12_is_the_best_published_forgetting_aggregate(dataset: str) -> None:
    found = search(*run(dataset))
    best = found[found["series"] == "forgetting"].iloc[0]
    assert best[KEYS].tolist() == ["forgetting", 2, 12, "std"]


def test_on_cifar100_a_learning_aggregate_beats_the_papers_choice() -> None:
    assert search(*run("cifar10")).iloc[0][KEYS].tolist() == ["forgetting", 2, 12, "std"]
    best = search(*run("cifar100")).iloc[0]
    assert best[KEYS].tolist() == ["learning", 1, 7, "mean"]
    assert best["r"] == pytest.approx(0.888, abs=0.01)


@pytest.mark.parametrize(("dataset", "shortest"), [("cifar10", 3), ("cifar100", 10)])
def test_the_prefix_correlations_of_figure_14_are_replayed(dataset: str, shortest: int) -> None:
    """On CIFAR-100 the published prefixes below 10 epochs do not follow from the paper's series."""
    table = pd.read_csv(PUBLISHED).query("figure == 'fig14'")
    figure = table.pivot(index="x", columns="series", values="value")
    figure = figure[figure["epoch"] >= shortest - 0.5]
    lengths = figure["epoch"].round().astype(int).tolist()
    replayed = prefix_correlations(*std_of_forgetting(dataset), lengths)
    assert replayed["epochs"].tolist() == lengths
    np.testing.assert_allclose(replayed["r"], figure[dataset], atol=0.015)


def test_twelve_layers_give_352_hypotheses_of_which_no_two_are_the_same_subset() -> None:
    assert len(layer_subsets(12)) == len(set(layer_subsets(12))) == 22
    table, _ = run("cifar10")
    assert table.shape == (100, 352)
    assert table.columns.is_unique


def test_an_aggregate_is_its_statistic_over_its_layers() -> None:
    learning, forgetting = np.arange(12.0).reshape(3, 4), np.ones((3, 4))
    table = aggregates(learning, forgetting)
    assert table[("sum", 1, 2, "mean")].tolist() == [1.5, 5.5, 9.5]
    assert table[("difference", 3, 4, "max")].tolist() == [2, 6, 10]
    assert table[("learning", 2, 4, "std")].tolist() == pytest.approx([np.sqrt(2 / 3)] * 3)
    assert table[("forgetting", 1, 3, "min")].tolist() == [1, 1, 1]


def test_pearson_equals_scipy_and_is_nan_for_a_constant_or_a_short_series() -> None:
    x, y = drifting(30, 0), drifting(30, 1)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert np.isnan(pearson(np.full(30, 0.1), y))
    assert np.isnan(pearson(x[:2], y[:2]))


def test_independent_drifting_series_look_related_epoch_by_epoch_but_not_under_shifts() -> None:
    naive, shifted = [], []
    for seed in range(200):
        x, y = drifting(60, seed), drifting(60, seed + 1000)
        naive.append(stats.pearsonr(x, y).pvalue < 0.05)
        shifted.append(circular_shift_p(x, y) <= 0.05)
    assert np.mean(naive) > 0.5
    assert np.mean(shifted) < 0.25


def test_a_common_start_alone_passes_the_shift_test_but_not_without_the_first_epochs() -> None:
    rejected, late = [], []
    for seed in range(100):
        noise = np.random.default_rng(seed).standard_normal((2, 60)) * 0.05
        x, y = noise - 0.5 ** np.arange(60)
        rejected.append(circular_shift_p(x, y) <= 0.05)
        late.append(abs(pearson(x[9:], y[9:])))
    assert np.mean(rejected) > 0.9
    assert np.mean(late) < 0.2


def test_independent_stationary_series_are_rejected_at_the_nominal_rate_under_shifts() -> None:
    generator = np.random.default_rng(0)
    pairs = [generator.standard_normal((2, 40)) for _ in range(400)]
    rate = np.mean([circular_shift_p(x, y) <= 0.05 for x, y in pairs])
    assert rate == pytest.approx(0.05, abs=0.03)


def test_a_series_is_related_to_itself_at_the_smallest_p_and_a_constant_is_nan() -> None:
    x = drifting(50, 3)
    assert pearson(x, x) == pytest.approx(1)
    assert circular_shift_p(x, x) == pytest.approx(1 / 50)
    assert np.isnan(circular_shift_p(x, np.ones(50)))


def test_choosing_the_best_of_many_unrelated_aggregates_looks_significant_until_corrected() -> None:
    uncorrected, corrected = [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        table = aggregates(*generator.standard_normal((2, 40, 6)))
        best = search(table, generator.standard_normal(40)).sort_values("p_shift").iloc[0]
        uncorrected.append(best["p_shift"] <= 0.05)
        corrected.append(best["p_selected"] <= 0.05)
    assert np.mean(uncorrected) > 0.9
    assert np.mean(corrected) < 0.2


def test_the_search_lists_undefined_aggregates_last_with_nan() -> None:
    found = search(*run("cifar10"))
    single_layer_std = found["statistic"].eq("std") & found["first_layer"].eq(found["last_layer"])
    assert found["r"].isna().equals(single_layer_std)
    assert found["r"].isna().iloc[-single_layer_std.sum() :].all()
    defined = found[~single_layer_std]
    assert (defined["p_selected"] >= defined["p_shift"]).all()
    assert (defined["p_bonferroni"] >= defined["p_independent"]).all()
    assert (found["reason"] != "").equals(single_layer_std)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        ([1.0, 2.0], "2 values, fewer than 3"),
        ([1.0, np.nan, 2.0, np.inf], "undefined at 2 of 4 epochs"),
        ([0.1, 0.1, 0.1, 0.1], "a series that does not change"),
        ([1.0, 3.0, 2.0, 5.0], ""),
    ],
)
def test_a_correlation_that_is_undefined_says_why(x: list[float], reason: str) -> None:
    series, other = np.array(x), np.arange(len(x), dtype=float) ** 2
    assert undefined_correlation(series, other) == reason
    assert np.isnan(pearson(series, other)) == bool(reason)


def test_selection_on_one_published_run_is_judged_by_the_other() -> None:
    tables, robustness = zip(*(run(dataset) for dataset in ACCURACY), strict=True)
    result = held_out_selection(
        dict(zip(ACCURACY, tables, strict=True)), dict(zip(ACCURACY, robustness, strict=True))
    ).set_index("held_out")
    assert (result["r_held_out"] <= result["r_best"]).all()
    assert result.loc["cifar100", KEYS].tolist() == ["forgetting", 2, 12, "std"]
    assert result.loc["cifar100", "r_held_out"] == pytest.approx(0.875, abs=0.01)
    assert result.loc["cifar10", KEYS].tolist() == ["learning", 1, 7, "mean"]


def test_selection_on_unrelated_runs_loses_its_correlation_in_the_run_left_out() -> None:
    generator = np.random.default_rng(1)
    tables = {f"run{i}": aggregates(*generator.standard_normal((2, 30, 6))) for i in range(12)}
    targets = {name: generator.standard_normal(30) for name in tables}
    result = held_out_selection(tables, targets)
    assert result["r_best"].mean() > 0.35
    assert abs(result["r_held_out"].mean()) < 0.15
    with pytest.raises(ValueError, match="at least 2 runs, found 1"):
        held_out_selection({"run0": tables["run0"]}, targets)
