"""The one level of every test, and Holm's correction for several hypotheses."""

import numpy as np
import numpy.typing as npt
from statsmodels.stats.multitest import multipletests

ALPHA = 0.025
"""The one significance level of every test in this package: one-sided 2.5 %."""

Array = npt.NDArray[np.float64]


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
