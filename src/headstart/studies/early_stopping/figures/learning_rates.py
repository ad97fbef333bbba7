"""A map of target test accuracy over learning rates and source epochs."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from headstart.figures.facets import panel_figure
from headstart.figures.labels import sample_size
from headstart.figures.style import BLUE
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    SOURCE_BEST,
    all_runs,
    best_of_each,
    by_start,
    headed,
    source_history,
)

CELL = ["source_epoch", "learning_rate"]
BEST = -1
"""Stands for each network's own source-best epoch, which has no one number."""


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
    columns, rates = table.groupby(PANEL)[CELL].nunique().max()
    size = (0.5 + 0.36 * columns, 1.1 + 0.28 * rates)
    axes = {"x": "source epoch", "y": "learning rate"}
    return panel_figure(headed(table), _panel, _caption(table), size=size, **axes), table


def rate_table(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracies over source networks and draws, one row per panel, rate and source epoch.

    Source epochs are those that every network was fine-tuned from, then −1 for each network's
    source-best. `chosen`: the column's best rate on validation; `best`: the panel's best cell.
    """
    starts = by_start(runs, history, place=None)
    starts["source_epoch"] = starts["source_epoch"].mask(starts["start"] == SOURCE_BEST, BEST)
    table = starts.groupby([*PANEL, *CELL], as_index=False).agg(
        validation=("validation", "mean"),
        test=("test", "mean"),
        seeds=("seed", "nunique"),
        draws=("draw", "nunique"),
    )
    panel, column = table.groupby(PANEL).ngroup(), table.groupby([*PANEL, "source_epoch"]).ngroup()
    cells = table.index[table["source_epoch"] != BEST]
    best = best_of_each(table.loc[cells, "validation"], panel[cells])
    chosen = best_of_each(table["validation"], column)
    return table.assign(chosen=table.index.isin(chosen), best=table.index.isin(best))


def _panel(axis: Axes, part: pd.DataFrame) -> None:
    grid = part.pivot(index="learning_rate", columns="source_epoch", values="test")
    # The largest rate on top, source-best last.
    grid = grid.sort_index(ascending=False)[sorted(grid, key=lambda epoch: (epoch == BEST, epoch))]
    shades = sns.light_palette(BLUE, as_cmap=True)
    labels = {"xlabel": axis.get_xlabel(), "ylabel": axis.get_ylabel()}
    look = {"cbar": False, "annot": True, "annot_kws": {"fontsize": 6.5}, "linewidths": 0.5}
    names = ["\nsource-\nbest" if epoch == BEST else str(epoch) for epoch in grid]
    rates = [f"{rate:g}" for rate in grid.index]
    sns.heatmap(grid, ax=axis, cmap=shades, fmt=".1f", xticklabels=names, yticklabels=rates, **look)
    axis.set(**labels)
    axis.tick_params(length=0, rotation=0)
    if BEST in grid:
        axis.axvline(grid.shape[1] - 1, color="white", linewidth=4)
    for row in part[part["chosen"] | part["best"]].itertuples():
        x, y = list(grid).index(row.source_epoch), list(grid.index).index(row.learning_rate)
        if row.chosen:
            axis.plot(x + 0.5, y + 0.84, "o", color="black", mec="white", mew=0.5, markersize=3.5)
        if row.best:
            frame = Rectangle((x, y), 1, 1, fill=False, edgecolor="black", lw=1.8, zorder=4)
            axis.add_patch(frame).set_clip_on(False)


def _caption(table: pd.DataFrame) -> str:
    rates = table.groupby(PANEL)["learning_rate"]
    ends = (rates.transform("min"), rates.transform("max"))
    extreme = (table["learning_rate"] == ends[0]) | (table["learning_rate"] == ends[1])
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
