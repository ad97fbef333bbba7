"""What rules that choose a checkpoint lose, against what they cost: a figure, tables for a person, one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from headstart.figures.facets import DASHED, panel_figure
from headstart.figures.style import BLUE, GREY, VERMILION
from headstart.statistics.measurements import select
from headstart.statistics.words import format_interval, pluralize

SUBJECT = ["source", "model", "arm"]
NEW_NETWORKS = "new networks"
RECOMMEND, EVERYTHING, LEARNED = "recommend", "validation of everything", "epoch learned elsewhere"
SHORT = "training speed, 4 epochs"
SHOWN = (
    *("random", "last", "source-best", "source accuracy"),
    *("LogME", "LEEP", "ridge probe", "kNN probe"),
    *(LEARNED, RECOMMEND, SHORT, EVERYTHING),
)
"""Rules that the figure draws; the table has all."""
BESIDE = ("last", "source-best", LEARNED, SHORT, EVERYTHING, RECOMMEND)
REGIMES = {
    "fixed, below 0.3": "at fixed rates below .3",
    "fixed, from 0.3 on": "at fixed rates from .3 on",
    "tuned": "with tuned rates",
}
OTHER_DRAWS = "best on other draws"
LEAST_RIGHT, MOST_RIGHT = 4.0, 12.0
"""The axis ends between these, in points; what lies beyond is a number at its edge."""
INTERVAL = ["regret", "low", "high"]
NOTE: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "center", "fontsize": 7}
BESIDE_AXIS: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "annotation_clip": False}


def subjects(choices: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the name and the rows of every arm of a source and model whose rules were judged.

    The name is the model's; where there are several sources or arms, with these.
    """
    judged = choices[choices["regret"].notna()]
    several = {name: judged.groupby("model")[name].nunique().gt(1) for name in ("source", "arm")}
    for _, mine in judged.groupby(SUBJECT, sort=False):
        source, model, arm = (str(mine[name].iloc[0]) for name in SUBJECT)
        two_sources, two_arms = (int(several[name][model]) for name in ("source", "arm"))
        parts = [source] * two_sources + [model] + [arm] * two_arms
        yield "_".join(parts), mine


def choices_figure(mine: pd.DataFrame, confidence: float) -> tuple[Figure, pd.DataFrame]:
    """Draw what every rule loses on networks left out, a panel per regime; return it with its table."""
    table = choice_table(mine)
    names = [rule for rule in dict.fromkeys(table["rule"])][::-1]
    right = _right(table)
    left = min(table["low"].clip(lower=-6).min(), (-table["floor"]).clip(lower=-6).min(), -1) - 0.5
    source, model = (str(table[name].iloc[0]) for name in ("source", "model"))
    panels = [
        (_heading(regime), (part, names, (float(left), right)))
        for regime, part in table.groupby("regime", sort=False)
    ]
    figure = panel_figure(
        panels,
        _panel,
        f"{source[0].upper()}{source[1:]} ({model}): which rule finds the checkpoint to fine-tune?",
        _caption(table, confidence),
        height=0.62 + 0.165 * len(names),
        x=f"points lost to\n{_against(table)}",
    )
    axes = [axis for axis in figure.axes if axis.get_visible()]
    for axis in axes[1:]:
        axis.set_yticklabels([])
    return figure, table


