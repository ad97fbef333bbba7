"""How well checkpoints still learn: their plasticity in figures, how soon and how far runs train in a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from headstart.figures.facets import epoch_axis, facets, mean_line, position, star
from headstart.figures.labels import band_words, sample_size, write_caption, write_title
from headstart.figures.style import CYCLE, GREY, MARKERS, paper_style
from headstart.statistics.intervals import mean_interval
from headstart.statistics.measurements import select
from headstart.statistics.words import format_interval
from headstart.studies.early_stopping.curve_measures import median_time, restricted_mean_time
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    PERCENT,
    SOURCE_BEST,
    by_start,
    mean_over_seeds,
    networks,
    of_network,
    panels_of,
    source_history,
    tuned_runs,
)


@dataclass(frozen=True)
class Panel:
    """One small multiple: which measure, in which unit, and whether images are read for it."""

    metric: str
    title: str
    label: str
    factor: float = 1.0
    images: bool = True
    least_top: float = 0.0
    """The axis reaches at least so far up, so that rounding is not drawn as a change."""


PANELS = (
    Panel("effective_rank", "Effective rank", "of penultimate features"),
    Panel("redo_dormant_fraction", "Dormant units", "ReDo, % of units", PERCENT, least_top=5.0),
    Panel("squared_weight_norm", "Weight norm", "Σ‖w‖², head left out", images=False),
    Panel("gradient_norm", "Gradient at step 0", "norm, with a new head"),
    Panel("random_label_loss", "Random labels", "loss after the probe (nats)"),
)
KEYS = ["source", "target", "metric"]
WEIGHTS = (GREY, "D")
COLUMNS = [
    *("source", "model", *PANEL, "start", "runs", "seeds", "censored", "mean_time", "low", "high"),
    *("median_time", "train_accuracy", "fitted", "accuracy_when_fitted"),
]


def plasticity_figure(
    measurements: pd.DataFrame, model: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw the panels of one model; return them with the table of all that is drawn."""
    table = plasticity_table(measurements, model, confidence)
    source, seeds = str(table["source"].iloc[0]), int(table["seeds"].max())
    tasks = sorted(table["target"].unique(), key=lambda task: (task != source, task))
    looks = dict(zip(tasks, zip(CYCLE, MARKERS, strict=True), strict=False))
    epochs = sorted(select(table, drawn="mean")["source_epoch"].astype(int).unique())
    with paper_style():
        figure, axes = facets(len(PANELS) + 1)
        words = f"{source[0].upper()}{source[1:]} ({model}): can the checkpoints still learn?"
        write_title(figure, words)
        for axis, panel in zip(axes[:-1], PANELS, strict=True):
            _draw(axis, panel, table[table["metric"] == panel.metric], looks)
        epoch_axis(axes[:-1], [e for e in epochs if e & (e - 1) == 0 or e == epochs[-1]])
        axes[-1].set_axis_off()
        axes[-1].legend(handles=_legend(looks, source), loc="center left", handlelength=2.4)
        words = "read on validation images; a line per task whose images are read."
        write_caption(figure, f"{sample_size(seeds)}; {band_words(seeds, confidence)}; {words}")
    return figure, table


def plasticity_table(measurements: pd.DataFrame, model: str, confidence: float) -> pd.DataFrame:
    """Return mean and interval over source networks, at each epoch that all kept and at source-best.

    Fractions are percentages. Columns: drawn (mean, source-best), source, target, metric,
    source_epoch (at source-best the mean of the networks' best epochs), mean, low, high, seeds.
    """
    factors = {panel.metric: panel.factor for panel in PANELS}
    rows = select(measurements, model=model, mode="plasticity", metric=list(factors))
    rows = rows.assign(value=rows["value"] * rows["metric"].map(factors))
    starts = by_start(rows, source_history(measurements, model), "mean", KEYS)
    return mean_over_seeds(starts, ["drawn", *KEYS, "source_epoch"], "value", confidence)


