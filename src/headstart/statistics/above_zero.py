"""Judging numbers that should lie above zero, one for each source network, and saying so in words.

The independent unit is the source network: values are averaged within a network, and intervals are
t-intervals over networks.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from headstart.statistics.claim_results import ClaimResult, Status, bounded
from headstart.statistics.intervals import Interval, mean_interval

Array = npt.NDArray[np.float64]


def above_zero(values: Array, text: Callable[[str], str]) -> ClaimResult:
    """Judge one number per network: supported where its mean is surely above zero.

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
    spread = (
        "no interval"
        if np.isnan(interval.low)
        else f"95 % interval {interval.low:+.3f} to {interval.high:+.3f}"
    )
    return f"{interval.estimate:+.3f} ({spread}, n = {interval.n} source networks)"


def correlation_interval(r: npt.ArrayLike) -> Interval:
    """Return the mean of correlations with its t-interval, both on Fisher's scale z = artanh r."""
    found = mean_interval(np.arctanh(np.clip(np.asarray(r, dtype=float), -1 + 1e-9, 1 - 1e-9)))
    mean, low, high = (float(np.tanh(z)) for z in (found.estimate, found.low, found.high))
    return Interval(mean, low, high, found.n, "t on z", found.reason)


def everywhere(differences: Array, text: str) -> ClaimResult:
    """Judge a difference that is claimed at every layer: all intervals must lie above zero."""
    intervals = [mean_interval(column) for column in differences.T]
    above = sum(interval.low > 0 for interval in intervals)
    below = sum(interval.high < 0 for interval in intervals)
    mean = mean_interval(differences.mean(axis=1))
    said = (
        f"{text}: {words(mean)} on average over layers; the interval lies above zero at {above} and "
        f"below zero at {below} of {len(intervals)} layers."
    )
    status: Status = "undetermined"
    if above == len(intervals):
        status = "supported"
    elif below:
        status = "contradicted"
    return bounded(status, said, mean)
