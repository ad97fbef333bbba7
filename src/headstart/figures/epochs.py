"""The axis of source epochs that all figures over source epochs share."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from headstart.figures.labels import spaced


def position(epochs: pd.Series) -> pd.Series:
    """Return where an epoch stands on the axis: 0 apart, then powers of two at equal distances."""
    return np.log2(epochs.clip(lower=0.5)) + 1.0


def epoch_axis(axes: np.ndarray, epochs: list[int]) -> None:
    """Put ticks at these epochs, ascending, where they do not stand on each other."""
    positions = position(pd.Series(epochs, dtype=float))
    kept = spaced(positions.tolist(), 0.35)
    names = {float(positions[i]): str(epochs[i]) for i in kept}
    for axis in axes.flat:
        axis.xaxis.set_major_locator(FixedLocator(list(names)))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: names.get(float(x), "")))
