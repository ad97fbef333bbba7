"""Forgetting, learning and CKA divergence against the depth of the layer (figures 1, 2, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from headstart.figures.facets import panel_figure
from headstart.figures.labels import write_caption, write_title
from headstart.figures.style import GREY, TWO_COLUMNS, paper_style
from headstart.statistics.measurements import MEASURED, select
from headstart.studies.invariance.columns import EMBEDDING, null
from headstart.studies.invariance.figures.shared import (
    FORM_WORDS,
    Look,
    beside,
    draw_lines,
    drawn_rows,
    in_published_form,
    layer_series,
    legend_handles,
    looks_of,
    named,
    sample_words,
    titled,
)
from headstart.studies.invariance.network_tables import at_end, complete_mean, of_form

PANELS = {
    "forgetting": ("Forgetting", "STIR lost"),
    "learning": ("Learning", "STIR gained"),
    "cka_divergence": ("CKA divergence", "1 − CKA"),
}
TITLES: dict[tuple[str, ...], str] = {
    ("fine-tuned", "reconstructing"): "what do two tasks forget and learn, by depth?",
    ("fine-tuned", "from scratch"): "what changes by depth, pretrained and from scratch?",
}
DRAWN: dict[str, dict[str, Any]] = {
    "published": {"marked": False, "linestyle": ":", "linewidth": 1.2, "alpha": 0.75},
    "published form": {"marked": False, "linewidth": 0.6},
    "run": {"linewidth": 0, "markersize": 3, "alpha": 0.35},
    "here": {"markersize": 5},
}
KEYS = ["series", "does", "metric", "layer", "layers"]


def layers_figure(
    measurements: pd.DataFrame, runs: pd.DataFrame, published: pd.DataFrame, names: Sequence[str]
) -> tuple[Figure, pd.DataFrame] | None:
    """Draw the runs to one target that do these things; None where there are none.

    Returns the figure and the table of all that it draws.
    """
    table = layers_table(measurements, runs, published, names)
    if table[table["drawn"] == "here"].empty:
        return None
    looks = looks_of(table[table["drawn"] == "here"])
    target = beside(str(runs["target"].iloc[0])).words
    with paper_style():
        figure, axes = plt.subplots(1, len(PANELS), figsize=(TWO_COLUMNS, 2.9), squeeze=False)
        write_title(
            figure,
            titled(runs, TITLES.get(tuple(names), "what is forgotten and learnt, by depth?")),
        )
        for axis, (metric, (title, unit)) in zip(axes[0], PANELS.items(), strict=True):
            _panel(axis, table[table["metric"] == metric], looks)
            axis.set(title=title, ylabel=unit, xlabel="depth (share of all blocks)")
        figure.legend(
            handles=_legend(looks, table, target),
            loc="outside lower center",
            ncols=2 if len(looks) < 3 else 3,
            handlelength=2.8,
        )
        write_caption(figure, _caption(runs, table))
    return figure, table


def layers_table(
    measurements: pd.DataFrame, runs: pd.DataFrame, published: pd.DataFrame, names: Sequence[str]
) -> pd.DataFrame:
    """Return each run's values, their mean over runs in two forms, and published values.

    Columns: drawn (here; run; published form, which is ours with biased CKA and 1 for self-STIR;
    published), series, does, metric, layer, layers (of the network), value, low, high (interval over
    images, mean over runs), runs, start (of the published network).
    """
    rows = _ended(drawn_rows(measurements, list(PANELS)), runs, names)
    compared = _ended(named(in_published_form(measurements)), runs, names)
    parts = [
        _means(rows).assign(drawn="here"),
        rows.assign(drawn="run", runs=1),
        _means(compared).assign(drawn="published form", low=float("nan"), high=float("nan")),
    ]
    starts = ["series", "does", "source", "target", "given_weights"]
    for _, run in rows[starts].drop_duplicates("series").iterrows():
        theirs = layer_series(published, run).assign(series=run["series"], does=run["does"])
        parts.append(theirs.assign(drawn="published", layers=12))
    columns = ["drawn", *KEYS, "value", "low", "high", "runs", "start"]
    some = [part for part in parts if len(part)]
    if not some:
        return pd.DataFrame(columns=columns)
    return pd.concat(some, ignore_index=True).reindex(columns=columns)


def _ended(table: pd.DataFrame, runs: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    rows = at_end(table[table["does"].isin(names)], runs)
    rows = rows[rows["layer"] == rows["reference_layer"]]
    return rows.assign(layers=rows.groupby("model")["layer"].transform("max"))


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.groupby(KEYS, as_index=False, sort=False).agg(
        **{name: (name, complete_mean) for name in ("value", "low", "high")}, runs=("value", "size")
    )


def _panel(axis: Axes, table: pd.DataFrame, looks: dict[str, Look]) -> None:
    table = table.assign(depth=table["layer"] / table["layers"])
    for drawn, look in DRAWN.items():
        draw_lines(axis, table[table["drawn"] == drawn], looks, "depth", **look)
    here = table[table["drawn"] == "here"]
    colours = [looks[name][0] for name in here["series"]]
    axis.vlines(here["depth"].astype(float), here["low"], here["high"], colours, linewidth=1.1)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_xlim(0, 1.04)


def _legend(looks: dict[str, Look], table: pd.DataFrame, target: str) -> list[Line2D]:
    handles = legend_handles(looks, 5)
    if (table["drawn"] == "published form").any():
        words = "here, in the published form"
        handles.append(Line2D([], [], color=GREY, linewidth=0.6, label=words))
    if (table["drawn"] == "published").any():
        words = f"ViT-B/32 to {target}, published"
        handles.append(Line2D([], [], color=GREY, linestyle=":", linewidth=1.2, label=words))
    return handles


def _caption(runs: pd.DataFrame, table: pd.DataFrame) -> str:
    starts = table[table["drawn"] == "published"].drop_duplicates(["series", "start"])
    listed = ", ".join(f"{row.series} from {row.start}" for row in starts.itertuples())
    dotted = f"published values ({listed})" if listed else "none are published"
    return (
        f"{sample_words(runs)}. Lines: means over networks, small markers: each network; bars: 95% "
        f"intervals over images. {FORM_WORDS} Dotted: {dotted}, of other images and networks: compare "
        "the thin lines with them, by their shapes."
    )


READ = {"class": "Class token", "mean": "Mean over patches", "all": "All tokens"}
REPLACED = {"the whole run": "", "its embedding alone": (2, 1.5)}


def readings_figure(
    measurements: pd.DataFrame, runs: pd.DataFrame
) -> tuple[Figure, pd.DataFrame] | None:
    """Draw forgetting by block for all that was read of blocks, and what the run's embedding alone does.

    None where no run was compared with its embedding.
    """
    table = readings_table(measurements, runs)
    if table.empty:
        return None
    looks = looks_of(table)

    def panel(axis: Axes, rows: pd.DataFrame) -> None:
        look: dict[str, Any] = {"style": "replaced", "dashes": REPLACED, "linewidth": 1.2}
        draw_lines(axis, rows, looks, "layer", marked=False, **look)
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.set_xticks(sorted(table["layer"].unique().astype(int)))

    read = [(title, table[table["tokens"] == name]) for name, title in READ.items()]
    caption = (
        f"{sample_words(runs)}; means over networks, debiased CKA. Dashed: the start behind the embedding "
        "of the run. Where lines are flat, or dashed ones lie on them, nothing is said about depth."
    )
    axes: dict[str, Any] = {"x": "block", "y": "forgetting (STIR lost)", "sharey": True}
    title = titled(runs, "does forgetting depend on depth and on what is read?")
    figure = panel_figure([each for each in read if len(each[1])], panel, title, caption, **axes)
    with paper_style():
        figure.legend(handles=legend_handles(looks, 0), loc="outside lower center", ncols=4)
    return figure, table


def readings_table(measurements: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return means over runs at their end. Columns: tokens, series, does, replaced, layer, value, runs."""
    parts = []
    conditions = dict(zip(REPLACED, (MEASURED, null(EMBEDDING)), strict=True))
    forgotten = select(measurements, metric="forgetting")
    for (_, mine), (words, condition) in product(forgotten.groupby("tokens"), conditions.items()):
        rows = at_end(of_form(mine, condition=condition), runs)
        rows = rows[rows["layer"] == rows["reference_layer"]]
        parts.append(named(rows).assign(replaced=words))
    both = pd.concat(parts, ignore_index=True)
    keys = ["tokens", "series", "does", "replaced", "layer"]
    return both.groupby(keys, as_index=False, sort=False).agg(
        value=("value", complete_mean), runs=("value", "size")
    )
