"""Stems from training from scratch up to the accuracy from each source epoch, and to the peak."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.epochs import Scale, scale_of
from headstart.figures.facets import DASHED, level, panel_figure, star
from headstart.figures.labels import label_edge, sample_size
from headstart.figures.style import BLUE, GREY, ORANGE
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    at_source_best,
    common_epochs,
    headed,
    source_history,
    tuned_runs,
    with_peaks,
)

LABELLED = 8
"""So many stems have room for a number each; of more, the highest has one."""


def stems_figure(measurements: pd.DataFrame, model: str) -> tuple[Figure, pd.DataFrame]:
    """Draw stems for one source and model; return the figure and the table of all it draws."""
    runs = with_peaks(tuned_runs(measurements, model), measurements, model)
    table = stem_table(runs, source_history(measurements, model))
    axes = {"x": "source epoch", "y": "target test accuracy (%)"}
    return panel_figure(headed(table), _panel, _caption(runs), **axes), table


def stem_table(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracies by source epoch over source networks and draws.

    `test` at the target epoch that validation chose, `peak` the largest read; `drawn` is `start`, or
    `source-best` at the mean of the networks' source-best epochs.
    """
    epoch = float(history.loc[history["best"] == 1, "source_epoch"].mean())
    best = at_source_best(runs, history).assign(source_epoch=epoch, drawn="source-best")
    starts = common_epochs(runs).assign(drawn="start")
    every = pd.concat([starts.astype({"source_epoch": float}), best], ignore_index=True)
    return every.groupby([*PANEL, "drawn", "source_epoch"], as_index=False).agg(
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
    x, x_best = scale.position(later["source_epoch"]), scale.position(best["source_epoch"])
    axis.vlines(x, base, later["peak"], color=BLUE, linewidth=1.4, zorder=2)
    axis.plot(x, later["peak"], "D", ms=5, mfc="white", mec=BLUE, mew=1.1, zorder=3)
    axis.plot(x, later["test"], "o", ms=4, color=BLUE, zorder=3)
    axis.vlines(x_best, base, best["peak"], color=ORANGE, linewidth=1.4, linestyle=":", zorder=2)
    axis.plot(x_best, best["test"], **star(10))
    labels = [level(axis, base, "scratch", GREY, DASHED)] if len(scratch) else []
    _numbers(axis, later, x_best, base, scale)
    axis.margins(x=0.08, y=0.14)
    scale.ticks(axis, later["source_epoch"])
    label_edge(axis, labels, lines=2)


def _numbers(axis: Axes, later: pd.DataFrame, x_best: pd.Series, base: float, scale: Scale) -> None:
    """Write the peak beyond both marks of a stem, where there is room: below scratch the dot is the lower one."""
    x, highest = scale.position(later["source_epoch"]), later["peak"] == later["peak"].max()
    # A number beside the star would stand on it.
    apart = (x - x_best.iloc[0]).abs() > 0.45 if len(x_best) else highest | True
    shown = later[highest | (apart & (len(later) <= LABELLED))]
    for at, peak, dot in zip(x[shown.index], shown["peak"], shown["test"], strict=True):
        up = peak >= base
        look: dict[str, Any] = {"ha": "center", "va": "bottom" if up else "top", "fontsize": 7}
        look |= {"xytext": (0, 4 if up else -4), "textcoords": "offset points"}
        axis.annotate(f"{peak:.1f}", (at, peak if up else dot), **look)


def _caption(runs: pd.DataFrame) -> str:
    size = sample_size(runs["seed"].nunique(), int(runs.groupby(PANEL)["draw"].nunique().max()))
    return (
        f"Means; {size}. Dot: at the target epoch that validation images chose. "
        "Diamond and number: the largest test accuracy among the epochs where it was read, which chooses "
        "on test images and is for comparison only. Star, dotted: the start from each network's source-best "
        "epoch, at its mean. Stems begin at training from scratch."
    )
