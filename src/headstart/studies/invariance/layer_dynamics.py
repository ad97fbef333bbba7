"""Correlations of the dynamics over layers with robustness, from the tables of the invariance study.

Tables have one row per value; a run is named by `RUN`. Values are those of the debiased form with
the measured self-STIR, on the diagonal (a layer compared with itself).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy import ndarray

from headstart.statistics.measurements import select
from headstart.studies.invariance.network_tables import RUN, of_form
from headstart.studies.invariance.series import KEYS, aggregates, held_out_selection, search

DYNAMICS = ("forgetting", "learning")
OTHERS = ("cka_divergence", "subspace_similarity")
FEWEST_EPOCHS = 4
FAMILY = "forgetting and learning"


def runs_of(
    measurements: pd.DataFrame, form: str = "debiased"
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield every run with the diagonal of its values in one form, of the first kind of seed."""
    table = measurements[measurements["layer"] == measurements["reference_layer"]]
    for names, rows in of_form(table, form).groupby(RUN, sort=True):
        yield dict(zip(RUN, names, strict=True)), rows


def layer_series(rows: pd.DataFrame, metric: str, epochs: list[int]) -> ndarray:
    """Return "epochs layers" of a metric of one run, NaN where it was not measured."""
    layers = sorted(rows["layer"].unique())
    table = select(rows, metric=metric).pivot_table(
        index="target_epoch", columns="layer", values="value", dropna=False
    )
    return table.reindex(index=epochs, columns=layers).to_numpy(dtype=float)


def robustness_of(robustness: pd.DataFrame, run: dict[str, Any]) -> pd.Series:
    """Return mean accuracy under corruption of one run, over corruptions and severities, by epoch."""
    mine = select(robustness, **run)
    return mine[mine["severity"] > 0].groupby("target_epoch")["value"].mean()


def followed_runs(
    measurements: pd.DataFrame, robustness: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, pd.Series]]:
    """Yield runs that have both, at `FEWEST_EPOCHS` or more target epochs."""
    for run, rows in runs_of(measurements):
        accuracy = robustness_of(robustness, run)
        forgetting = rows[(rows["metric"] == "forgetting") & rows["value"].notna()]
        epochs = sorted(set(accuracy.index) & set(forgetting["target_epoch"]))
        if len(epochs) >= FEWEST_EPOCHS:
            yield run, rows, accuracy.loc[epochs]


@dataclass(frozen=True)
class Family:
    """Aggregate series that compete with each other, and why some of them are missing.

    Attributes:
        series: those defined at every epoch, as `aggregates` returns them.
        left_out: the keys of the others, with the reason.
    """

    series: pd.DataFrame
    left_out: pd.DataFrame


def families(rows: pd.DataFrame, epochs: list[int]) -> dict[str, Family]:
    """Return all aggregate series by family: learning and forgetting, CKA, subspaces."""
    forgetting, learning = (layer_series(rows, name, epochs) for name in DYNAMICS)
    found = {FAMILY: aggregates(learning, forgetting)}
    for name in OTHERS:
        values = layer_series(rows, name, epochs)
        alone = aggregates(values, values).loc[:, ["learning"]]
        found[name] = alone.rename(columns={"learning": name}, level="series")
    return {name: _family(table, epochs) for name, table in found.items()}


def _family(table: pd.DataFrame, epochs: list[int]) -> Family:
    missing = table.isna().sum()
    left_out = missing[missing > 0].rename("missing").reset_index()
    reason = "undefined at " + left_out["missing"].astype(str) + f" of {len(epochs)} epochs"
    reason += ": not measured there, or a layer did not meet the criterion"
    return Family(table.dropna(axis="columns"), left_out[KEYS].assign(reason=reason))


def correlations(measurements: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """Return r of every aggregate of every run with robustness, best first within a family.

    Columns: those of `RUN`, family, epochs, hypotheses (aggregates that were tried), left_out (those
    that were not, for they are undefined at some epoch, as where a layer failed the criterion), those of
    `search`, whose `p_selected` shows what it does to p that the best of so many was looked for, and
    reason, why r is NaN.
    """
    columns = [*RUN, "family", "epochs", "hypotheses", "left_out", *KEYS]
    columns += ["r", "p_independent", "p_bonferroni", "p_shift", "p_selected", "reason"]
    parts = []
    for run, rows, accuracy in followed_runs(measurements, robustness):
        epochs = [int(epoch) for epoch in accuracy.index]
        for family, found in families(rows, epochs).items():
            tried = search(found.series, accuracy.to_numpy()) if found.series.shape[1] else None
            both = [part for part in (tried, found.left_out) if part is not None and len(part)]
            if both:
                named: dict[str, Any] = {**run, "family": family, "epochs": len(epochs)}
                counts = {"hypotheses": found.series.shape[1], "left_out": len(found.left_out)}
                parts.append(pd.concat(both, ignore_index=True).assign(**named, **counts))
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def held_out(measurements: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """Return what the aggregate that other runs choose does in each run; empty for a single run.

    Only aggregates that are defined at every epoch of every run can be chosen; `left_out` counts
    those that are not. `reason` says why a value is NaN.
    """
    tables, series = {}, {}
    for run, rows, accuracy in followed_runs(measurements, robustness):
        name = "-".join(str(value) for value in run.values())
        epochs = [int(epoch) for epoch in accuracy.index]
        found = families(rows, epochs)[FAMILY]
        tables[name], series[name] = found.series, accuracy.to_numpy()
    shared = set.intersection(*(set(table.columns) for table in tables.values())) if tables else ()
    if len(tables) < 2 or not shared:
        names = ["held_out", "r_selection", "r_held_out", "r_best", "left_out", "reason"]
        return pd.DataFrame(columns=names)
    order = [column for column in next(iter(tables.values())).columns if column in shared]
    chosen = held_out_selection({name: table[order] for name, table in tables.items()}, series)
    known = set.union(*(set(table.columns) for table in tables.values()))
    undefined = chosen["r_held_out"].isna()
    reason = undefined.map({True: "the chosen aggregate does not change in this run", False: ""})
    return chosen.assign(left_out=len(known) - len(shared), reason=reason)
