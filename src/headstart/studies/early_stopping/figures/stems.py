"""Stems from training from scratch up to the accuracy from each source epoch, and to the peak."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.epochs import scale_of
from headstart.figures.labels import label_edge, panel_heading, sample_size, write_caption
from headstart.figures.style import BLUE, GREY, ORANGE, paper_style
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    at_source_best,
    common_epochs,
    panels_of,
    source_history,
    tuned_runs,
    with_peaks,
)

PER_ROW = 3
LABELLED = 8
"""So many stems have room for a number each; of more, the highest has one."""


def stems_figure(measurements: pd.DataFrame, model: str) -> tuple[Figure, pd.DataFrame]:
    """Draw stems for one source and model; return the figure and the table of all it draws."""
    runs = with_peaks(tuned_runs(measurements, model), measurements, model)
    table = stem_table(runs, source_history(measurements, model))
    panels = panels_of(table)
    rows, columns = -(-len(panels) // PER_ROW), min(len(panels), PER_ROW)
    with paper_style():
        figure, axes = plt.subplots(
            rows, columns, figsize=(0.6 + 2.9 * columns, 0.5 + 2.5 * rows), squeeze=False
        )
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for index, (axis, (names, part)) in enumerate(zip(axes.flat, panels, strict=False)):
            axis.set_title(panel_heading(*names))
            _panel(axis, part)
            axis.set_ylabel("target test accuracy (%)" if index % PER_ROW == 0 else "")
        write_caption(figure, _caption(runs))
    return figure, table


def stem_table(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracies by source epoch over source networks and draws.

    `test` at the target epoch that validation chose, `peak` the largest read; `drawn` is `start`, or
    `source-best` at the mean of the networks' source-best epochs.
    """
    epoch = float(history.loc[history["best"] == 1, "source_epoch"].mean())
    best = at_source_best(runs, history).assign(source_epoch=epoch, drawn="source-best")
    starts = common_epochs(runs).assign(drawn="start")
    every = pd.concat([starts.astype({"source_epoch": float}), best], ignore_index=True)
    keys = [*PANEL, "drawn", "source_epoch"]
    return every.groupby(keys, as_index=False).agg(
        test=("test", "mean"),
        peak=("peak", "mean"),
        seeds=("seed", "nunique"),
        draws=("draw", "nunique"),
    )


def _panel(axis: Axes, part: pd.DataFrame) -> None:
    starts, best = part[part["drawn"] == "start"], part[part["drawn"] == "source-best"]
    scratch = starts.loc[starts["source_epoch"] == 0, "test"]
    base = float(scratch.iloc[0]) if len(scratch) else 0.0
    scale = scale_of(starts["source_epoch"])
    later = starts[starts["source_epoch"] > 0]
    x = scale.position(later["source_epoch"])
    axis.vlines(x, base, later["peak"], color=BLUE, linewidth=1.4, zorder=2)
    axis.plot(x, later["peak"], "D", ms=5, mfc="white", mec=BLUE, mew=1.1, zorder=3)
    axis.plot(x, later["test"], "o", ms=4, color=BLUE, zorder=3)
    star = scale.position(best["source_epoch"])
    axis.vlines(star, base, best["peak"], color=ORANGE, linewidth=1.4, linestyle=":", zorder=2)
    axis.plot(star, best["test"], "*", ms=10, color="black", mfc=ORANGE, mew=0.7, zorder=4)
    axis.axhline(base, color=GREY, linestyle=(0, (4, 2)), linewidth=1.1, zorder=1)
    highest = later["peak"] == later["peak"].max()
    # A number beside the star would stand on it.
    apart = (x - star.iloc[0]).abs() > 0.45 if len(star) else highest | True
    shown = later[highest | (apart & (len(later) <= LABELLED))]
    places = zip(scale.position(shown["source_epoch"]), shown["peak"], shown["test"], strict=True)
    for at, value, dot in places:
        # Beyond both marks: below scratch the dot is the lower one.
        beyond = {"xytext": (0, 5)} if value >= base else {"xytext": (0, -5), "va": "top"}
        axis.annotate(
            f"{value:.1f}",
            (at, value if value >= base else dot),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            **beyond,
        )
    axis.margins(x=0.08, y=0.14)
    scale.ticks(axis, later["source_epoch"])
    label_edge(axis, [(base, f"scratch\n{base:.1f}", GREY)] if len(scratch) else [], lines=2)
    axis.set_xlabel("source epoch")


def _caption(runs: pd.DataFrame) -> str:
    size = sample_size(runs["seed"].nunique(), int(runs.groupby(PANEL)["draw"].nunique().max()))
    return (
        f"Means; {size}. Dot: at the target epoch that validation images chose. "
        "Diamond and number: the largest test accuracy among the epochs where it was read, which chooses "
        "on test images and is for comparison only. Star, dotted: the start from each network's source-best "
        "epoch, at its mean. Stems begin at training from scratch."
    )
