"""Accuracy on the target against the source epoch that fine-tuning started from, and the source below."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import (
    DASHED,
    epoch_axis,
    facets,
    level,
    mean_line,
    position,
    star,
    with_bars,
)
from headstart.figures.labels import (
    Label,
    label_edge,
    panel_title,
    shots_words,
    within_percent,
    write_caption,
)
from headstart.figures.style import (
    CYCLE,
    DARK_ORANGE,
    GREY,
    MARKERS,
    ORANGE,
    VERMILION,
    paper_style,
)
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    RUN,
    SOURCE_BEST,
    by_number,
    by_start,
    caption,
    common_epochs,
    mean_over_seeds,
    source_history,
    tuned_runs,
)

# Column of the history -> colour, line style and name.
SOURCE = {
    "accuracy_train": (GREY, "--", "training"),
    "accuracy_validation": (VERMILION, "-", "validation"),
}


def transfer_figure(
    measurements: pd.DataFrame, model: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw figure (a) for one model; return it with the table of all that is drawn."""
    runs, history = tuned_runs(measurements, model), source_history(measurements, model)
    table = transfer_table(runs, history, confidence)
    columns = list(table.groupby(PANEL[:3]))
    with paper_style():
        size, heights = (2.6, 2.1), [2.4, 1]
        figure, axes = facets(len(columns), rows=2, sharex="col", size=size, height_ratios=heights)
        for (above, below), (names, part) in zip(axes.T, columns, strict=True):
            _accuracy(above, part)
            above.set_title(panel_title(*map(str, names)))
            _source(below, table, history)
            below.set_xlabel("source epoch")
        for axis, words in zip(axes[:, 0], ("target test", "source"), strict=True):
            axis.set_ylabel(f"{words} accuracy (%)")
        epoch_axis(axes, sorted(common_epochs(runs)["source_epoch"].unique()))
        write_caption(figure, caption(runs, confidence))
    return figure, table


def transfer_table(runs: pd.DataFrame, history: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Return every run, the means by source epoch and at source-best, and accuracies on the source.

    `drawn` says what a row is. Means have t-intervals over source networks, and their number;
    source-best stands at the mean of the networks' source-best epochs.
    """
    starts, keys = by_start(runs, history, "mean"), ["drawn", *PANEL, "source_epoch"]
    parts = [
        runs[[*PANEL, *RUN, "test", "validation"]].assign(drawn="run", mean=runs["test"]),
        mean_over_seeds(starts, keys, "test", confidence),
    ]
    for value in SOURCE:
        means = mean_over_seeds(history, ["source", "source_epoch"], value, confidence)
        parts.append(means.assign(drawn=f"source {value.replace('_', ' ')}"))
    return pd.concat(parts, ignore_index=True)


def _accuracy(axis: Axes, table: pd.DataFrame) -> None:
    """Draw a dot for each run and a line through the means, for every number of shots."""
    labels: list[Label] = []
    shots = sorted(table["shots"].unique(), key=by_number)
    for number, colour, marker in zip(shots, CYCLE, MARKERS, strict=False):
        kinds = dict(list(table[table["shots"] == number].groupby("drawn")))
        runs, means = kinds["run"], kinds["mean"]
        # Networks stand beside each other.
        aside = (runs["seed"].rank(method="dense") / runs["seed"].nunique() - 0.5) * 0.24
        x = position(runs["source_epoch"]) + aside.astype(float)
        axis.plot(x, runs["test"], marker, color=colour, alpha=0.35, ms=2, mew=0, zorder=2)
        x = position(means["source_epoch"])
        mean_line(axis, x, means, colour, marker=marker, markersize=4, zorder=3)
        levels = _levels(axis, means, kinds.get(SOURCE_BEST))
        end = float(means["mean"].iloc[-1])
        several = (end, f"{shots_words(number)}\n{end:.1f}", colour)
        labels += [several] if len(shots) > 1 else levels
    within_percent(axis)
    label_edge(axis, labels, lines=2)


def _levels(axis: Axes, means: pd.DataFrame, best: pd.DataFrame | None) -> list[Label]:
    """Mark training from scratch and the start from the source-best epoch; return their labels."""
    scratch = means.loc[means["source_epoch"] == 0, "mean"]
    labels = [level(axis, float(value), "scratch", GREY, DASHED) for value in scratch]
    if best is not None:
        with_bars(axis, position(best["source_epoch"]), best, "mean", **star(9))
        value = float(best["mean"].iloc[0])
        labels.append(level(axis, value, SOURCE_BEST, ORANGE, ":", DARK_ORANGE))
    return labels


def _source(axis: Axes, table: pd.DataFrame, history: pd.DataFrame) -> None:
    labels: list[Label] = []
    for value, (colour, style, name) in SOURCE.items():
        means = table[table["drawn"] == f"source {value.replace('_', ' ')}"]
        x = position(means["source_epoch"])
        mean_line(axis, x, means, colour, linestyle=style, linewidth=1.3)
        labels.append((float(means["mean"].iloc[-1]), name, colour))
    best = history[history["best"] == 1]
    axis.plot(position(best["source_epoch"]), best["accuracy_validation"], **star(6))
    axis.set_ylim(0, 104)
    label_edge(axis, labels, lines=1)
