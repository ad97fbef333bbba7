"""Are interactions few, and do few of them match the network on all masks?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import facets
from headstart.figures.labels import write_caption, write_title
from headstart.figures.style import GREY, paper_style
from headstart.studies.knowledge.figures.drawing import (
    COLOURS,
    DASHES,
    draw_bands,
    draw_lines,
    write,
)
from headstart.studies.knowledge.tables import PERCENT, ROLES, comparisons, main_init_epoch, of

BASES = {"": "AND terms, fitted", "_walsh": "Walsh coefficients"}


def sparsity_figure(sparsity: pd.DataFrame, confidence: float) -> tuple[Figure, pd.DataFrame]:
    """Draw both questions for all comparisons, each from its main source epoch; return what is drawn."""
    table = sparsity_table(sparsity)
    names = list(comparisons(table))
    with paper_style():
        figure, axes = facets(3, rows=len(names), height=1.9)
        write_title(figure, "Are interactions few, and do they match the network on all masks?")
        for (left, *right), name in zip(axes.reshape(-1, 3), names, strict=True):
            rows = of(table, name)
            _draw_strengths(left, rows, legend=left is axes.flat[0])
            left.set_title(name.title)
            for axis, (ending, words) in zip(right, BASES.items(), strict=True):
                _draw_explained(axis, rows, f"explained{ending}")
                axis.set(title=words, ylabel="" if ending else "variance of v explained (%)")
        # The fit to some masks has no AND terms of its own, and there is nothing to permute.
        some = bool(table["explained"].isna().all())
        over = "masks that the fit never saw" if some else "all masks"
        write_caption(
            figure,
            f"Medians and quartiles over {int(table['images'].max())} images × networks (left); share of "
            f"the variance of v over {over} that the strongest k explain, AND terms fitted by least "
            f"squares, with {confidence:.0%} bootstrap intervals over images and networks. Grey: the same of "
            "scores permuted over masks, which leaves no structure.",
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


def _draw_strengths(axis: Axes, table: pd.DataFrame, legend: bool) -> None:
    _draw_curves(axis, table, "strength", legend)
    if legend:
        handles, roles = axis.get_legend_handles_labels()
        words = [ROLES[role] for role in roles]
        # Above what else is drawn there: the curves begin where it ends.
        axis.legend(handles, words, loc="lower left", bbox_to_anchor=(0, 0.1), fontsize=7)
    axis.axhline(0.05, color=GREY, linewidth=0.9, linestyle=":")
    axis.text(0.02, 0.053, "salience, 0.05", transform=axis.get_yaxis_transform(), fontsize=7)
    lowest = float(table["strength_low"].min())
    axis.set(yscale="log", ylim=(max(1e-4, lowest / 2), 1.2), ylabel="|I(S)| / max |I|")


def _draw_explained(axis: Axes, table: pd.DataFrame, y: str) -> None:
    columns = [name for name in table if str(name).startswith((y, f"permuted_{y}"))]
    table = table.assign(**(PERCENT * table[columns]))
    if table[y].isna().all():
        write(axis, "needs the scores\nof all masks", 0.05, 0.95, color=GREY)
        return
    _draw_curves(axis, table, y)
    if table[f"permuted_{y}"].notna().any():
        permuted = {"y": f"permuted_{y}", "units": "role", "estimator": None}
        draw_lines(axis, table, x="kept", color=GREY, linewidth=0.9, **permuted)
    axis.axhline(90, color=GREY, linewidth=0.9, linestyle=":")
    axis.set(ylim=(0, 104))
