"""What target validation chooses: the learning rate of every start, and the candidate epoch.

Nothing here reads test accuracies, except `held_out_effects` and `selection_optimism`, which
measure how far a choice flatters itself.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.ties import first_best

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Direction = Literal["earlier", "later"]


def tune_learning_rate(validation: Array) -> npt.NDArray[np.intp]:
    """Index of the learning rate (starts, I) of best mean validation accuracy over draws.

    `validation` is (starts, I, J, L) with learning rates ascending; ties go to the smallest.
    """
    return first_best(validation.mean(axis=2))


def tuned_rates(runs: pd.DataFrame, starts: Sequence[str]) -> pd.DataFrame:
    """Return one row per start with the learning rate that its runs prefer on validation.

    It is the rule of `tune_learning_rate` on a table: `runs` has the columns `starts`, which name a
    start (one source network at one epoch), `draw`, `learning_rate` and `validation`. Where a start
    lacks runs at a rate, the mean over those that it has counts.
    """
    by_rate = runs.pivot_table(index=[*starts], columns="learning_rate", values="validation")
    # Below any accuracy: what was not run is never the best.
    means = np.nan_to_num(by_rate.to_numpy(dtype=float), nan=-1.0)
    rates = by_rate.columns.to_numpy(dtype=float)
    return by_rate.index.to_frame(index=False).assign(learning_rate=rates[first_best(means)])


def at_learning_rate(accuracies: Array, index: npt.NDArray[np.intp]) -> Array:
    """Accuracies (starts, I, J) at the learning rate that `index` (starts, I) names."""
    return np.take_along_axis(accuracies, index[:, :, None, None], axis=3)[..., 0]


def differences(
    accuracies: Array,
    epochs: Integers,
    source_best: Integers,
    direction: Direction,
    first: int = 1,
) -> tuple[Integers, Array]:
    """Candidate epochs (C,) and D (I, C, ...): start from a candidate minus from source-best.

    `accuracies` is (T + 1, I, ...), the last entry the source-best start. "Earlier" at epoch t
    means min(t, t*_i): stop at t, or at source-best where that comes first, so that D is zero
    there; "later" is max(t, t*_i). Candidates are the epochs beyond t*_i for more than half of the
    seeds, and not before `first`: epoch 0 is training from scratch and no candidate, unless it is
    a given network.
    """
    gap = np.moveaxis(accuracies[:-1] - accuracies[-1], 0, 1)
    before = epochs[None, :] < source_best[:, None]
    after = epochs[None, :] > source_best[:, None]
    active = before if direction == "earlier" else after
    candidate = (2 * active.sum(axis=0) > len(source_best)) & (epochs >= first)
    mask = active.reshape(active.shape + (1,) * (gap.ndim - 2))
    return epochs[candidate], np.where(mask, gap, 0.0)[:, candidate]


def split_seeds(n_seeds: int, least: int = 4) -> tuple[slice, slice] | None:
    """Discovery and confirmation halves of the sorted seeds, or None below `least` each."""
    half = n_seeds // 2
    return (slice(0, half), slice(half, n_seeds)) if half >= least else None


def held_out_effects(test: Array, selection: Array) -> Array:
    """Per seed the test difference (I,) at the candidate that the other seeds pick.

    Both arguments are (I, C). The values share their selections, so they describe; a t-test on
    them rejects too often.
    """
    units = np.arange(len(test))
    others = selection.sum(axis=0) - selection
    picked: Array = test[units, first_best(others)]
    return picked


def selection_optimism(test: Array, selection: Array) -> float:
    """In-sample difference at the picked candidate minus the held-out one; NaN for one seed."""
    if len(test) < 2:
        return float("nan")
    in_sample = test[:, first_best(selection.mean(axis=0))].mean()
    return float(in_sample - held_out_effects(test, selection).mean())
