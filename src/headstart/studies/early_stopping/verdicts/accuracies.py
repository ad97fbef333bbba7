"""From the tidy rows of one contrast to accuracies over checkpoint × seed × draw × learning rate.

Whatever stands in the way of a fair comparison (a hole in the crossing of seeds and draws, a
missing number, a source-best start that was never fine-tuned) is raised as `UndecidableError`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.errors import TableError, UndecidableError
from headstart.studies.early_stopping.verdicts.run_tables import (
    DIVERGED,
    FINAL,
    HEADLINE,
    ORACLE,
    describe,
    rows_of,
)
from headstart.studies.early_stopping.verdicts.source_best import SourceBest, source_best_epochs

Array = npt.NDArray[np.float64]
AXES = ["source_epoch", "seed", "draw", "learning_rate"]


@dataclass(frozen=True)
class Accuracies:
    """Accuracies of one contrast, as fractions.

    `validation` and `test` have shape (T + 1, I, J, L): the T epochs that every seed shares, then
    one more entry, the source-best start of each seed. Where the table holds no validation
    accuracies `validation` is the test array itself and `descriptive` is true.
    """

    epochs: npt.NDArray[np.int64]
    seeds: tuple[object, ...]
    draws: tuple[object, ...]
    learning_rates: tuple[float, ...]
    source_best: npt.NDArray[np.int64]
    validation: Array
    test: Array
    descriptive: bool = False
    flags: tuple[str, ...] = ()


def accuracy_tensors(table: pd.DataFrame, contrast: Mapping[str, object]) -> Accuracies:
    """Build the accuracies of one contrast from a checked table.

    Raises:
        TableError: when an accuracy is not a fraction, or the contrast is not in the table.
        UndecidableError: when the runs do not allow a comparison; the message is the reason.
    """
    rows = rows_of(table, contrast)
    metric = HEADLINE if (rows["metric"] == HEADLINE).any() else ORACLE
    cubes = _Cubes(rows, metric)
    test, seen = cubes.array(metric, "test")
    validation, seen_validation = cubes.array(metric, "validation")
    descriptive = not seen_validation.any()
    _check_crossing(seen, cubes.labels)
    if not descriptive and not np.array_equal(seen, seen_validation):
        cell = cubes.name(np.argwhere(seen != seen_validation)[0])
        raise UndecidableError(f"the run {cell} has only one of validation and test accuracy")
    flags = cubes.score_diverged(seen, test, None if descriptive else validation)
    for values, present in ((test, seen), (validation, seen_validation)):
        _check_values(values, present, cubes)
    best = _source_best(table, rows, seen, cubes.labels)
    if descriptive:
        validation = test
    return _assemble(cubes.labels, seen, best, validation, test, descriptive, flags)


class _Cubes:
    """Puts the rows of one metric and split into an array over the four axes of the contrast."""

    def __init__(self, rows: pd.DataFrame, metric: str) -> None:
        wanted = rows["metric"].isin([metric, FINAL, DIVERGED]).to_numpy()
        self.rows = rows[wanted]
        if not (self.rows["metric"] == metric).any():
            raise UndecidableError(f"there is neither a metric {HEADLINE} nor {ORACLE}")
        factors = [pd.factorize(self.rows[a], sort=True, use_na_sentinel=False) for a in AXES]
        self.codes = [np.asarray(codes) for codes, _ in factors]
        self.labels = [np.asarray(labels) for _, labels in factors]
        self.kind = self.rows["metric"].to_numpy()
        self.split = self.rows["split"].to_numpy()
        self.value = self.rows["value"].to_numpy(dtype=float)

    def array(self, metric: str, split: str | None) -> tuple[Array, npt.NDArray[np.bool_]]:
        keep = self.kind == metric
        if split is not None:
            keep &= self.split == split
        where = tuple(codes[keep] for codes in self.codes)
        shape = tuple(len(labels) for labels in self.labels)
        values, seen = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
        values[where], seen[where] = self.value[keep], True
        return values, seen

    def name(self, index: npt.NDArray[np.intp]) -> str:
        return describe({a: v[i] for a, v, i in zip(AXES, self.labels, index, strict=True)})

    def score_diverged(
        self, seen: npt.NDArray[np.bool_], test: Array, validation: Array | None
    ) -> tuple[str, ...]:
        """Overwrite the scores of diverged runs by their final accuracies: no lucky epoch wins."""
        flagged, known = self.array(DIVERGED, None)
        flags: tuple[str, ...] = ()
        unknown = int((seen & ~known).sum())
        if unknown:
            text = f"nothing tells whether {unknown} of {int(seen.sum())} runs diverged"
            flags = (f"divergence-unchecked: {text}; a lucky epoch of such a run may have won",)
        diverged = np.nan_to_num(flagged) > 0
        if not diverged.any():
            return flags
        final, _ = self.array(FINAL, "test")
        if np.isnan(final[diverged]).any():
            cell = self.name(np.argwhere(diverged & np.isnan(final))[0])
            raise UndecidableError(
                f"the run {cell} diverged and has no {FINAL} on test to be scored by"
            )
        test[diverged] = final[diverged]
        held, _ = self.array(FINAL, "validation")
        if validation is not None:
            # Test data must not stand in here: it would choose the learning rate.
            validation[diverged] = np.nan_to_num(held[diverged])
        flag = f"diverged: {int(diverged.sum())} runs, scored by their final accuracy"
        if validation is not None and np.isnan(held[diverged]).any():
            flag += ", on validation by zero where that is missing"
        return (*flags, flag)


def _check_crossing(seen: npt.NDArray[np.bool_], labels: list[npt.NDArray]) -> None:
    per_start = seen.sum(axis=(2, 3))
    full = seen.shape[2] * seen.shape[3]
    partial = np.argwhere((per_start > 0) & (per_start < full))
    if len(partial):
        epoch, seed = partial[0]
        raise UndecidableError(
            f"seeds and draws are not crossed: source_epoch {labels[0][epoch]} of seed "
            f"{labels[1][seed]} has {per_start[epoch, seed]} of {full} runs "
            f"({seen.shape[2]} draws × {seen.shape[3]} learning rates)"
        )


def _check_values(values: Array, seen: npt.NDArray[np.bool_], cubes: _Cubes) -> None:
    broken = seen & ~np.isfinite(values)
    if broken.any():
        raise UndecidableError(
            f"{int(broken.sum())} of {int(seen.sum())} accuracies are not numbers, first that of "
            f"{cubes.name(np.argwhere(broken)[0])}"
        )
    outside = seen & ((values < 0) | (values > 1))
    if outside.any():
        index = np.argwhere(outside)[0]
        raise TableError(
            f"accuracies are fractions from 0 to 1; {cubes.name(index)} has {values[tuple(index)]}"
            ". Divide percentages by 100."
        )


def _source_best(
    table: pd.DataFrame, rows: pd.DataFrame, seen: npt.NDArray, labels: list[npt.NDArray]
) -> SourceBest:
    started = {
        seed: labels[0][seen[:, i].any(axis=(1, 2))].astype(int) for i, seed in enumerate(labels[1])
    }
    first = rows.iloc[0]
    return source_best_epochs(table, first["source"], first["model"], started)


def _assemble(
    labels: list[npt.NDArray],
    seen: npt.NDArray[np.bool_],
    best: SourceBest,
    validation: Array,
    test: Array,
    descriptive: bool,
    flags: tuple[str, ...],
) -> Accuracies:
    started = np.any(seen, axis=(2, 3))
    epochs = labels[0].astype(int)
    shared = np.all(started, axis=1)
    # A source-best epoch that only its own seed was started from is no hole in the grid.
    beside_best = started & np.not_equal.outer(epochs, best.epochs)
    left_out = epochs[~shared & beside_best.any(axis=1)]
    if len(left_out):
        names = ", ".join(map(str, left_out))
        flags = (*flags, f"left-out: source epochs {names} were not fine-tuned for every seed")
    position = np.searchsorted(epochs, best.epochs)
    units = np.arange(len(best.epochs))

    def stack(values: Array) -> Array:
        return np.concatenate([values[shared], values[position, units][None]])

    return Accuracies(
        epochs=epochs[shared],
        seeds=tuple(labels[1].tolist()),
        draws=tuple(labels[2].tolist()),
        learning_rates=tuple(float(rate) for rate in labels[3]),
        source_best=best.epochs,
        validation=stack(validation),
        test=stack(test),
        descriptive=descriptive or not best.from_validation,
        flags=(*flags, *best.flags),
    )
