"""Does a measure go with an outcome within networks, once the epoch is given? And how much of a change would it carry?

A table holds one row per network and one column per source epoch. Both measures are ranked over networks
within each epoch, so that nothing that all networks do alike along epochs counts ("given epoch"); each
network's mean rank is then taken out, so that a network that is better everywhere counts for nothing
("within networks"). What remains is correlated over all cells. A network is one unit: under the null
hypothesis that a network's row of the measure says nothing of its row of the outcome, rows of the measure
may be dealt out anew among networks, whatever the dependence along epochs (permutation of whole networks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
FEWEST = 4
"""Networks below which a correlation within epochs has no interval."""
PERMUTATIONS = 1999


@dataclass(frozen=True)
class PartialCorrelation:
    """ρ over the cells with its interval over networks, and two p-values of the permutation of whole networks.

    Attributes:
        rho: in [-1, 1]; NaN where one of the measures does not vary.
        low, high: 95 %, by a jackknife over networks of Fisher's z.
        p_positive, p_negative: one-sided, that ρ is as large, or as small, by chance.
        networks, epochs: rows and columns.
        reason: why there is no number, or no interval.
    """

    rho: float
    low: float
    high: float
    p_positive: float
    p_negative: float
    networks: int
    epochs: int
    reason: str = ""


def residual_ranks(values: npt.ArrayLike) -> Array:
    """Return ranks over networks within each epoch, [-½, ½], without each network's mean.

    `values` is (networks, epochs). Equal values share their mean rank.
    """
    array = np.asarray(values, dtype=float)
    ranks = (stats.rankdata(array, axis=0) - 0.5) / len(array) - 0.5
    centred: Array = ranks - ranks.mean(axis=1, keepdims=True)
    return centred


def partial_rank_correlation(
    measure: npt.ArrayLike, outcome: npt.ArrayLike, seed: int = 0, permutations: int = PERMUTATIONS
) -> PartialCorrelation:
    """Return the rank correlation of measure and outcome (networks, epochs) within networks, given epoch.

    Raises:
        ValueError: tables differ in shape, hold one epoch, or values that are not finite.
    """
    x, y = _tables(measure, outcome)
    networks, epochs = x.shape
    ranked, against = residual_ranks(x), residual_ranks(y)
    rho = _rho(ranked, against)
    if not np.isfinite(rho):
        nothing = (np.nan,) * 5
        return PartialCorrelation(*nothing, networks, epochs, "one of the two does not vary")
    low, high, reason = _jackknife(x, y, rho)
    orders = np.tile(np.arange(networks), (permutations, 1))
    orders = np.random.default_rng(seed).permuted(orders, axis=1)
    spread = np.sqrt((ranked**2).sum() * (against**2).sum())
    # The data as they are count as one permutation, so that p is never zero.
    dealt = np.array([rho, *np.einsum("pne,ne->p", ranked[orders], against) / spread])
    above, below = (float(np.mean(sign * dealt >= sign * rho - 1e-12)) for sign in (1, -1))
    return PartialCorrelation(rho, low, high, above, below, networks, epochs, reason)


@dataclass(frozen=True)
class Mediation:
    """How much of an outcome's change between two epochs a measure would carry, were its slope a cause.

    In units of the outcome, with 95 % jackknife intervals over networks.
    """

    total: float
    carried: float
    low: float
    high: float


def mediated_change(
    measure: npt.ArrayLike, outcome: npt.ArrayLike, first: int = 0, last: int = -1
) -> Mediation:
    """Return the change of the outcome from column `first` to `last`, and slope × change of the measure.

    The slope is that of outcome on measure with a constant for each network and each epoch (two-way
    fixed effects), so that the change along epochs, which is to be explained, does not enter it. Product
    of coefficients (Baron & Kenny 1986); a cause only if nothing else varies with the measure.

    Raises:
        ValueError: as `partial_rank_correlation`.
    """
    x, y = _tables(measure, outcome)
    total = float((y[:, last] - y[:, first]).mean())
    carried = _carried(x, y, first, last)
    left_out = _each_left_out(lambda a, b: _carried(a, b, first, last), x, y)
    half = _half_width(left_out)
    return Mediation(total, carried, carried - half, carried + half)


def _carried(x: Array, y: Array, first: int, last: int) -> float:
    centred = _two_way(x)
    spread = float((centred**2).sum())
    if spread <= 1e-12 * max(float((x**2).sum()), 1e-300):
        return np.nan
    slope = float((centred * _two_way(y)).sum()) / spread
    return slope * float((x[:, last] - x[:, first]).mean())


def _two_way(values: Array) -> Array:
    """Return values without the mean of their network and of their epoch."""
    result: Array = (
        values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    )
    return result


def _tables(measure: npt.ArrayLike, outcome: npt.ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(measure, dtype=float), np.asarray(outcome, dtype=float)
    if x.ndim != 2 or x.shape != y.shape or x.shape[1] < 2 or not len(x):
        raise ValueError(
            "measure and outcome must be equal tables (networks × epochs) of two epochs or more; "
            f"got {x.shape} and {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("tables hold values that are not finite: leave out such epochs first")
    return x, y


def _rho(x: Array, y: Array) -> float:
    spread = float(np.sqrt((x**2).sum() * (y**2).sum()))
    # Ranks that do not vary leave a rounding error.
    return float((x * y).sum() / spread) if spread > 1e-9 else np.nan


def _jackknife(x: Array, y: Array, rho: float) -> tuple[float, float, str]:
    networks = len(x)
    if networks < FEWEST:
        return np.nan, np.nan, f"{networks} networks are too few for an interval"
    left_out = _each_left_out(lambda a, b: _rho(residual_ranks(a), residual_ranks(b)), x, y)
    if not np.isfinite(left_out).all():
        return np.nan, np.nan, "without one of the networks nothing varies"
    bound = 1 - 1e-9
    half = _half_width(np.arctanh(np.clip(left_out, -bound, bound)))
    middle = np.arctanh(np.clip(rho, -bound, bound))
    return float(np.tanh(middle - half)), float(np.tanh(middle + half)), ""


def _each_left_out(statistic, x: Array, y: Array) -> Array:  # type: ignore[no-untyped-def]
    rows = np.arange(len(x))
    return np.array([statistic(x[rows != row], y[rows != row]) for row in rows])


def _half_width(left_out: Array) -> float:
    """Return half of a 95 % interval from a statistic without each network in turn (Tukey 1958)."""
    n = len(left_out)
    if n < FEWEST:
        return float("nan")
    variance = (n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum())
    return float(stats.t.ppf(0.975, n - 1) * np.sqrt(variance))
