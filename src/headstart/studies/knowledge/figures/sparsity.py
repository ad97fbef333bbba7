"""Are interactions few, and do few of them match the network on all masks?"""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.labels import write_caption
from headstart.figures.style import GREY, paper_style
from headstart.studies.knowledge.figures.drawing import (
    COLOURS,
    DASHES,
    draw_bands,
    draw_lines,
    write,
)
from headstart.studies.knowledge.tables import PERCENT, ROLES, comparisons, main_init_epoch, of

SHARES = [f"{null}explained{end}" for null in ("", "permuted_") for end in ("", "_low", "_high")]


def sparsity_figure(sparsity: pd.DataFrame, confidence: float) -> tuple[Figure, pd.DataFrame]:
    """Draw both questions for all comparisons, each from its main source epoch; return what is drawn."""
    table = sparsity_table(sparsity)
    names = list(comparisons(table))
    with paper_style():
        size = (6.8, 0.7 + 2.3 * len(names))
        figure, axes = plt.subplots(len(names), 2, figsize=size, squeeze=False)
        for row, ((left, right), name) in enumerate(zip(axes, names, strict=True)):
            _draw_strengths(left, of(table, name))
            left.set_title(name.title)
            _draw_explained(right, of(table, name), legend=row == 0)
        write_caption(
            figure,
            f"Medians and quartiles over {int(table['images'].max())} images × networks (left); share of "
            "the variance of v over all masks that the strongest interactions explain, with "
            f"{confidence:.0%} bootstrap intervals over images (right). Grey: the same scores permuted "
            "over masks, which leaves no structure; below 0 a part misses v by more than its mean does.",
        )
    return figure, table


def sparsity_table(sparsity: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of the main source epoch of each comparison."""
    parts = []
    for name in comparisons(sparsity):
        rows = of(sparsity, name)
        parts.append(rows[rows["init_epoch"] == main_init_epoch(rows)])
    return pd.concat(parts, ignore_index=True)


def _draw_curves(axis: Axes, table: pd.DataFrame, y: str, legend: bool = False) -> None:
    """Draw a curve with its band for each network."""
    look = {"hue": "role", "style": "role", "palette": COLOURS, "dashes": DASHES}
    draw_lines(axis, table, x="kept", y=y, legend="full" if legend else False, **look)
    draw_bands(axis, table, "kept", COLOURS, of="role", prefix=f"{y}_")
    axis.set(xscale="log", xlabel="interactions, strongest first")


def _draw_strengths(axis: Axes, table: pd.DataFrame) -> None:
    _draw_curves(axis, table, "strength")
    axis.axhline(0.05, color=GREY, linewidth=0.9, linestyle=":")
    axis.text(
        0.02, 0.046, "salience, 0.05", transform=axis.get_yaxis_transform(), va="top", fontsize=7
    )
    lowest = float(table["strength_low"].min())
    axis.set(yscale="log", ylim=(max(1e-4, lowest / 2), 1.2), ylabel="|I(S)| / max |I|")


def _draw_explained(axis: Axes, table: pd.DataFrame, legend: bool) -> None:
    percent = [name for name in SHARES if name in table]
    table = table.assign(**{name: PERCENT * table[name] for name in percent})
    _draw_curves(axis, table, "explained", legend)
    permuted = {"y": "permuted_explained", "units": "role", "estimator": None}
    draw_lines(axis, table, x="kept", color=GREY, linewidth=0.9, **permuted)
    write(axis, "grey: scores permuted over masks", 0.98, 0.03, fontsize=6.5, color=GREY)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set(ylim=(-60, 104), ylabel="variance of v explained (%)", title="Match on all masks")
    if legend:
        handles, roles = axis.get_legend_handles_labels()
        axis.legend(handles, [ROLES[role] for role in roles], loc="upper left", fontsize=7)
