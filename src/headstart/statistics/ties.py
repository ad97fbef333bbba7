"""The first of the best: one rule for ties, used wherever a mean accuracy chooses."""

from typing import Any

import numpy as np
import numpy.typing as npt

TOLERANCE = 1e-9
"""Relative to the largest magnitude: equal in exact arithmetic, different by rounding."""


def first_best(values: npt.ArrayLike, axis: int = -1) -> npt.NDArray[np.intp]:
    """Index of the largest value along `axis`, the first one among ties.

    Accuracies are counts of images, so that means over draws or seeds often tie exactly; without a
    tolerance the order of a sum would decide. Candidates are in ascending order (epochs, learning
    rates), so the first is the earliest epoch or the smallest learning rate.
    """
    array: npt.NDArray[Any] = np.asarray(values, dtype=float)
    slack = TOLERANCE * np.abs(array).max()
    return np.asarray((array >= array.max(axis=axis, keepdims=True) - slack).argmax(axis=axis))
