"""The axis of source epochs that all figures over source epochs share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from headstart.figures.labels import spaced


def position(epochs: pd.Series) -> pd.Series:
    """Return where an epoch stands on the axis: 0 apart, then powers of two at equal distances."""
    return np.log2(epochs.clip(lower=0.5)) + 1.0


def epoch_axis(axes: np.ndarray, epochs: list[int]) -> None:
    """Put ticks at these epochs, ascending, where they do not stand on each other; none without epochs."""
    if not epochs:
        return
    positions = position(pd.Series(epochs, dtype=float))
    # Numbers of three digits need an eighth of a panel each.
    kept = spaced(positions.tolist(), max(0.35, 0.13 * float(positions.iloc[-1])))
    names = {float(positions[i]): str(epochs[i]) for i in kept}
    for axis in axes.flat:
        axis.xaxis.set_major_locator(FixedLocator(list(names)))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: names.get(float(x), "")))


@dataclass(frozen=True)
class Scale:
    """The epochs' axis of one panel: powers of two at equal distances, or plain epochs."""

    even: bool

    def position(self, epochs: pd.Series) -> pd.Series:
        """Return where epochs stand on the axis."""
        numbers = epochs.astype(float)
        return numbers if self.even else position(numbers)

    def ticks(self, axis: Axes, epochs: pd.Series) -> None:
        """Put ticks at these epochs where there is room; plain epochs have matplotlib's own."""
        if not self.even:
            epoch_axis(np.array([axis]), sorted(epochs.astype(int).unique()))


def scale_of(epochs: pd.Series) -> Scale:
    """Return the scale for these epochs: plain where they are many and evenly spaced, as published."""
    steps = np.diff(np.unique(epochs.astype(float)))
    return Scale(even=len(steps) > 5 and bool(np.allclose(steps, steps[0])))
