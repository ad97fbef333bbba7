"""Accuracy on the target against the source epoch: all runs with the source below, and stems above scratch."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import (
    epoch_axis,
    epoch_scale,
    facets,
    levels,
    mean_line,
    panel_figure,
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
    write_title,
)
from headstart.figures.style import BLUE, CYCLE, GREY, MARKERS, ORANGE, VERMILION, paper_style
from headstart.statistics.measurements import select
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    RUN,
    SOURCE_BEST,
    by_number,
    by_start,
    caption,
    chance_levels,
    common_epochs,
    epoch_zero,
    headed,
    mean_over_seeds,
    size_words,
    source_history,
    titled,
    tuned_runs,
)

LABELLED = 8
"""So many stems have room for a number each; of more, the highest has one."""
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
    table = pd.concat([table, chance_levels(measurements, model)], ignore_index=True)
    panels, zero = [*table.groupby(PANEL[:3])], epoch_zero(measurements, model)
    with paper_style():
        figure, axes = facets(len(panels) + 1, x="source epoch", height=2.2)
        write_title(figure, titled(runs, history, model, "what does each start reach?"))
        figure.draw_without_rendering()
        for axis, (names, part) in zip(axes, panels, strict=False):
            axis.set_title(panel_title(*map(str, names)))
            epoch_axis(np.array([axis]), sorted(common_epochs(runs)["source_epoch"].unique()))
            _accuracy(axis, part, zero)
        for axis in axes[:-1:3]:
            axis.set_ylabel("target test accuracy (%)")
        axes[-1].set(title="on the source itself", ylabel="source accuracy (%)")
        _source(axes[-1], table, history)
        epoch_axis(axes[-1:], sorted(common_epochs(runs)["source_epoch"].unique()))
        begin = "training from scratch, tuned too" if zero == "scratch" else f"the {zero}"
        words = f"Dots: runs; dashed: {begin}; star: source-best; dotted, grey: chance."
        write_caption(figure, f"{caption(runs, confidence)} {words}")
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


def _accuracy(axis: Axes, table: pd.DataFrame, zero: str) -> None:
    """Draw a dot for each run and a line through the means, for every number of shots, and chance."""
    labels = _chance(axis, table, "chance")
    table = table[table["drawn"] != "chance"]
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
        best = kinds.get(SOURCE_BEST)
        if best is not None:
            with_bars(axis, position(best["source_epoch"]), best, "mean", **star(9))
        middles = means.set_index("source_epoch")["mean"]
        marked = levels(axis, middles, None if best is None else best["mean"], zero)
        end = float(middles.iloc[-1])
        several = (end, f"{shots_words(number)}\n{end:.1f}", colour)
        labels += [several] if len(shots) > 1 else marked
    within_percent(axis)
    label_edge(axis, labels, lines=2)


def _chance(axis: Axes, table: pd.DataFrame, drawn: str) -> list[Label]:
    """Draw what guessing reaches, where it is known; return what to write at its end."""
    found = table.loc[table["drawn"] == drawn, "mean"].head(1)
    for level in found:
        axis.axhline(level, color=GREY, linestyle=":", linewidth=0.8, zorder=1)
    return [(float(level), "chance", GREY) for level in found]


def _source(axis: Axes, table: pd.DataFrame, history: pd.DataFrame) -> None:
    labels = _chance(axis, table, "source chance")
    for value, (colour, style, name) in SOURCE.items():
        means = table[table["drawn"] == f"source {value.replace('_', ' ')}"]
        x = position(means["source_epoch"])
        mean_line(axis, x, means, colour, linestyle=style, linewidth=1.3)
        labels.append((float(means["mean"].iloc[-1]), name, colour))
    best = history[history["best"] == 1]
    axis.plot(position(best["source_epoch"]), best["accuracy_validation"], **star(6))
    axis.set_ylim(0, 104)
    label_edge(axis, labels, lines=1)


def stems_figure(measurements: pd.DataFrame, model: str) -> tuple[Figure, pd.DataFrame]:
    """Draw stems for one source and model; return the figure and the table of all it draws."""
    runs = tuned_runs(measurements, model)
    table = stem_table(runs, source_history(measurements, model))
    zero = epoch_zero(measurements, model)
    begin = "training from scratch" if zero == "scratch" else f"the {zero}"
    panels, based = (
        len(part[PANEL].drop_duplicates()) for part in (table, select(table, source_epoch=0))
    )
    if based < panels:
        begin = f"{begin}, and at 0 where it was not run" if based else f"0: {begin} was not run"
    words = (
        f"Means; {size_words(runs)}. Dot and number: at the target epoch that validation images chose. "
        "Diamond: the largest test accuracy among the epochs where it was read, which chooses "
        "on test images and is for comparison only. Star, dotted: the start from each network's source-best "
        f"epoch, at its mean. Stems begin at {begin}."
    )
    history = source_history(measurements, model)
    above = zero if zero == "scratch" else f"the {zero}"
    asked = f"how far is each start above {above}?" if based else "what is each start's mean?"
    title = titled(runs, history, model, asked)
    axes = {"x": "source epoch", "y": "target test accuracy (%)"}
    return panel_figure(headed(table), partial(_stems, zero=zero), title, words, **axes), table


def stem_table(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracies by source epoch over source networks and draws.

    `test` at the target epoch that validation chose, `peak` the largest read; `drawn` is `start`, or
    `source-best` at the mean of the networks' source-best epochs.
    """
    starts = by_start(runs, history, "start")
    return starts.groupby([*PANEL, "drawn", "source_epoch"], as_index=False).agg(
        test=("test", "mean"),
        peak=("peak", "mean"),
        seeds=("seed", "nunique"),
        draws=("own_draw", "nunique"),
    )


