"""The gain over the source-best start against the source epoch: what the verdicts are about."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from headstart.figures.facets import facets, mean_line
from headstart.figures.labels import panel_heading, sample_size, spaced, write_caption
from headstart.figures.style import BLUE, GREY, ORANGE, paper_style
from headstart.statistics.errors import UndecidableError
from headstart.statistics.words import format_interval
from headstart.studies.early_stopping.figures.prepare import PERCENT, by_number
from headstart.studies.early_stopping.verdicts.accuracies import accuracy_tensors
from headstart.studies.early_stopping.verdicts.bands import simultaneous_bands
from headstart.studies.early_stopping.verdicts.run_tables import arms_as_modes
from headstart.studies.early_stopping.verdicts.selection import at_learning_rate, tune_learning_rate

CONTRAST = ["source", "model", "target", "arm", "shots"]
LINEAR_UP_TO = 2.0
TICKS = (-50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50)


def gains_figure(
    measurements: pd.DataFrame, verdicts: pd.DataFrame, model: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw the gain of every start over source-best for one model, with the verdict of each panel."""
    mine = verdicts[verdicts["model"] == model]
    mine = mine.assign(later=~mine["primary"], number=mine["shots"].map(by_number))
    mine = mine.sort_values(["later", "target", "arm", "number"])
    drawn = []
    with paper_style():
        figure, axes = facets(len(mine), x="source epoch", y="gain over source-best (points)")
        for axis, (_, verdict) in zip(axes.flat, mine.iterrows(), strict=True):
            contrast = {name: str(verdict[name]) for name in CONTRAST}
            table = gain_table(measurements, contrast, confidence)
            _title(axis, verdict)
            if table.empty:
                reason = textwrap.fill(str(verdict["reason"]), 36)
                axis.text(0.02, 0.98, reason, va="top", fontsize=7, transform=axis.transAxes)
                axis.set(xticks=[], yticks=[])
            else:
                _panel(axis, table, verdict)
            drawn.append(table.assign(verdict=verdict["verdict"]))
        write_caption(figure, _caption(mine, confidence))
    return figure, pd.concat(drawn, ignore_index=True)


def gain_table(
    measurements: pd.DataFrame, contrast: Mapping[str, str], confidence: float
) -> pd.DataFrame:
    """Return the mean gain over source-best by source epoch, with simultaneous bands, in points.

    Every start has its own learning rate, chosen on validation; draws are averaged within a source
    network. Epoch 0, training from scratch, is left out. Empty where the runs allow no comparison.
    """
    named = {"mode" if name == "arm" else name: value for name, value in contrast.items()}
    columns = [*CONTRAST, "source_epoch", "mean", "low", "high", "seeds"]
    try:
        runs = accuracy_tensors(arms_as_modes(measurements), named)
    except UndecidableError:
        return pd.DataFrame(columns=columns)
    rates = tune_learning_rate(runs.validation)
    test = at_learning_rate(runs.test, rates).mean(axis=2) * PERCENT
    later = runs.epochs > 0
    if not later.any():
        return pd.DataFrame(columns=columns)
    mean, low, high = simultaneous_bands((test[:-1] - test[-1])[later].T, confidence)
    values = {"source_epoch": runs.epochs[later], "mean": mean, "low": low, "high": high}
    return pd.DataFrame({**values, **contrast, "seeds": len(runs.seeds)})[columns]


def verdict_words(verdict: pd.Series) -> str:
    """Return verdict, effect and interval in the few words that fit above a panel."""
    words = str(verdict["verdict"])
    if np.isfinite(verdict["effect"]):
        numbers = (float(verdict[n]) for n in ("effect", "interval_low", "interval_high"))
        words += f": {format_interval(*numbers, signed=True)}".replace("-", "−")
    return words + (" at one rate" if "fixed" in verdict["hypothesis"] else "")


def _title(axis: Axes, verdict: pd.Series) -> None:
    title = panel_heading(*(str(verdict[name]) for name in ("target", "arm", "mode", "shots")))
    axis.set_title(title + ("*" if verdict["primary"] else ""), pad=16)
    at: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "fontsize": 7.5,
    }
    words = axis.annotate(verdict_words(verdict), (0, 1), xytext=(0, 5), color=GREY, **at)
    words.set_in_layout(False)


def _panel(axis: Axes, table: pd.DataFrame, verdict: pd.Series) -> None:
    margin = float(verdict["margin"])
    x = pd.Series(np.log2(table["source_epoch"].to_numpy(float)))
    axis.axhspan(-margin, margin, color="#EDEDED", zorder=0)
    axis.axhline(0, color=ORANGE, linestyle=":", linewidth=1.3, zorder=1)
    mean_line(axis, x, table, BLUE, marker="o", markersize=4)
    chosen = table["source_epoch"] == verdict["chosen_epoch"]
    if chosen.any() and "fixed" not in verdict["hypothesis"]:
        axis.plot(
            x[chosen.to_numpy()], table["mean"][chosen], "o", markersize=9, mfc="none", color=BLUE
        )
    # Starts that are tens of points worse would flatten the few points that matter.
    axis.set_yscale("symlog", linthresh=LINEAR_UP_TO, linscale=1.2)
    low, high = np.nanmin(table[["mean", "low"]]), np.nanmax(table[["mean", "high"]])
    axis.set_ylim(min(1.25 * low, -LINEAR_UP_TO), max(1.25 * high, LINEAR_UP_TO))
    axis.yaxis.set_major_locator(FixedLocator(TICKS))
    axis.yaxis.set_minor_locator(NullLocator())
    signed = FuncFormatter(lambda y, _: f"{y:+g}".replace("-", "−") if y else "0")
    axis.yaxis.set_major_formatter(signed)
    kept = spaced(x.tolist(), 0.5)
    axis.set_xticks(x.iloc[kept], [str(table["source_epoch"].iloc[i]) for i in kept])


def _caption(verdicts: pd.DataFrame, confidence: float) -> str:
    seeds = int(verdicts["n_seeds"].max())
    band = f"Band: {confidence:.0%}, simultaneous over the epochs of a panel."
    star = " Star: the contrast chosen before looking." if verdicts["primary"].any() else ""
    return (
        f"{sample_size(seeds, int(verdicts['n_draws'].max()))}; learning rate of every start chosen on validation images. "
        f"{band if seeds > 1 else 'No band: one network has no spread.'} "
        "Ring: the epoch that the verdict speaks of, chosen on validation images. "
        f"Grey: the margin of equivalence, ±{verdicts['margin'].max():g}.{star} Linear up to ±{LINEAR_UP_TO:g} points, then logarithmic."
    )
