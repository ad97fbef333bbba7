"""Forgetting, learning and CKA divergence against the depth of the layer (figures 1, 2, 3)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from headstart.figures.invariance import at_end, drawn_rows, looks_of, sample_words
from headstart.figures.labels import write_caption
from headstart.figures.style import GREY, paper_style

PANELS = {
    "forgetting": ("Forgetting", "STIR lost"),
    "learning": ("Learning", "STIR gained"),
    "cka_divergence": ("CKA divergence", "1 − CKA"),
}
PUBLISHED = "ViT-B/32, ImageNet to CIFAR-10, published"
# Series of the published figures, by what they do.
PUBLISHED_SERIES = {
    "fine-tuned": ("fig1_cifar10_a", "fig1_cifar10_b", "classify"),
    "reconstructing": ("fig1_cifar10_a", "fig1_cifar10_b", "reconstruct"),
    "from scratch": ("fig2a_cifar10", "fig3a_cifar10", "random"),
}


def layers_figure(
    measurements: pd.DataFrame, runs: pd.DataFrame, published: pd.DataFrame, names: Sequence[str]
) -> tuple[Figure, pd.DataFrame] | None:
    """Draw the runs to one target that do these things; None where there are none.

    Returns the figure and the table of all that it draws.
    """
    table = layers_table(measurements, runs, published, names)
    if table[table["drawn"] == "here"].empty:
        return None
    shown = [name for name in names if (table["series"] == name).any()]
    looks = looks_of(shown)
    with paper_style():
        figure, axes = plt.subplots(1, len(PANELS), figsize=(9.3, 3.3), squeeze=False)
        for axis, (measure, (title, unit)) in zip(axes[0], PANELS.items(), strict=True):
            _panel(axis, table[table["measure"] == measure], looks)
            axis.set(title=title, ylabel=unit, xlabel="depth of the layer (share of all blocks)")
        figure.legend(
            handles=_legend(looks, table), loc="outside upper center", ncols=4, handlelength=2.8
        )
        write_caption(figure, _caption(runs))
    return figure, table


def layers_table(
    measurements: pd.DataFrame, runs: pd.DataFrame, published: pd.DataFrame, names: Sequence[str]
) -> pd.DataFrame:
    """Return each run's values, their mean over runs, and published values.

    Columns: drawn (here, run, published), series, measure, layer, layers (of the network), value,
    low, high (interval over images, mean over runs), runs.
    """
    rows = at_end(drawn_rows(measurements, list(PANELS)), runs)
    rows = rows[(rows["layer"] == rows["reference_layer"]) & rows["series"].isin(names)]
    depth = rows.groupby("model")["layer"].transform("max")
    rows = rows.assign(layers=depth, runs=1)
    keys = ["series", "measure", "layer", "layers"]
    means = rows.groupby(keys, as_index=False).agg(
        value=("value", lambda values: values.mean(skipna=False)),
        low=("low", lambda values: values.mean(skipna=False)),
        high=("high", lambda values: values.mean(skipna=False)),
        runs=("value", "size"),
    )
    parts = [means.assign(drawn="here"), rows.assign(drawn="run")]
    parts += [_published(published, name) for name in names if name in PUBLISHED_SERIES]
    return pd.concat(parts, ignore_index=True)[["drawn", *keys, "value", "low", "high", "runs"]]


def _published(published: pd.DataFrame, name: str) -> pd.DataFrame:
    metrics, divergence, series = PUBLISHED_SERIES[name]
    parts = []
    for measure in PANELS:
        figure = divergence if measure == "cka_divergence" else metrics
        rows = published[
            (published["figure"] == figure) & (published["series"] == f"{series}.{measure}")
        ]
        parts.append(rows.assign(measure=measure, layer=rows["x"].astype(int)))
    found = pd.concat(parts, ignore_index=True)
    return found.assign(drawn="published", series=name, layers=12)


def _panel(axis: Axes, table: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    for name, (colour, marker) in looks.items():
        mine = table[table["series"] == name].sort_values("layer")
        for drawn, part in mine.groupby("drawn"):
            x = part["layer"] / part["layers"]
            if drawn == "published":
                axis.plot(x, part["value"], ":", color=colour, linewidth=1.2, alpha=0.75)
            elif drawn == "run":
                axis.plot(x, part["value"], marker, color=colour, markersize=3, alpha=0.35)
            else:
                axis.plot(x, part["value"], marker=marker, color=colour, markersize=5)
                axis.vlines(x, part["low"], part["high"], color=colour, linewidth=1.1)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_xlim(0, 1.04)


def _legend(looks: dict[str, tuple[str, str]], table: pd.DataFrame) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=5, label=name)
        for name, (colour, marker) in looks.items()
    ]
    if (table["drawn"] == "published").any():
        handles.append(Line2D([], [], color=GREY, linestyle=":", label=PUBLISHED))
    return handles


def _caption(runs: pd.DataFrame) -> str:
    return (
        f"{sample_words(runs)}. Lines: means over networks, small markers: each network; bars: 95% "
        "intervals over images. Debiased CKA, self-STIR measured. Dotted: published values, "
        "self-STIR set to 1, other images and networks; compare shapes, not heights."
    )
