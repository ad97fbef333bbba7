"""Where invariances of a layer end up: the paper's flow, excess compression, and the control (figure 4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.labels import write_caption, write_title
from headstart.figures.style import TWO_COLUMNS, paper_style
from headstart.studies.invariance.figures.shared import (
    FALLBACK,
    PUBLISHED,
    drawn_rows,
    sample_words,
    titled,
)
from headstart.studies.invariance.network_tables import at_end, complete_mean

PANELS = {
    "flow": "Flow of the paper",
    "excess_compression": "Excess compression",
    "excess_over_random": "… over random blocks",
    "excess_over_scratch": "… over scratch blocks",
}
# Light in the middle and dark at both ends, orange against purple, which survives colour blindness;
# on a grey printer the printed numbers keep the sign.
COLOURS = "PuOr_r"
NUMBERED = 6
"""Matrices of at most so many blocks have a number in each cell."""
HATCH: dict[str, Any] = {
    "facecolor": "#F2F2F2",
    "hatch": "///",
    "edgecolor": "#D0D0D0",
    "linewidth": 0,
}


def flow_figure(
    measurements: pd.DataFrame, runs: pd.DataFrame
) -> tuple[Figure, pd.DataFrame] | None:
    """Draw one row of matrices for each thing that runs to one target do; None without matrices."""
    table = flow_table(measurements, runs)
    if table.empty:
        return None
    names = list(dict.fromkeys(table["series"]))
    kinds = [kind for kind in PANELS if (table["metric"] == kind).any()]
    limit = float(np.nanmax(table["value"].abs())) or 1.0
    with paper_style():
        figure, axes = plt.subplots(
            len(names), len(kinds), figsize=(TWO_COLUMNS, 0.5 + 1.7 * len(names)), squeeze=False
        )
        write_title(figure, titled(runs, "where do invariances end up?"))
        for (row, column), axis in np.ndenumerate(axes):
            name, kind = names[row], kinds[column]
            _matrix(axis, table[(table["series"] == name) & (table["metric"] == kind)], limit)
            axis.set_title(PANELS[kind] if row == 0 else "", fontsize=7.5)
            axis.set_ylabel("" if column else f"{name}\nblock i of the start")
            axis.set_xlabel("block j of the run" if row == len(names) - 1 else "")
        write_caption(figure, _caption(runs))
    return figure, table


def published_figure(
    published: pd.DataFrame, targets: Iterable[str] = ()
) -> tuple[Figure, pd.DataFrame]:
    """Draw the published flow matrices of these targets, to compare with the first column of ours.

    Those of CIFAR-10 where the paper has none of any target.
    """
    known = [name for name in targets if name in PUBLISHED and PUBLISHED[name].flow] or [FALLBACK]
    words = {
        figure: f"ViT-B/32, ImageNet to {PUBLISHED[name].words}, {does}"
        for name in known
        for figure, does in PUBLISHED[name].flow
    }
    rows = published[published["figure"].isin(list(words))]
    table = pd.DataFrame(
        {
            "series": rows["figure"],
            "reference_layer": rows["x"].astype(int),
            "layer": rows["y"].astype(int),
            "value": rows["value"],
            "beyond_zero": False,
        }
    )
    limit = float(table["value"].abs().max())
    with paper_style():
        figure, axes = plt.subplots(
            len(known), 2, figsize=(TWO_COLUMNS, 0.3 + 3.0 * len(known)), squeeze=False
        )
        write_title(figure, "Published: where do invariances end up?")
        for axis, (name, title) in zip(axes.flat, words.items(), strict=True):
            _matrix(axis, table[table["series"] == name], limit)
            axis.set(title=title, xlabel="block j, fine-tuned")
            # Long labels of squares beside bars of colours: the layout leaves them too little room.
            axis.set_ylabel("block i, pretrained", labelpad=0)
        write_caption(
            figure,
            "Published flow, arXiv 2307.06006, figures 4 and 10: positive above the diagonal is read "
            "there as expansion, below it as compression. It has no null, and its form of CKA is not "
            "known: see docs/invariances.md.",
        )
    return figure, table


def flow_table(measurements: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return means over runs of every cell, and whether all runs' intervals lie on one side of zero.

    Columns: series, metric, reference_layer (row i), layer (column j), value, beyond_zero, runs.
    """
    rows = at_end(drawn_rows(measurements, list(PANELS)), runs)
    keys = ["series", "metric", "reference_layer", "layer"]
    rows = rows.assign(above=rows["low"] > 0, below=rows["high"] < 0)
    table = rows.groupby(keys, as_index=False, sort=False).agg(
        value=("value", complete_mean),
        above=("above", "all"),
        below=("below", "all"),
        runs=("value", "size"),
    )
    table["beyond_zero"] = table["above"] | table["below"]
    return table[[*keys, "value", "beyond_zero", "runs"]]


def _matrix(axis: Axes, table: pd.DataFrame, limit: float) -> None:
    if table.empty:
        axis.text(
            0.5, 0.5, "the control itself", ha="center", transform=axis.transAxes, fontsize=7.5
        )
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
        return
    values, sure = (
        table.pivot(index="reference_layer", columns="layer", values=name)
        for name in ("value", "beyond_zero")
    )
    # In more blocks a number has no room at 7 points; a bar of colours stands in for them.
    few = len(values) <= NUMBERED
    written = values.map(lambda value: _cell(float(value)))
    look: dict[str, Any] = {"vmin": -limit, "vmax": limit, "cmap": COLOURS, "square": True}
    look |= {"annot": written, "annot_kws": {"fontsize": 7}} if few else {}
    bar = {"cbar": not few, "cbar_kws": {"shrink": 0.6}}
    sns.heatmap(values.astype(float), fmt="", ax=axis, **look, **bar)
    # Cells without a value are not drawn: the hatched background shows through.
    axis.patch.set(**HATCH)
    drawn = values.notna().to_numpy()
    if not few:
        return _dots(axis, sure.to_numpy(bool) & drawn)
    for text, bold in zip(axis.texts, sure.to_numpy()[drawn], strict=True):
        text.set_fontweight("bold" if bold else "normal")
    axis.tick_params(length=0, rotation=0)
    axis.grid(visible=False)


def _dots(axis: Axes, sure: npt.NDArray[np.bool_]) -> None:
    """Mark cells that have no room for a bold number."""
    rows, columns = np.nonzero(sure)
    axis.plot(columns + 0.5, rows + 0.5, ".", color="black", markersize=2.5)
    axis.tick_params(length=0, rotation=0)
    axis.grid(visible=False)


def _cell(value: float) -> str:
    """Return a value as it stands in its cell: `+.12`, `0`."""
    return f"{value:+.2f}".replace("0.", ".", 1) if round(value, 2) else "0"


def _caption(runs: pd.DataFrame) -> str:
    return (
        f"{sample_words(runs)}; means over networks, debiased CKA. Bold, or a dot: the 95% interval over images leaves out zero "
        "in every network. Excess compression: what the start ignores only from block i on, the run "
        "ignores at the earlier block j already, more than the start did. Beyond a control: less the "
        "same number of the start with its blocks from some block on replaced by unrelated ones, the "
        "strictest of all such. Hatched: not identifiable, or not measured."
    )
