"""The tables of the invariance study by source network, and what one number for each network says.

The independent unit is the source network: values are averaged within a network, and intervals are
t-intervals over networks, which say where a number lies that should be above zero.

Seeds and arms repeat from model to model, so a run is named by all of `RUN`, and a network by all of
`NETWORK`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.claim_results import ClaimResult, Status, bounded
from headstart.statistics.intervals import Interval, mean_interval
from headstart.statistics.measurements import MEASURED, select
from headstart.statistics.words import format_interval, pluralize

RUN = ["source", "model", "target", "arm", "seed", "source_epoch", "target_seed"]
NETWORK = ["source", "model", "seed"]
Array = npt.NDArray[np.float64]
FEWEST_EPOCHS = 8
"""Values over epochs that a correlation needs."""
READINGS = ("class", "mean", "all")
CLASSIFY, RECONSTRUCT, SCRATCH = "fine-tuned", "reconstructing", "from scratch"


def of_form(table: pd.DataFrame, form: str = "debiased", condition: str = MEASURED) -> pd.DataFrame:
    """Return what was measured in one form of CKA, or without a choice of it, of one reading and kind of seed.

    Where blocks were read in several ways, it is the first of `READINGS`; where inversions started from
    several kinds, it is `noise`, or else the first by name.
    """
    kinds = sorted(set(table["kind"]) - {""}, key=lambda kind: (kind != "noise", kind))
    tokens = [each for each in READINGS if each in set(table["tokens"])]
    return select(
        table, condition=condition, form=["", form], kind=["", *kinds[:1]], tokens=["", *tokens[:1]]
    )


def complete_mean(values: pd.Series) -> float:
    """Return the mean, NaN where a value is missing."""
    return float(values.mean(skipna=False))


def at_end(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at what counts as the end of each run, which need not be its last epoch."""
    keys = [*RUN, "target_epoch"]
    return table.merge(runs[keys], on=keys)


