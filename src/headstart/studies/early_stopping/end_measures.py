"""End measures of every run from its per-epoch rows."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.errors import TableError
from headstart.studies.early_stopping import curve_measures as curves
from headstart.studies.early_stopping.verdicts.run_tables import (
    DIVERGED,
    FINAL,
    HEADLINE,
    ORACLE,
    PRETRAIN,
    RUN_KEY,
)

Array = npt.NDArray[np.float64]

ACCURACY, LOSS = "accuracy", "loss"
LAST_10 = "last10_accuracy"
OTHER_KEYS = ("study", "arm", "device")


def add_end_measures(table: pd.DataFrame, classes: int | None = None) -> pd.DataFrame:
    """The table with end measures of all runs appended, or as it is where it already has some.

    Per-epoch rows have metric "accuracy" on split "validation" and "test", and "loss" on "train",
    with the epoch in `target_epoch`, 0 being before any update. Appended are
    accuracy_at_validation_best and final_accuracy on both splits, oracle_peak and last10_accuracy on
    test and, where there are losses, diverged. Without validation curves only oracle_peak,
    final_accuracy and last10_accuracy on test.

    Raises:
        TableError: when runs differ in their epochs or lack some of them, or there are losses and
            `classes`, the number of classes of the target, is not said.
    """
    if table["metric"].isin([HEADLINE, ORACLE]).any() or "target_epoch" not in table.columns:
        return table
    rows = table[(table["mode"] != PRETRAIN) & table["target_epoch"].notna()]
    test, keys = curve_matrix(rows, ACCURACY, "test")
    if not len(keys):
        return table
    measures = {
        (ORACLE, "test"): curves.oracle_peak(test),
        (LAST_10, "test"): curves.asymptote(test),
        (FINAL, "test"): test[:, -1],
    }
    validation, same = curve_matrix(rows, ACCURACY, "validation")
    if len(same):
        _same_runs(keys, same, "validation accuracies")
        _same_epochs(test, validation)
        measures[FINAL, "validation"] = validation[:, -1]
        measures[HEADLINE, "test"] = curves.accuracy_at_validation_best(validation, test)[0]
        measures[HEADLINE, "validation"] = validation.max(axis=1)
    loss, same = curve_matrix(rows, LOSS, "train")
    if len(same):
        _same_runs(keys, same, "training losses")
        measures[DIVERGED, "train"] = _diverged(rows, loss, classes)
    parts = [
        keys.assign(metric=metric, split=split, value=value)
        for (metric, split), value in measures.items()
    ]
    return pd.concat([table, *parts], ignore_index=True)


def curve_matrix(rows: pd.DataFrame, metric: str, split: str) -> tuple[Array, pd.DataFrame]:
    """Curves (runs, epochs) of one metric and split, and the key of every run in the same order.

    Losses may be NaN or infinite, as those of diverged runs are; an accuracy may not.

    Raises:
        TableError: when a run lacks an epoch that another one has.
    """
    mine = rows[(rows["metric"] == metric) & (rows["split"] == split)]
    columns = [*RUN_KEY, *(name for name in OTHER_KEYS if name in mine.columns)]
    ordered = mine.sort_values([*RUN_KEY, "target_epoch"], ignore_index=True)
    epochs = np.unique(ordered["target_epoch"].to_numpy(dtype=float))
    runs = len(ordered) // max(len(epochs), 1)
    times = ordered["target_epoch"].to_numpy(dtype=float)
    starts = ordered.iloc[:: max(len(epochs), 1)]
    complete = len(times) == runs * len(epochs) and np.array_equal(times, np.tile(epochs, runs))
    if not complete or len(ordered[RUN_KEY].drop_duplicates()) != runs:
        raise TableError(
            f"runs differ in the epochs of {metric!r} on split {split!r}: {len(ordered)} rows, "
            f"{len(epochs)} different epochs. Every run needs every epoch once."
        )
    values = ordered["value"].to_numpy(dtype=float).reshape(runs, len(epochs))
    if metric == ACCURACY and np.isnan(values).any():
        raise TableError(f"{int(np.isnan(values).sum())} accuracies on split {split!r} are NaN")
    return values, starts[columns].reset_index(drop=True)


def _diverged(rows: pd.DataFrame, loss: Array, classes: int | None) -> Array:
    """Which runs diverged; the loss at epoch 0 is their start, and without it nothing else is."""
    if classes is None:
        raise TableError(
            "the table holds training losses, which tell which runs diverged once the number of "
            "classes of the target is known: say --classes"
        )
    losses = rows[(rows["metric"] == LOSS) & (rows["split"] == "train")]
    start = loss[:, 0] if losses["target_epoch"].min() == 0 else 0.0
    return curves.diverged(loss, classes, start).astype(float)


def _same_runs(keys: pd.DataFrame, others: pd.DataFrame, what: str) -> None:
    if not keys[RUN_KEY].equals(others[RUN_KEY]):
        raise TableError(
            f"{len(keys)} runs have test accuracies and {len(others)} have {what}; "
            "they must be the same runs"
        )


def _same_epochs(test: Array, validation: Array) -> None:
    if test.shape != validation.shape:
        raise TableError(
            f"test accuracies stand at {test.shape[1]} epochs and validation accuracies at "
            f"{validation.shape[1]}; both are needed at every epoch, or the metric {HEADLINE!r}"
        )
