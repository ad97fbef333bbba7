"""Verdicts for a person: as a table, as sentences, and as figures of the gain over the source-best start."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from headstart.figures.facets import DASHED, epoch_scale, mean_line, panel_figure, with_bars
from headstart.figures.labels import panel_heading, question, sample_size, shots_words
from headstart.figures.style import BLUE, GREY, ORANGE
from headstart.statistics.errors import UndecidableError
from headstart.statistics.words import format_interval
from headstart.studies.early_stopping.figures.prepare import CONTRAST, PANEL, PERCENT, by_number
from headstart.studies.early_stopping.verdicts.bands import simultaneous_bands
from headstart.studies.early_stopping.verdicts.comparable import comparable
from headstart.studies.early_stopping.verdicts.run_tables import arms_as_modes
from headstart.studies.early_stopping.verdicts.selection import at_learning_rate, tune_learning_rate
from headstart.studies.early_stopping.verdicts.text import of_nothing, rate_words
from headstart.studies.early_stopping.verdicts.verdicts import verdict_words

WIDTH = 100
Array = npt.NDArray[np.float64]
EFFECT = ["effect", "interval_low", "interval_high"]
RATE = ["question", "learning_rate"]


def summary(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return one row of text per verdict: effect, interval and detectable gain in points, corrected p, n, epoch."""
    sizes = zip(verdicts["n_seeds"], verdicts["n_draws"], strict=True)
    effects = [format_interval(*row, signed=True) for row in verdicts[EFFECT].to_numpy(float)]
    effects_and_intervals = [text.partition(" ") for text in effects]
    return pd.DataFrame(
        {
            "": ["primary" if first else "" for first in verdicts["primary"]],
            **{name: verdicts[name].tolist() for name in CONTRAST},
            "rate": [rate_words(*row) for row in verdicts[RATE].itertuples(index=False)],
            "verdict": [_named(row) for row in verdicts.to_dict("records")],
            "effect": [effect for effect, *_ in effects_and_intervals],
            "interval": [interval or "–" for *_, interval in effects_and_intervals],
            "detectable": [f"{d:.1f}" if np.isfinite(d) else "–" for d in verdicts["detectable"]],
            "p": [f"{p:.3g}" if np.isfinite(p) else "–" for p in verdicts["p_adjusted"]],
            "n": [f"{seeds} × {draws}" for seeds, draws in sizes],
            "epoch": ["–" if pd.isna(e) else str(e) for e in verdicts["chosen_epoch"]],
            "beware": verdicts["flags"].replace("", "–").tolist(),
        }
    )


def _named(row: Mapping[Any, Any]) -> str:
    return verdict_words(row["verdict"], row.get("one_network", False))


def sentence(row: Mapping[Any, Any]) -> str:
    """Return one verdict as a sentence with effect, interval and n, then its reason."""
    words = f"{row['source']} to {row['target']}, {row['model']}, {row['arm']}, {shots_words(row['shots'])}"
    words += f", {_rates(row)}: {_named(row)}"
    if np.isfinite(row["effect"]):
        effect = format_interval(*(row[name] for name in EFFECT), signed=True, unit="points")
        words += f", {effect} from epoch {row['chosen_epoch']}"
    size = sample_size(row["n_seeds"], row["n_draws"])
    first = "Primary contrast. " if row["primary"] else ""
    beware = "".join(f" Beware: {flag}." for flag in of_nothing(str(row.get("flags", ""))))
    return f"{first}{words} ({size}). {row['reason']}{beware}"


def reasons(verdicts: pd.DataFrame) -> str:
    """Return the reason of every verdict, with what to beware of, as wrapped text."""
    lines = []
    for row in verdicts.to_dict("records"):
        name = ", ".join(str(row[column]) for column in CONTRAST)
        words = f"{name} shots, {_rates(row)}: {row['verdict']}. {row['reason']}"
        lines += textwrap.wrap(words, WIDTH, break_on_hyphens=False)
        for flag in filter(None, str(row["flags"]).split("; ")):
            lines += textwrap.wrap(
                f"- {flag}", WIDTH, initial_indent="  ", subsequent_indent="    "
            )
        lines.append("")
    return "\n".join(lines) or "No contrast was run."


def _rates(row: Mapping[Any, Any]) -> str:
    rate = rate_words(row["question"], row["learning_rate"])
    return "tuned rates" if rate == "tuned" else f"rate {rate}"


def _fixed_rate(verdict: pd.Series) -> float | None:
    rate = float(verdict["learning_rate"])
    return rate if verdict["question"] == "fixed" and np.isfinite(rate) else None