def _stems(axis: Axes, part: pd.DataFrame, zero: str) -> None:
    starts, best = select(part, drawn="start"), select(part, drawn=SOURCE_BEST)
    later = starts[starts["source_epoch"] > 0]
    scratch = starts[starts["source_epoch"] == 0].set_index("source_epoch")["test"]
    base = float(scratch.sum())
    position = epoch_scale(axis, later["source_epoch"])
    x, x_best = position(later["source_epoch"]), position(best["source_epoch"])
    axis.vlines(x, base, later["peak"], color=BLUE, linewidth=1.4, zorder=2)
    axis.plot(x, later["peak"], "D", ms=5, mfc="white", mec=BLUE, mew=1.1, zorder=3)
    axis.plot(x, later["test"], "o", ms=4, color=BLUE, zorder=3)
    axis.vlines(x_best, base, best["peak"], color=ORANGE, linewidth=1.4, linestyle=":", zorder=2)
    axis.plot(x_best, best["test"], **star(10))
    labels = levels(axis, scratch, None, zero)
    _numbers(axis, later.assign(x=x), x_best, base)
    axis.margins(x=0.16, y=0.16)
    label_edge(axis, labels, lines=2)


def _numbers(axis: Axes, later: pd.DataFrame, x_best: pd.Series, base: float) -> None:
    """Write the validated accuracy beyond both marks of a stem, where there is room."""
    highest = later["test"] == later["test"].max()
    # A number beside the star would stand on it.
    apart = (later["x"] - x_best.iloc[0]).abs() > 0.45 if len(x_best) else highest | True
    for stem in later[highest | (apart & (len(later) <= LABELLED))].itertuples():
        up = stem.peak >= base
        look: dict[str, Any] = {"ha": "center", "va": "bottom" if up else "top", "fontsize": 7}
        look |= {"xytext": (0, 4 if up else -4), "textcoords": "offset points"}
        axis.annotate(f"{stem.test:.1f}", (stem.x, stem.peak if up else stem.test), **look)
