"""The tables of the invariance study by source network, and what one number for each network says.

The independent unit is the source network: values are averaged within a network, and intervals are
t-intervals over networks, which say where a number lies that should be above zero.

Seeds and arms repeat from model to model, so a run is named by all of `RUN`, and a network by all of
`NETWORK`.
"""

from collections.abc import Callable
from dataclasses import dataclass

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
CLASSIFY, RECONSTRUCT, SCRATCH = "fine-tuned", "reconstructing", "from scratch"


def of_form(table: pd.DataFrame, form: str = "debiased") -> pd.DataFrame:
    """Return what was measured in one form of CKA, or without a choice of it, of one kind of seed.

    Where inversions started from several kinds, it is `noise`, or else the first by name.
    """
    kinds = sorted(set(table["kind"]) - {""}, key=lambda kind: (kind != "noise", kind))
    return select(table, condition=MEASURED, form=["", form], kind=["", *kinds[:1]])


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

    def does(self, name: str) -> pd.DataFrame:
        """Return the end values of runs that do this, debiased, of one kind of seed."""
        return at_end(of_form(doing(self.measurements, name)), self.runs)

    def diagonal(self, name: str, metric: str) -> Array | None:
        """Return "networks layers" of a metric, layer against itself; None where nobody measured it."""
        rows = select(self.does(name), metric=metric)
        rows = rows[rows["layer"] == rows["reference_layer"]]
        if rows.empty:
            return None
        means = rows.groupby([*NETWORK, "layer"])["value"].agg(complete_mean)
        return means.unstack("layer").to_numpy(dtype=float)

    def grid(self, name: str, metric: str) -> pd.DataFrame:
        """Return the cells of a grid with their intervals over images, one row per network and cell."""
        rows = select(self.does(name), metric=metric)
        return rows[rows["value"].notna()]


def above_zero(values: Array, text: Callable[[str], str]) -> ClaimResult:
    """Evaluate one number per network: supported where its mean is surely above zero.

    `text` puts the number, written with its interval, into a sentence.
    """
    interval = mean_interval(values)
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


def everywhere(differences: Array, text: str) -> ClaimResult:
    """Evaluate a difference that is claimed at every layer: all intervals must lie above zero."""
    intervals = [mean_interval(column) for column in differences.T]
    above = sum(interval.low > 0 for interval in intervals)
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
