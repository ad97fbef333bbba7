"""Median and range of all runs by source epoch, as the paper draws them, published values beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import epoch_scale, levels, panel_figure, star, with_bars
from headstart.figures.labels import label_edge, panel_heading
from headstart.figures.style import BLUE, GREEN
from headstart.statistics.measurements import select
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    SOURCE_BEST,
    all_runs,
    by_start,
    epoch_zero,
    panels_of,
    size_words,
    source_history,
    titled,
    tuned_runs,
)

BESIDE_TICKS = 38
"""Points to the right of the axes: room for the ticks of the source axis."""
WHITE: dict[str, Any] = {"linestyle": "none", "mfc": "white", "mec": "black", "zorder": 4}
LOOKS: dict[str, dict[str, Any]] = {
    "runs": {"fmt": "o", "markersize": 4.5, "color": BLUE, "zorder": 3},
    SOURCE_BEST: star(10) | {"zorder": 3},
    "published": {"marker": "D", "ms": 5.5, **WHITE},
    "published source-best": {"marker": "*", "ms": 11, **WHITE},
}


def ranges_figure(
    measurements: pd.DataFrame, published: pd.DataFrame, model: str
) -> tuple[Figure, pd.DataFrame]:
    """Draw medians and ranges for one source and model; return the figure and the table of all it draws.

    Where published values have the protocol of a panel's runs, the panel is drawn as published, by
    the largest test accuracy of each run at that learning rate, and the values stand beside ours.
    """
    history = source_history(measurements, model)
    panels = list(_panels(measurements, published, model))
    tables = [(title, range_table(runs, history, beside)) for title, runs, beside in panels]
    runs, values = [runs for _, runs, _ in panels], [beside for *_, beside in panels]
    caption = _caption(pd.concat(runs), pd.concat(values))
    axes: dict[str, Any] = {"x": "source epoch", "y": "target test accuracy (%)"}
    title = titled(pd.concat(runs), history, model, "median and range of all runs, as published")
    draw = partial(_panel, zero=epoch_zero(measurements, model))
    figure = panel_figure(tables, draw, title, caption, per_row=2, **axes)
    return figure, pd.concat([table for _, table in tables], ignore_index=True)


def _panels(
    measurements: pd.DataFrame, published: pd.DataFrame, model: str
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Yield title, runs with their score, and published values of every panel."""
    every = all_runs(measurements, model)
    for names, runs in panels_of(tuned_runs(measurements, model)):
        target, arm, _, shots = names
        beside = select(published, target=target, arm=arm, shots=shots)
        if beside.empty:
            yield panel_heading(*names), runs.assign(score=runs["test"]), beside
        same = select(every, **dict(zip(PANEL, names, strict=True)))
        for rate, values in beside.groupby("learning_rate"):
            mine = same[np.isclose(same["learning_rate"], float(str(rate)))]
            title = panel_heading(*names, f"rate {rate:g}")
            yield title, mine.assign(score=mine["peak"]), values


def range_table(runs: pd.DataFrame, history: pd.DataFrame, beside: pd.DataFrame) -> pd.DataFrame:
    """Return one row per thing drawn: `drawn`, `source_epoch`, `median`, `low`, `high`, `runs`.

    `runs` has a column `score` in percent. Rows of `source`: median validation accuracy on the
    source. Rows of `published`: the published value, at the median source-best epoch where it
    belongs to source-best.
    """
    starts = by_start(runs, history, "runs", place="median")
    scores = starts.groupby(["drawn", "source_epoch"])["score"]
    ours = scores.agg(median="median", low="min", high="max", runs="size").reset_index()
    source = history.groupby("source_epoch", as_index=False)["accuracy_validation"].median()
    source = source.set_axis(["source_epoch", "median"], axis=1).assign(drawn="source")
    best = beside["checkpoint"] == SOURCE_BEST
    at_best = history.loc[history["best"] == 1, "source_epoch"].median()
    theirs = beside[["experiment", "statistic"]].assign(
        source_epoch=beside["checkpoint"].where(~best, at_best).astype(float),
        median=beside["value"],
        runs=beside["n"].astype(float),
        drawn=np.where(best, "published source-best", "published"),
    )
    table = pd.concat([p for p in (ours, source, theirs) if len(p)], ignore_index=True)
    rates = sorted(runs["learning_rate"].unique())
    names = {**runs.iloc[0][PANEL], "learning_rate": rates[0] if len(rates) == 1 else "tuned"}
    order = [*names, "drawn", "source_epoch", "median", "low", "high", "runs"]
    return table.assign(**names)[[*order, *table.columns.intersection(["experiment", "statistic"])]]


def _panel(axis: Axes, table: pd.DataFrame, zero: str) -> None:
    parts = dict(list(table.groupby("drawn")))
    position = epoch_scale(axis, parts["runs"]["source_epoch"])
    _source(axis, position(parts["source"]["source_epoch"]), parts["source"]["median"])
    if "published" in set(table["drawn"].str.split().str[0]) and axis.get_ylabel():
        # As published, the panel is one of largest accuracies.
        axis.set_ylabel(f"largest {axis.get_ylabel()}")
    for name in [name for name in LOOKS if name in parts]:
        x = position(parts[name]["source_epoch"])
        if name.startswith("published"):
            axis.plot(x, parts[name]["median"], **LOOKS[name])
        else:
            with_bars(axis, x, parts[name], "median", **LOOKS[name])
    medians = parts["runs"].set_index("source_epoch")["median"]
    best = parts[SOURCE_BEST]["median"] if SOURCE_BEST in parts else None
    labels = levels(axis, medians, best, zero)
    axis.margins(y=0.08)
    label_edge(axis, labels, lines=2, beside=BESIDE_TICKS)


def _source(axis: Axes, x: pd.Series, accuracy: pd.Series) -> None:
    """Draw the accuracy on the source against an axis of its own, behind the runs."""
    right = axis.twinx()
    axis.set_zorder(right.get_zorder() + 1)
    axis.patch.set_visible(False)
    right.plot(x, accuracy, color=GREEN, linewidth=1.2, alpha=0.8)
    right.set_ylim(0, 100)
    # The lines of a grid in front would cut it.
    axis.grid(False)
    right.grid(False, axis="y")
    right.spines["right"].set(visible=True, color=GREEN)
    right.tick_params(axis="y", colors=GREEN)
    right.yaxis.set_major_formatter("{x:.0f} %")


def _caption(runs: pd.DataFrame, values: pd.DataFrame) -> str:
    text = (
        f"Dot: median of all runs, bar: smallest to largest; {size_words(runs)}. Star: the "
        "start from each network's source-best epoch, at its median. Green, right axis: median accuracy "
        "on the source's validation images. "
    )
    if values.empty:
        return text + (
            "Learning rate and target epoch chosen on validation images. No published values: none has "
            "the protocol of these runs."
        )
    experiments = sorted(values["experiment"].unique())
    named = f"experiment{'s' if len(experiments) > 1 else ''} {', '.join(experiments)}"
    notes = "; ".join(["published/early_stopping.csv", *sorted(set(values["note"]) - {""})])
    return text + (
        "Accuracy is the largest of all target epochs, chosen on test images, as published; where no "
        "published value is beside, that of the epoch that validation chose. White marks: published, "
        f"{named} of the logs of arXiv 2106.11174 ({notes})."
    )
