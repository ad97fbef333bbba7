"""How fast each run learns its target: measures of its curve against one common reference."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.ties import first_best
from headstart.studies.early_stopping import curve_measures as curves

Array = npt.NDArray[np.float64]

CONTRAST = ["source", "model", "target", "arm", "shots"]
RUN = ["seed", "source_epoch", "draw", "learning_rate"]
OTHER = ["study", "mode", "device"]
AREA, JUMPSTART, LAST_10 = "area_under_curve", "jumpstart", "last10_accuracy"
TIME, REACHED = "time_to_scratch", "reached_scratch"


def convergence_rows(table: pd.DataFrame, given: Collection[str] = ()) -> pd.DataFrame:
    """Measures of every run's accuracy curve, one row per run, split and measure.

    `table` is tidy, with the arm's name in `arm` and the epoch in `target_epoch`; epoch 0 lies
    before any update and is left out. Validation curves are measured, and test curves where test
    accuracy was read at every epoch. Measures: area_under_curve (mean accuracy over epochs),
    jumpstart (epoch 1), last10_accuracy, and, where there are runs from scratch, time_to_scratch:
    the first epoch at which a run reaches what scratch has at its end (`reference`). A run that
    never does keeps the last epoch as its time and reached_scratch = 0: it is censored, not slow.
    Of models that are `given`, epoch 0 is not scratch.
    """
    accuracies = table[(table["metric"] == "accuracy") & (table["target_epoch"] > 0)]
    parts = []
    for names, rows in accuracies.groupby(CONTRAST, sort=True):
        validation = _curves(rows, "validation")
        if validation is None:
            continue
        compared = None if names[CONTRAST.index("model")] in given else validation
        parts += _measured(validation, "validation", compared)
        test = _curves(rows, "test")
        if test is not None and test.index.equals(validation.index):
            parts += _measured(test, "test", compared)
    columns = [*CONTRAST, *RUN, *OTHER, "split", "metric", "value"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def reference(reported: pd.DataFrame, validation: pd.DataFrame) -> float | None:
    """Mean final accuracy from scratch (source epoch 0) over seeds and draws.

    Of several learning rates the one with the best mean final validation accuracy counts. None
    where nothing was trained from scratch.
    """
    scratch = validation.index.get_level_values("source_epoch") == 0
    if not scratch.any():
        return None
    rates = validation.index.get_level_values("learning_rate")[scratch]
    final = validation.iloc[:, -1][scratch].groupby(rates).mean().sort_index()
    rate = final.index[int(first_best(final.to_numpy(dtype=float)))]
    return float(reported.iloc[:, -1][scratch].to_numpy(dtype=float)[rates == rate].mean())


def _curves(rows: pd.DataFrame, split: str) -> pd.DataFrame | None:
    """One row per run and one column per epoch; None where some epochs were not read."""
    mine = rows[rows["split"] == split]
    epochs = int(rows["target_epoch"].max())
    keys = [*CONTRAST, *RUN, *(name for name in OTHER if name in rows.columns)]
    if mine.empty:
        return None
    table = mine.pivot(index=keys, columns="target_epoch", values="value").sort_index()
    complete = table.shape[1] == epochs and not table.isna().to_numpy().any()
    return table if complete else None


def _measured(
    reported: pd.DataFrame, split: str, validation: pd.DataFrame | None
) -> list[pd.DataFrame]:
    values = reported.to_numpy(dtype=float)
    measures: dict[str, Array] = {
        AREA: curves.area_under_curve(values),
        JUMPSTART: curves.jumpstart(values),
        LAST_10: curves.asymptote(values),
    }
    level = None if validation is None else reference(reported, validation)
    if level is not None:
        time, reached = curves.time_to_reference(values, level)
        measures |= {TIME: time, REACHED: reached.astype(float)}
    runs = reported.index.to_frame(index=False)
    return [
        runs.assign(split=split, metric=metric, value=value) for metric, value in measures.items()
    ]
