"""A map of target test accuracy over learning rates and source epochs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from headstart.figures.facets import panel_figure
from headstart.figures.labels import sample_size
from headstart.figures.style import BLUE
from headstart.statistics.measurements import select
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    SOURCE_BEST,
    all_runs,
    best_of_each,
    by_start,
    favourites,
    headed,
    source_history,
    titled,
)

CELL = ["source_epoch", "learning_rate"]
BEST = -1
"""Stands for each network's own source-best epoch, which has no one number."""


def rates_figure(
    measurements: pd.DataFrame, verdicts: pd.DataFrame, model: str
) -> tuple[Figure, pd.DataFrame] | None:
    """Draw mean test accuracies of one model by learning rate and source epoch.

    The rate that validation prefers in each column has a dot; that of the start which the verdict speaks
    of is framed. None where every panel has a single learning rate.
    """
    runs, history = all_runs(measurements, model), source_history(measurements, model)
    table = rate_table(runs, history, favourites(select(verdicts, model=model)))
    several = table.groupby(PANEL)["learning_rate"].transform("nunique") > 1
    table = table[several].reset_index(drop=True)
    if table.empty:
        return None
    columns, rates = table.groupby(PANEL)[CELL].nunique().max()
    axes: dict[str, Any] = {"x": "source epoch", "y": "learning rate", "height": 0.7 + 0.25 * rates}
    # A cell must be wide enough for its number.
    per_row = 3 if columns < 6 else 2
    title = titled(table, history, model, "test accuracy (%) by learning rate and start")
    figure = panel_figure(headed(table), _panel, title, _caption(table), per_row=per_row, **axes)
    return figure, table


def rate_table(runs: pd.DataFrame, history: pd.DataFrame, favourite: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracies over source networks and draws, one row per panel, rate and source epoch.

    Source epochs are those that every network was fine-tuned from, then −1 for each network's
    source-best. `chosen`: the column's best rate on validation; `best`: the chosen rate of the favourite.
    """
    starts = by_start(runs, history, place=None)
    starts["source_epoch"] = starts["source_epoch"].mask(starts["start"] == SOURCE_BEST, BEST)
    table = starts.groupby([*PANEL, *CELL], as_index=False).agg(
        validation=("validation", "mean"),
        test=("test", "mean"),
        seeds=("seed", "nunique"),
        draws=("own_draw", "nunique"),
    )
    column = table.groupby([*PANEL, "source_epoch"]).ngroup()
    chosen = table.index.isin(best_of_each(table["validation"], column))
    marked = table.merge(favourite, how="left", indicator=True)["_merge"] == "both"
    return table.assign(chosen=chosen, best=chosen & marked.to_numpy())


def _panel(axis: Axes, part: pd.DataFrame) -> None:
    grid = part.pivot(index="learning_rate", columns="source_epoch", values="test")
    # The largest rate on top, source-best last.
    grid = grid.sort_index(ascending=False)[sorted(grid, key=lambda epoch: (epoch == BEST, epoch))]
    shades = sns.light_palette(BLUE, as_cmap=True)
    labels = {"xlabel": axis.get_xlabel(), "ylabel": axis.get_ylabel()}
    look = {"cbar": False, "annot": True, "annot_kws": {"fontsize": 7}, "linewidths": 0.5}
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
            axis.plot(x + 0.5, y + 0.87, "o", color="black", mec="white", mew=0.5, markersize=3)
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
        f"Dot: the rate that validation prefers. Frame: the start that the verdict speaks of.{edge}"
    )
