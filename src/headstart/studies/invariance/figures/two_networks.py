"""The figure of `headstart compare`: grids of two networks, their profile by depth, and what each ignores."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from headstart.figures.style import TWO_COLUMNS, paper_style, save

GRIDS = (
    ("cka", "debiased", "CKA, debiased"),
    ("cka", "biased", "CKA, biased"),
    ("procrustes", "", "Procrustes"),
    ("rsa", "", "RSA"),
    ("mutual_knn", "", "Shared neighbours"),
)
STIR = {
    "stir_other_given_one": "other | one",
    "stir_one_given_other": "one | other",
    "stir_one_given_one": "one | one",
    "stir_other_given_other": "other | other",
}


def draw(table: pd.DataFrame, transformations: pd.DataFrame, folder: Path) -> None:
    """Write the figures `similarity` and `transformations` with the tables that they draw."""
    with paper_style():
        similarity = _similarity(table)
        invariances = _transformations(transformations)
    save(similarity, "similarity", table, folder, 150)
    save(invariances, "transformations", transformations, folder, 150)


def _similarity(table: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(TWO_COLUMNS, 4.6))
    axes = figure.subplots(2, 3).flat
    for ax, (metric, form, title) in zip(axes, GRIDS, strict=False):
        rows = table[(table["metric"] == metric) & (table["form"] == form)]
        grid = rows.pivot(index="layer_one", columns="layer_other", values="value")
        low = min(0.0, float(grid.min().min()))
        small = grid.size <= 36
        sns.heatmap(grid, ax=ax, vmin=low, vmax=1, cmap="cividis", annot=small, fmt=".2f",
                    annot_kws={"size": 7}, cbar_kws={"shrink": 0.8})  # fmt: skip
        ax.set(title=title, xlabel=f"layer of {_short(rows['other'].iloc[0])}",
               ylabel=f"layer of {_short(rows['one'].iloc[0])}")  # fmt: skip
        ax.invert_yaxis()
    _stir(axes[-1], table)
    return figure


def _stir(ax: Axes, table: pd.DataFrame) -> None:
    """Draw STIR of every layer of a network given the same layer of the other, or of itself."""
    rows = table[table["metric"].isin(STIR) & (table["form"] == "debiased")]
    ax.set(
        title="STIR, debiased",
        xlabel="layer",
        ylabel="STIR (evaluated | inverted)",
    )
    if rows.empty:
        ax.text(0.5, 0.5, "not measured (--steps 0)", ha="center", transform=ax.transAxes)
        return
    rows = rows[rows["layer"] == rows["reference_layer"]]
    rows = rows.assign(given=rows["metric"].map(STIR))
    sns.lineplot(rows, x="layer", y="value", hue="given", style="given", markers=True, ax=ax)
    ax.legend(title="")
    ax.set_ylim(min(0.0, float(rows["value"].min())), 1.02)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _transformations(table: pd.DataFrame) -> Figure:
    names = [*dict.fromkeys(table["network"])]
    figure = Figure(figsize=(TWO_COLUMNS, 2.8))
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for ax, name in zip(axes, names, strict=True):
        rows = table[table["network"] == name]
        sns.lineplot(rows, x="layer", y="value", hue="transformation", style="transformation",
                     markers=True, dashes=False, ax=ax, legend=ax is axes[-1])  # fmt: skip
        ax.axhline(0, color="#6E6E6E", linewidth=0.8)
        ax.set(title=_short(name), xlabel="layer (0: pixels)",
               ylabel="invariance (1: x and t(x) alike, 0: as unrelated)")  # fmt: skip
    axes[-1].legend(title="", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"…{name[-23:]}"
