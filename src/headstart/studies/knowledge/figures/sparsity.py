"""Are interactions few, and do few of them match the network on all masks?"""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.labels import write_caption
from headstart.figures.style import BLUE, GREEN, GREY, VERMILION, paper_style
from headstart.studies.knowledge.comparison_tables import main_start
from headstart.studies.knowledge.figures.select import NAMES, PERCENT, Comparison, comparisons, of

LOOKS = {"probe": (BLUE, "-"), "finetuned": (GREEN, "--"), "scratch": (VERMILION, "-.")}


def sparsity_figure(sparsity: pd.DataFrame, confidence: float) -> tuple[Figure, pd.DataFrame]:
    """Draw both questions for all comparisons, each from its main start; return what is drawn."""
    table = sparsity_table(sparsity)
    names = list(comparisons(table))
    with paper_style():
        figure, axes = plt.subplots(
            len(names), 2, figsize=(6.8, 0.7 + 2.3 * len(names)), squeeze=False
        )
        for (left, right), name in zip(axes, names, strict=True):
            part = of(table, name)
            _strengths(left, part, name)
            _explained(right, part)
            for axis in (left, right):
                axis.set_xscale("log")
                axis.set_xlabel("interactions, strongest first")
        axes[0, 1].legend(loc="upper left", fontsize=7)
        write_caption(
            figure,
            f"Medians and quartiles over {int(table['images'].max())} images × networks (left); share of "
            "the variance of v over all masks that the strongest interactions explain, with "
            f"{confidence:.0%} bootstrap intervals over images (right). Grey: the same scores dealt anew "
            "to the masks, which leaves no structure; below 0 a part misses v by more than its mean does.",
        )
    return figure, table


def sparsity_table(sparsity: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of the main start of each comparison."""
    parts = []
    for name in comparisons(sparsity):
        rows = of(sparsity, name)
        parts.append(rows[rows["start"] == main_start(rows)])
    return pd.concat(parts, ignore_index=True)


def _strengths(axis: Axes, table: pd.DataFrame, name: Comparison) -> None:
    for network, (colour, style) in LOOKS.items():
        rows = table[table["network"] == network].sort_values("kept")
        axis.plot(rows["kept"], rows["strength"], color=colour, linestyle=style)
        axis.fill_between(
            rows["kept"],
            rows["strength_low"],
            rows["strength_high"],
            color=colour,
            alpha=0.13,
            linewidth=0,
        )
    axis.axhline(0.05, color=GREY, linewidth=0.9, linestyle=":")
    axis.annotate(
        "salience, 0.05",
        (0.02, 0.05),
        xycoords=("axes fraction", "data"),
        xytext=(0, -2),
        textcoords="offset points",
        va="top",
        fontsize=7,
        color=GREY,
    )
    axis.set_yscale("log")
    axis.set_ylim(max(1e-4, float(table["strength_low"].min()) / 2), 1.2)
    axis.set_ylabel("|I(S)| / max |I|")
    axis.set_title(name.words)


def _explained(axis: Axes, table: pd.DataFrame) -> None:
    for network, (colour, style) in LOOKS.items():
        rows = table[table["network"] == network].sort_values("kept")
        axis.plot(
            rows["kept"],
            PERCENT * rows["explained"],
            color=colour,
            linestyle=style,
            label=NAMES[network],
        )
        axis.fill_between(
            rows["kept"],
            PERCENT * rows["explained_low"],
            PERCENT * rows["explained_high"],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
        axis.plot(rows["kept"], PERCENT * rows["dealt_explained"], color=GREY, linewidth=0.9)
    axis.set_ylim(-60, 104)
    axis.annotate(
        "scores dealt anew: below the axis until all are kept",
        (0.98, 0.03),
        xycoords="axes fraction",
        ha="right",
        fontsize=6.5,
        color=GREY,
    )
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set_ylabel("variance of v explained (%)")
    axis.set_title("Match on all masks")
