"""Median and range of all runs by source epoch, as the paper draws them, published values beside ours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.epochs import Scale, scale_of
from headstart.figures.labels import Label, label_edge, panel_heading, sample_size, write_caption
from headstart.figures.style import BLUE, DARK_ORANGE, GREEN, GREY, ORANGE, paper_style
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    all_runs,
    at_source_best,
    common_epochs,
    panels_of,
    source_history,
    tuned_runs,
    with_peaks,
)

PER_ROW = 3
BESIDE_TICKS = 38
"""Points to the right of the axes: room for the ticks of the source axis."""


def ranges_figure(
    measurements: pd.DataFrame, published: pd.DataFrame, model: str
) -> tuple[Figure, pd.DataFrame]:
    """Draw medians and ranges for one source and model; return the figure and the table of all it draws.

    Where published values have the protocol of a panel's runs, the panel is drawn as published, by
    the largest test accuracy of each run at that learning rate, and the values stand beside ours.
    """
    history = source_history(measurements, model)
    panels = list(_panels(measurements, published, model))
    rows, columns = -(-len(panels) // PER_ROW), min(len(panels), PER_ROW)
    tables = []
    with paper_style():
        figure, axes = plt.subplots(
            rows, columns, figsize=(max(6.0, 0.6 + 3.6 * columns), 0.6 + 2.9 * rows), squeeze=False
        )
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for index, (axis, (title, runs, beside)) in enumerate(zip(axes.flat, panels, strict=False)):
            table = range_table(runs, history, beside)
            _panel(axis, table, peaks=not beside.empty, first=index % PER_ROW == 0)
            axis.set_title(title)
            tables.append(table)
        write_caption(figure, _caption(panels))
    return figure, pd.concat(tables, ignore_index=True)


def range_table(runs: pd.DataFrame, history: pd.DataFrame, beside: pd.DataFrame) -> pd.DataFrame:
    """Return one row per thing drawn: `drawn`, `source_epoch`, `median`, `low`, `high`, `runs`.

    `runs` has a column `score` in percent. Rows of `source`: median validation accuracy on the
    source. Rows of `published`: the published value, at the median source-best epoch where it
    belongs to source-best.
    """
    shared = common_epochs(runs)
    ours = _summary(shared, "source_epoch").assign(drawn="runs")
    best = at_source_best(runs, history)
    epoch = float(history.loc[history["best"] == 1, "source_epoch"].median())
    at_best = _summary(best.assign(source_epoch=epoch), "source_epoch").assign(drawn="source-best")
    source = history.groupby("source_epoch")["accuracy_validation"].median().reset_index()
    source = source.set_axis(["source_epoch", "median"], axis=1).assign(drawn="source")
    theirs = pd.DataFrame(
        {
            "source_epoch": [
                epoch if c == "source-best" else float(c) for c in beside["checkpoint"]
            ],
            "median": beside["value"],
            "runs": beside["n"].astype("float64"),
            "experiment": beside["experiment"],
            "statistic": beside["statistic"],
            "drawn": [
                "published source-best" if c == "source-best" else "published"
                for c in beside["checkpoint"]
            ],
        }
    )
    parts = [part for part in (ours, at_best, source, theirs) if not part.empty]
    table = pd.concat(parts, ignore_index=True)
    first = runs.iloc[0]
    names = {name: first[name] for name in PANEL}
    rates = sorted(runs["learning_rate"].unique())
    names["learning_rate"] = rates[0] if len(rates) == 1 else "tuned"
    order = [*PANEL, "learning_rate", "drawn", "source_epoch", "median", "low", "high", "runs"]
    rest = [name for name in ("experiment", "statistic") if name in table.columns]
    return table.assign(**names)[[*order, *rest]]


def _panels(
    measurements: pd.DataFrame, published: pd.DataFrame, model: str
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Yield title, runs with their score, and published values of every panel."""
    tuned = tuned_runs(measurements, model)
    every = with_peaks(all_runs(measurements, model), measurements, model)
    for names, runs in panels_of(tuned):
        target, arm, _, shots = names
        here = (published["target"] == target) & (published["arm"] == arm)
        beside = published[here & (published["shots"] == shots)]
        if beside.empty:
            yield panel_heading(*names), runs.assign(score=runs["test"]), beside
            continue
        same = (every[PANEL] == list(names)).all(axis=1)
        for rate, values in beside.groupby("learning_rate"):
            mine = every[same & np.isclose(every["learning_rate"], float(str(rate)))]
            title = panel_heading(*names, f"rate {rate:g}")
            yield title, mine.assign(score=mine["peak"]), values


