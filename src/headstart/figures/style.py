"""One look for all figures: readable in grey, safe for colour-blind readers, the same bytes each time.

The theme starts from matplotlib's own defaults, so a user's `matplotlibrc` changes nothing that is drawn.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import pandas as pd
from cycler import cycler
from matplotlib import pyplot
from matplotlib.figure import Figure

from headstart.figures import page

# A `matplotlibrc` may name a backend that needs a screen. A notebook's kernel sets its own.
if not os.environ.get("MPLBACKEND"):
    mpl.use("agg")

# Okabe & Ito's colours, told apart with any colour vision. On a grey printer blue is grey, and vermilion,
# green and purple are one: colours of a panel that are so close differ in marker or line style, too.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#6E6E6E",
)
DARK_ORANGE = "#A86F00"
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE)
MARKERS = ("o", "s", "^", "D", "v")
# Without dates, for two runs shall write the same bytes; and under which keys title and caption stand.
METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": "headstart"},
    "pdf": {"CreationDate": None, "ModDate": None}
    | dict.fromkeys(("Creator", "Producer"), "headstart"),
    "svg": {"Date": None, "Creator": "headstart"},
}
CAPTION = {"png": "Description", "pdf": "Subject", "svg": "Description"}
ONE_COLUMN, TWO_COLUMNS = 3.35, 6.9
"""Widths of figures in a journal, in inches; no text in them is smaller than 7 points."""

SETTINGS: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=CYCLE),
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    # Without a fixed salt and date, two runs would write different bytes.
    "svg.hashsalt": "headstart",
}
THEME: list[Any] = ["default", SETTINGS]


def use_theme() -> None:
    """Draw with the settings of all figures from now on; every notebook begins with this."""
    mpl.style.use(THEME)


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw with the settings of all figures, and with no others."""
    with mpl.style.context(THEME):
        yield


def save(figure: Figure, name: str, table: pd.DataFrame, folder: Path, dots_per_inch: int) -> None:
    """Write a figure as PDF, SVG and PNG, and the table that it draws beside it as CSV.

    Title and caption stand in the metadata. In a notebook the PNG is shown, with its caption.
    """
    save_table(table, name, folder)
    said = {"Title": figure.get_suptitle(), "caption": str(figure.get_label())}
    with paper_style():
        if words := os.environ.get("HEADSTART_MARK"):
            mark: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 15}
            figure.text(0.5, 0.5, words, color=VERMILION, alpha=0.35, fontsize=16, **mark)
        for kind, about in METADATA.items():
            mine = about | {"Title": said["Title"], CAPTION[kind]: said["caption"]}
            figure.savefig(folder / f"{name}.{kind}", dpi=dots_per_inch, metadata=mine)
            # Where things lie was solved for the first format; solving it again takes as long as drawing.
            figure.set_layout_engine("none")
    _show(folder / f"{name}.png")
    pyplot.close(figure)


def _show(path: Path) -> None:
    """Show a PNG in the notebook that runs this, if one does."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return
    png = base64.b64encode(path.read_bytes()).decode()
    shown = {
        "text/html": page.picture(path, headed=True),
        "image/png": png,
        "text/plain": path.stem,
    }
    sys.modules["IPython.display"].display(shown, raw=True)


def save_table(table: pd.DataFrame, name: str, folder: Path) -> None:
    """Write a table as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