def gains_figure(
    measurements: pd.DataFrame, verdicts: pd.DataFrame, model: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw the gain of every start over source-best for one model, with the verdict of each panel."""
    mine = verdicts[verdicts["model"] == model]
    mine = mine.assign(later=~mine["primary"], number=mine["shots"].map(by_number))
    mine = mine.sort_values(["later", "target", "arm", "number"], kind="stable")
    panels, drawn = [], []
    for _, verdict in mine.iterrows():
        contrast = {name: str(verdict[name]) for name in CONTRAST}
        table = gain_table(measurements, contrast, confidence, _fixed_rate(verdict))
        drawn.append(table.assign(question=verdict["question"], verdict=verdict["verdict"]))
        title = panel_heading(*verdict[PANEL].astype(str), _rates(verdict.to_dict()))
        panels.append((title + ("*" if verdict["primary"] else ""), (table, verdict)))
    axes = {"x": "source epoch", "y": "gain over source-best (points)"}
    title = question(
        str(mine["source"].iloc[0]), mine["target"], model, "gain of each start over source-best"
    )
    figure = panel_figure(panels, _panel, title, _caption(mine, confidence), **axes)
    return figure, pd.concat(drawn, ignore_index=True)


def gain_table(
    measurements: pd.DataFrame, contrast: Mapping[str, str], confidence: float, fixed: float | None
) -> pd.DataFrame:
    """Return the mean gain over source-best by source epoch, with simultaneous bands, in points.

    All starts have the rate `fixed`, or where that is None each its own, chosen on validation; draws are
    averaged within a source network. Epoch 0 is training from scratch, `scratch` repeats its mean in every
    row. Empty where the runs allow no comparison.
    """
    named = {"mode" if name == "arm" else name: value for name, value in contrast.items()}
    columns = [*CONTRAST, "source_epoch", "mean", "low", "high", "scratch", "seeds"]
    try:
        runs = comparable(arms_as_modes(measurements), named, fixed)
    except UndecidableError:
        return pd.DataFrame(columns=columns)
    runs = runs if fixed is None else runs.at_fixed_rate()
    test = at_learning_rate(runs.test, tune_learning_rate(runs.validation)) * PERCENT
    later = runs.epochs >= runs.first_start
    if not later.any():
        return pd.DataFrame(columns=columns)
    gaps = runs.by_unit(np.moveaxis((test[:-1] - test[-1])[later], 0, 1))
    mean, low, high = simultaneous_bands(gaps, confidence)
    values = {"source_epoch": runs.epochs[later], "mean": mean, "low": low, "high": high}
    values["scratch"] = np.full(len(mean), _over_best(test, ~later))
    return pd.DataFrame({**values, **contrast, "seeds": len(runs.seeds)})[columns]


def _over_best(test: Array, scratch: npt.NDArray[np.bool_]) -> float:
    """Return the mean of training from scratch over source-best; NaN where nothing was."""
    return float((test[:-1] - test[-1])[scratch].mean()) if scratch.any() else float("nan")


def _panel(axis: Axes, panel: tuple[pd.DataFrame, pd.Series]) -> None:
    """Draw gains under the verdict on them, or the reason why there are none."""
    table, verdict = panel
    effect = format_interval(*verdict[EFFECT].astype(float), signed=True).replace("-", "−")
    fixed = "fixed" in verdict["hypothesis"]
    words = str(verdict["verdict"])
    if np.isfinite(verdict["effect"]):
        words += f"\n{effect}" + (" at one rate" if fixed else "")
    axis.set_title(axis.get_title(loc="left"), pad=26)
    at: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    line = axis.annotate(words, (0, 1), xytext=(0, 5), color=GREY, fontsize=7.5, **at)
    line.set_in_layout(False)
    if table.empty:
        reason = textwrap.fill(str(verdict["reason"]), 36)
        axis.text(0.02, 0.98, reason, va="top", fontsize=7, transform=axis.transAxes)
        axis.set(xticks=[], yticks=[])
        return
    x = epoch_scale(axis, table["source_epoch"])(table["source_epoch"])
    margin = float(verdict["margin"])
    axis.axhspan(-margin, margin, color="#EDEDED", zorder=0)
    axis.axhline(0, color=ORANGE, linestyle=":", linewidth=1.3, zorder=1)
    if len(table) > 1:
        mean_line(axis, x, table, BLUE, marker="o", markersize=4)
    else:  # A band of no width would not be seen.
        with_bars(axis, x, table, "mean", fmt="o", markersize=4, color=BLUE)
    chosen = table["source_epoch"] == verdict["chosen_epoch"]
    if not fixed:
        axis.plot(x[chosen], table["mean"][chosen], "o", markersize=9, mfc="none", color=BLUE)
    if not np.isnan(table["scratch"].iloc[0]):
        axis.axhline(
            table["scratch"].iloc[0], color=GREY, linestyle=DASHED, linewidth=1.1, zorder=1
        )
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, -2 * margin), max(high, 2 * margin))
    signed = FuncFormatter(lambda y, _: f"{y:+g}".replace("-", "−") if y else "0")
    axis.yaxis.set_major_formatter(signed)


def _caption(verdicts: pd.DataFrame, confidence: float) -> str:
    seeds = int(verdicts["n_seeds"].max())
    band = f"Band or bar: {confidence:.0%}, simultaneous over the epochs of a panel."
    star = " Star: the contrast chosen before looking." if verdicts["primary"].any() else ""
    return (
        f"{sample_size(seeds, int(verdicts['n_draws'].max()))}; learning rate of a tuned start chosen on validation images. "
        f"{band if seeds > 1 else 'No band: one network has no spread.'} "
        "Ring: the epoch that the verdict speaks of, chosen on validation images; in the verdict a network whose "
        "source-best epoch comes before that of an earlier start gains 0. "
        f"Grey band: the margin of equivalence, ±{verdicts['margin'].max():g}; dashed: training from scratch.{star}"
    )
