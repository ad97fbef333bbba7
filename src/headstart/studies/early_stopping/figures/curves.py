"""Accuracy on the target while it trains: transferred against from scratch."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from headstart.figures.labels import (
    caption,
    label_edge,
    panel_heading,
    within_percent,
    write_caption,
)
from headstart.figures.style import BLUE, DARK_ORANGE, GREY, paper_style
from headstart.studies.early_stopping.figures.prepare import (
    PANEL,
    PERCENT,
    RUN,
    at_source_best,
    common_epochs,
    mean_over_seeds,
    source_history,
    tuned_runs,
)


def curves_figure(
    measurements: pd.DataFrame, curves: pd.DataFrame, model: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw figure (b) for one model: validation accuracy while the target trains, three starts compared."""
    runs, history = tuned_runs(measurements, model), source_history(measurements, model)
    table = curve_table(runs, history, curves, model, confidence)
    panels = list(
        table[["target", "arm", "mode", "shots"]]
        .drop_duplicates()
        .itertuples(index=False, name=None)
    )
    with paper_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(0.6 + 2.9 * len(panels), 2.9), squeeze=False
        )
        for index, (axis, panel) in enumerate(zip(axes[0], panels, strict=True)):
            part = table[(table[["target", "arm", "mode", "shots"]] == list(panel)).all(axis=1)]
            _curve_panel(axis, part)
            axis.set_title(panel_heading(*panel))
            axis.set_xlabel("target epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_ylabel("target validation accuracy (%)" if index == 0 else "")
        write_caption(figure, caption(runs, confidence))
    return figure, table


def curve_table(
    runs: pd.DataFrame, history: pd.DataFrame, curves: pd.DataFrame, model: str, confidence: float
) -> pd.DataFrame:
    """Return mean curves from scratch, from source-best, and from the epoch that target validation likes best."""
    wanted = curves[
        (curves["model"] == model)
        & (curves["metric"] == "accuracy")
        & (curves["split"] == "validation")
    ]
    wanted = wanted.assign(value=wanted["value"] * PERCENT)
    shared = common_epochs(runs)
    by_epoch = shared.groupby([*PANEL, "source_epoch"])["validation"].mean().reset_index()
    favourite = by_epoch.sort_values("validation", ascending=False, kind="stable").drop_duplicates(
        PANEL
    )
    starts = {
        "scratch": runs[runs["source_epoch"] == 0],
        "source-best": at_source_best(runs, history),
        "favourite": runs.merge(favourite[[*PANEL, "source_epoch"]], on=[*PANEL, "source_epoch"]),
    }
    parts = []
    for name, chosen in starts.items():
        rows = wanted.merge(chosen[PANEL + RUN], on=PANEL + RUN)
        if rows.empty:
            continue
        means = mean_over_seeds(rows, [*PANEL, "target_epoch"], "value", confidence)
        epoch = chosen.groupby(PANEL, as_index=False)["source_epoch"].mean()
        parts.append(means.merge(epoch, on=PANEL).assign(start=name))
    return pd.concat(parts, ignore_index=True)


def _curve_panel(axis: Axes, table: pd.DataFrame) -> None:
    looks = {"scratch": (GREY, "--"), "source-best": (DARK_ORANGE, "-."), "favourite": (BLUE, "-")}
    for start, part in table.groupby("start", sort=False):
        colour, style = looks[str(start)]
        x = part["target_epoch"].astype(float)
        axis.plot(x, part["mean"], style, color=colour)
        axis.fill_between(x, part["low"], part["high"], color=colour, alpha=0.2, linewidth=0)
    within_percent(axis)
    last = table[table["target_epoch"] == table["target_epoch"].max()]
    names = {"scratch": "scratch", "source-best": "source-best"}
    labels = [
        (mean, names.get(start, f"from epoch {epoch:.0f}"), looks[start][0])
        for mean, start, epoch in zip(
            last["mean"], last["start"], last["source_epoch"], strict=True
        )
    ]
    label_edge(axis, labels, lines=1)
