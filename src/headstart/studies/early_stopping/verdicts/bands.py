"""Bands around a curve of mean differences that hold for all its points at once."""

import numpy as np
import numpy.typing as npt
from scipy import stats

from headstart.statistics.permutation import flipped_moments, paired_matrices, ratio, sign_patterns

Array = npt.NDArray[np.float64]


def simultaneous_bands(
    differences: npt.ArrayLike, confidence: float = 0.95, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Means over units with two-sided bands that hold for all candidates at once.

    `differences` is (units, candidates); returns mean, low, high, each (candidates,). The width in
    standard errors is the quantile of max_t |t| when the centred vectors change sign. Below six
    units it is Bonferroni's t, and NaN for one unit.
    """
    values, _ = paired_matrices(differences, None)
    n, candidates = values.shape
    mean = values.mean(axis=0)
    if n < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    error = values.std(axis=0, ddof=1) / np.sqrt(n)
    tail = (1 - confidence) / 2
    width = float(stats.t.ppf(1 - tail / candidates, n - 1))
    if n >= 6:
        means, variances = flipped_moments(sign_patterns(n, seed), values - mean)
        largest = ratio(np.abs(means), np.sqrt(variances / n)).max(axis=1)
        single = float(stats.t.ppf(1 - tail, n - 1))
        width = max(single, float(np.quantile(largest, confidence, method="higher")))
    return mean, mean - width * error, mean + width * error
