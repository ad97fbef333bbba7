"""Does the spread of forgetting follow robustness, and what did looking for it do (figures 6 and 14)?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import epoch_axis, position
from headstart.figures.labels import write_caption, write_title
from headstart.figures.style import CYCLE, GREY, MARKERS, TWO_COLUMNS, paper_style
from headstart.statistics.words import pluralize
from headstart.studies.invariance.figures.shared import (
    Look,
    draw_lines,
    legend_handles,
    looks_of,
    named,
    titled,
)
from headstart.studies.invariance.network_tables import RUN

SETTINGS = {
    "sgd_1e-5_aug": "SGD 1e-5",
    "sgd_5e-5_aug": "SGD 5e-5",
    "sgd_1e-3_aug": "SGD 1e-3",
    "sgd_1e-3_noaug": "SGD 1e-3, no augmentation",
}


def robustness_figure(
    aggregate: pd.DataFrame,
    transients: pd.DataFrame,
    correlations: pd.DataFrame,
    runs: pd.DataFrame,
    published: pd.DataFrame,
) -> tuple[Figure, pd.DataFrame] | None:
    """Draw the runs to one target beside published ones; None where no run was followed.

    The table returned holds every dot and line, `drawn` says of which panel.
    """
    if aggregate.empty:
        return None
    # A line of a panel: seeds repeat from series to series, and from model to model.
    names = named(runs)[[*RUN, "series", "does"]]
    names = names.assign(line=names[["series", *RUN]].astype(str).agg("-".join, axis=1))
    ours = aggregate.merge(names, on=RUN)
    prefixes = transients[transients["part"] == "prefix"].merge(names, on=RUN)
    found = correlations[correlations["family"] == "forgetting and learning"]
    found = found.rename(columns={"series": "aggregate"}).merge(names, on=RUN)
    looks = looks_of(ours)
    with paper_style():
        figure, axes = plt.subplots(2, 2, figsize=(TWO_COLUMNS, 5.8))
        write_title(figure, titled(runs, "does the spread of forgetting follow robustness?"))
        _ours(axes[0, 0], ours, looks)
        replayed = _published_scatter(axes[0, 1], published)
        theirs = _prefixes(axes[1, 0], prefixes, looks, published)
        _search(axes[1, 1], found, looks)
        for axis in axes[1]:
            axis.axhline(0, color=GREY, linewidth=0.8)
            axis.set_ylim(-1.05, 1.05)
        figure.legend(handles=legend_handles(looks, 4), loc="outside lower center", ncols=4)
        write_caption(figure, _caption(ours, found))
    table = pd.concat(
        [
            ours.assign(drawn="epochs"),
            replayed.assign(drawn="published epochs"),
            prefixes.assign(drawn="prefix"),
            theirs.assign(drawn="published prefix"),
            found.assign(drawn="search"),
        ],
        ignore_index=True,
    )
    return figure, table[["drawn", *table.columns.drop(["drawn", "line"])]]


def _ours(axis: Axes, ours: pd.DataFrame, looks: dict[str, Look]) -> None:
    ours = ours.sort_values("target_epoch").assign(percent=100 * ours["robust_accuracy"])
    by_run: dict[str, Any] = {"units": "line", "sort": False}
    draw_lines(axis, ours, looks, "std_forgetting", "percent", linewidth=0.9, **by_run)
    draw_lines(
        axis, ours, looks, "std_forgetting_paper", "percent", marked=False, linewidth=0.5, **by_run
    )
    ends = [ours.groupby("line").head(1), ours.groupby("line").tail(1)]
    for row in pd.concat(ends).itertuples():
        axis.annotate(
            str(row.target_epoch),
            (row.std_forgetting, row.percent),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=7,
            color=looks[str(row.series)][0],
        )
    axis.set(
        title="Here: epochs of every run",
        xlabel="std of forgetting over blocks but the first",
        ylabel="accuracy under corruption (%)",
    )


def _published_scatter(axis: Axes, published: pd.DataFrame) -> pd.DataFrame:
    rows = published[
        (published["figure"] == "fig6_scatter_std_acc") & published["series"].isin(list(SETTINGS))
    ]
    shown = rows.assign(percent=100 * rows["value"], setting=rows["series"].map(SETTINGS))
    names = list(SETTINGS.values())
    sns.scatterplot(
        shown,
        x="x",
        y="percent",
        hue="setting",
        style="setting",
        hue_order=names,
        style_order=names,
        palette=list(CYCLE[: len(names)]),
        markers=list(MARKERS[: len(names)]),
        s=20,
        linewidth=0,
        ax=axis,
    )
    axis.legend(loc="best", title=None)
    axis.set(
        title="ViT-B/32 to CIFAR-10, published",
        xlabel="std of forgetting over blocks 2 to 12",
        ylabel="accuracy under corruption (%)",
    )
    return rows


def _prefixes(
    axis: Axes, prefixes: pd.DataFrame, looks: dict[str, Look], published: pd.DataFrame
) -> pd.DataFrame:
    ours = prefixes.assign(x=position(prefixes["target_epoch"].astype(float)))
    draw_lines(axis, ours, looks, "x", "r", units="line", linewidth=0.9)
    draw_lines(axis, ours, looks, "x", "r_paper", units="line", marked=False, linewidth=0.5)
    rows = published[published["figure"] == "fig14"].pivot(
        index="x", columns="series", values="value"
    )
    for name, style in (("cifar10", "--"), ("cifar100", ":")):
        words = name.replace("cifar", "CIFAR-") + ", published"
        look = {"linestyle": style, "color": GREY, "linewidth": 1.3, "label": words}
        sns.lineplot(
            x=position(rows["epoch"]).array, y=rows[name].array, errorbar=None, ax=axis, **look
        )
    axis.legend(loc="lower right")
    axis.set(
        title="Correlation over the first epochs only",
        xlabel="target epochs used",
        ylabel="Pearson's r",
    )
    epoch_axis(np.array([axis]), [3, 5, 8, 13, 25, 50, 100])
    return rows.reset_index()


def _search(axis: Axes, found: pd.DataFrame, looks: dict[str, Look]) -> None:
    """Draw r of every aggregate, best first, and the paper's among them."""
    tried = found[found["r"].notna()].sort_values("r", ascending=False, kind="stable")
    tried = tried.assign(rank=tried.groupby("line").cumcount() + 1)
    draw_lines(axis, tried, looks, "rank", "r", units="line", marked=False, linewidth=1.1)
    own = tried[
        (tried["aggregate"] == "forgetting")
        & (tried["first_layer"] == 2)
        & (tried["last_layer"] == tried.groupby("line")["last_layer"].transform("max"))
        & (tried["statistic"] == "std")
    ]
    open_marks: dict[str, Any] = {
        "markerfacecolor": "white",
        "markeredgecolor": "auto",
        "markeredgewidth": 1.2,
    }
    draw_lines(axis, own, looks, "rank", "r", linewidth=0, markersize=6, **open_marks)
    axis.set(
        title="All aggregates of every run, best first",
        xlabel="rank of the aggregate",
        ylabel="Pearson's r",
    )


def _caption(ours: pd.DataFrame, found: pd.DataFrame) -> str:
    epochs = ours.groupby("line").size()
    tried = found[found["r"].notna()].groupby("line")
    alone, chosen = (tried[name].min().max() for name in ("p_independent", "p_selected"))
    left_out = int(found["left_out"].max()) if len(found) else 0
    undefined = f", of which up to {left_out} are undefined at some epoch" if left_out else ""
    return (
        f"n = {pluralize(len(epochs), 'run')} of {epochs.min()} epochs each; small numbers: first and last "
        "epoch. Debiased CKA, self-STIR measured; thin, to compare with the published: biased CKA, 1 in "
        "place of self-STIR. Open markers: the published aggregate, one of "
        f"{(found['hypotheses'] + found['left_out']).max()} here{undefined}. The best of all "
        f"has p ≤ {alone:.2g} if epochs were independent and nothing had been chosen; against shifts in time, "
        f"the search repeated for each, p ≤ {chosen:.2g} (no less than {1 / epochs.max():.2g} is possible)."
    )
