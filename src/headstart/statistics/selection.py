"""What validation chooses: the source-best epoch, the learning rate, the candidate epoch.

Nothing here reads test accuracies, except `held_out_effects` and `selection_optimism`, which
measure how far a choice flatters itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.tables import (
    PRETRAIN,
    SOURCE_ACCURACY,
    SOURCE_BEST,
    UndecidableError,
)
from headstart.statistics.ties import first_best

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Direction = Literal["earlier", "later"]


@dataclass(frozen=True)
class SourceBest:
    """t*_i of every seed (I,), whether source validation chose it, and what to flag."""

    epochs: Integers
    from_validation: bool
    flags: tuple[str, ...] = ()


def source_best_epochs(
    table: pd.DataFrame, source: object, model: object, started: Mapping[object, Integers]
) -> SourceBest:
    """The epoch of best source-validation accuracy of each seed; ties go to the earliest.

    Args:
        table: tidy table with rows of mode "pretrain": metric "accuracy", split "validation", the
            epoch in `source_epoch`. Metric "source_best_epoch" may give the epoch itself instead.
        source: name of the source task.
        model: name of the network.
        started: for each seed the epochs from which it was fine-tuned. The choice is among them;
            where a later or earlier one not among them was better, a flag says so.

    Raises:
        UndecidableError: when a seed has no source accuracies or none of its choices was started.
    """
    rows = _source_rows(table, source, model)
    given = rows[rows["metric"].to_numpy() == SOURCE_BEST]
    if len(given):
        flag = "source-best-given: source-best epochs are stated in the table, not chosen here"
        chosen = [_given_epoch(given, seed, started[seed]) for seed in started]
        return SourceBest(np.array(chosen), False, (flag,))
    split = "validation" if (rows["split"] == "validation").any() else "test"
    rows = rows[rows["split"].to_numpy() == split]
    seeds = rows["seed"].to_numpy()
    epochs, values = rows["source_epoch"].to_numpy(dtype=int), rows["value"].to_numpy(dtype=float)
    picked = [
        _best_start(epochs[seeds == seed], values[seeds == seed], seed, started[seed])
        for seed in started
    ]
    flags: tuple[str, ...] = ()
    if split == "test":
        flags = ("source-best-on-test: the source-best epoch was chosen on source test data",)
    missed = [str(seed) for seed, (_, best) in zip(started, picked, strict=True) if not best]
    if missed:
        text = f"seeds {', '.join(missed)} have a better source epoch that was not fine-tuned from"
        flags = (*flags, f"source-best-among-started: {text}")
    return SourceBest(np.array([epoch for epoch, _ in picked]), split == "validation", flags)


def earliest_best(epochs: npt.ArrayLike, accuracies: npt.ArrayLike) -> int:
    """The epoch of the highest accuracy, the earliest of equals."""
    times, values = np.asarray(epochs), np.asarray(accuracies, dtype=float)
    return int(times[values == values.max()].min())


def tune_learning_rate(validation: Array) -> npt.NDArray[np.intp]:
    """Index of the learning rate (starts, I) of best mean validation accuracy over draws.

    `validation` is (starts, I, J, L) with learning rates ascending; ties go to the smallest.
    """
    return first_best(validation.mean(axis=2))


def at_learning_rate(accuracies: Array, index: npt.NDArray[np.intp]) -> Array:
    """Accuracies (starts, I, J) at the learning rate that `index` (starts, I) names."""
    return np.take_along_axis(accuracies, index[:, :, None, None], axis=3)[..., 0]


def differences(
    accuracies: Array, epochs: Integers, source_best: Integers, direction: Direction
) -> tuple[Integers, Array]:
    """Candidate epochs (C,) and D (I, C, ...): start from a candidate minus from source-best.

    `accuracies` is (T + 1, I, ...), the last entry the source-best start. "Earlier" at epoch t
    means min(t, t*_i): stop at t, or at source-best where that comes first, so that D is zero
    there; "later" is max(t, t*_i). Candidates are the epochs beyond t*_i for more than half of the
    seeds. Epoch 0 is training from scratch and no candidate.
    """
    gap = np.moveaxis(accuracies[:-1] - accuracies[-1], 0, 1)
    before = epochs[None, :] < source_best[:, None]
    after = epochs[None, :] > source_best[:, None]
    active = before if direction == "earlier" else after
    candidate = (2 * active.sum(axis=0) > len(source_best)) & (epochs > 0)
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


def _given_epoch(rows: pd.DataFrame, seed: object, started: Integers) -> int:
    values = rows.loc[rows["seed"] == seed, "value"].to_numpy()
    if len(values) != 1 or not np.isin(values[0], started):
        raise UndecidableError(
            f"seed {seed} needs one {SOURCE_BEST} from which it was fine-tuned; it has "
            f"{values.tolist()} and was fine-tuned from {started.tolist()}"
        )
    return int(values[0])


def _source_rows(table: pd.DataFrame, source: object, model: object) -> pd.DataFrame:
    rows = table[table["mode"].to_numpy() == PRETRAIN]
    mine = (rows["source"] == source) & (rows["model"] == model)
    return rows[(mine & rows["metric"].isin([SOURCE_ACCURACY, SOURCE_BEST])).to_numpy()]


def _best_start(
    epochs: Integers, values: Array, seed: object, started: Integers
) -> tuple[int, bool]:
    usable = np.isin(epochs, started)
    if not usable.any():
        raise UndecidableError(
            f"seed {seed} has no source accuracy (mode {PRETRAIN!r}, metric {SOURCE_ACCURACY!r}, "
            "split 'validation') at an epoch from which it was fine-tuned"
        )
    if not np.isfinite(values).all():
        raise UndecidableError(f"seed {seed} has source accuracies that are not numbers")
    best = earliest_best(epochs[usable], values[usable])
    return best, bool(values[epochs == best][0] == values.max())
