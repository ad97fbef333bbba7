"""How soon and how far each start trains: a table by source epoch, with what never got there counted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from headstart.statistics.intervals import mean_interval
from headstart.statistics.words import format_interval
from headstart.studies.early_stopping.curve_measures import median_time, restricted_mean_time
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    PERCENT,
    RUN,
    by_start,
    networks,
    of_network,
    panels_of,
    source_history,
    tuned_runs,
)

# Column of a run -> (metric, split that it is read on).
READ = {
    "time": ("time_to_scratch", "validation"),
    "reached": ("reached_scratch", "validation"),
    "train": ("final_accuracy", "train"),
    "when_fitted": ("accuracy_when_fitted", "test"),
}
COLUMNS = [
    *("source", "model", *PANEL, "start", "runs", "seeds", "censored", "mean_time", "low", "high"),
    *("median_time", "train_accuracy", "fitted", "accuracy_when_fitted"),
]


def trainability_table(measurements: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Return one row per contrast and start, at tuned learning rates.

    Starts are the source epochs that every network was fine-tuned from, and `source-best`.

    Times are target epochs until validation accuracy reaches what scratch has at its end:
    `mean_time` is the restricted mean (a run that never gets there counts with all its epochs) with
    a t-interval over source networks, `median_time` the Kaplan-Meier median over runs, infinite
    where at most half get there, `censored` the number that never do. `train_accuracy` is the mean
    at the end, `fitted` the number of runs that end at 100 %, and `accuracy_when_fitted` the mean
    test accuracy of those. Accuracies are percentages; what was not measured is NaN.
    """
    rows = [
        {"source": source, "model": model, **row}
        for _, source, model in networks(measurements)
        for row in _rows(of_network(measurements, source, model), model, confidence)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text for a person: times in epochs with their interval, accuracies in %."""
    rows = table.to_dict("records")
    shown = table[["source", "model", "target", "arm", "shots", "start"]].reset_index(drop=True)
    times = [format_interval(row["mean_time"], row["low"], row["high"]) for row in rows]
    never = [f"{row['censored']:.0f} of {row['runs']}" for row in rows]
    words = pd.DataFrame(
        {
            "epochs to scratch's end": times,
            "median": [_number(value, "g") for value in table["median_time"]],
            "never": np.where(table["censored"] >= 0, never, "–"),
            "training accuracy": [_number(value) for value in table["train_accuracy"]],
            "fitted": [f"{row['fitted']} of {row['runs']}" for row in rows],
            "test accuracy when fitted": [_number(v) for v in table["accuracy_when_fitted"]],
        }
    )
    return pd.concat([shown, words], axis=1)


def _rows(mine: pd.DataFrame, model: str, confidence: float) -> Iterator[dict[str, object]]:
    runs = tuned_runs(mine, model)
    for column, (metric, split) in READ.items():
        read = mine[(mine["metric"] == metric) & (mine["split"] == split)]
        values = read[PANEL + RUN].assign(**{column: read["value"]})
        runs = runs.merge(values, on=PANEL + RUN, how="left")
    history = source_history(mine, model)
    for names, part in panels_of(runs):
        about = dict(zip(PANEL, names, strict=True))
        for start, group in by_start(part, history).groupby("start", sort=False):
            yield {**about, "start": start, **_row(group), **_times(group, confidence)}


def _row(group: pd.DataFrame) -> dict[str, object]:
    return {
        "runs": len(group),
        "seeds": group["seed"].nunique(),
        "train_accuracy": group["train"].mean() * PERCENT,
        "fitted": int(group["when_fitted"].notna().sum()),
        "accuracy_when_fitted": group["when_fitted"].mean() * PERCENT,
    }


def _times(group: pd.DataFrame, confidence: float) -> dict[str, float]:
    """Return what a start takes to get to the end of scratch; nothing where that was not measured."""
    if group["time"].isna().any():
        return {}
    by_seed = [part for _, part in group.groupby("seed")]
    means = [restricted_mean_time(part["time"], part["reached"]) for part in by_seed]
    mean = mean_interval(means, confidence)
    return {
        "censored": int((group["reached"] == 0).sum()),
        "mean_time": mean.estimate,
        "low": mean.low,
        "high": mean.high,
        "median_time": median_time(group["time"], group["reached"]),
    }


def _number(value: float, spec: str = ".1f") -> str:
    if np.isnan(value):
        return "–"
    return format(value, spec) if np.isfinite(value) else "never"