def _summary(runs: pd.DataFrame, key: str) -> pd.DataFrame:
    grouped = runs.groupby(key)["score"]
    return grouped.agg(median="median", low="min", high="max", runs="size").reset_index()


def _panel(axis: Axes, table: pd.DataFrame, *, peaks: bool, first: bool) -> None:
    runs, best = table[table["drawn"] == "runs"], table[table["drawn"] == "source-best"]
    scale = scale_of(runs["source_epoch"])
    _source(axis, table[table["drawn"] == "source"], scale)
    for part, mark, size, colour, face in (
        (runs, "o", 4.5, BLUE, BLUE),
        (best, "*", 10, "black", ORANGE),
    ):
        bars = np.abs(part[["low", "high"]].to_numpy().T - part["median"].to_numpy())
        axis.errorbar(
            scale.position(part["source_epoch"]),
            part["median"],
            yerr=bars,
            fmt=mark,
            markersize=size,
            color=colour,
            markerfacecolor=face,
            elinewidth=1.1,
            capsize=2.5,
            zorder=3,
        )
    theirs = table[table["drawn"].str.startswith("published")]
    for name, mark, size in (("published", "D", 5.5), ("published source-best", "*", 11)):
        part = theirs[theirs["drawn"] == name]
        x = scale.position(part["source_epoch"])
        axis.plot(x, part["median"], mark, ms=size, mfc="white", mec="black", mew=1, zorder=4)
    labels = _lines(axis, runs, best)
    scale.ticks(axis, runs["source_epoch"])
    axis.margins(y=0.08)
    label_edge(axis, labels, lines=2, beside=BESIDE_TICKS)
    axis.set_xlabel("source epoch")
    what = "largest target test accuracy (%)" if peaks else "target test accuracy (%)"
    axis.set_ylabel(what if first else "")


def _lines(axis: Axes, runs: pd.DataFrame, best: pd.DataFrame) -> list[Label]:
    """Draw the levels of scratch, the best start and source-best; return what to write beside them."""
    labels: list[Label] = []

    def line(value: float, words: str, colour: str, style: object) -> None:
        axis.axhline(value, color=colour, linestyle=style, linewidth=1, zorder=1)
        labels.append((value, f"{words}\n{value:.1f}", colour))

    scratch, later = runs[runs["source_epoch"] == 0], runs[runs["source_epoch"] > 0]
    if len(scratch):
        line(float(scratch["median"].iloc[0]), "scratch", GREY, (0, (4, 2)))
    if len(later):
        top = later[later["median"] == later["median"].max()].iloc[:1]
        line(
            float(top["median"].iloc[0]),
            f"best, epoch {top['source_epoch'].iloc[0]:.0f}",
            BLUE,
            "-",
        )
    if len(best):
        line(float(best["median"].iloc[0]), "source-best", DARK_ORANGE, ":")
    return labels


def _source(axis: Axes, source: pd.DataFrame, scale: Scale) -> None:
    """Draw the accuracy on the source against an axis of its own, behind the runs."""
    right = axis.twinx()
    axis.set_zorder(right.get_zorder() + 1)
    axis.patch.set_visible(False)
    x = scale.position(source["source_epoch"])
    right.plot(x, source["median"], color=GREEN, linewidth=1.2, alpha=0.8)
    right.set_ylim(0, 100)
    right.grid(False)
    right.spines["right"].set(visible=True, color=GREEN)
    right.tick_params(axis="y", colors=GREEN)
    right.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")


def _caption(panels: list[tuple[str, pd.DataFrame, pd.DataFrame]]) -> str:
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
    named = ("experiment " if len(experiments) == 1 else "experiments ") + ", ".join(experiments)
    notes = sorted(set(values["note"]) - {""})
    return text + (
        "Accuracy is the largest of all target epochs, chosen on test images, as published; where no "
        "published value is beside, that of the epoch that validation chose. White marks: published, "
        f"{named} of the logs of arXiv 2106.11174 "
        f"(published/early_stopping.csv{'; ' + '; '.join(notes) if notes else ''})."
    )
