"""How the networks of a comparison look in all figures, and bands from the tables' own intervals."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from headstart.figures.style import BLUE, GREEN, VERMILION

COLOURS = {"probe": BLUE, "finetuned": GREEN, "scratch": VERMILION}
# Green and vermilion are one grey in print: lines and markers tell them apart.
MARKERS = {"probe": "s", "finetuned": "o", "scratch": "D"}
DASHES: dict[str, tuple[float, ...]] = {
    "probe": (4, 1.2, 1, 1.2),
    "finetuned": (),
    "scratch": (4, 1.2),
}


def draw_bands(
    axis: Axes, table: pd.DataFrame, x: str, colours: Mapping[str, str], of: str, prefix: str = ""
) -> None:
    """Draw a band between the columns `low` and `high`, one for each value of the column `of`."""
    for name, rows in table.sort_values(x).groupby(of):
        axis.fill_between(
            rows[x].to_numpy(float),
            rows[f"{prefix}low"],
            rows[f"{prefix}high"],
            color=colours[str(name)],
            alpha=0.17,
            linewidth=0,
        )
