"""A map of target test accuracy over learning rates and source epochs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from headstart.figures.labels import panel_heading, sample_size, write_caption
from headstart.figures.style import BLUE, paper_style
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    all_runs,
    at_source_best,
    common_epochs,
    source_history,
)

CELL = ["source_epoch", "learning_rate"]
BEST = -1
"""Stands for each network's own source-best epoch, which has no one number."""
WHITE_TO_BLUE = LinearSegmentedColormap.from_list("white to blue", ["#FFFFFF", BLUE])


def rates_figure(measurements: pd.DataFrame, model: str) -> tuple[Figure, pd.DataFrame] | None:
    """Draw mean test accuracies of one model by learning rate and source epoch.

    The cell of best mean validation accuracy is framed, the rate that validation prefers in each
    column has a dot. None where every panel has a single learning rate.
    """
    table = rate_table(all_runs(measurements, model), source_history(measurements, model))
    several = table.groupby(PANEL)["learning_rate"].transform("nunique") > 1
    table = table[several].reset_index(drop=True)
    if table.empty:
        return None
    panels = list(table.groupby(PANEL, sort=False))
    columns = table.groupby(PANEL)["source_epoch"].nunique().max()
    rates = table.groupby(PANEL)["learning_rate"].nunique().max()
    width, height = 0.7 + 0.34 * columns, 1.5 + 0.3 * rates
    with paper_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(width * len(panels), height), squeeze=False
        )
        for index, (axis, (names, part)) in enumerate(zip(axes[0], panels, strict=True)):
            axis.set_title(panel_heading(*map(str, names)))
            _panel(axis, part)
            axis.set_ylabel("learning rate" if index == 0 else "")
        write_caption(figure, _caption(table))
    return figure, table


def rate_table(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracies over source networks and draws, one row per panel, rate and source epoch.

    Source epochs are those that every network was fine-tuned from, then −1 for each network's
    source-best. `chosen`: the column's best rate on validation; `best`: the panel's best cell.
    """
    starts = [common_epochs(runs), at_source_best(runs, history).assign(source_epoch=BEST)]
    every = pd.concat(starts, ignore_index=True)
    table = every.groupby([*PANEL, *CELL], as_index=False).agg(
        validation=("validation", "mean"),
        test=("test", "mean"),
        seeds=("seed", "nunique"),
        draws=("draw", "nunique"),
    )
    order = table.sort_values("validation", ascending=False, kind="stable")
    chosen = order.drop_duplicates([*PANEL, "source_epoch"]).index
    best = order[order["source_epoch"] != BEST].drop_duplicates(PANEL).index
    return table.assign(chosen=table.index.isin(chosen), best=table.index.isin(best))


def _panel(axis: Axes, part: pd.DataFrame) -> None:
    grid = part.pivot(index="learning_rate", columns="source_epoch", values="test")
    epochs = [*(e for e in grid.columns if e != BEST), *(e for e in grid.columns if e == BEST)]
    grid = grid[epochs]
    axis.imshow(grid, cmap=WHITE_TO_BLUE, aspect="auto", origin="lower", alpha=0.9)
    axis.grid(False)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(length=0)
    names = ["\nsource-\nbest" if epoch == BEST else str(epoch) for epoch in epochs]
    axis.set_xticks(range(len(epochs)), names)
    axis.set_yticks(range(len(grid)), [f"{rate:g}" for rate in grid.index])
    axis.set_xlabel("source epoch")
    _numbers(axis, grid)
    if BEST in epochs:
        axis.axvline(len(epochs) - 1.5, color="white", linewidth=3)
    marked = part[["source_epoch", "learning_rate", "chosen", "best"]]
    for epoch, rate, chosen, best in marked.itertuples(index=False, name=None):
        x, y = epochs.index(epoch), list(grid.index).index(rate)
        if chosen:
            axis.plot(x, y - 0.34, "o", color="black", mec="white", mew=0.5, markersize=3.5)
        if best:
            frame = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="black", lw=1.8)
            frame.set_clip_on(False)
            axis.add_patch(frame)


def _numbers(axis: Axes, grid: pd.DataFrame) -> None:
    low, high = np.nanmin(grid), np.nanmax(grid)
    for (y, x), value in np.ndenumerate(grid.to_numpy(dtype=float)):
        if np.isfinite(value):
            dark = high > low and (value - low) / (high - low) > 0.6
            colour = "white" if dark else "black"
            axis.text(x, y, f"{value:.1f}", ha="center", va="center", fontsize=6.5, color=colour)


def _caption(table: pd.DataFrame) -> str:
    rates = table.groupby(PANEL)["learning_rate"]
    extreme = (table["learning_rate"] == rates.transform("min")) | (
        table["learning_rate"] == rates.transform("max")
    )
    at_edge, panels = int((table["best"] & extreme).sum()), int(table["best"].sum())
    edge = f" In {at_edge} of {panels} panels it lies at the edge of the grid: a rate beyond it may be better."
    if rates.nunique().max() == 2:
        edge = " Two rates cannot bracket an optimum: one outside or between them may be better."
    elif not at_edge:
        edge = ""
    return (
        f"Mean test accuracy (%), {sample_size(int(table['seeds'].max()), int(table['draws'].max()))}. "
        f"Dot: the rate that validation prefers. Frame: best on validation.{edge}"
    )
