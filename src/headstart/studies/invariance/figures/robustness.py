"""Does the spread of forgetting follow robustness, and what did looking for it do (figures 6 and 14)?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.epochs import epoch_axis, position
from headstart.figures.labels import write_caption
from headstart.figures.style import CYCLE, GREY, MARKERS, paper_style
from headstart.studies.early_stopping.figures.prepare import PERCENT
from headstart.studies.invariance.figures.shared import Look, in_words, looks_of, named
from headstart.studies.invariance.network_tables import RUN

# A line of a panel: seeds repeat from series to series, and from model to model.
LINE = ["series", *RUN]
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
    names = named(runs)[[*RUN, "series", "does"]]
    ours = aggregate.merge(names, on=RUN)
    prefixes = transients[transients["part"] == "prefix"].merge(names, on=RUN)
    found = correlations[correlations["family"] == "forgetting and learning"]
    found = found.rename(columns={"series": "aggregate"}).merge(names, on=RUN)
    looks = looks_of(ours)
    with paper_style():
        figure, axes = plt.subplots(2, 2, figsize=(8.4, 6.4))
        _ours(axes[0, 0], ours, looks)
        replayed = _published_scatter(axes[0, 1], published)
        theirs = _prefixes(axes[1, 0], prefixes, looks, published)
        _search(axes[1, 1], found, looks)
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
    return figure, table[["drawn", *(name for name in table.columns if name != "drawn")]]


def _ours(axis: Axes, ours: pd.DataFrame, looks: dict[str, Look]) -> None:
    for (series, *_), part in ours.groupby(LINE):
        colour, marker = looks[str(series)]
        line = part.sort_values("target_epoch")
        x, y = line["std_forgetting"], line["robust_accuracy"] * PERCENT
        axis.plot(line["std_forgetting_paper"], y, "-", linewidth=0.5, color=colour)
        axis.plot(x, y, "-", marker=marker, markersize=4, linewidth=0.9, color=colour)
        for index in (0, -1):
            axis.annotate(
                str(int(line["target_epoch"].iloc[index])),
                (x.iloc[index], y.iloc[index]),
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=6.5,
                color=colour,
            )
    for name, (colour, marker) in looks.items():
        axis.plot([], [], marker=marker, color=colour, markersize=4, label=name)
    axis.legend(loc="best")
    axis.set_title("Here: epochs of every run")
    axis.set_xlabel("std of forgetting over all blocks but the first")
    axis.set_ylabel("accuracy under corruption (%)")


def _published_scatter(axis: Axes, published: pd.DataFrame) -> pd.DataFrame:
    rows = published[published["figure"] == "fig6_scatter_std_acc"]
    for index, (setting, words) in enumerate(SETTINGS.items()):
        part = rows[rows["series"] == setting]
        axis.plot(
            part["x"],
            part["value"] * PERCENT,
            MARKERS[index],
            color=CYCLE[index],
            markersize=4,
            markerfacecolor="none",
            label=words,
        )
    axis.legend(loc="best")
    axis.set_title("ViT-B/32 to CIFAR-10, published")
    axis.set_xlabel("std of forgetting over blocks 2 to 12")
    axis.set_ylabel("accuracy under corruption (%)")
    return rows


def _prefixes(
    axis: Axes, prefixes: pd.DataFrame, looks: dict[str, Look], published: pd.DataFrame
) -> pd.DataFrame:
    for (series, *_), part in prefixes.groupby(LINE):
        colour, marker = looks[str(series)]
        line = part.sort_values("target_epoch")
        x = position(line["target_epoch"].astype(float))
        axis.plot(x, line["r"], "-", marker=marker, markersize=4, linewidth=0.9, color=colour)
        axis.plot(x, line["r_paper"], "-", linewidth=0.5, color=colour)
    rows = published[published["figure"] == "fig14"].pivot(
        index="x", columns="series", values="value"
    )
    for name, style in (("cifar10", "--"), ("cifar100", ":")):
        words = name.replace("cifar", "CIFAR-") + ", published"
        axis.plot(
            position(rows["epoch"]), rows[name], style, color=GREY, linewidth=1.3, label=words
        )
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.legend(loc="lower right")
    axis.set_ylim(-1.05, 1.05)
    axis.set_title("Correlation over the first epochs only")
    axis.set_xlabel("target epochs used")
    axis.set_ylabel("Pearson's r")
    epoch_axis(np.array([axis]), [3, 5, 8, 13, 25, 50, 100])
    return rows.reset_index()


def _search(axis: Axes, found: pd.DataFrame, looks: dict[str, Look]) -> None:
    """Draw r of every aggregate, best first, and the paper's among them."""
    for (series, *_), part in found[found["r"].notna()].groupby(LINE):
        colour, marker = looks[str(series)]
        line = part.sort_values("r", ascending=False).reset_index(drop=True)
        axis.plot(line.index + 1, line["r"], "-", color=colour, linewidth=1.1)
        last = line["last_layer"].max()
        own = line[
            (line["aggregate"] == "forgetting")
            & (line["first_layer"] == 2)
            & (line["last_layer"] == last)
            & (line["statistic"] == "std")
        ]
        axis.plot(own.index + 1, own["r"], marker, color=colour, markersize=6, mfc="white")
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_ylim(-1.05, 1.05)
    axis.set_title("All aggregates of every run, best first")
    axis.set_xlabel("rank of the aggregate")
    axis.set_ylabel("Pearson's r")


def _caption(ours: pd.DataFrame, found: pd.DataFrame) -> str:
    epochs = ours.groupby(LINE).size()
    tried = found[found["r"].notna()].groupby(LINE)
    alone, chosen = (tried[name].min().max() for name in ("p_independent", "p_selected"))
    left_out = int(found["left_out"].max()) if len(found) else 0
    undefined = f", of which up to {left_out} are undefined at some epoch" if left_out else ""
    return (
        f"n = {in_words(len(epochs), 'run')} of {epochs.min()} epochs each; small numbers: first and last "
        "epoch. Debiased CKA, self-STIR measured; thin, to compare with the published: biased CKA, 1 in "
        "place of self-STIR. Open markers: the published aggregate, one of "
        f"{(found['hypotheses'] + found['left_out']).max()} here{undefined}. The best of all "
        f"has p ≤ {alone:.2g} if epochs were independent and nothing had been chosen; against shifts in time, "
        f"the search repeated for each, p ≤ {chosen:.2g} (no less than {1 / epochs.max():.2g} is possible)."
    )
