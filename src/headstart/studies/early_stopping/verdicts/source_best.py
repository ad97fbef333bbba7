"""Which epoch of every source network is its best one, by what its own validation says."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.errors import UndecidableError
from headstart.studies.early_stopping.verdicts.run_tables import (
    BEST,
    DIVERGED,
    PRETRAIN,
    SOURCE_ACCURACY,
    SOURCE_BEST,
)

Integers = npt.NDArray[np.int64]
VALIDATION = "validation"
COLUMNS = ("seed", "metric", "split", "source_epoch", "value")


@dataclass(frozen=True)
class SourceBest:
    """t*_i of every seed (I,), whether source validation chose it, and what to flag."""

    epochs: Integers
    from_validation: bool
    flags: tuple[str, ...] = ()


def source_best_epochs(
    table: pd.DataFrame, source: object, model: object, started: Mapping[object, Integers]
) -> SourceBest:
    """The best source epoch of each seed, as its training chose it or by validation accuracy.

    A network that diverged counts by its last epoch, whatever a lucky one before it scored.

    Args:
        table: tidy table with rows of mode "pretrain", the epoch in `source_epoch`: metric "best"
            on split "validation", 1 at the epoch that the network's own rule of selection chose
            (by loss, with patience), or "accuracy" on "validation", of which the highest counts,
            the earliest of equals; "diverged" where known. Metric "source_best_epoch" may state the
            epoch itself instead.
        source: name of the source task.
        model: name of the network.
        started: for each seed the epochs from which it was fine-tuned.

    Raises:
        UndecidableError: when a seed has no source accuracies, was not fine-tuned from its own best
            epoch, or has one accuracy at all epochs, so that none is best.
    """
    rows = table[table["mode"].to_numpy() == PRETRAIN]
    rows = rows[((rows["source"] == source) & (rows["model"] == model)).to_numpy()]
    given = rows[rows["metric"].to_numpy() == SOURCE_BEST]
    if len(given):
        flag = "source-best-given: source-best epochs are stated in the table, not chosen here"
        chosen = [_given_epoch(given, seed, started[seed]) for seed in started]
        return SourceBest(np.array(chosen), False, (flag,))
    columns = {name: rows[name].to_numpy() for name in COLUMNS}
    networks = {seed: _Network(columns, seed) for seed in started}
    picked = [network.best_of(started[seed]) for seed, network in networks.items()]
    flags: tuple[str, ...] = ()
    held = all(network.on_validation for network in networks.values())
    if not held:
        flags = ("source-best-on-test: the source-best epoch was chosen on source test data",)
    lost = [str(seed) for seed, network in networks.items() if network.diverged]
    if lost:
        text = f"seeds {', '.join(lost)} diverged on the source and count by their last epoch"
        flags = (*flags, f"diverged-source: {text}")
    return SourceBest(np.array(picked), held, flags)


def earliest_best(epochs: npt.ArrayLike, accuracies: npt.ArrayLike) -> int:
    """The epoch of the highest accuracy, the earliest of equals."""
    times, values = np.asarray(epochs), np.asarray(accuracies, dtype=float)
    return int(times[values == values.max()].min())


class _Network:
    """What the rows say of one source network."""

    def __init__(self, columns: Mapping[str, npt.NDArray], seed: object) -> None:
        mine = columns["seed"] == seed
        metric, split, epochs, values = (columns[name][mine] for name in COLUMNS[1:])
        epochs, values = epochs.astype(int), values.astype(float)
        self.seed = seed
        self.diverged = bool((values[metric == DIVERGED] > 0).any())
        self.marked = epochs[(metric == BEST) & (split == VALIDATION) & (values > 0)]
        accurate = metric == SOURCE_ACCURACY
        held = accurate & (split == VALIDATION)
        self.on_validation = bool(held.any() or len(self.marked))
        kept = held if held.any() else accurate & (split == "test")
        self.epochs, self.accuracies = epochs[kept], values[kept]

    def best_of(self, started: Integers) -> int:
        """Return the best epoch of this network, from which it must have been fine-tuned."""
        if len(self.marked) > 1:
            raise UndecidableError(
                f"seed {self.seed} has {len(self.marked)} epochs with metric {BEST!r}, one is needed"
            )
        if len(self.marked) and not self.diverged:
            best = int(self.marked[0])
        elif not np.isin(self.epochs, started).any():
            raise UndecidableError(
                f"seed {self.seed} has no source accuracy (mode {PRETRAIN!r}, metric "
                f"{SOURCE_ACCURACY!r}, split {VALIDATION!r}) at an epoch from which it was fine-tuned"
            )
        elif self.diverged:
            best = int(self.epochs.max())
        elif not np.isfinite(self.accuracies).all():
            raise UndecidableError(f"seed {self.seed} has source accuracies that are not numbers")
        else:
            best = earliest_best(self.epochs, self.accuracies)
        if best not in started:
            raise UndecidableError(
                f"seed {self.seed} was not fine-tuned from its own source-best epoch, {best}; "
                "fine-tune from it, or leave source accuracies of such epochs out of the table"
            )
        return best


def _given_epoch(rows: pd.DataFrame, seed: object, started: Integers) -> int:
    values = rows.loc[rows["seed"] == seed, "value"].to_numpy()
    if len(values) != 1 or not np.isin(values[0], started):
        raise UndecidableError(
            f"seed {seed} needs one {SOURCE_BEST} from which it was fine-tuned; it has "
            f"{values.tolist()} and was fine-tuned from {started.tolist()}"
        )
    return int(values[0])
