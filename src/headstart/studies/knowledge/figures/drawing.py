"""How networks look in all figures, curves with their bands, and one image with its players."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from headstart.figures.labels import question
from headstart.figures.style import BLUE, GREEN, ORANGE, VERMILION
from headstart.studies.knowledge.tables import Comparison

COLOURS = {"probe": BLUE, "finetuned": GREEN, "scratch": VERMILION}
# Green and vermilion are one grey in print: lines and markers tell them apart.
MARKERS = {"probe": "s", "finetuned": "o", "scratch": "D"}
DASHES: dict[str, tuple[float, ...]] = {
    "probe": (4, 1.2, 1, 1.2),
    "finetuned": (),
    "scratch": (4, 1.2),
}
VARIANTS = {"walsh": "Walsh coefficients", "normalised": "AND interactions"}


def titled(comparison: Comparison, words: str) -> str:
    """Return the title of a figure of one comparison."""
    return question(comparison.source, [comparison.target], comparison.model, words)


def draw_lines(axis: Axes, table: pd.DataFrame, **look: Any) -> None:
    """Draw curves of the tables' own means, without a legend unless `look` asks for one."""
    sns.lineplot(table, ax=axis, **{"y": "value", "errorbar": None, "legend": False, **look})


def draw_bands(
    axis: Axes, table: pd.DataFrame, x: str, colours: Mapping[str, str], of: str, prefix: str = ""
) -> None:
    """Draw a band between the columns `low` and `high`, one for each value of the column `of`."""
    for name, rows in table.sort_values(x).groupby(of):
        between = rows[x].to_numpy(float), rows[f"{prefix}low"], rows[f"{prefix}high"]
        axis.fill_between(*between, color=colours[str(name)], alpha=0.17, linewidth=0)


def write(axis: Axes, text: str, x: float, y: float, **look: Any) -> None:
    """Write into a corner of an axis."""
    look = {"fontsize": 7, "transform": axis.transAxes, **look}
    look |= {"ha": "right" if x > 0.5 else "left", "va": "top" if y > 0.5 else "bottom"}
    axis.text(x, y, text, **look)


PARTS = {"preserved": BLUE, "discarded": ORANGE, "new": VERMILION}
SHOWN = 2
"""So many interactions of each part are drawn."""


def draw_example(
    figure: Figure, place: SubplotSpec, pixels: pd.DataFrame, strongest: pd.DataFrame
) -> None:
    """Draw an image and, beside it, the players of its strongest interactions in each part."""
    image, players = _image(pixels)
    inner = place.subgridspec(1, 1 + SHOWN * len(PARTS), wspace=0.08)
    whole = figure.add_subplot(inner[0, 0])
    _show(whole, image)
    label = str(strongest["label"].iloc[0]) if len(strongest) else ""
    whole.set_title(f"“{label}”" if label else "image", loc="center", fontsize=7.5)
    _outline(whole, players)
    rows = {(row["part"], row["rank"]): row for row in strongest.to_dict("records")}
    for index, (part, rank) in enumerate((p, r + 1) for p in PARTS for r in range(SHOWN)):
        if (part, rank) not in rows:
            continue
        row, axis = rows[part, rank], figure.add_subplot(inner[0, 1 + index])
        kept = np.isin(players, [int(number) for number in str(row["players"]).split()])
        _show(axis, np.where(kept[..., None], image, 0.25 * image + 0.6))
        for spine in axis.spines.values():
            spine.set(visible=True, color=PARTS[part], linewidth=2.2)
        words = f"{part}\n{row['value']:+.2f}, order {row['order']}".replace("-", "−")
        axis.set_title(words, loc="center", fontsize=7)


def _image(pixels: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the image [height, width, 3] between 0 and 1, and the player of each pixel."""
    channels = sorted(name for name in pixels.columns if name.startswith("channel_"))
    channels = [name for name in channels if pixels[name].notna().all()]
    table = {
        n: pixels.pivot(index="row", columns="column", values=n) for n in ("player", *channels)
    }
    planes = [table[name].to_numpy(float) / 255 for name in channels]
    image = np.stack(planes if len(planes) == 3 else planes[:1] * 3, axis=-1)
    return image, table["player"].to_numpy(int)


def _show(axis: Axes, image: np.ndarray) -> None:
    axis.imshow(image, vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)


def _outline(axis: Axes, players: np.ndarray) -> None:
    """Draw the borders between players."""
    look: dict[str, Any] = {"color": ORANGE, "linewidth": 0.7}
    rows, columns = np.nonzero(np.diff(players, axis=1))
    axis.vlines(columns + 0.5, rows - 0.5, rows + 0.5, **look)
    rows, columns = np.nonzero(np.diff(players, axis=0))
    axis.hlines(rows + 0.5, columns - 0.5, columns + 0.5, **look)