def choice_table(mine: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are drawn: networks left out alone, rules from the cheapest to the dearest."""
    shown = select(mine, split=NEW_NETWORKS)
    shown = shown[shown["rule"].isin(SHOWN)]
    fixed = shown.groupby("rule")["cost"].min()
    order = {rule: (fixed[rule], SHOWN.index(rule)) for rule in fixed.index}
    regimes = {regime: place for place, regime in enumerate(REGIMES)}
    rows = shown[["regime", "rule"]].astype(str).itertuples(index=False, name=None)
    keys = [(regimes[regime], order[rule]) for regime, rule in rows]
    places = sorted(range(len(shown)), key=keys.__getitem__)
    return shown.iloc[places].drop(columns=["reason"]).reset_index(drop=True)


def _right(table: pd.DataFrame) -> float:
    """Return where the axis ends: it holds the intervals of the rules that learn or try something."""
    kept = table[table["rule"].isin([RECOMMEND, LEARNED, SHORT, EVERYTHING])]
    widest = float(np.nanmax(kept[["regret", "high"]].to_numpy(float)))
    most = min(max(widest, LEAST_RIGHT), MOST_RIGHT)
    # Intervals of dots that stand on the axis are whole where they can be.
    whole = table.loc[table["regret"] <= most, "high"].to_numpy(float).max()
    return min(max(most, float(whole) if whole == whole else most), MOST_RIGHT) + 0.5


def _against(table: pd.DataFrame) -> str:
    other = str(table["reference"].iloc[0]) == OTHER_DRAWS
    return f"the {OTHER_DRAWS}" if other else EVERYTHING


def _heading(regime: Any) -> str:
    """Return a regime as the heading of a panel, short enough to stand beside the one of costs."""
    words = "tuned rates" if regime == "tuned" else str(regime).replace("0.3", ".3")
    return f"{words[0].upper()}{words[1:]}"


def _panel(axis: Axes, drawn: tuple[pd.DataFrame, list[str], tuple[float, float]]) -> None:
    part, names, (left, right) = drawn
    axis.axvline(0, color=GREY, linewidth=0.9)
    floor = float(part["floor"].iloc[0])
    if not np.isnan(floor):
        axis.axvline(-floor, color=GREY, linewidth=0.9, linestyle=DASHED)
    for row in part.to_dict("records"):
        regret, cost = float(row["regret"]), float(row["cost"])
        place = names.index(str(row["rule"]))
        colour = VERMILION if row["rule"] == RECOMMEND else BLUE
        look: dict[str, Any] = {"color": colour, "clip_on": False, "zorder": 3}
        if regret > right:
            axis.plot(right, place, ">", markersize=4.5, **look)
            axis.annotate(f"{regret:.1f}", (right, place), (-5, 0), color=colour, **NOTE)
        else:
            ends = np.clip([row["low"], row["high"]], left, right)
            axis.plot(ends, [place, place], linewidth=1.2, **look)
            marker = "D" if row["rule"] == RECOMMEND else "o"
            axis.plot(max(regret, left), place, marker, markersize=4, **look)
        axis.annotate(f"{cost:.0f}", (1.0, place), (18, 0), **NOTE | BESIDE_AXIS)
    heading = NOTE | BESIDE_AXIS | {"va": "bottom"}
    axis.annotate("cost, %", (1.0, len(names) - 0.45), (20, 0), **heading)
    axis.set(xlim=(left, right), ylim=(-0.6, len(names) - 0.4), yticks=range(len(names)))
    axis.set_yticklabels(names)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    if RECOMMEND in names:
        axis.get_yticklabels()[names.index(RECOMMEND)].set_color(VERMILION)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)


def _caption(table: pd.DataFrame, confidence: float) -> str:
    networks = int(table["networks"].max())
    reference = str(table["reference"].iloc[0])
    if reference == OTHER_DRAWS:
        words = (
            "Accuracy lost to the checkpoint that is best on test images of half of the draws; both are read on the "
            "other half. Dashed: no choice can lie further left (noise floor)"
        )
    else:
        words = (
            "Accuracy lost to the checkpoint that validation prefers after all were fine-tuned, on the same draw "
            "of the target images: every network has one"
        )
    beyond = " Arrow: beyond the axis, with its number." if _beyond(table) else ""
    source = table["source"].iloc[0]
    return (
        f"Starts from {source}, each network left out of what teaches. {words}. Dots: mean over "
        f"{pluralize(networks, 'network')}, with {confidence:.0%} intervals.{beyond} Cost: target epochs, "
        "as a percentage of those of fine-tuning every checkpoint at every rate in question."
    )


def _beyond(table: pd.DataFrame) -> bool:
    return bool((table["regret"] > _right(table)).any())


def summary(mine: pd.DataFrame) -> pd.DataFrame:
    """Return the drawn rules as text: what each loses with its interval, and its cost, by regime."""
    table = choice_table(mine)
    rules = list(dict.fromkeys(table["rule"]))
    shown = pd.DataFrame({"rule": rules})
    for regime, part in table.groupby("regime", sort=False):
        by_rule = part.set_index("rule").reindex(rules)
        shown[str(regime)] = [
            format_interval(*row, signed=True) for row in by_rule[INTERVAL].to_numpy(float)
        ]
        shown[f"cost, % ({regime})"] = by_rule["cost"].map("{:.0f}".format).to_list()
    return shown


def elsewhere(mine: pd.DataFrame) -> pd.DataFrame:
    """Return what some rules lose where more than networks is left out, as text, a row per question and regime."""
    others = mine[(mine["split"] != NEW_NETWORKS) & mine["rule"].isin(BESIDE)]
    rows = []
    for (split, left_out, regime), part in others.groupby(
        ["split", "left_out", "regime"], sort=False
    ):
        by_rule = part.set_index("rule")
        row = {"left out": f"{split}: {left_out}", "rates": regime}
        row["cells"] = int(part["cells"].iloc[0])
        for rule in BESIDE:
            if rule in by_rule.index:
                row[rule] = format_interval(
                    *by_rule.loc[rule, INTERVAL].to_numpy(float), signed=True
                )
        rows.append(row)
    return pd.DataFrame(rows)


def sentence(mine: pd.DataFrame) -> str:
    """Return what the table says of tuned and of high fixed rates, in one sentence that names the networks."""
    source, model = (str(mine[name].iloc[0]) for name in ("source", "model"))
    return f"{source}, {model}: {lost_words(mine)}"


def lost_words(mine: pd.DataFrame) -> str:
    """Return which points a few rules lose, with tuned and with high fixed rates."""
    table = select(mine, split=NEW_NETWORKS)
    reference = str(table["reference"].iloc[0])
    parts = []
    for regime in ("tuned", "fixed, from 0.3 on"):
        rows = table[table["regime"] == regime].set_index("rule")
        found = [
            f"{rule} {format_interval(*rows.loc[rule, INTERVAL].to_numpy(float), signed=True)}"
            for rule in ("last", LEARNED, RECOMMEND)
            if rule in rows.index
        ]
        if found:
            parts.append(f"{REGIMES[regime]}: {', '.join(found)}")
    against = (
        "the checkpoint that is best on other draws"
        if reference == OTHER_DRAWS
        else "validation after everything was fine-tuned"
    )
    words = "; ".join(parts)
    return f"points of accuracy lost to {against}, {words}."
