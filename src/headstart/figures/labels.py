"""Words on figures: titles, labels at the edge, the sentence on numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.style import GREY

# Height on the axis, text, colour.
Label = tuple[float, str, str]


def panel_title(target: str, arm: str, mode: str) -> str:
    """Return what a panel shows, in words."""
    if mode == "relearn":
        return f"relearning {target}" + ("" if arm == "relearn" else f", {arm}")
    return f"to {target}" + ("" if arm == "finetune" else f", {arm}")


def spaced(positions: Sequence[float], gap: float) -> list[int]:
    """Return the indices of positions (ascending) to label, at least `gap` apart, first and last included."""
    kept = [0]
    for index in range(1, len(positions)):
        if positions[index] - positions[kept[-1]] > gap:
            kept.append(index)
    last = len(positions) - 1
    while kept[1:] and kept[-1] != last and positions[last] - positions[kept[-1]] <= gap:
        kept.pop()
    return kept if kept[-1] == last else [*kept, last]


def label_edge(axis: Axes, labels: list[Label], *, lines: int) -> None:
    """Write labels at the right edge, at their heights, moved apart where they would overlap.

    Heights are those of the axis as it is now, so limits must be final.
    """
    bottom, top = axis.get_ylim()
    size = axis.get_window_extent().height / axis.figure.dpi * 72
    gap = (top - bottom) * (8.5 * lines + 1) / max(size, 1)
    previous = -np.inf
    for height, text, colour in sorted(labels):
        place = max(height, previous + gap)
        previous = place
        axis.annotate(
            text,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=7.5,
            linespacing=0.95,
            annotation_clip=False,
        )


def write_caption(figure: Figure, words: str) -> None:
    """Write a sentence under a figure, broken into lines that are no wider than the figure."""
    # Letters of this size per inch, on the safe side.
    lines = textwrap.fill(words, int(17 * figure.get_size_inches()[0]))
    figure.supxlabel(lines, fontsize=7, color=GREY)


def caption(runs: pd.DataFrame, confidence: float) -> str:
    """Return the sentence on numbers that stands under a figure."""
    return (
        f"n = {runs['seed'].nunique()} source networks × {runs['draw'].nunique()} draws of the target images; "
        f"bands: pointwise {confidence:.0%} t-intervals over source networks; learning rate and epoch chosen on validation images."
    )
