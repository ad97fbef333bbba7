"""Median and range of all runs by source epoch, as the paper draws them, published values beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.epochs import Scale, scale_of
from headstart.figures.facets import DASHED, level, panel_figure, star, with_bars
from headstart.figures.labels import Label, label_edge, panel_heading, sample_size
from headstart.figures.style import BLUE, DARK_ORANGE, GREEN, GREY
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    SOURCE_BEST,
    all_runs,
    at_source_best,
    common_epochs,
    panels_of,
    source_history,
    tuned_runs,
    with_peaks,
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
# Title, runs with their score, published values.
Panel = tuple[str, pd.DataFrame, pd.DataFrame]


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
    axes = {"x": "source epoch", "y": "target test accuracy (%)"}
    size = (max(3.0, 5.6 / len(panels)), 2.5)
    figure = panel_figure(tables, _panel, _caption(panels), size=size, **axes)
    return figure, pd.concat([table for _, table in tables], ignore_index=True)


def range_table(runs: pd.DataFrame, history: pd.DataFrame, beside: pd.DataFrame) -> pd.DataFrame:
    """Return one row per thing drawn: `drawn`, `source_epoch`, `median`, `low`, `high`, `runs`.

    `runs` has a column `score` in percent. Rows of `source`: median validation accuracy on the
    source. Rows of `published`: the published value, at the median source-best epoch where it
    belongs to source-best.
    """
    epoch = float(history.loc[history["best"] == 1, "source_epoch"].median())
    at_best = at_source_best(runs, history).assign(source_epoch=epoch, drawn=SOURCE_BEST)
    every = pd.concat([common_epochs(runs).assign(drawn="runs"), at_best])
    scores = every.groupby(["drawn", "source_epoch"])["score"]
    ours = scores.agg(median="median", low="min", high="max", runs="size").reset_index()
    source = history.groupby("source_epoch", as_index=False)["accuracy_validation"].median()
    source = source.set_axis(["source_epoch", "median"], axis=1).assign(drawn="source")
    best = beside["checkpoint"] == SOURCE_BEST
    theirs = pd.DataFrame(
        {
            "source_epoch": beside["checkpoint"].where(~best, epoch).astype(float),
            "median": beside["value"],
            "runs": beside["n"].astype(float),
            "experiment": beside["experiment"],
            "statistic": beside["statistic"],
            "drawn": np.where(best, "published source-best", "published"),
        }
    )
    table = pd.concat([p for p in (ours, source, theirs) if len(p)], ignore_index=True)
    rates = sorted(runs["learning_rate"].unique())
    names = {**runs.iloc[0][PANEL], "learning_rate": rates[0] if len(rates) == 1 else "tuned"}
    order = [*names, "drawn", "source_epoch", "median", "low", "high", "runs"]
    return table.assign(**names)[[*order, *(c for c in theirs if c in table and c not in order)]]


def _panels(measurements: pd.DataFrame, published: pd.DataFrame, model: str) -> Iterator[Panel]:
    """Yield title, runs with their score, and published values of every panel."""
    every = with_peaks(all_runs(measurements, model), measurements, model)
    for names, runs in panels_of(tuned_runs(measurements, model)):
        target, arm, _, shots = names
        here = (published["target"] == target) & (published["arm"] == arm)
        beside = published[here & (published["shots"] == shots)]
        if beside.empty:
            yield panel_heading(*names), runs.assign(score=runs["test"]), beside
        same = (every[PANEL] == list(names)).all(axis=1)
        for rate, values in beside.groupby("learning_rate"):
            mine = every[same & np.isclose(every["learning_rate"], float(str(rate)))]
            title = panel_heading(*names, f"rate {rate:g}")
            yield title, mine.assign(score=mine["peak"]), values


def _panel(axis: Axes, table: pd.DataFrame) -> None:
    parts = {str(name): part for name, part in table.groupby("drawn")}
    scale = scale_of(parts["runs"]["source_epoch"])
    _source(axis, parts["source"], scale)
    words = axis.get_ylabel()
    for name, look in LOOKS.items():
        if name not in parts:
            continue
        x = scale.position(parts[name]["source_epoch"])
        if name.startswith("published"):
            # As published, the panel is one of largest accuracies.
            axis.set_ylabel(f"largest {words}" if words else "")
            axis.plot(x, parts[name]["median"], **look)
        else:
            with_bars(axis, x, parts[name], "median", **look)
    labels = _levels(axis, parts["runs"], parts.get(SOURCE_BEST))
    scale.ticks(axis, parts["runs"]["source_epoch"])
    axis.margins(y=0.08)
    label_edge(axis, labels, lines=2, beside=BESIDE_TICKS)


def _levels(axis: Axes, runs: pd.DataFrame, best: pd.DataFrame | None) -> list[Label]:
    """Draw the levels of scratch, the best start and source-best; return what to write beside them."""
    medians = runs.set_index("source_epoch")["median"]
    scratch, later = medians[medians.index == 0], medians[medians.index > 0]
    labels = [level(axis, float(value), "scratch", GREY, DASHED) for value in scratch]
    if len(later):
        labels.append(level(axis, later.max(), f"best, epoch {later.idxmax():.0f}", BLUE, "-"))
    if best is not None:
        value = float(best["median"].iloc[0])
        labels.append(level(axis, value, SOURCE_BEST, DARK_ORANGE, ":"))
    return labels


def _source(axis: Axes, source: pd.DataFrame, scale: Scale) -> None:
    """Draw the accuracy on the source against an axis of its own, behind the runs."""
    right = axis.twinx()
    axis.set_zorder(right.get_zorder() + 1)
    axis.patch.set_visible(False)
    x = scale.position(source["source_epoch"])
    right.plot(x, source["median"], color=GREEN, linewidth=1.2, alpha=0.8)
    right.set_ylim(0, 100)
    # The lines of a grid in front would cut it.
    axis.grid(False)
    right.grid(False, axis="y")
    right.spines["right"].set(visible=True, color=GREEN)
    right.tick_params(axis="y", colors=GREEN)
    right.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")


def _caption(panels: list[Panel]) -> str:
    every = pd.concat([runs for _, runs, _ in panels])
    values = pd.concat([beside for *_, beside in panels])
    draws = every.groupby(PANEL)["draw"].nunique()
    low, high = int(draws.min()), int(draws.max())
    size = sample_size(every["seed"].nunique(), low if low == high else f"{low} to {high}")
    text = (
        f"Dot: median of all runs, bar: smallest to largest; {size}. Star: the "
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
