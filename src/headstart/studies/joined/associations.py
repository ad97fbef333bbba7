"""Which measure of a start goes with its gain, within networks and given the epoch; tables alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from headstart.statistics.measurements import MEASURED, select
from headstart.statistics.partial_correlation import (
    Array,
    mediated_change,
    partial_rank_correlation,
)

COMPARISON = ["source", "model", "target", "shots"]
NETWORK = [*COMPARISON, "seed"]
FIXED, TUNED = "gain_fixed", "gain_tuned"
OUTCOMES = (FIXED, TUNED)
KNOWLEDGE, INVARIANCE, TRAINABLE = "preserved_excess", "invariance_excess", "random_label_accuracy"
MEASURES = {
    KNOWLEDGE: "preserved knowledge, above chance",
    INVARIANCE: "kept invariances, above chance",
    TRAINABLE: "random labels learnt",
    "forgotten": "forgotten invariances",
    "learnt": "learnt invariances",
    "barrier": "barrier between two runs",
    "dormant": "dormant units",
    "effective_rank": "effective rank of features",
    "squared_weight_norm": "squared norm of weights",
    "gradient_norm": "norm of the first gradient",
    "source_accuracy_fresh": "source accuracy, fresh statistics",
}
"""Those of the claims first."""
SPARSE = 0.1
"""Share of networks that may lack a measure at an epoch; with more, the epoch is left out."""


class Cells(NamedTuple):
    """A measure and an outcome (networks, epochs), and what was left out."""

    measure: Array
    outcome: Array
    epochs: list[int]
    left_out: str


def wide(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each source network and source epoch, a column for each metric."""
    rows = select(measurements, intervention=None, condition=MEASURED)
    table = rows.pivot(index=[*NETWORK, "source_epoch"], columns="metric", values="value")
    table.columns.name = None
    return table.reset_index()


def comparisons(cells: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return source, model, target and shots of everything that was compared."""
    return [tuple(row) for row in cells[COMPARISON].drop_duplicates().to_numpy().tolist()]


def of(table: pd.DataFrame, comparison: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows of one comparison."""
    return select(table, **dict(zip(COMPARISON, comparison, strict=True)))


def matched(cells: pd.DataFrame, measure: str, outcome: str) -> Cells:
    """Return a measure beside an outcome for all networks and pretrained starts of one comparison.

    A start that many networks lack the measure of is left out, then networks that lack it of another.
    """
    started = cells[cells["source_epoch"] > 0]
    if measure not in cells or outcome not in cells or started.empty:
        return Cells(np.empty((0, 0)), np.empty((0, 0)), [], "")
    both = [
        started.pivot(index="seed", columns="source_epoch", values=name)
        for name in (measure, outcome)
    ]
    there = both[0].notna() & both[1].notna()
    epochs = there.columns[there.mean() >= 1 - SPARSE]
    networks = there.index[there[epochs].all(axis=1)]
    lost = []
    if len(epochs) < there.shape[1]:
        lost.append(f"{there.shape[1] - len(epochs)} of {there.shape[1]} epochs")
    if len(networks) < len(there):
        lost.append(f"{len(there) - len(networks)} of {len(there)} networks")
    tables = [table.loc[networks, epochs].to_numpy(float) for table in both]
    words = f"left out, for they lack a value: {' and '.join(lost)}" if lost else ""
    return Cells(tables[0], tables[1], [int(epoch) for epoch in epochs], words)


def associations(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each comparison, outcome and measure.

    Columns: `rho` with `low` and `high`, `p_positive` and `p_negative` (`partial_rank_correlation`); `total`,
    the change of the outcome from the first to the last epoch in points, and `carried` with its interval,
    what the measure would carry of it were the association a cause (`mediated_change`); networks, epochs,
    reason.
    """
    rows = [
        {**dict(zip(COMPARISON, comparison, strict=True)), **row}
        for comparison in comparisons(cells)
        for row in _of_comparison(of(cells, comparison))
    ]
    numbers = ["rho", "low", "high", "p_positive", "p_negative"]
    numbers += ["total", "carried", "carried_low", "carried_high"]
    columns = [*COMPARISON, "outcome", "measure", *numbers, "networks", "epochs", "reason"]
    return pd.DataFrame(rows, columns=columns)


def _of_comparison(cells: pd.DataFrame) -> Iterator[dict[str, object]]:
    for outcome in OUTCOMES:
        for measure in MEASURES:
            found = matched(cells, measure, outcome)
            row: dict[str, object] = {"outcome": outcome, "measure": measure}
            networks, epochs = found.measure.shape
            row |= {"networks": networks, "epochs": epochs, "reason": found.left_out}
            if networks < 2 or epochs < 2:
                yield row | {"reason": "fewer than two networks, or two epochs, with a value"}
                continue
            ranked = partial_rank_correlation(found.measure, found.outcome)
            carried = mediated_change(found.measure, found.outcome)
            row |= {name: getattr(ranked, name) for name in ("rho", "low", "high")}
            row |= {"p_positive": ranked.p_positive, "p_negative": ranked.p_negative}
            row |= {"total": carried.total, "carried": carried.carried}
            row |= {"carried_low": carried.low, "carried_high": carried.high}
            reasons = filter(None, (ranked.reason, found.left_out))
            yield row | {"reason": "; ".join(reasons)}
