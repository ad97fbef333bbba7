"""How much of the preserved knowledge training from scratch finds too: against chance, and with accuracy."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import facets, with_bars
from headstart.figures.labels import write_caption, write_title
from headstart.figures.style import BLUE, GREY, TWO_COLUMNS, paper_style
from headstart.statistics.measurements import MEASURED, select
from headstart.studies.knowledge.claims import PUBLISHED
from headstart.studies.knowledge.figures.drawing import COLOURS, MARKERS, VARIANTS
from headstart.studies.knowledge.tables import (
    PERCENT,
    ROLES,
    Comparison,
    comparisons,
    headline_of,
    init_epochs,
    of,
    sample_size,
)

NULLS = {
    "null_permuted": ("-", "null: permuted within orders"),
    "null_other_image": (":", "null: other image"),
    "null_random_backbone": ("--", "null: random backbone with a trained probe"),
}
CEILINGS = {
    "ceiling_second_run": ("^", "ceiling: second fine-tuning run"),
    "ceiling_other_source": ("v", "ceiling: other source network"),
}
NUMBERS = ["value", "low", "high"]


def exclusivity_figure(
    measurements: pd.DataFrame, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw the exclusivity ratio of all comparisons, and below it the accuracies; return what is drawn."""
    ratios, accuracies = ratio_table(measurements), accuracy_table(measurements)
    names = list(comparisons(ratios))
    with paper_style():
        figure, axes = facets(
            len(names),
            rows=2,
            height=2.0,
            sharex="col",
            sharey="row",
            height_ratios=[1.5, 1],
        )
        figure.set_size_inches(TWO_COLUMNS, 5.4)
        write_title(
            figure, "How much of the preserved knowledge does training from scratch find too?"
        )
        for (upper, lower), name in zip(axes.T, names, strict=True):
            places = {each: i for i, each in enumerate(init_epochs(of(measurements, name)))}
            _draw_ratios(upper, of(ratios, name), places)
            _draw_accuracies(lower, of(accuracies, name), places)
            upper.set(title=name.title, xlabel="", ylabel="")
            lower.set(xlabel="fine-tuned from source epoch", ylabel="")
        axes[0, 0].set_ylabel("% of preserved strength\nthat scratch has too")
        axes[1, 0].set_ylabel("test accuracy (%)")
        highest = ratios[["value", "high"]].max().max()
        axes[0, 0].set_ylim(0, 1.1 * max(highest, PUBLISHED[1]))
        entries = [axis.get_legend_handles_labels() for axis in axes[:, 0]]
        handles, labels = ([*upper, *lower] for upper, lower in zip(*entries, strict=True))
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7)
        write_caption(
            figure,
            f"{sample_size(ratios, measurements)}; {VARIANTS[headline_of(measurements)]}, normalised; error bars, and bands around the lines of the "
            f"nulls: {confidence:.0%} bootstrap intervals over both. A ratio means something only above "
            "its nulls. Accuracy at the epoch that validation "
            "chose, a mark per source network. Wide pale band: the published 13 to 45 %, from other networks "
            "and data.",
        )
    return figure, pd.concat([ratios, accuracies], ignore_index=True)


def ratio_table(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the ratio of all source epochs in percent: measured, under nulls and at ceilings."""
    rows = select(
        measurements,
        metric="exclusivity",
        variant=headline_of(measurements),
        subset="all",
        order=None,
        seed=None,
        condition=[MEASURED, *NULLS, *CEILINGS],
    )
    columns = [*Comparison._fields, "init_epoch", "metric", "condition", *NUMBERS]
    table = rows[[*columns, "n", "networks", "undefined"]].copy()
    table[NUMBERS] *= PERCENT
    return table


def accuracy_table(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return test accuracies in percent at the epoch that validation chose, a row per network."""
    rows = select(measurements, metric="accuracy_at_validation_best", role=list(COLOURS))
    rows = rows[rows["seed"].notna()]
    columns = [*Comparison._fields, "role", "init_epoch", "seed", "metric", "value"]
    return rows[columns].assign(value=rows["value"] * PERCENT)


def _draw_ratios(axis: Axes, table: pd.DataFrame, places: dict[str, int]) -> None:
    axis.axhspan(*PUBLISHED, color="#EFEFEF", zorder=0)
    table = table[table["value"].notna()].assign(x=table["init_epoch"].map(places).astype(float))
    measured = select(table, condition=MEASURED)
    axis.bar(measured["x"] - 0.16, measured["value"], 0.42, color=BLUE, alpha=0.85, label=MEASURED)
    _draw_intervals(axis, measured, -0.16, "none", None)
    for condition, (style, label) in NULLS.items():
        _draw_null(axis, select(table, condition=condition), style, label)
    for index, (condition, (marker, label)) in enumerate(CEILINGS.items()):
        rows = select(table, condition=condition)
        _draw_intervals(axis, rows, 0.2 + 0.12 * index, marker, label)
    axis.grid(axis="x", visible=False)


def _draw_intervals(
    axis: Axes, rows: pd.DataFrame, shift: float, marker: str, label: str | None
) -> None:
    look = {"color": "black", "markersize": 6, "markerfacecolor": "white", "markeredgewidth": 1.3}
    with_bars(axis, rows["x"] + shift, rows, "value", fmt=marker, label=label, **look)


def _draw_null(axis: Axes, rows: pd.DataFrame, style: str, label: str) -> None:
    """Draw a null as a line across the place of its source epoch, in a band that is its interval."""
    for place, value, low, high in rows[["x", *NUMBERS]].to_numpy(float):
        ends = [place - 0.42, place + 0.42]
        axis.fill_between(ends, [low] * 2, [high] * 2, color=GREY, alpha=0.22, linewidth=0)
        named = label if place == rows["x"].iloc[0] else "_"
        axis.plot(ends, [value] * 2, color="black", linewidth=1.1, linestyle=style, label=named)


def _draw_accuracies(axis: Axes, table: pd.DataFrame, places: dict[str, int]) -> None:
    """Draw a mark per network; that from scratch stands beside those of every source epoch."""
    everywhere = select(table, role="scratch").drop(columns="init_epoch")
    everywhere = everywhere.merge(pd.DataFrame({"init_epoch": list(places)}), how="cross")
    table = pd.concat([table[table["role"] != "scratch"], everywhere])
    shifts = {role: 0.16 * (index - 1) for index, role in enumerate(COLOURS)}
    table["x"] = table["init_epoch"].map(places).astype(float) + table["role"].map(shifts)
    titles = {role: f"accuracy, {ROLES[role]}" for role in COLOURS}
    look = {"palette": COLOURS, "markers": MARKERS}
    named = {name: {titles[role]: each for role, each in of.items()} for name, of in look.items()}
    order = {"hue": "label", "style": "label", "hue_order": [*titles.values()], "s": 22}
    sns.scatterplot(
        table.assign(label=table["role"].map(titles)), x="x", y="value", ax=axis, **order, **named
    )
    if legend := axis.get_legend():  # one for the whole figure stands beside it
        legend.remove()
    axis.set_xticks(range(len(places)), list(places))
    axis.set_xlim(-0.6, len(places) - 0.4)
    axis.grid(axis="x", visible=False)
