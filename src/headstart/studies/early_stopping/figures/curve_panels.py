"""Accuracy on training and held-out images while the target trains, one panel for each start."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from headstart.figures.labels import caption, panel_heading, within_percent, write_caption
from headstart.figures.style import BLUE, DARK_ORANGE, GREY, paper_style
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    PERCENT,
    RUN,
    SOURCE_BEST,
    by_start,
    mean_over_seeds,
    panels_of,
    source_history,
    tuned_runs,
)

WIDTH, HEIGHT = 1.35, 1.75


def curve_panels_figure(
    measurements: pd.DataFrame, curves: pd.DataFrame, model: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw the paper's F-B for one model: a row for each target, a panel for each source epoch."""
    runs, history = tuned_runs(measurements, model), source_history(measurements, model)
    table = panel_table(runs, history, curves, model, confidence)
    rows = panels_of(table)
    columns = max(part["start"].nunique() for _, part in rows)
    with paper_style():
        figure, axes = plt.subplots(
            len(rows),
            columns,
            figsize=(0.9 + WIDTH * columns, 0.7 + HEIGHT * len(rows)),
            sharex=True,
            sharey="row",
            squeeze=False,
        )
        for line, (names, part) in zip(axes, rows, strict=True):
            _row(list(line), part, panel_heading(*names))
        for axis in axes[-1]:
            axis.set_xlabel("target epoch" if axis is axes[-1][0] else "")
        write_caption(figure, _words(table) + caption(runs, confidence))
    return figure, table


def panel_table(
    runs: pd.DataFrame, history: pd.DataFrame, curves: pd.DataFrame, model: str, confidence: float
) -> pd.DataFrame:
    """Return mean accuracy by target, start, split and target epoch, in percent.

    A start is a source epoch that all networks were fine-tuned from, or `source-best`. The held-out
    split is test where test accuracy was read at every epoch, and validation elsewhere.
    """
    wanted = curves[(curves["model"] == model) & (curves["metric"] == "accuracy")]
    splits = ("train", held_out_split(wanted))
    wanted = wanted[wanted["split"].isin(splits)]
    wanted = wanted.assign(value=wanted["value"] * PERCENT)
    chosen = by_start(runs, history)[[*PANEL, *RUN, "start"]]
    rows = wanted.merge(chosen, on=[*PANEL, *RUN])
    return mean_over_seeds(rows, [*PANEL, "start", "split", "target_epoch"], "value", confidence)


def held_out_split(curves: pd.DataFrame) -> str:
    """Return `test` where it was read as often as validation, else `validation`."""
    read = curves["split"].value_counts()
    return "test" if read.get("test", 0) == read.get("validation", 0) else "validation"


def _row(axes: list[Axes], table: pd.DataFrame, heading: str) -> None:
    starts = sorted(table["start"].unique(), key=_order)
    for axis, start in zip(axes, starts, strict=False):
        _panel(axis, table[table["start"] == start])
        axis.set_title(_start_words(start), fontsize=8.5, fontweight="normal", loc="center")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    for axis in axes[len(starts) :]:
        axis.set_visible(False)
    within_percent(axes[0])
    axes[0].set_ylabel(f"{heading}\naccuracy (%)")


def _panel(axis: Axes, table: pd.DataFrame) -> None:
    for split, part in table.groupby("split"):
        x = part["target_epoch"].astype(float)
        if split == "train":
            axis.plot(x, part["mean"], ":", color=GREY)
            continue
        colour = DARK_ORANGE if part["start"].iloc[0] == SOURCE_BEST else BLUE
        axis.plot(x, part["mean"], "-", color=colour)
        axis.fill_between(x, part["low"], part["high"], color=colour, alpha=0.25, linewidth=0)


def _order(start: str) -> float:
    return float("inf") if start == SOURCE_BEST else int(start)


def _start_words(start: str) -> str:
    return {"0": "scratch", SOURCE_BEST: SOURCE_BEST}.get(start, f"epoch {start}")


def _words(table: pd.DataFrame) -> str:
    held_out = next(split for split in table["split"].unique() if split != "train")
    return f"Solid: {held_out} images, dotted: training images; a panel for each source epoch. "
