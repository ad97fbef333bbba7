"""Accuracy on the target while it trains: three starts in one panel, or a panel for each start."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from headstart.figures.facets import facets, mean_line, panel_figure
from headstart.figures.labels import (
    label_edge,
    panel_heading,
    within_percent,
    write_caption,
    write_title,
)
from headstart.figures.style import BLUE, DARK_ORANGE, GREY, paper_style
from headstart.statistics.measurements import select
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    PERCENT,
    RUN,
    SOURCE_BEST,
    at_source_best,
    by_number,
    by_start,
    caption,
    epoch_zero,
    favourites,
    headed,
    mean_over_seeds,
    panels_of,
    source_history,
    titled,
    tuned_runs,
)

FAVOURITE = "favourite"
ZERO = (GREY, "--")
LOOKS = {
    "scratch": ZERO,
    "given network": ZERO,
    SOURCE_BEST: (DARK_ORANGE, "-."),
    FAVOURITE: (BLUE, "-"),
}


def curves_figure(
    measurements: pd.DataFrame,
    curves: pd.DataFrame,
    verdicts: pd.DataFrame,
    model: str,
    confidence: float,
) -> tuple[Figure, pd.DataFrame]:
    """Draw figure (b) for one model: validation accuracy while the target trains, three starts compared."""
    runs, history = tuned_runs(measurements, model), source_history(measurements, model)
    accuracies = select(curves, model=model, metric="accuracy")
    best = favourites(select(verdicts, model=model))
    zero = epoch_zero(measurements, model)
    table = curve_table(runs, history, accuracies, best, confidence, zero)
    axes: dict[str, Any] = {
        "x": "target epoch",
        "y": "target validation accuracy (%)",
        "height": 1.9,
    }
    title = titled(runs, history, model, "how fast does each start learn?")
    words = f"{caption(runs, confidence)} Numbered epoch: the start that the verdict speaks of."
    return panel_figure(headed(table), _compare, title, words, **axes), table


def curve_table(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    accuracies: pd.DataFrame,
    favourite: pd.DataFrame,
    confidence: float,
    zero: str = "scratch",
) -> pd.DataFrame:
    """Return mean curves from epoch 0, from source-best, and from the favourite of each contrast's verdict."""
    starts = {
        zero: runs[runs["source_epoch"] == 0],
        SOURCE_BEST: at_source_best(runs, history),
        FAVOURITE: runs.merge(favourite),
    }
    chosen = pd.concat([part.assign(start=name) for name, part in starts.items()])
    table = _means(chosen, accuracies, ("validation",), confidence).drop(columns="split")
    epochs = chosen.groupby([*PANEL, "start"], as_index=False)["source_epoch"].mean()
    return table.merge(epochs, on=[*PANEL, "start"])


def curve_panels_figure(
    measurements: pd.DataFrame, curves: pd.DataFrame, model: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw the paper's F-B for one model: a row for each target, a panel for each source epoch.

    A start is a source epoch that all networks were fine-tuned from, or source-best. The held-out
    split is test where test accuracy was read at every epoch, and validation elsewhere.
    """
    runs, history = tuned_runs(measurements, model), source_history(measurements, model)
    accuracies = select(curves, model=model, metric="accuracy")
    held_out = held_out_split(accuracies)
    chosen = by_start(runs, history, place=None)
    table = _means(chosen, accuracies, ("train", held_out), confidence)
    rows = panels_of(table)
    columns = max(part["start"].nunique() for _, part in rows)
    titles = {"0": epoch_zero(measurements, model), SOURCE_BEST: SOURCE_BEST}
    with paper_style():
        shared: dict[str, Any] = {"sharex": True, "sharey": "row"}
        figure, axes = facets(columns, rows=len(rows), per_row=columns, height=1.4, **shared)
        for line, (names, part) in zip(axes.reshape(len(rows), columns), rows, strict=True):
            starts = sorted(part["start"].unique(), key=by_number)
            for axis, start in zip(line, starts, strict=False):
                title = titles.get(start, f"epoch {start}")
                _panel(axis, part[part["start"] == start], start, title)
            for axis in line[len(starts) :]:
                axis.set_visible(False)
            within_percent(line[0])
            line[0].set_ylabel(f"{panel_heading(*names)}\naccuracy (%)")
        figure.axes[-columns].set_xlabel("target epoch")
        write_title(figure, titled(runs, history, model, "learning and fitting from each start"))
        words = f"Solid: {held_out} images, dotted: training images; a panel for each source epoch."
        write_caption(figure, f"{words} {caption(runs, confidence)}")
    return figure, table


def held_out_split(curves: pd.DataFrame) -> str:
    """Return `test` where it was read as often as validation, else `validation`."""
    read = curves["split"].value_counts()
    return "test" if read.get("test", 0) == read.get("validation", 0) else "validation"


def _means(
    chosen: pd.DataFrame, accuracies: pd.DataFrame, splits: tuple[str, ...], confidence: float
) -> pd.DataFrame:
    """Return mean accuracy of the chosen runs by start, split and target epoch, in percent."""
    rows = select(accuracies, split=splits).merge(
        chosen[[*PANEL, *RUN, "start"]], on=[*PANEL, *RUN]
    )
    rows["value"] *= PERCENT
    return mean_over_seeds(rows, [*PANEL, "start", "split", "target_epoch"], "value", confidence)


def _compare(axis: Axes, table: pd.DataFrame) -> None:
    labels = []
    for start, (colour, style) in LOOKS.items():
        part = table[table["start"] == start]
        if part.empty:
            continue
        mean_line(axis, part["target_epoch"], part, colour, linestyle=style)
        last = part.iloc[-1]
        name = f"from epoch {last['source_epoch']:.0f}" if start == FAVOURITE else start
        labels.append((float(last["mean"]), name, colour))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    within_percent(axis)
    label_edge(axis, labels, lines=1)


def _panel(axis: Axes, table: pd.DataFrame, start: str, title: str) -> None:
    colour = DARK_ORANGE if start == SOURCE_BEST else BLUE
    for split, part in table.groupby("split"):
        look = (GREY, 0, ":") if split == "train" else (colour, 0.25, "-")
        mean_line(axis, part["target_epoch"], part, look[0], band=look[1], linestyle=look[2])
    axis.set_title(title, fontsize=7.5, fontweight="normal", loc="center")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
