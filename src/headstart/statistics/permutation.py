"""Sign-flip tests of whole seed vectors, with the choice of the best candidate inside the test.

A source seed is one unit: all its differences D_i(t), over every candidate checkpoint t, change
sign together. Under the null hypothesis that the vector D_i is distributed like −D_i, each of the
2^I sign patterns is equally likely, so the p-value is exact for any dependence between candidates
and covers the picking of the best. It cannot fall below 2^−I.

A candidate far below the reference would, flipped, lie far above it and drown the others. So candidates
that the selection puts below zero with t < −3 are screened out of the one-sided test, in all patterns
(Hansen 2005, "A test for superior predictive ability": what is clearly worse takes no part in the null
distribution). At that threshold the level holds, also where two candidates are opposed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from headstart.statistics.ties import first_best

Array = npt.NDArray[np.float64]
Statistic = Literal["studentised", "mean"]

EXACT_UNITS = 12
MONTE_CARLO_FLIPS = 9999


SCREEN = -3.0
"""Candidates whose selection has a t below this are no candidates."""


@dataclass(frozen=True)
class SignFlipResult:
    """One sign-flip test: `chosen` is the column picked in the data, `p_floor` the smallest p."""

    p: float
    p_floor: float
    statistic: float
    chosen: int
    n_units: int
    exact: bool


def sign_patterns(n_units: int, seed: int = 0) -> Array:
    """Patterns of ±1 (patterns, n_units); the first one is all plus, the data as they are.

    All 2^n for up to 12 units, otherwise the identity and 9,999 random ones from `seed`.

    Raises:
        ValueError: when there is no unit.
    """
    if n_units < 1:
        raise ValueError("a sign-flip test needs at least one unit; got none")
    if n_units <= EXACT_UNITS:
        bits = (np.arange(2**n_units)[:, None] >> np.arange(n_units)) & 1
        return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)
    random = np.random.default_rng(seed).integers(0, 2, (MONTE_CARLO_FLIPS, n_units))
    return np.vstack([np.ones(n_units), 1.0 - 2.0 * random])


def p_floor(n_units: int) -> float:
    """The smallest p that a sign-flip test of `n_units` can give: 2^−I, or 1/10,000 by sampling."""
    return 1.0 / (2**n_units if n_units <= EXACT_UNITS else MONTE_CARLO_FLIPS + 1)


def max_statistic_test(
    differences: npt.ArrayLike,
    selection: npt.ArrayLike | None = None,
    statistic: Statistic = "studentised",
    two_sided: bool = False,
    seed: int = 0,
) -> SignFlipResult:
    """Test that no candidate has a positive mean, for the candidate that `selection` picks.

    Args:
        differences: D (units, candidates), candidate minus reference, on test data.
        selection: the same on validation data. In every sign pattern the candidate with the
            largest mean here is picked and tested by `differences`. Without it the differences
            pick for themselves, and `statistic="mean"` then is max_t mean_i D_i(t).
        statistic: "mean" of the picked candidate, or "studentised": mean / √((s_t² + s̄²)/2) with
            s_t² its variance over units and s̄² the average variance of the candidates that are not
            screened out; sharing it keeps the power that a plain t loses with few units. The plain
            mean is not screened.
        two_sided: pick and test by absolute values, unscreened.
        seed: of the random patterns, used beyond 12 units.

    Raises:
        ValueError: when shapes differ, or a value is not finite.
    """
    values, picks = paired_matrices(differences, selection)
    signs = sign_patterns(len(values), seed)
    flipped, chosen = _flipped_statistics(signs, values, picks, statistic, two_sided)
    p, n = _share_at_least(flipped), len(values)
    return SignFlipResult(p, p_floor(n), float(flipped[0]), chosen, n, n <= EXACT_UNITS)


def unscreened(selection: Array) -> npt.NDArray[np.intp]:
    """Return the columns of `selection` (units, candidates) whose t is not below `SCREEN`.

    The column with the largest mean always stays.
    """
    mean = selection.mean(axis=0)
    keep = np.ones(mean.shape, dtype=bool)
    if len(selection) > 1:
        error = selection.std(axis=0, ddof=1) / np.sqrt(len(selection))
        keep = ratio(mean, error) >= SCREEN
    keep[first_best(mean)] = True
    return np.flatnonzero(keep)


def p_mean_negative(values: npt.ArrayLike, seed: int = 0) -> Array:
    """One-sided sign-flip p-values (candidates,), each on its own, that a mean is below zero.

    `values` is (units, candidates). Nothing is corrected for the number of candidates.
    """
    array, _ = paired_matrices(values, None)
    flipped = sign_patterns(len(array), seed) @ -array / len(array)
    slack = 1e-9 * np.maximum(1.0, np.abs(flipped[0]))
    return np.asarray((flipped >= flipped[0] - slack).mean(axis=0), dtype=np.float64)


def lower_bound(
    differences: npt.ArrayLike,
    selection: npt.ArrayLike | None = None,
    alpha: float = 0.025,
    seed: int = 0,
) -> float:
    """Lower confidence bound for the mean of the candidate that `selection` picks.

    It is the largest common shift that the studentised test above still rejects at one-sided
    `alpha`, so it pays for the choice and lies above zero where that test rejects. −inf where too
    few units can reject nothing.
    """
    values, picks = paired_matrices(differences, selection)
    if p_floor(len(values)) > alpha:
        return -np.inf
    signs = sign_patterns(len(values), seed)

    def rejected(shift: float) -> bool:
        flipped, _ = _flipped_statistics(signs, values - shift, picks - shift, "studentised", False)
        return _share_at_least(flipped) <= alpha

    top = float(values[:, first_best(picks.mean(axis=0))].mean())
    width = max(float(np.ptp(values)), 1e-9)
    bottom = top - width
    while not rejected(bottom):
        width *= 2
        bottom = top - width
        if width > 1e9 * max(float(np.ptp(values)), 1e-9):
            return -np.inf
    return _bisect(rejected, bottom, top)


def paired_matrices(
    differences: npt.ArrayLike, selection: npt.ArrayLike | None
) -> tuple[Array, Array]:
    """Both matrices as floats (units, candidates); without a selection the first one twice.

    Raises:
        ValueError: when they are not equal in shape, empty, or hold values that are not finite.
    """
    values = np.asarray(differences, dtype=float)
    picks = values if selection is None else np.asarray(selection, dtype=float)
    if values.ndim != 2 or values.size == 0 or picks.shape != values.shape:
        raise ValueError(
            "differences and selection must be equal, non-empty matrices (units × candidates); "
            f"got {values.shape} and {picks.shape}"
        )
    if not (np.isfinite(values).all() and np.isfinite(picks).all()):
        raise ValueError("differences hold values that are not finite: leave no seed half measured")
    return values, picks


def flipped_moments(signs: Array, values: Array) -> tuple[Array, Array]:
    """Mean and variance over units of every flipped matrix, each (patterns, candidates)."""
    n = len(values)
    means = signs @ values / n
    squares = (values**2).sum(axis=0)
    variances = (squares - n * means**2) / max(n - 1, 1)
    # Equal values leave a rounding error where the variance is zero.
    return means, np.where(variances > 1e-12 * squares, variances, 0.0)


def _flipped_statistics(
    signs: Array, values: Array, picks: Array, statistic: Statistic, two_sided: bool
) -> tuple[Array, int]:
    one_sided = statistic == "studentised" and not two_sided
    kept = unscreened(picks) if one_sided else np.arange(values.shape[1])
    means, variances = flipped_moments(signs, values[:, kept])
    picked_by = signs @ picks[:, kept]
    chosen = first_best(np.abs(picked_by) if two_sided else picked_by)
    rows = np.arange(len(signs))
    result = means[rows, chosen]
    if statistic == "studentised":
        spread = (variances[rows, chosen] + variances.mean(axis=1)) / 2
        result = ratio(result, np.sqrt(spread))
    return (np.abs(result) if two_sided else result), int(kept[chosen[0]])


def ratio(numerator: Array, denominator: Array) -> Array:
    """Quotient with 0/0 = 0 and x/0 = ±inf: no spread at all is the strongest evidence."""
    limit = np.where(numerator == 0, 0.0, np.copysign(np.inf, numerator))
    safe = np.where(denominator > 0, denominator, 1.0)
    return np.where(denominator > 0, numerator / safe, limit)


def _share_at_least(flipped: Array) -> float:
    observed = float(flipped[0])
    # Patterns that are equal in exact arithmetic must count as ties.
    slack = 1e-9 * max(1.0, abs(observed)) if np.isfinite(observed) else 0.0
    return float(np.mean(flipped >= observed - slack))


def _bisect(rejected: Callable[[float], bool], bottom: float, top: float) -> float:
    for _ in range(16):
        middle = (bottom + top) / 2
        if rejected(middle):
            bottom = middle
        else:
            top = middle
    return bottom
