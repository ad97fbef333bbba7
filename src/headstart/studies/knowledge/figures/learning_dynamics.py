"""How networks approach their interactions at the end of training, with loss and accuracy on the way."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from headstart.figures.epochs import position
from headstart.figures.labels import Label, label_edge, spaced, write_caption
from headstart.figures.style import BLUE, GREY, VERMILION, paper_style
from headstart.studies.knowledge.figures.select import (
    NAMES,
    PERCENT,
    Comparison,
    counted,
    of,
    pick,
    start_words,
)

LOOKS = {"finetuned": (BLUE, "o", "-"), "scratch": (VERMILION, "D", "--")}
READINGS = {"null_permuted": (":", "chance"), "ceiling_second_run": ("-.", "second run")}
TARGETS = {
    "similarity_to_own_end": "Similarity to its own end",
    "similarity_to_common_target": "Similarity to the fine-tuned end",
}
HISTORY = {
    "loss": ("Loss", "validation loss (nats)"),
    "accuracy": ("Accuracy", "validation accuracy (%)"),
}


def approach_figure(
    measurements: pd.DataFrame, comparison: Comparison, start: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw similarity, loss and accuracy by target epoch of one start; return what is drawn."""
    rows = of(measurements, comparison)
    curves, history = curve_table(rows, start), history_table(rows, start)
    with paper_style():
        figure, axes = plt.subplots(2, 2, figsize=(7.2, 4.9), sharex=True)
        labels = []
        for axis, (metric, title) in zip(axes[0], TARGETS.items(), strict=True):
            labels.append(_similarity(axis, curves[curves["metric"] == metric]))
            axis.set(title=title, ylim=(0, 1.03))
        axes[0, 0].set_ylabel("weighted Jaccard J")
        for axis, (metric, (title, unit)) in zip(axes[1], HISTORY.items(), strict=True):
            labels.append(_history(axis, history[history["metric"] == metric]))
            axis.set(title=title, ylabel=unit, xlabel="target epoch")
        _epochs(axes, history)
        write_caption(
            figure,
            f"{comparison.words}, fine-tuned from {start_words(start)} against from scratch. "
            f"{counted(curves)}; interactions normalised; bands: {confidence:.0%} bootstrap intervals "
            "over images. Dotted: by chance, interactions dealt anew within their order. Below: thin "
            "lines are single networks, thick ones their mean.",
        )
        figure.draw_without_rendering()
        for axis, words in zip(axes.flat, labels, strict=True):
            label_edge(axis, words, lines=1)
    return figure, pd.concat([curves, history], ignore_index=True)


def curve_table(rows: pd.DataFrame, start: str) -> pd.DataFrame:
    """Return J by target epoch of both networks: measured, by chance, and at the ceiling."""
    rows = pick(
        rows,
        metric=list(TARGETS),
        start=start,
        variant="normalised",
        reading=["measured", *READINGS],
    )
    columns = ["start", "network", "metric", "reading", "target_epoch", "value", "low", "high"]
    return rows[[*columns, "n", "seeds", "undefined"]].sort_values(columns[:5], ignore_index=True)


def history_table(rows: pd.DataFrame, start: str) -> pd.DataFrame:
    """Return validation loss and accuracy (%) by target epoch, a row per source network."""
    rows = pick(rows, pooled=False, metric=list(HISTORY), split="validation", network=list(LOOKS))
    rows = rows[(rows["network"] == "scratch") | (rows["start"] == start)]
    factor = rows["metric"].map({"loss": 1.0, "accuracy": PERCENT})
    columns = ["start", "network", "seed", "metric", "target_epoch", "value"]
    table = rows[columns].assign(value=rows["value"] * factor)
    return table.sort_values(columns[:5], ignore_index=True)


def followed(measurements: pd.DataFrame, comparison: Comparison) -> list[str]:
    """Return the starts whose way was followed."""
    rows = pick(of(measurements, comparison), metric="similarity_to_own_end")
    return sorted(rows["start"].unique())


def _similarity(axis: Axes, table: pd.DataFrame) -> list[Label]:
    """Draw J of both networks, with chance and, to the fine-tuned end, what a second run shares."""
    labels = []
    for network, (colour, marker, style) in LOOKS.items():
        rows = table[table["network"] == network]
        measured = rows[rows["reading"] == "measured"].dropna(subset="value")
        x = position(measured["target_epoch"].astype(float))
        axis.plot(
            x, measured["value"], linestyle=style, color=colour, marker=marker, markersize=3.5
        )
        axis.fill_between(
            x, measured["low"], measured["high"], color=colour, alpha=0.2, linewidth=0
        )
        if len(measured):
            labels.append((float(measured["value"].iloc[-1]), NAMES[network], colour))
        for reading, (line, _) in READINGS.items():
            drawn = rows[rows["reading"] == reading].dropna(subset="value")
            ceiling = reading.startswith("ceiling")
            if drawn.empty or (ceiling and network == "scratch"):
                continue
            shade = "black" if ceiling else colour
            at = position(drawn["target_epoch"].astype(float))
            axis.plot(at, drawn["value"], linestyle=line, color=shade, linewidth=1.1)
    for reading, (_, word) in READINGS.items():
        drawn = table[(table["reading"] == reading) & (table["network"] == "finetuned")]
        drawn = drawn.dropna(subset="value")
        if len(drawn):
            labels.append((float(drawn["value"].iloc[-1]), word, GREY))
    return labels


def _history(axis: Axes, table: pd.DataFrame) -> list[Label]:
    labels = []
    for network, (colour, _, style) in LOOKS.items():
        rows = table[table["network"] == network].astype({"target_epoch": float})
        for _, own in rows.groupby("seed"):
            axis.plot(
                position(own["target_epoch"]), own["value"], color=colour, alpha=0.35, linewidth=0.8
            )
        mean = rows.groupby("target_epoch", as_index=False)["value"].mean()
        axis.plot(position(mean["target_epoch"]), mean["value"], linestyle=style, color=colour)
        if len(mean):
            labels.append((float(mean["value"].iloc[-1]), NAMES[network], colour))
    return labels


def _epochs(axes: np.ndarray, history: pd.DataFrame) -> None:
    """Put ticks at 0, powers of two and the last epoch."""
    epochs = sorted({int(e) for e in history["target_epoch"]})
    wanted = [e for e in epochs if e & (e - 1) == 0 or e == epochs[-1]]
    places = position(pd.Series(wanted, dtype=float)).tolist()
    kept = spaced(places, 0.35)
    for axis in axes.flat:
        axis.xaxis.set_major_locator(FixedLocator([places[i] for i in kept]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticklabels([str(wanted[i]) for i in kept])
