"""Measures of fine-tuning curves: speed, level, stability.

Curves are arrays (..., epochs), one column per epoch from epoch 1 on, accuracies as fractions.
"""

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DIVERGENCE_FACTOR = 10.0


def time_to_reference(
    accuracy: npt.ArrayLike,
    reference: float,
    fraction: float = 1.0,
    epochs: npt.ArrayLike | None = None,
) -> tuple[Array, Flags]:
    """First epoch at which the accuracy reaches `fraction` × `reference`, right-censored.

    `reference` is common to all runs, for example the mean final accuracy from scratch: measured
    against its own final value, a collapsed run would look fast.

    Returns:
        Time (...) and whether it was reached; a run that never gets there keeps the last epoch as
        its time and False, and must not be dropped.

    Raises:
        ValueError: when `epochs` do not fit the curves.
    """
    curves, times = _curves(accuracy), _epochs(accuracy, epochs)
    reached = curves >= fraction * reference
    observed = np.asarray(reached.any(axis=-1))
    first = times[reached.argmax(axis=-1)]
    return np.where(observed, first, times[-1]).astype(float), observed


def kaplan_meier(time: npt.ArrayLike, observed: npt.ArrayLike) -> tuple[Array, Array]:
    """Return the Kaplan–Meier estimate: event times (ascending) and the share still waiting after each."""
    times, events = np.asarray(time, dtype=float), np.asarray(observed, dtype=bool)
    if times.ndim != 1 or times.shape != events.shape or not times.size:
        raise ValueError(
            f"time and observed must be equal vectors; got {times.shape}, {events.shape}"
        )
    data = stats.CensoredData(uncensored=times[events], right=times[~events])
    waiting = stats.ecdf(data).sf
    at = np.isin(waiting.quantiles, times[events])
    return waiting.quantiles[at], waiting.probabilities[at]


def median_time(time: npt.ArrayLike, observed: npt.ArrayLike) -> float:
    """Return the Kaplan–Meier median, infinite where at most half of the runs get there in the budget."""
    at, surviving = kaplan_meier(time, observed)
    below = surviving <= 0.5 + 1e-12
    return float(at[below.argmax()]) if below.any() else float("inf")


def restricted_mean_time(
    time: npt.ArrayLike, observed: npt.ArrayLike, budget: float | None = None
) -> float:
    """Mean time up to the budget: the area under the Kaplan–Meier curve from 0 to `budget`.

    `budget` is by default the longest time at hand. Where every censored run lasted the whole
    budget, this is the mean of min(time, budget).
    """
    end = float(np.max(np.asarray(time, dtype=float))) if budget is None else float(budget)
    at, surviving = kaplan_meier(time, observed)
    inside = at < end
    steps = np.diff(np.concatenate([[0.0], at[inside], [end]]))
    return float((steps * np.concatenate([[1.0], surviving[inside]])).sum())


def area_under_curve(accuracy: npt.ArrayLike) -> Array:
    """Mean accuracy over the epochs (...): area under the learning curve over its length."""
    return np.asarray(_curves(accuracy).mean(axis=-1))


def jumpstart(accuracy: npt.ArrayLike) -> Array:
    """Accuracy (...) after the first epoch."""
    return np.asarray(_curves(accuracy)[..., 0])


def asymptote(accuracy: npt.ArrayLike, last: int = 10) -> Array:
    """Mean accuracy (...) of the last `last` epochs, or of all where there are fewer."""
    return np.asarray(_curves(accuracy)[..., -last:].mean(axis=-1))


def oracle_peak(test: npt.ArrayLike) -> Array:
    """Highest test accuracy (...) over the epochs: test data chooses, for comparison only."""
    return np.asarray(_curves(test).max(axis=-1))


def accuracy_at_validation_best(
    validation: npt.ArrayLike, reported: npt.ArrayLike
) -> tuple[Array, npt.NDArray[np.intp]]:
    """`reported` accuracy (...) at the epoch of best validation accuracy, and its column index.

    Ties go to the earliest epoch. Only `validation` chooses.

    Raises:
        ValueError: when shapes differ or a validation accuracy is missing.
    """
    chooser, values = _curves(validation), _curves(reported)
    if chooser.shape != values.shape:
        raise ValueError(f"curves differ in shape: {chooser.shape} and {values.shape}")
    if np.isnan(chooser).any():
        raise ValueError("validation accuracies hold NaN: no epoch can be chosen")
    index = chooser.argmax(axis=-1)
    return np.take_along_axis(values, index[..., None], axis=-1)[..., 0], index


def diverged(training_loss: npt.ArrayLike, classes: int, start: npt.ArrayLike = 0.0) -> Flags:
    """Whether a run (...) diverged: a loss not finite, or above 10 × max(start, ln classes).

    `training_loss` is in nats, `start` (...) the loss before any update. A loss after the first
    epoch is none: of a run that explodes at once it would set the limit ten times too high. ln(classes),
    the loss of a uniform guess, keeps a low or unknown start from making a healthy run look divergent.

    Raises:
        ValueError: for fewer than two classes.
    """
    if classes < 2:
        raise ValueError(f"classes must be at least 2; got {classes}")
    loss = _curves(training_loss)
    limit = DIVERGENCE_FACTOR * np.maximum(np.asarray(start, dtype=float), np.log(classes))
    # Comparisons with NaN are false, so anything but "within the limit" counts as diverged.
    within = np.isfinite(loss) & (loss <= limit[..., None])
    return np.asarray(~within.all(axis=-1))


def _curves(values: npt.ArrayLike) -> Array:
    array = np.asarray(values, dtype=float)
    if array.ndim < 1 or not array.shape[-1]:
        raise ValueError(f"curves need an axis of epochs, the last one; got shape {array.shape}")
    return array


def _epochs(accuracy: npt.ArrayLike, epochs: npt.ArrayLike | None) -> Array:
    n = np.shape(accuracy)[-1]
    times = np.arange(1, n + 1, dtype=float) if epochs is None else np.asarray(epochs, dtype=float)
    if times.shape != (n,) or (np.diff(times) <= 0).any():
        raise ValueError(f"epochs must be {n} ascending numbers; got {times.tolist()}")
    return times