def doing(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of runs that do this."""
    mode = "reconstruct" if name == RECONSTRUCT else "finetune"
    return select(table, mode=mode, random_start=name == SCRATCH)


@dataclass(frozen=True)
class Networks:
    """Some runs to one target, by what they do: four tables of the study, cut to these runs."""

    measurements: pd.DataFrame
    runs: pd.DataFrame
    transients: pd.DataFrame
    correlations: pd.DataFrame

    def where(self, **values: object) -> "Networks":
        """Return the runs with these values in columns that all four tables have."""
        tables = (self.measurements, self.runs, self.transients, self.correlations)
        return Networks(*(select(table, **values) for table in tables))

    def from_weights(self, given: bool) -> "Networks":
        """Return the values of runs from given weights, or of those from a source trained here."""
        return replace(self, measurements=select(self.measurements, given_weights=given))

    def diagonal(self, name: str, metric: str, condition: str = MEASURED) -> Array | None:
        """Return "networks layers" of a metric, layer against itself; None where nobody measured it."""
        found = self.grid(name, metric, condition)
        return None if found is None else found.diagonal(axis1=1, axis2=2)

    def grid(self, name: str, metric: str, condition: str = MEASURED) -> Array | None:
        """Return "networks references layers" of a metric, debiased, at the end of runs; else None."""
        rows = select(doing(self.measurements, name), metric=metric)
        rows = at_end(of_form(rows, condition=condition), self.runs)
        if rows.empty:
            return None
        cells = rows.groupby([*NETWORK, "reference_layer", "layer"])["value"].agg(complete_mean)
        layers = sorted({*rows["layer"], *rows["reference_layer"]})
        table = cells.unstack(["reference_layer", "layer"])
        table = table.reindex(columns=pd.MultiIndex.from_product([layers, layers]))
        return table.to_numpy(dtype=float).reshape(-1, len(layers), len(layers))

    def curves(self, name: str, metric: str) -> tuple[tuple[int, ...], Array] | None:
        """Return epochs, and "networks epochs layers" of a metric averaged over a network's runs.

        None where nobody measured it, or where epochs differ between runs.
        """
        rows = select(of_form(doing(self.measurements, name)), metric=metric).dropna(subset="value")
        rows = rows[(rows["layer"] == rows["reference_layer"]) & (rows["target_epoch"] > 0)]
        if rows.empty or rows.groupby(RUN)["target_epoch"].agg(frozenset).nunique() > 1:
            return None
        cells = rows.groupby([*NETWORK, "target_epoch", "layer"])["value"].agg(complete_mean)
        epochs = tuple(int(epoch) for epoch in sorted(rows["target_epoch"].unique()))
        layers = rows["layer"].nunique()
        table = cells.unstack(["target_epoch", "layer"]).sort_index(axis=1)
        return epochs, table.to_numpy(dtype=float).reshape(-1, len(epochs), layers)

    def of_parts(self, column: str, arm: str | None = None) -> dict[str, Array] | None:
        """Return a column of `transients` by part of a run, one value per network, fine-tuned runs only.

        `r` is averaged on Fisher's scale. None where nothing was followed.
        """
        arms = {arm} if arm else set(doing(self.runs, CLASSIFY)["arm"])
        rows = select(self.transients, arm=arms)
        rows = rows[(rows["part"] != "prefix") | (rows["epochs"] == FEWEST_EPOCHS)]
        if rows.empty or column not in rows:
            return None
        values = rows[column].astype(float)
        scaled = np.arctanh(values.clip(-1 + 1e-9, 1 - 1e-9)) if column == "r" else values
        means = rows.assign(v=scaled).groupby(["part", *NETWORK])["v"].agg(complete_mean)
        found = {str(part): each.to_numpy(dtype=float) for part, each in means.groupby("part")}
        return {p: np.tanh(each) if column == "r" else each for p, each in found.items()}


def above_zero(values: Array, text: Callable[[str], str], stretch: float = 1.0) -> ClaimResult:
    """Evaluate one number per network: supported where its mean is surely above zero.

    `text` puts the number, written with its interval, into a sentence; `stretch` makes the interval wider,
    for numbers that depend on each other.
    """
    found = mean_interval(values)
    low, high = (
        found.estimate + stretch * (end - found.estimate) for end in (found.low, found.high)
    )
    interval = replace(found, low=low, high=high)
    return bounded(status_of(interval), text(words(interval)), interval)


def status_of(interval: Interval) -> Status:
    """Return on which side of zero an interval lies; undetermined where it does not, or there is none."""
    if interval.low > 0:
        return "supported"
    return "contradicted" if interval.high < 0 else "undetermined"


def words(interval: Interval) -> str:
    """Return an estimate with its interval and the number of networks."""
    if np.isnan(interval.estimate):
        return f"undefined ({interval.reason})"
    number = format_interval(interval.estimate, interval.low, interval.high, digits=3, signed=True)
    without = "no interval, " if np.isnan(interval.low) else ""
    return f"{number} ({without}n = {pluralize(interval.n, 'source network')})"


def correlation_interval(r: npt.ArrayLike) -> Interval:
    """Return the mean of correlations with its t-interval, both on Fisher's scale z = artanh r."""
    found = mean_interval(np.arctanh(np.clip(np.asarray(r, dtype=float), -1 + 1e-9, 1 - 1e-9)))
    mean, low, high = (float(np.tanh(z)) for z in (found.estimate, found.low, found.high))
    return Interval(mean, low, high, found.n, "t on z", found.reason)


def largest_elsewhere(values: Array) -> tuple[Array, list[int]]:
    """Return each network's value in the column where the others' mean is largest, and that column.

    So the largest of many columns is not chosen on the network that it is evaluated on, and its mean
    over networks has nothing to make up for, but its interval has: `stretch_of_choice`. One network has no
    others and chooses for itself.
    """
    others = [
        np.delete(values, i, axis=0) if len(values) > 1 else values for i in range(len(values))
    ]
    chosen = [int(each.mean(axis=0).argmax()) for each in others]
    return values[np.arange(len(values)), chosen], chosen


@cache
def stretch_of_choice(networks: int, columns: int) -> float:
    """Return how much wider an interval over networks must be where `largest_elsewhere` chose among columns.

    Choices share networks, so that what they choose is correlated, r, and the error of the mean is
    √((1 + (n − 1) r) / (1 − r)) times what its scatter says. r is simulated for columns of which none is
    larger, less one that was no choice; where neighbouring columns are alike it is smaller.
    """
    values = np.random.default_rng(0).normal(size=(20_000, networks, columns + 1))
    choices, last = values[:, :, :-1], values[:, :, -1]
    others = choices.sum(axis=1, keepdims=True) - choices
    found = np.take_along_axis(choices, others.argmax(axis=2)[..., None], axis=2)[..., 0] - last
    together = np.asarray(np.corrcoef(found.T))
    r = max(0.0, float(together[np.triu_indices(networks, 1)].mean()))
    return float(np.sqrt((1 + (networks - 1) * r) / (1 - r)))


def everywhere(differences: Array, text: str) -> ClaimResult:
    """Evaluate a difference that is claimed at every layer: all intervals must lie above zero.

    One below is enough to contradict, so that intervals are wide enough for all layers together there.
    """
    above = sum(mean_interval(column).low > 0 for column in differences.T)
    level = 1 - 0.05 / differences.shape[1]
    intervals = [mean_interval(column, level) for column in differences.T]
    below = sum(interval.high < 0 for interval in intervals)
    mean = mean_interval(differences.mean(axis=1))
    reason = (
        f"{text}: {words(mean)} on average over layers; the interval lies above zero at {above} and "
        f"below zero at {below} of {len(intervals)} layers."
    )
    status: Status = "undetermined"
    if above == len(intervals):
        status = "supported"
    elif below:
        status = "contradicted"
    return bounded(status, reason, mean)
