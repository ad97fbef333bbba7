"""How much of the preserved knowledge training from scratch finds too: against chance, and with accuracy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.labels import write_caption
from headstart.figures.style import BLUE, GREEN, GREY, VERMILION, paper_style
from headstart.studies.knowledge.figures.select import (
    NAMES,
    PERCENT,
    Comparison,
    comparisons,
    counted,
    of,
    pick,
    starts,
)

PUBLISHED = (13.0, 45.0)
"""Per cent: the ratios that summaries of arXiv 2410.08455 report."""
NULLS = {
    "null_permuted": ("-", "null: permuted within orders"),
    "null_other_image": (":", "null: other image"),
    "null_random_backbone": ("--", "null: random backbone with\na trained probe"),
}
CEILINGS = {
    "ceiling_second_run": ("^", "ceiling: second fine-tuning run"),
    "ceiling_other_source": ("v", "ceiling: other source network"),
}
NETWORKS = {"probe": ("s", BLUE), "finetuned": ("o", GREEN), "scratch": ("D", VERMILION)}


def exclusivity_figure(
    measurements: pd.DataFrame, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw the exclusivity ratio of all comparisons, and below it the accuracies; return what is drawn."""
    ratios, accuracies = ratio_table(measurements), accuracy_table(measurements)
    names = list(comparisons(ratios))
    with paper_style():
        size = (2.7 + 2.7 * len(names), 4.6)
        figure, axes = plt.subplots(
            2,
            len(names),
            figsize=size,
            sharex="col",
            sharey="row",
            squeeze=False,
            gridspec_kw={"height_ratios": [1.5, 1]},
        )
        for column, name in enumerate(names):
            known = starts(of(measurements, name))
            _ratio_panel(axes[0, column], of(ratios, name), known)
            _accuracy_panel(axes[1, column], of(accuracies, name), known)
            axes[0, column].set_title(name.words)
            axes[1, column].set_xlabel("fine-tuned from source epoch")
        axes[0, 0].set_ylabel("% of preserved strength\nthat scratch has too")
        axes[1, 0].set_ylabel("test accuracy (%)")
        highest = ratios[["value", "high"]].max().max()
        axes[0, 0].set_ylim(0, 1.1 * max(highest, PUBLISHED[1]))
        handles, labels = axes[0, 0].get_legend_handles_labels()
        extra, words = axes[1, 0].get_legend_handles_labels()
        figure.legend(
            [*handles, *extra], [*labels, *words], loc="outside right center", fontsize=7.5
        )
        write_caption(
            figure,
            f"{counted(ratios)}; interactions normalised; error bars, and bands around the lines of the "
            f"nulls: {confidence:.0%} bootstrap intervals over images. A ratio means something only above "
            "its nulls. Accuracy at the epoch that validation "
            "chose, a mark per source network. Wide pale band: the published 13 to 45 %, from other networks "
            "and data.",
        )
    return figure, pd.concat([ratios, accuracies], ignore_index=True)


def ratio_table(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the ratio of all starts in percent: measured, under nulls and at ceilings."""
    rows = pick(
        measurements,
        metric="exclusivity",
        variant="normalised",
        subset="all",
        order=None,
        reading=["measured", *NULLS, *CEILINGS],
    )
    table = rows[[*Comparison._fields, "start", "metric", "reading", "value", "low", "high"]].copy()
    table[["value", "low", "high"]] *= PERCENT
    return table.assign(n=rows["n"], seeds=rows["seeds"], undefined=rows["undefined"])


def accuracy_table(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return test accuracies in percent at the epoch that validation chose, a row per network."""
    rows = pick(
        measurements,
        pooled=False,
        metric="accuracy_at_validation_best",
        network=list(NETWORKS),
    )
    rows = rows[rows["seed"].notna()]
    columns = [*Comparison._fields, "network", "start", "seed", "metric", "value"]
    return rows[columns].assign(value=rows["value"] * PERCENT)


def _ratio_panel(axis: Axes, table: pd.DataFrame, known: list[str]) -> None:
    axis.axhspan(*PUBLISHED, color="#EFEFEF", zorder=0)
    places = {start: index for index, start in enumerate(known)}
    rows = table[table["reading"] == "measured"]
    x = rows["start"].map(places).to_numpy(float) - 0.16
    axis.bar(x, rows["value"], width=0.42, color=BLUE, alpha=0.85, label="measured")
    _error_bars(axis, x, rows)
    for reading, (style, label) in NULLS.items():
        _null(axis, _there(table, reading), places, style, label)
    for shift, (reading, (marker, label)) in enumerate(CEILINGS.items()):
        rows = _there(table, reading)
        x = rows["start"].map(places).to_numpy(float) + 0.2 + 0.12 * shift
        _error_bars(axis, x, rows)
        axis.plot(
            x,
            rows["value"],
            marker,
            color="black",
            markersize=6,
            markerfacecolor="white",
            markeredgewidth=1.3,
            label=label,
        )
    axis.grid(axis="x", visible=False)


def _there(table: pd.DataFrame, reading: str) -> pd.DataFrame:
    return table[(table["reading"] == reading) & table["value"].notna()]


def _error_bars(axis: Axes, x: np.ndarray, rows: pd.DataFrame) -> None:
    spread = np.abs(np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]))
    axis.errorbar(x, rows["value"], yerr=spread, fmt="none", ecolor="black", capsize=2, linewidth=1)


def _null(axis: Axes, rows: pd.DataFrame, places: dict[str, int], style: str, label: str) -> None:
    """Draw a null as a line across the place of its start, in a band that is its interval."""
    numbers = rows[["value", "low", "high"]].to_numpy(float)
    for start, (value, low, high) in zip(rows["start"], numbers, strict=True):
        ends = [places[start] - 0.42, places[start] + 0.42]
        axis.fill_between(ends, [low] * 2, [high] * 2, color=GREY, alpha=0.22, linewidth=0)
        named = label if start == rows["start"].iloc[0] else "_"
        axis.plot(ends, [value] * 2, color="black", linewidth=1.1, linestyle=style, label=named)


def _accuracy_panel(axis: Axes, table: pd.DataFrame, known: list[str]) -> None:
    for shift, (network, (marker, colour)) in enumerate(NETWORKS.items()):
        rows = table[table["network"] == network]
        for place, start in enumerate(known):
            own = rows if network == "scratch" else rows[rows["start"] == start]
            x = [place + (shift - 1) * 0.16] * len(own)
            label = f"accuracy, {NAMES[network]}" if place == 0 else None
            axis.plot(x, own["value"], marker, color=colour, markersize=4.5, label=label)
    axis.set_xticks(range(len(known)), known)
    axis.set_xlim(-0.6, len(known) - 0.4)
    axis.grid(axis="x", visible=False)
