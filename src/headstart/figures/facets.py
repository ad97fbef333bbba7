"""Small multiples with seaborn, their axis of epochs, and the marks that stand in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from headstart.figures.labels import Label, spaced, write_caption, write_title
from headstart.figures.style import (
    DARK_ORANGE,
    GREY,
    ONE_COLUMN,
    ORANGE,
    TWO_COLUMNS,
    paper_style,
)

DASHED = (0, (4, 2))


def facets(
    columns: int,
    *,
    rows: int = 1,
    per_row: int = 3,
    height: float = 2.0,
    x: str = "",
    y: str = "",
    sharex: bool | str = False,
    sharey: bool | str = False,
    **options: Any,
) -> tuple[Figure, npt.NDArray[Any]]:
    """Return a figure of facets, `height` inches each, and its axes with labels at the left and below.

    It has one of the two widths of a journal. One row of facets breaks after `per_row`; several rows make
    a grid and take the options of matplotlib's grids (`height_ratios`).
    """
    cells = pd.DataFrame(list(np.ndindex(rows, columns)), columns=["row", "column"])
    shape = {"row": "row"} if rows > 1 else {"col_wrap": min(per_row, columns)}
    look = {"height": height, "despine": False}
    # Seaborn lays a new grid out by itself; ours is solved when all that stands in it is known.
    with mpl.rc_context({"figure.constrained_layout.use": False}):
        shared = {"sharex": sharex, "sharey": sharey, "gridspec_kws": options or None}
        grid = sns.FacetGrid(cells, col="column", **shape, **shared, **look)
    grid.set_titles("", "", "").set_axis_labels(x, y)
    lines = rows if rows > 1 else -(-columns // per_row)
    grid.figure.set_size_inches(width_of(columns), height * lines + 0.35)
    grid.figure.set_layout_engine("constrained")
    return grid.figure, grid.axes


def width_of(columns: int) -> float:
    """Return which width of a journal so many facets beside each other need."""
    return ONE_COLUMN if columns == 1 else TWO_COLUMNS


def panel_figure(
    panels: Sequence[tuple[str, Any]],
    draw: Callable[[Axes, Any], None],
    title: str,
    caption: str,
    **options: Any,
) -> Figure:
    """Return a figure with a facet for each heading and table, drawn by `draw`, its title and caption."""
    with paper_style():
        figure, axes = facets(len(panels), **options)
        write_title(figure, title)
        # Labels are moved apart by the size of the panels as they will be.
        figure.draw_without_rendering()
        for axis, (heading, table) in zip(axes.flat, panels, strict=True):
            axis.set_title(heading)
            draw(axis, table)
        write_caption(figure, caption)
    return figure


def position(epochs: pd.Series) -> pd.Series:
    """Return where an epoch stands on the axis: 0 apart, then powers of two at equal distances."""
    return epochs.astype(float).clip(lower=0.5).apply(np.log2) + 1.0


def epoch_axis(axes: npt.NDArray[Any], epochs: Sequence[int]) -> None:
    """Put ticks at these epochs, ascending, where they do not stand on each other; none without epochs."""
    if not len(epochs):
        return
    positions = position(pd.Series(epochs)).tolist()
    # Numbers of three digits need an eighth of a panel each.
    kept = spaced(positions, max(0.35, 0.13 * positions[-1]))
    for axis in axes.flat:
        axis.xaxis.set_major_locator(FixedLocator([positions[i] for i in kept]))
        axis.xaxis.set_major_formatter(FixedFormatter([str(epochs[i]) for i in kept]))


def epoch_scale(axis: Axes, epochs: pd.Series) -> Callable[[pd.Series], pd.Series]:
    """Put ticks at these epochs; return the function that says where an epoch stands on the axis.

    Many evenly spaced epochs stand at their numbers, as published, with matplotlib's own ticks;
    others as `position` says.
    """
    different = np.unique(epochs.astype(int))
    steps = np.diff(different[different > 0])
    if len(steps) > 4 and np.all(steps == steps[0]):
        return lambda numbers: numbers.astype(float)
    epoch_axis(np.array([axis]), different.tolist())
    return position


def mean_line(
    axis: Axes, x: pd.Series, table: pd.DataFrame, colour: str, *, band: float = 0.18, **look: Any
) -> None:
    """Draw the column `mean` as a line, and a band from `low` to `high` where they are numbers."""
    axis.plot(x, table["mean"], color=colour, **look)
    axis.fill_between(x, table["low"], table["high"], color=colour, alpha=band, linewidth=0)


def with_bars(axis: Axes, x: pd.Series, table: pd.DataFrame, middle: str, **look: Any) -> None:
    """Draw the column `middle` as marks, with bars from `low` to `high`."""
    bars = np.abs(table[["low", "high"]].to_numpy(float).T - table[middle].to_numpy(float))
    axis.errorbar(x, table[middle], yerr=bars, **{"elinewidth": 1.1, "capsize": 2.5, **look})


def star(size: float) -> dict[str, Any]:
    """Return how the start from the source-best epoch is marked in every figure."""
    edge = {"color": "black", "markerfacecolor": ORANGE, "markeredgewidth": 0.6}
    return {"marker": "*", "linestyle": "none", "markersize": size, "zorder": 4, **edge}


def levels(axis: Axes, middles: pd.Series, source_best: pd.Series | None, zero: str) -> list[Label]:
    """Draw the levels of epoch 0 and of source-best; return what to write at their ends.

    `middles` are accuracies by source epoch, `source_best` holds one, of which there may be none; `zero`
    says what epoch 0 is.
    """
    drawn: list[tuple[float, str, str, Any]] = [
        (value, zero, GREY, DASHED) for value in middles[middles.index == 0]
    ]
    if source_best is not None:
        drawn.append((source_best.iloc[0], "source-best", DARK_ORANGE, ":"))
    for value, _, colour, style in drawn:
        axis.axhline(value, color=colour, linestyle=style, linewidth=1.1, zorder=1)
    return [(float(value), f"{name}\n{value:.1f}", colour) for value, name, colour, _ in drawn]
