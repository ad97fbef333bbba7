"""The forms of published figures: median and range of all runs, and stems above training from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import DASHED, epoch_scale, level, panel_figure, star, with_bars
from headstart.figures.labels import Label, label_edge, panel_heading
from headstart.figures.style import BLUE, DARK_ORANGE, GREEN, GREY, ORANGE
from headstart.statistics.measurements import select
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    SOURCE_BEST,
    all_runs,
    by_start,
    headed,
    panels_of,
    size_words,
    source_history,
    tuned_runs,
)

AXES = {"x": "source epoch", "y": "target test accuracy (%)"}
BESIDE_TICKS = 38
"""Points to the right of the axes: room for the ticks of the source axis."""
LABELLED = 8
"""So many stems have room for a number each; of more, the highest has one."""
WHITE: dict[str, Any] = {"linestyle": "none", "mfc": "white", "mec": "black", "zorder": 4}
LOOKS: dict[str, dict[str, Any]] = {
    "runs": {"fmt": "o", "markersize": 4.5, "color": BLUE, "zorder": 3},
    SOURCE_BEST: star(10) | {"zorder": 3},
    "published": {"marker": "D", "ms": 5.5, **WHITE},
    "published source-best": {"marker": "*", "ms": 11, **WHITE},
}


def ranges_figure(
    measurements: pd.DataFrame, published: pd.DataFrame, model: str
) -> tuple[Figure, pd.DataFrame]:
    """Draw medians and ranges for one source and model; return the figure and the table of all it draws.

    Where published values have the protocol of a panel's runs, the panel is drawn as published, by
    the largest test accuracy of each run at that learning rate, and the values stand beside ours.
    """
    history = source_history(measurements, model)
    titles, runs, values = zip(*_panels(measurements, published, model), strict=True)
    tables = [range_table(*one) for one in zip(runs, [history] * len(runs), values, strict=True)]
    words = _ranges_caption(pd.concat(runs), pd.concat(values))
    size = (max(3.0, 5.6 / len(titles)), 2.5)
    panels = list(zip(titles, tables, strict=True))
    return panel_figure(panels, _ranges, words, size=size, **AXES), pd.concat(
        tables, ignore_index=True
    )


def _panels(
    measurements: pd.DataFrame, published: pd.DataFrame, model: str
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Yield title, runs with their score, and published values of every panel."""
    every = all_runs(measurements, model)
    for names, runs in panels_of(tuned_runs(measurements, model)):
        target, arm, _, shots = names
        beside = select(published, target=target, arm=arm, shots=shots)
        if beside.empty:
            yield panel_heading(*names), runs.assign(score=runs["test"]), beside
        same = select(every, **dict(zip(PANEL, names, strict=True)))
        for rate, values in beside.groupby("learning_rate"):
            mine = same[np.isclose(same["learning_rate"], float(str(rate)))]
            title = panel_heading(*names, f"rate {rate:g}")
            yield title, mine.assign(score=mine["peak"]), values


def range_table(runs: pd.DataFrame, history: pd.DataFrame, beside: pd.DataFrame) -> pd.DataFrame:
    """Return one row per thing drawn: `drawn`, `source_epoch`, `median`, `low`, `high`, `runs`.

    `runs` has a column `score` in percent. Rows of `source`: median validation accuracy on the
    source. Rows of `published`: the published value, at the median source-best epoch where it
    belongs to source-best.
    """
    starts = by_start(runs, history, "runs", place="median")
    scores = starts.groupby(["drawn", "source_epoch"])["score"]
    ours = scores.agg(median="median", low="min", high="max", runs="size").reset_index()
    source = history.groupby("source_epoch", as_index=False)["accuracy_validation"].median()
    source = source.set_axis(["source_epoch", "median"], axis=1).assign(drawn="source")
    best = beside["checkpoint"] == SOURCE_BEST
    at_best = history.loc[history["best"] == 1, "source_epoch"].median()
    theirs = beside[["experiment", "statistic"]].assign(
        source_epoch=beside["checkpoint"].where(~best, at_best).astype(float),
        median=beside["value"],
        runs=beside["n"].astype(float),
        drawn=np.where(best, "published source-best", "published"),
    )
    table = pd.concat([p for p in (ours, source, theirs) if len(p)], ignore_index=True)
    rates = sorted(runs["learning_rate"].unique())
    names = {**runs.iloc[0][PANEL], "learning_rate": rates[0] if len(rates) == 1 else "tuned"}
    order = [*names, "drawn", "source_epoch", "median", "low", "high", "runs"]
    return table.assign(**names)[[*order, *table.columns.intersection(["experiment", "statistic"])]]


