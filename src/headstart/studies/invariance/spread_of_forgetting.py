"""The paper's aggregate, the std of forgetting over layers, and its correlation with robustness by part of a run.

Tables as in `headstart.studies.invariance.layer_dynamics`.
"""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from headstart.studies.invariance.layer_dynamics import followed_runs, layer_series, runs_of
from headstart.studies.invariance.network_tables import RUN
from headstart.studies.invariance.series import (
    circular_shift_test,
    pearson,
    prefix_correlations,
    undefined_correlation,
)

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
    differences (changes from one measured epoch to the next, from `SETTLED` on), or whole, which has
    the p-value of circular shifts too. `r_paper` is of `std_forgetting_paper`; `reason` says why r is
    NaN.
    """
    parts = [
        _parts(rows).assign(**dict(zip(RUN, names, strict=True)))  # type: ignore[arg-type]
        for names, rows in aggregate.groupby(RUN, sort=True)
    ]
    columns = [*RUN, "part", "epochs", "target_epoch", "r", "r_paper", "p_shift", "reason"]
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
    single = [
        {"part": "whole", "p_shift": circular_shift_test(x, y).p, **_correlated(x, paper, y)},
        {"part": "without_first_two", **_correlated(x[later:], paper[later:], y[later:])},
        {
            "part": "differences",
            **_correlated(*(np.diff(each[settled:]) for each in (x, paper, y))),
        },
    ]
    return pd.concat([prefixes, pd.DataFrame(single)])


def _correlated(x: ndarray, paper: ndarray, y: ndarray) -> dict[str, Any]:
    r = {"r": pearson(x, y), "r_paper": pearson(paper, y)}
    return {"epochs": len(x), **r, "reason": undefined_correlation(x, y)}