def _draw(axis: Axes, panel: Panel, table: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    for task, part in table.groupby("target"):
        colour, marker = looks[str(task)] if panel.images else WEIGHTS
        means, best = select(part, drawn="mean"), select(part, drawn=SOURCE_BEST)
        x = position(means["source_epoch"])
        mean_line(axis, x, means, colour, marker=marker, markersize=3, linewidth=1.3)
        axis.plot(position(best["source_epoch"]), best["mean"], **star(8))
    axis.set(ylabel=panel.label, xlabel="source epoch")
    axis.set_title(panel.title)
    top = max(axis.get_ylim()[1], panel.least_top)
    axis.set_ylim(-0.03 * top, 1.04 * top)  # room for markers at both ends


def _legend(looks: dict[str, tuple[str, str]], source: str) -> list[Line2D]:
    names = {f"{task} images" + " (source)" * (task == source): looks[task] for task in looks}
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=name)
        for name, (colour, marker) in {**names, "weights alone": WEIGHTS}.items()
    ]
    return [*handles, Line2D([], [], label="source-best epoch", **star(8))]


def trainability_table(measurements: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Return one row per contrast and start, at tuned learning rates.

    Starts are the source epochs that every network was fine-tuned from, and `source-best`.

    Times are target epochs until validation accuracy reaches what scratch has at its end:
    `mean_time` is the restricted mean (a run that never gets there counts with all its epochs) with
    a t-interval over source networks, `median_time` the Kaplan-Meier median over runs, infinite
    where at most half get there, `censored` the number that never do. `train_accuracy` is the mean
    at the end, `fitted` the number of runs that end at 100 %, and `accuracy_when_fitted` the mean
    test accuracy of those. Accuracies are percentages; what was not measured is NaN.
    """
    rows = [
        {"source": source, "model": model, **row}
        for _, source, model in networks(measurements)
        for row in _trained(of_network(measurements, source, model), model, confidence)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _trained(mine: pd.DataFrame, model: str, confidence: float) -> Iterator[dict[str, object]]:
    """Yield how the runs of one network train, by panel and start."""
    history = source_history(mine, model)
    for names, part in panels_of(tuned_runs(mine, model)):
        starts = by_start(part, history, place=None).groupby("start", sort=False)
        for start, group in starts:
            yield {
                **dict(zip(PANEL, names, strict=True)),
                "start": start,
                "runs": len(group),
                "seeds": group["seed"].nunique(),
                "train_accuracy": group["train"].mean(),
                "fitted": group["when_fitted"].count(),
                "accuracy_when_fitted": group["when_fitted"].mean(),
                **_times(group, confidence),
            }


def _times(group: pd.DataFrame, confidence: float) -> dict[str, float]:
    """Return what a start takes to get to the end of scratch; nothing where that was not measured."""
    if group["time"].isna().any():
        return {}
    by_seed = [part for _, part in group.groupby("seed")]
    means = [restricted_mean_time(part["time"], part["reached"]) for part in by_seed]
    mean = mean_interval(means, confidence)
    return {
        "censored": int((group["reached"] == 0).sum()),
        "mean_time": mean.estimate,
        "low": mean.low,
        "high": mean.high,
        "median_time": median_time(group["time"], group["reached"]),
    }


def trainability_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text for a person: times in epochs with their interval, accuracies in %."""
    shown = table[["source", "model", "target", "arm", "shots", "start"]].copy()
    runs = " of " + table["runs"].astype(str)
    times = table[["mean_time", "low", "high"]].to_numpy(float)
    shown["epochs to scratch's end"] = [format_interval(*row) for row in times]
    medians = table["median_time"].map("{:g}".format)
    shown["median"] = medians.replace({"nan": "–", "inf": "never"})
    never = table["censored"].map("{:.0f}".format) + runs
    shown["never"] = never.where(table["censored"] >= 0, "–")
    shown["training accuracy"] = table["train_accuracy"].map(format_interval)
    shown["fitted"] = table["fitted"].astype(str) + runs
    shown["test accuracy when fitted"] = table["accuracy_when_fitted"].map(format_interval)
    return shown
