"""Correlations of the dynamics over layers with robustness, from the tables of the invariance study.

Tables have one row per value; a run is named by `RUN`. Values are those of the debiased form with
the measured self-STIR, on the diagonal (a layer compared with itself). The paper's own aggregate is
the std of forgetting over all layers but the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from headstart.statistics.measurements import select
from headstart.studies.invariance.network_tables import FEWEST_EPOCHS, RUN, of_form
from headstart.studies.invariance.series import (
    KEYS,
    aggregates,
    circular_shift_p,
    held_out_selection,
    pearson,
    prefix_correlations,
    search,
    undefined_correlation,
)

DYNAMICS = ("forgetting", "learning")
OTHERS = ("cka_divergence", "subspace_similarity")
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


def families(rows: pd.DataFrame, epochs: list[int]) -> dict[str, pd.DataFrame]:
    """Return all aggregate series by family, which compete with each other: learning and forgetting, CKA, subspaces."""
    forgetting, learning = (layer_series(rows, name, epochs) for name in DYNAMICS)
    found = {FAMILY: aggregates(learning, forgetting)}
    for name in OTHERS:
        values = layer_series(rows, name, epochs)
        alone = aggregates(values, values).loc[:, ["learning"]]
        found[name] = alone.rename(columns={"learning": name}, level="series")
    return found


def _undefined(table: pd.DataFrame) -> pd.DataFrame:
    """Return the keys of series that are undefined at some epoch, with the reason."""
    missing = table.isna().sum()
    left_out = missing[missing > 0].rename("missing").reset_index()
    reason = "undefined at " + left_out["missing"].astype(str) + f" of {len(table)} epochs"
    reason += ": not measured there, or a layer did not meet the criterion"
    return left_out[KEYS].assign(reason=reason)


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
        for family, table in families(rows, epochs).items():
            series, left_out = table.dropna(axis="columns"), _undefined(table)
            both = [search(series, accuracy.to_numpy())] if series.shape[1] else []
            both += [left_out] if len(left_out) else []
            if both:
                named: dict[str, Any] = {**run, "family": family, "epochs": len(epochs)}
                counts = {"hypotheses": series.shape[1], "left_out": len(left_out)}
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
        tables[name] = families(rows, epochs)[FAMILY].dropna(axis="columns")
        series[name] = accuracy.to_numpy()
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


# Changes are correlated from this target epoch on: before it every series moves with the first transient.
SETTLED = 5


def std_of_forgetting(
    rows: pd.DataFrame, epochs: list[int], metric: str = "forgetting"
) -> Float[ndarray, " epochs"]:
    """Return the paper's aggregate: the std of forgetting over all layers but the first."""
    values = layer_series(rows, metric, epochs)
    return np.asarray(values[:, 1:].std(axis=1))


def papers_aggregate(measurements: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's aggregate beside robustness: one row per run and epoch (figure 6).

    `std_forgetting` is of debiased CKA with the measured self-STIR, `std_forgetting_paper` of the
    published form: biased CKA, and 1 in place of self-STIR.
    """
    biased = {tuple(run.values()): rows for run, rows in runs_of(measurements, "biased")}
    parts = []
    for run, rows, accuracy in followed_runs(measurements, robustness):
        epochs = [int(epoch) for epoch in accuracy.index]
        published = biased.get(tuple(run.values()), rows)
        values = {
            "target_epoch": epochs,
            "std_forgetting": std_of_forgetting(rows, epochs),
            "std_forgetting_paper": std_of_forgetting(published, epochs, "forgetting_paper"),
            "robust_accuracy": accuracy.to_numpy(),
        }
        parts.append(pd.DataFrame(values).assign(**run))
    columns = [*RUN, "target_epoch", "std_forgetting", "std_forgetting_paper", "robust_accuracy"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def transients(aggregate: pd.DataFrame) -> pd.DataFrame:
    """Return r of the paper's aggregate by part of the run: one row per run, part and length.

    `part` is prefix (the first `epochs` only: figure 14), without_first_two (from target epoch 3 on),
    differences (changes from one measured epoch to the next, from `SETTLED` on), or whole. `p_shift` of
    the whole and of differences is against circular shifts. The prefix of
    `FEWEST_EPOCHS` has the share `p_window` of all `windows` of that length from `SETTLED` on, where the
    first transient is over, whose r is as large as that of the first of them. `r_paper` is of
    `std_forgetting_paper`; `reason` says why r is NaN.
    """
    parts = [
        _parts(rows).assign(**dict(zip(RUN, names, strict=True)))  # type: ignore[arg-type]
        for names, rows in aggregate.groupby(RUN, sort=True)
    ]
    columns = [*RUN, "part", "epochs", "target_epoch", "r", "r_paper"]
    columns += ["p_shift", "p_window", "windows", "reason"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def _parts(rows: pd.DataFrame) -> pd.DataFrame:
    names = ("std_forgetting", "std_forgetting_paper", "robust_accuracy")
    x, paper, y = (rows[name].to_numpy(dtype=float) for name in names)
    epochs = rows["target_epoch"].to_numpy()
    lengths = range(3, len(rows) + 1)
    prefixes = prefix_correlations(x, y, lengths).assign(part="prefix")
    prefixes["target_epoch"] = epochs[2:]
    prefixes["r_paper"] = prefix_correlations(paper, y, lengths)["r"]
    prefixes["reason"] = [undefined_correlation(x[:length], y[:length]) for length in lengths]
    later, settled = (int((epochs < first).sum()) for first in (3, SETTLED))
    # Windows go on from the last epoch with the first: at the ends of a line extremes are more frequent.
    windows = [
        pearson(*(np.roll(each[settled:], -start)[:FEWEST_EPOCHS] for each in (x, y)))
        for start in range(len(x) - settled)
    ]
    first = prefixes["epochs"] == FEWEST_EPOCHS
    if len(windows) >= FEWEST_EPOCHS:
        prefixes.loc[first, "p_window"] = np.mean(np.array(windows) >= windows[0] - 1e-12)
        prefixes.loc[first, "windows"] = len(windows)
    changes = [np.diff(each[settled:]) for each in (x, paper, y)]
    single = [
        {"part": "whole", "p_shift": circular_shift_p(x, y), **_correlated(x, paper, y)},
        {"part": "without_first_two", **_correlated(x[later:], paper[later:], y[later:])},
        {
            "part": "differences",
            "p_shift": circular_shift_p(*changes[::2]),
            **_correlated(*changes),
        },
    ]
    return pd.concat([prefixes, pd.DataFrame(single)])


def _correlated(x: ndarray, paper: ndarray, y: ndarray) -> dict[str, Any]:
    if len(x) < FEWEST_EPOCHS:
        reason = f"{len(x)} values, fewer than {FEWEST_EPOCHS}"
        return {"epochs": len(x), "r": np.nan, "r_paper": np.nan, "reason": reason}
    r = {"r": pearson(x, y), "r_paper": pearson(paper, y)}
    return {"epochs": len(x), **r, "reason": undefined_correlation(x, y)}
