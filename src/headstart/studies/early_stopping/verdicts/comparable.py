"""Which runs may be compared at all: accuracies of a contrast, or the reason why they would mislead.

Each of these tables once gave a verdict: one network under eight names, runs that all stay at chance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from headstart.statistics.errors import UndecidableError
from headstart.studies.early_stopping.verdicts.accuracies import Accuracies, accuracy_tensors
from headstart.studies.early_stopping.verdicts.run_tables import SOURCE_ACCURACY, rows_of
from headstart.studies.early_stopping.verdicts.source_networks import (
    at_chance,
    source_rows,
    starts_given,
    unmoved,
)

CEILING = 0.995
LOW = 0.105
"""With ten classes and more, chance is below this."""
LEAST_RUNS = 6
"""Fewer may have equal accuracies without being equal."""


def comparable(
    table: pd.DataFrame, contrast: Mapping[str, object], fixed_rate: float | None = None
) -> Accuracies:
    """Return the accuracies of one contrast of a checked table; `fixed_rate` is kept with them.

    Raises:
        TableError: as `accuracy_tensors`.
        UndecidableError: the runs do not allow a comparison, or would decide on nothing; the
            message is the reason.
    """
    runs = accuracy_tensors(table, contrast)
    first = rows_of(table, contrast).iloc[0]
    rows = source_rows(table, first["source"], first["model"])
    rows = rows[rows["seed"].isin(runs.seeds)]
    for reason in (*unmoved(rows), *_histories(rows), *no_room(runs)):
        raise UndecidableError(reason)
    flags = (*runs.flags, *at_chance(rows), *_equal_starts(runs))
    given = starts_given(rows)
    return replace(runs, fixed_rate=fixed_rate, flags=flags, given=given)


def no_room(runs: Accuracies) -> Iterator[str]:
    """Yield why the accuracies on the target leave nothing to compare, where they do not."""
    if runs.diverged is not None and (lost := float(np.nan_to_num(runs.diverged).mean())) > 0.5:
        yield f"{lost:.0%} of the runs diverged, so that their accuracies compare little else"
    starts = runs.test.mean(axis=(1, 2)).max(axis=1)
    low, high = float(starts.min()), float(starts.max())
    if low >= CEILING:
        yield f"every start reaches {low:.1%} or more: there is no room in which starts could differ"
    if runs.classes and high <= min(1 / runs.classes + 0.01, 2 / runs.classes):
        yield f"every start stays at chance, {high:.1%} at most with {runs.classes} classes"
    if not runs.classes and high <= LOW and high - low <= 0.2 * high:
        yield f"every start stays at {high:.1%} or less, as at chance with {round(1 / max(high, 1e-3))} classes"


def _equal_starts(runs: Accuracies) -> Iterator[str]:
    """Yield a flag where starts have equal accuracies in all runs, of which there are several."""
    number = runs.test[0].size
    for later, epoch in enumerate(runs.epochs):
        for earlier in range(later):
            pairs = ((values[earlier], values[later]) for values in (runs.test, runs.validation))
            if number >= LEAST_RUNS and all(np.array_equal(*pair) for pair in pairs):
                yield (
                    f"equal-starts: source epochs {runs.epochs[earlier]} and {epoch} have the same accuracies "
                    f"in all {number} runs, as one network has"
                )
                return


def _histories(rows: pd.DataFrame) -> Iterator[str]:
    """Yield what makes source networks no independent units, or leaves them without a best epoch."""
    history = rows.pivot_table("value", "seed", ["metric", "split", "source_epoch"], sort=False)
    read = history[[name for name in history.columns if name[0] == SOURCE_ACCURACY]]
    if read.empty or read.columns.get_level_values("source_epoch").nunique() < 2:
        return
    twins = history.index[history.duplicated(keep=False)]
    if len(twins):
        names = ", ".join(map(str, twins))
        yield f"seeds {names} have equal source histories: one network under several names counts once"
    held = [name for name in read.columns if name[1] == "validation"] or list(read.columns)
    flat = read[held].max(axis=1) == read[held].min(axis=1)
    if flat.any():
        yield f"seed {flat.idxmax()} has the same source accuracy at all epochs, so that none is its best"
