"""Everything that is measured of a start on one axis of source epochs."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import epoch_axis, facets, mean_line, position
from headstart.figures.labels import (
    Label,
    band_words,
    label_edge,
    question,
    sample_size,
    write_caption,
    write_title,
)
from headstart.figures.style import CYCLE, GREY, MARKERS, paper_style
from headstart.statistics.intervals import mean_interval
from headstart.studies.joined.associations import COMPARISON, comparisons, of

PERCENT = 100.0
PANELS: dict[str, dict[str, tuple[str, float]]] = {
    "Gain over tuned scratch (points)": {
        "gain_tuned": ("tuned rate", 1.0),
        "gain_fixed": ("fixed rate", 1.0),
    },
    "Preserved interactions (%)": {
        "preserved": ("measured", PERCENT),
        "preserved_chance": ("chance", PERCENT),
        "preserved_ceiling": ("two runs", PERCENT),
    },
    "Invariances (STIR)": {
        "forgotten": ("forgotten", 1.0),
        "learnt": ("learnt", 1.0),
        "invariance_excess": ("kept", 1.0),
    },
    "Can it be trained? (%)": {
        "random_label_accuracy": ("random labels", PERCENT),
        "dormant": ("dormant units", PERCENT),
    },
    "Barrier between two runs (points)": {"barrier": ("middle below the ends", 1.0)},
    "Source accuracy (%)": {
        "source_accuracy": ("untouched", PERCENT),
        "source_accuracy_fresh": ("fresh statistics", PERCENT),
    },
}


def epochs_table(cells: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Return mean and interval over networks of every drawn measure, by source epoch."""
    rows = []
    for comparison in comparisons(cells):
        mine = of(cells, comparison)
        for panel, measures in PANELS.items():
            for metric, (label, factor) in measures.items():
                if metric not in mine:
                    continue
                for epoch, group in mine.groupby("source_epoch"):
                    values = factor * group[metric].dropna()
                    # What most networks lack, having collapsed, the others do not stand for.
                    if 2 * len(values) <= len(group):
                        continue
                    found = mean_interval(values, confidence)
                    row: dict[str, object] = dict(zip(COMPARISON, comparison, strict=True))
                    row |= {"panel": panel, "metric": metric, "measure": label}
                    row |= {"source_epoch": epoch, "mean": found.estimate, "low": found.low}
                    rows.append(row | {"high": found.high, "n": found.n})
    return pd.DataFrame(rows)


def epochs_figure(
    cells: pd.DataFrame, comparison: tuple[str, ...], confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw all measures of one comparison against the source epoch; return the figure and what it draws."""
    mine = of(cells, comparison)
    table = epochs_table(mine, confidence)
    source, model, target, shots = comparison
    epochs = sorted(int(epoch) for epoch in mine["source_epoch"].unique())
    seeds = int(mine["seed"].nunique())
    with paper_style():
        figure, axes = facets(len(PANELS), height=1.9, x="source epoch")
        write_title(figure, question(source, [target], model, "what changes with the start?"))
        for axis, panel in zip(axes.flat, PANELS, strict=True):
            _draw(axis, table[table["panel"] == panel])
            axis.set_title(panel, fontsize=7.5)
        epoch_axis(axes, epochs)
        for axis in axes.flat:
            axis.set_xlim(axes.flat[0].get_xlim())
        write_caption(
            figure,
            f"{sample_size(seeds)}, {shots} shots, two runs of every start at the fixed rate; "
            f"{band_words(seeds, confidence)}. Epoch 0 is training from scratch. Interactions and invariances are "
            "read after fine-tuning at the fixed rate, kept ones above what a network from scratch has. Random labels: the "
            "share that is learnt; dormant: of units. Fresh: batch statistics estimated anew. What most networks lack is left out, what leaves a panel is cut.",
        )
    return figure, table


def _draw(axis: Axes, table: pd.DataFrame) -> None:
    axis.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    labels: list[Label] = []
    for index, (label, rows) in enumerate(table.groupby("measure", sort=False)):
        look: dict[str, Any] = {"marker": MARKERS[index], "markersize": 3.5}
        mean_line(axis, position(rows["source_epoch"]), rows, CYCLE[index], **look)
        labels.append(
            (float(rows["mean"].iloc[-1]), str(label).replace(" ", "\n", 1), CYCLE[index])
        )
    # A band of few networks, some of them collapsed, may be wider than all that there is to see.
    span = table["mean"].max() - table["mean"].min()
    bottom, top = axis.get_ylim()
    room = 0.4 * span or 1.0
    axis.set_ylim(max(bottom, table["mean"].min() - room), min(top, table["mean"].max() + room))
    if len(labels) > 1:  # one line is what the title says
        label_edge(axis, labels, lines=2)