def _ranges(axis: Axes, table: pd.DataFrame) -> None:
    parts = dict(list(table.groupby("drawn")))
    position = epoch_scale(axis, parts["runs"]["source_epoch"])
    _source(axis, position(parts["source"]["source_epoch"]), parts["source"]["median"])
    if "published" in set(table["drawn"].str.split().str[0]) and axis.get_ylabel():
        # As published, the panel is one of largest accuracies.
        axis.set_ylabel(f"largest {axis.get_ylabel()}")
    for name in [name for name in LOOKS if name in parts]:
        x = position(parts[name]["source_epoch"])
        if name.startswith("published"):
            axis.plot(x, parts[name]["median"], **LOOKS[name])
        else:
            with_bars(axis, x, parts[name], "median", **LOOKS[name])
    labels = _levels(axis, parts["runs"], parts.get(SOURCE_BEST))
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


def _source(axis: Axes, x: pd.Series, accuracy: pd.Series) -> None:
    """Draw the accuracy on the source against an axis of its own, behind the runs."""
    right = axis.twinx()
    axis.set_zorder(right.get_zorder() + 1)
    axis.patch.set_visible(False)
    right.plot(x, accuracy, color=GREEN, linewidth=1.2, alpha=0.8)
    right.set_ylim(0, 100)
    # The lines of a grid in front would cut it.
    axis.grid(False)
    right.grid(False, axis="y")
    right.spines["right"].set(visible=True, color=GREEN)
    right.tick_params(axis="y", colors=GREEN)
    right.yaxis.set_major_formatter("{x:.0f} %")


def _ranges_caption(runs: pd.DataFrame, values: pd.DataFrame) -> str:
    text = (
        f"Dot: median of all runs, bar: smallest to largest; {size_words(runs)}. Star: the "
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


def stems_figure(measurements: pd.DataFrame, model: str) -> tuple[Figure, pd.DataFrame]:
    """Draw stems for one source and model; return the figure and the table of all it draws."""
    runs = tuned_runs(measurements, model)
    table = stem_table(runs, source_history(measurements, model))
    caption = (
        f"Means; {size_words(runs)}. Dot: at the target epoch that validation images chose. "
        "Diamond and number: the largest test accuracy among the epochs where it was read, which chooses "
        "on test images and is for comparison only. Star, dotted: the start from each network's source-best "
        "epoch, at its mean. Stems begin at training from scratch."
    )
    return panel_figure(headed(table), _stems, caption, **AXES), table


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
        draws=("draw", "nunique"),
    )


def _stems(axis: Axes, part: pd.DataFrame) -> None:
    starts, best = select(part, drawn="start"), select(part, drawn=SOURCE_BEST)
    scratch = starts.loc[starts["source_epoch"] == 0, "test"]
    base = float(scratch.iloc[0]) if len(scratch) else 0.0
    later = starts[starts["source_epoch"] > 0]
    position = epoch_scale(axis, later["source_epoch"])
    x, x_best = position(later["source_epoch"]), position(best["source_epoch"])
    axis.vlines(x, base, later["peak"], color=BLUE, linewidth=1.4, zorder=2)
    axis.plot(x, later["peak"], "D", ms=5, mfc="white", mec=BLUE, mew=1.1, zorder=3)
    axis.plot(x, later["test"], "o", ms=4, color=BLUE, zorder=3)
    axis.vlines(x_best, base, best["peak"], color=ORANGE, linewidth=1.4, linestyle=":", zorder=2)
    axis.plot(x_best, best["test"], **star(10))
    labels = [level(axis, base, "scratch", GREY, DASHED)] if len(scratch) else []
    _numbers(axis, later.assign(x=x), x_best, base)
    axis.margins(x=0.08, y=0.14)
    label_edge(axis, labels, lines=2)


def _numbers(axis: Axes, later: pd.DataFrame, x_best: pd.Series, base: float) -> None:
    """Write the peak beyond both marks of a stem, where there is room: below scratch the dot is the lower one."""
    highest = later["peak"] == later["peak"].max()
    # A number beside the star would stand on it.
    apart = (later["x"] - x_best.iloc[0]).abs() > 0.45 if len(x_best) else highest | True
    for stem in later[highest | (apart & (len(later) <= LABELLED))].itertuples():
        up = stem.peak >= base
        look: dict[str, Any] = {"ha": "center", "va": "bottom" if up else "top", "fontsize": 7}
        look |= {"xytext": (0, 4 if up else -4), "textcoords": "offset points"}
        axis.annotate(f"{stem.peak:.1f}", (stem.x, stem.peak if up else stem.test), **look)
