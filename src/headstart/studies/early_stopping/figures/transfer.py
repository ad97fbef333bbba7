"""Accuracy on the target against the source epoch that fine-tuning started from, and the source below."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.epochs import epoch_axis, position
from headstart.figures.labels import (
    Label,
    caption,
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
    at_source_best,
    by_number,
    common_epochs,
    mean_over_seeds,
    source_history,
    tuned_runs,
)


def transfer_figure(
    measurements: pd.DataFrame, model: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw figure (a) for one model; return it with the table of all that is drawn."""
    runs, history = tuned_runs(measurements, model), source_history(measurements, model)
    columns = list(
        runs[["target", "arm", "mode"]].drop_duplicates().itertuples(index=False, name=None)
    )
    with paper_style():
        figure, axes = plt.subplots(
            2,
            len(columns),
            figsize=(0.6 + 2.9 * len(columns), 4.6),
            height_ratios=[2.4, 1],
            sharex=True,
            squeeze=False,
        )
        drawn = []
        for index, (target, arm, mode) in enumerate(columns):
            part = runs[(runs["target"] == target) & (runs["arm"] == arm)]
            drawn.append(
                _accuracy_panel(axes[0, index], part, history, confidence, first=index == 0)
            )
            axes[0, index].set_title(panel_title(target, arm, mode))
            _source_panel(axes[1, index], history, confidence, first=index == 0)
        epoch_axis(axes, sorted(set(common_epochs(runs)["source_epoch"])))
        write_caption(figure, caption(runs, confidence))
    return figure, pd.concat([*drawn, _source_table(history, confidence)], ignore_index=True)


def _accuracy_panel(
    axis: Axes, runs: pd.DataFrame, history: pd.DataFrame, confidence: float, *, first: bool
) -> pd.DataFrame:
    """Draw dots for runs, a line through the means, scratch and source-best; return the table."""
    drawn = [runs.assign(drawn="run", mean=runs["test"])]
    several = runs["shots"].nunique() > 1
    labels: list[Label] = []
    order = sorted(runs["shots"].unique(), key=by_number)
    for index, shots in enumerate(order):
        part = runs[runs["shots"] == shots]
        colour, marker = CYCLE[index], MARKERS[index]
        shared = common_epochs(part)
        means = mean_over_seeds(shared, [*PANEL, "source_epoch"], "test", confidence)
        jitter = (part["seed"].rank(method="dense") / part["seed"].nunique() - 0.5) * 0.24
        x = position(part["source_epoch"].astype(float)) + jitter.astype(float)
        axis.plot(x, part["test"], marker, color=colour, alpha=0.35, ms=2, mew=0, zorder=2)
        centre = position(means["source_epoch"].astype(float))
        axis.fill_between(
            centre, means["low"], means["high"], color=colour, alpha=0.18, linewidth=0
        )
        axis.plot(centre, means["mean"], marker=marker, markersize=4, color=colour, zorder=3)
        best = mean_over_seeds(at_source_best(part, history), PANEL, "test", confidence)
        drawn += [means.assign(drawn="mean"), best.assign(drawn="source-best")]
        levels = _reference_lines(axis, means, best, history)
        end = float(means["mean"].iloc[-1])
        labels += [(end, f"{shots_words(shots)}\n{end:.1f}", colour)] if several else levels
    within_percent(axis)
    label_edge(axis, labels, lines=2)
    axis.set_ylabel("target test accuracy (%)" if first else "")
    return pd.concat(drawn, ignore_index=True)


def _reference_lines(
    axis: Axes, means: pd.DataFrame, best: pd.DataFrame, history: pd.DataFrame
) -> list[Label]:
    """Mark training from scratch and the start from the source-best epoch; return what to write beside them."""
    labels: list[Label] = []
    scratch = means.loc[means["source_epoch"] == 0, "mean"]
    if not scratch.empty:
        value = float(scratch.iloc[0])
        axis.axhline(value, color=GREY, linestyle=(0, (4, 2)), linewidth=1.1, zorder=1)
        labels.append((value, f"scratch\n{value:.1f}", GREY))
    if not best.empty:
        epoch = history.loc[history["best"] == 1, "source_epoch"].mean()
        row = best.iloc[0]
        x = float(position(pd.Series([float(epoch)])).iloc[0])
        axis.axhline(row["mean"], color=ORANGE, linestyle=":", linewidth=1.1, zorder=1)
        axis.errorbar(
            [x],
            [row["mean"]],
            yerr=[[row["mean"] - row["low"]], [row["high"] - row["mean"]]],
            fmt="*",
            markersize=9,
            color="black",
            markerfacecolor=ORANGE,
            elinewidth=1,
            capsize=2,
            zorder=4,
        )
        labels.append((float(row["mean"]), f"source-best\n{row['mean']:.1f}", DARK_ORANGE))
    return labels


def _source_panel(axis: Axes, history: pd.DataFrame, confidence: float, *, first: bool) -> None:
    labels: list[Label] = []
    for value, colour, style, name in (
        ("accuracy_train", GREY, "--", "training"),
        ("accuracy_validation", VERMILION, "-", "validation"),
    ):
        means = mean_over_seeds(history, ["source_epoch"], value, confidence)
        x = position(means["source_epoch"].astype(float))
        axis.plot(x, means["mean"], style, color=colour, linewidth=1.3)
        axis.fill_between(x, means["low"], means["high"], color=colour, alpha=0.18, linewidth=0)
        labels.append((float(means["mean"].iloc[-1]), name, colour))
    best = history.loc[history["best"] == 1]
    axis.plot(
        position(best["source_epoch"].astype(float)),
        best["accuracy_validation"],
        "*",
        color="black",
        markerfacecolor=ORANGE,
        markersize=6,
        markeredgewidth=0.5,
    )
    axis.set_ylim(0, 104)
    label_edge(axis, labels, lines=1)
    axis.set_ylabel("source accuracy (%)" if first else "")
    axis.set_xlabel("source epoch")


def _source_table(history: pd.DataFrame, confidence: float) -> pd.DataFrame:
    parts = []
    for value in ("accuracy_train", "accuracy_validation"):
        means = mean_over_seeds(history, ["source", "source_epoch"], value, confidence)
        parts.append(means.assign(drawn=f"source {value.replace('_', ' ')}"))
    return pd.concat(parts)
