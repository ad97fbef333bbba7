"""Equivalence, one-sided t-tests, and Holm's correction for several hypotheses."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.multitest import multipletests

ALPHA = 0.025
"""The one significance level of every test in this package: one-sided 2.5 %."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EquivalenceResult:
    """Two one-sided tests. `p` is the larger of the two; equivalent means p ≤ alpha."""

    p: float
    p_lower: float
    p_upper: float
    margin: float
    equivalent: bool


def holm(p_values: npt.ArrayLike) -> Array:
    """Return Holm's step-down adjusted p-values (Holm 1979), in the order given.

    NaN marks a hypothesis that was never tested: it stays NaN and does not count.

    Raises:
        ValueError: when a p-value lies outside [0, 1].
    """
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1:
        raise ValueError(f"p_values must be a vector; got shape {p.shape}")
    tested = ~np.isnan(p)
    if np.any((p[tested] < 0) | (p[tested] > 1)):
        raise ValueError(f"p-values must lie in [0, 1]; got {p.tolist()}")
    adjusted = np.full(p.shape, np.nan)
    if tested.any():
        adjusted[tested] = multipletests(p[tested], method="holm")[1]
    return adjusted


def p_mean_below(values: npt.ArrayLike, bound: float) -> Array:
    """Return one-sided p-values of Student's t-test that the mean over axis 0 lies below `bound`.

    `values` has shape (units, ...), the result the shape of the rest. A small p speaks for
    "mean < bound". One unit gives NaN. Without any spread the mean is taken as known.
    """
    array = np.asarray(values, dtype=float)
    n = array.shape[0]
    shift = array.mean(axis=0) - bound
    if n < 2:
        return np.full(shift.shape, np.nan)
    error = array.std(axis=0, ddof=1) / np.sqrt(n)
    known = np.where(shift < 0, 0.0, 1.0)
    ratio = np.divide(shift, error, out=np.zeros_like(shift), where=error > 0)
    p: Array = np.where(error > 0, stats.t.cdf(ratio, n - 1), known)
    return p


def tost(differences: npt.ArrayLike, margin: float, alpha: float = ALPHA) -> EquivalenceResult:
    """Test, by two one-sided t-tests, that a mean difference (n,) lies within ±margin (Schuirmann 1987).

    At one-sided 2.5 % this is the question whether the 95 % t-interval lies inside the margin.

    Raises:
        ValueError: when `margin` is not positive or `differences` is not a vector.
    """
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"differences must be a non-empty vector; got shape {values.shape}")
    if not margin > 0:
        raise ValueError(f"margin must be positive, in the unit of the differences; got {margin}")
    upper = float(p_mean_below(values, margin))
    lower = float(p_mean_below(-values, margin))
    p = max(lower, upper) if values.size > 1 else np.nan
    return EquivalenceResult(p, lower, upper, margin, bool(p <= alpha))
