"""Correlations of the dynamics over layers with robustness, from the tables of the invariance study.

Tables have one row per value; a run is named by `RUN`. Values are those of the debiased form with
the measured self-STIR, on the diagonal (a layer compared with itself).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from headstart.statistics.series import (
    aggregates,
    circular_shift_test,
    first_differences,
    from_epoch,
    held_out_selection,
    prefix_correlations,
    search,
)

RUN = ["source", "model", "target", "arm", "seed", "source_epoch", "target_seed"]
DYNAMICS = ("forgetting", "learning")
OTHERS = ("cka_divergence", "subspace_similarity")
FEWEST_EPOCHS = 4
FAMILY = "forgetting and learning"


def runs_of(measurements: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield every run with the diagonal of its values, of the first kind of seed."""
    table = measurements[measurements["layer"] == measurements["reference_layer"]]
    kinds = [kind for kind in table["kind"].unique() if kind]
    table = table[table["kind"].isin(["", *kinds[:1]]) & table["form"].isin(["", "debiased"])]
    for names, rows in table.groupby(RUN, sort=True):
        yield dict(zip(RUN, names, strict=True)), rows


def layer_series(rows: pd.DataFrame, measure: str, epochs: list[int]) -> ndarray:
    """Return "epochs layers" of a measure of one run, NaN where it was not measured."""
    layers = sorted(rows["layer"].unique())
    mine = rows[rows["measure"] == measure]
    table = mine.pivot_table(index="target_epoch", columns="layer", values="value", dropna=False)
    return table.reindex(index=epochs, columns=layers).to_numpy(dtype=float)


def robustness_of(robustness: pd.DataFrame, run: dict[str, Any]) -> pd.Series:
    """Return mean accuracy under corruption of one run, over corruptions and severities, by epoch."""
    mine = robustness[(robustness[list(run)] == pd.Series(run)).all(axis=1)]
    return mine[mine["severity"] > 0].groupby("target_epoch")["value"].mean()


def followed_runs(
    measurements: pd.DataFrame, robustness: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, pd.Series]]:
    """Yield runs that have both, at `FEWEST_EPOCHS` or more target epochs."""
    for run, rows in runs_of(measurements):
        accuracy = robustness_of(robustness, run)
        forgetting = rows[(rows["measure"] == "forgetting") & rows["value"].notna()]
        epochs = sorted(set(accuracy.index) & set(forgetting["target_epoch"]))
        if len(epochs) >= FEWEST_EPOCHS:
            yield run, rows, accuracy.loc[epochs]


def families(rows: pd.DataFrame, epochs: list[int]) -> dict[str, pd.DataFrame]:
    """Return all aggregate series by family: learning and forgetting, CKA, subspaces.

    Series that were not measured at every epoch are left out.
    """
    forgetting, learning = (layer_series(rows, name, epochs) for name in DYNAMICS)
    found = {FAMILY: aggregates(learning, forgetting)}
    for name in OTHERS:
        values = layer_series(rows, name, epochs)
        alone = aggregates(values, values).loc[:, ["learning"]]
        found[name] = alone.rename(columns={"learning": name}, level="series")
    return {name: table.dropna(axis="columns") for name, table in found.items()}


def correlations(measurements: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """Return r of every aggregate of every run with robustness, best first within a family.

    Columns: those of `RUN`, family, epochs, hypotheses, and those of `search`, whose `p_selected`
    shows what it does to p that the best of so many was looked for.
    """
    parts = []
    for run, rows, accuracy in followed_runs(measurements, robustness):
        epochs = [int(epoch) for epoch in accuracy.index]
        for family, table in families(rows, epochs).items():
            if table.shape[1]:
                found = search(table, accuracy.to_numpy())
                named: dict[str, Any] = {**run, "family": family, "epochs": len(epochs)}
                parts.append(found.assign(**named, hypotheses=len(found)))
    columns = [*RUN, "family", "epochs", "hypotheses", "series", "first_layer", "last_layer"]
    columns += ["statistic", "r", "p_independent", "p_bonferroni", "p_shift", "p_selected"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def std_of_forgetting(rows: pd.DataFrame, epochs: list[int]) -> Float[ndarray, " epochs"]:
    """Return the paper's aggregate: the std of forgetting over all layers but the first."""
    values = layer_series(rows, "forgetting", epochs)
    return np.asarray(values[:, 1:].std(axis=1))


def papers_aggregate(measurements: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's aggregate beside robustness: one row per run and epoch (figure 6)."""
    parts = []
    for run, rows, accuracy in followed_runs(measurements, robustness):
        epochs = [int(epoch) for epoch in accuracy.index]
        values = {
            "target_epoch": epochs,
            "std_forgetting": std_of_forgetting(rows, epochs),
            "robust_accuracy": accuracy.to_numpy(),
        }
        parts.append(pd.DataFrame(values).assign(**run))
    columns = [*RUN, "target_epoch", "std_forgetting", "robust_accuracy"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def transients(aggregate: pd.DataFrame) -> pd.DataFrame:
    """Return r of the paper's aggregate by part of the run: one row per run, part and length.

    `part` is prefix (the first `epochs` only: figure 14), without_first_two, differences, or whole,
    which has the p-value of circular shifts too.
    """
    parts = []
    for names, rows in aggregate.groupby(RUN, sort=True):
        x, y = (rows[name].to_numpy(dtype=float) for name in ("std_forgetting", "robust_accuracy"))
        lengths = range(3, len(rows) + 1)
        prefixes = prefix_correlations(x, y, lengths).assign(part="prefix")
        prefixes["target_epoch"] = rows["target_epoch"].to_numpy()[2:]
        whole = circular_shift_test(x, y)
        single = [
            {"part": "whole", "epochs": len(x), "r": whole.r, "p_shift": whole.p},
            {"part": "without_first_two", "epochs": len(x) - 2, "r": from_epoch(x, y, 3)},
            {"part": "differences", "epochs": len(x) - 1, "r": first_differences(x, y)},
        ]
        run: dict[str, Any] = dict(zip(RUN, names, strict=True))
        parts.append(pd.concat([prefixes, pd.DataFrame(single)]).assign(**run))
    columns = [*RUN, "part", "epochs", "target_epoch", "r", "p_shift"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def held_out(measurements: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """Return what the aggregate that other runs choose does in each run; empty for a single run."""
    tables, series = {}, {}
    for run, rows, accuracy in followed_runs(measurements, robustness):
        name = "-".join(str(value) for value in run.values())
        epochs = [int(epoch) for epoch in accuracy.index]
        tables[name], series[name] = families(rows, epochs)[FAMILY], accuracy.to_numpy()
    shared = set.intersection(*(set(table.columns) for table in tables.values())) if tables else ()
    if len(tables) < 2 or not shared:
        return pd.DataFrame(columns=["held_out", "r_selection", "r_held_out", "r_best"])
    order = [column for column in next(iter(tables.values())).columns if column in shared]
    return held_out_selection({name: table[order] for name, table in tables.items()}, series)
