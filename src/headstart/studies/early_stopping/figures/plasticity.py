"""Plasticity of the checkpoints against the source epoch, on the axis of the transfer figure."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from headstart.figures.epochs import epoch_axis, position
from headstart.figures.facets import facets, mean_line, star
from headstart.figures.labels import band_words, sample_size, write_caption
from headstart.figures.style import CYCLE, GREY, MARKERS, paper_style
from headstart.studies.early_stopping.figures.prepare import (
    PERCENT,
    mean_over_seeds,
    source_history,
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
KEYS = ["target", "metric"]


def plasticity_figure(
    measurements: pd.DataFrame, model: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw the panels of one model; return them with the table of all that is drawn."""
    table = plasticity_table(measurements, model, confidence)
    source = str(table["source"].iloc[0])
    tasks = sorted(table["target"].unique(), key=lambda task: (task != source, task))
    looks = {task: (CYCLE[i], MARKERS[i]) for i, task in enumerate(tasks)}
    with paper_style():
        figure, axes = facets(len(PANELS) + 1, size=(2.4, 2.1))
        for axis, panel in zip(axes[:-1], PANELS, strict=True):
            _draw(axis, panel, table[table["metric"] == panel.metric], looks)
        epoch_axis(axes[:-1], _ticks(table))
        axes[-1].set_axis_off()
        axes[-1].legend(handles=_legend(looks, source), loc="center left", handlelength=2.4)
        write_caption(figure, _caption(table, confidence))
    return figure, table


def plasticity_table(measurements: pd.DataFrame, model: str, confidence: float) -> pd.DataFrame:
    """Return mean and interval over source networks, at each epoch that all kept and at source-best.

    Fractions are percentages. Columns: drawn (mean, source-best), source, target, metric,
    source_epoch (at source-best the mean of the networks' best epochs), mean, low, high, seeds.
    """
    rows = measurements[
        (measurements["model"] == model) & (measurements["mode"] == "plasticity")
    ].astype({"source_epoch": float})
    shown = {panel.metric: panel for panel in PANELS}
    rows = rows[rows["metric"].isin(shown)]
    rows = rows.assign(value=rows["value"] * rows["metric"].map(lambda name: shown[name].factor))
    keys = ["source", *KEYS]
    shared = rows.groupby([*keys, "source_epoch"])["seed"].transform("nunique")
    every = rows.groupby(keys)["seed"].transform("nunique")
    means = mean_over_seeds(rows[shared == every], [*keys, "source_epoch"], "value", confidence)
    history = source_history(measurements, model)
    chosen = history.loc[history["best"] == 1, ["source", "seed", "source_epoch"]]
    best = rows.merge(chosen.astype({"source_epoch": float}), on=["source", "seed", "source_epoch"])
    at_best = mean_over_seeds(best, keys, "value", confidence).merge(
        best.groupby(keys, as_index=False)["source_epoch"].mean(), on=keys
    )
    parts = [means.assign(drawn="mean"), at_best.assign(drawn="source-best")]
    columns = ["drawn", *keys, "source_epoch", "mean", "low", "high", "seeds"]
    return pd.concat(parts, ignore_index=True)[columns]


def _draw(axis: Axes, panel: Panel, table: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    for task, part in table.groupby("target"):
        colour, marker = looks[str(task)] if panel.images else (GREY, "D")
        means = part[part["drawn"] == "mean"].sort_values("source_epoch")
        x = position(means["source_epoch"])
        mean_line(axis, x, means, colour, marker=marker, markersize=3, linewidth=1.3)
        best = part[part["drawn"] == "source-best"]
        axis.plot(position(best["source_epoch"]), best["mean"], **star(8))
    axis.set(ylabel=panel.label, xlabel="source epoch")
    axis.set_title(panel.title)
    top = max(axis.get_ylim()[1], panel.least_top)
    axis.set_ylim(-0.03 * top, 1.04 * top)  # room for markers at both ends


def _ticks(table: pd.DataFrame) -> list[int]:
    """Return 0, the powers of two and the last epoch, of those that are drawn."""
    epochs = [int(e) for e in sorted(table.loc[table["drawn"] == "mean", "source_epoch"].unique())]
    return [e for e in epochs if e & (e - 1) == 0 or e == epochs[-1]]


def _legend(looks: dict[str, tuple[str, str]], source: str) -> list[Line2D]:
    lines = {
        f"{task} images" + (" (source)" if task == source else ""): look
        for task, look in looks.items()
    }
    lines["weights alone"] = (GREY, "D")
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=label)
        for label, (colour, marker) in lines.items()
    ]
    return [*handles, Line2D([], [], label="source-best epoch", **star(8))]


def _caption(table: pd.DataFrame, confidence: float) -> str:
    seeds = int(table["seeds"].max())
    return (
        f"{sample_size(seeds)}; {band_words(seeds, confidence)}; "
        "read on validation images; a line per task whose images are read."
    )
