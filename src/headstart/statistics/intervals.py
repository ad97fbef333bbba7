"""Intervals for means over source seeds, and over crossed seeds and draws."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, in the unit of the values that it came from.

    `low` and `high` are NaN where the values allow no interval; `reason` then says why, in words.
    """

    estimate: float
    low: float
    high: float
    n: int
    method: str
    reason: str = ""


def mean_interval(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Two-sided Student t-interval for the mean of independent units (n,), here source seeds.

    A missing or infinite value, or a single unit, gives a NaN interval and a reason. Nothing is
    dropped: a mean over those seeds that happen to have a number is another quantity.

    Raises:
        ValueError: when `values` is empty or not one-dimensional, or `confidence` is not in (0, 1).
    """
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"values must be a non-empty vector, one per source seed; got {array.shape}"
        )
    _check_confidence(confidence)
    n, method = array.size, "t"
    missing = int(np.count_nonzero(~np.isfinite(array)))
    if missing:
        reason = f"{missing} of {n} values are not finite numbers"
        return Interval(np.nan, np.nan, np.nan, n, method, reason)
    mean = float(array.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, n, method, "one value has no spread to measure")
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1) * array.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n, method)


def pigeonhole_bootstrap(
    matrix: npt.ArrayLike, confidence: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Interval:
    """Percentile interval for the mean of a crossed matrix (seeds × draws).

    Both factors are resampled with replacement and every cell of the chosen rows and columns is
    kept (Owen 2007, "The pigeonhole bootstrap"), because all seeds share the same draws. The
    interval is somewhat conservative with many levels and too narrow with two or three. It
    collapses to a point when all entries are equal, and does not depend on the order of the draws.

    Raises:
        ValueError: when `matrix` is not a non-empty matrix, or an argument is out of range.
    """
    values = np.asarray(matrix, dtype=float)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"matrix must be seeds × draws and not empty; got {values.shape}")
    _check_confidence(confidence)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1; got {resamples}")
    seeds, method = len(values), "pigeonhole"
    if not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        reason = f"{count} of {values.size} values are not finite numbers"
        return Interval(np.nan, np.nan, np.nan, seeds, method, reason)
    mean = float(values.mean())
    if seeds == 1:
        return Interval(mean, np.nan, np.nan, 1, method, "one source seed has no spread to measure")
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean, seeds, method)
    means = _resampled_means(values, resamples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high), seeds, method)


def _resampled_means(values: Array, resamples: int, generator: np.random.Generator) -> Array:
    seeds, draws = values.shape
    # The labels of draws are arbitrary; a fixed order of columns makes the result free of them.
    ordered = values[:, np.lexsort(values[::-1])]
    rows = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    columns = generator.multinomial(draws, np.full(draws, 1 / draws), size=resamples)
    means: Array = ((rows @ ordered) * columns).sum(axis=1) / (seeds * draws)
    return means


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, for example 0.95; got {confidence}")
